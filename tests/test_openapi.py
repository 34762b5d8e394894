"""The OpenAPI document and the page made of it, read as their readers do."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
import schemathesis
from aiohttp.test_utils import TestServer

from service import clients
from service.bearer import ROLES
from service.document import openapi
from service.document import page as docs
from service.refusals import MESSAGES, MalformedKey
from service.rules.validation import SCOPE_CHARACTERS
from tests.callers import Api

METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


@pytest.fixture
async def document(api: Api) -> Any:
    """The document as it is served."""
    return (await api.get("/openapi.json")).body


@pytest.fixture
async def page(api: Api) -> str:
    """The page as it is served."""
    async with api.session.get(f"{api.base}/docs") as response:
        assert response.content_type == "text/html"
        return await response.text()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Method, path and operation of all that is documented."""
    for path, methods in document["paths"].items():
        for method in METHODS & methods.keys():
            yield method.upper(), path, methods[method]


def inside(value: Any) -> Iterator[Any]:
    """*value* and whatever it is made of."""
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(part)


def validator(document: Any, schema: Any) -> jsonschema_rs.Validator:
    """Of *schema*, with the document's components in reach."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)


async def test_who_may_read_it(api: Api) -> None:
    """The document and its page are for everybody, at both addresses, and say how they want to be treated."""
    nobody = api.with_headers(Authorization="")

    assert (await nobody.get("/openapi.json")).headers["Content-Type"].startswith("application/json")
    for base in (api.base, f"{api.base}/api/v1"):
        async with api.session.get(f"{base}/docs") as response:
            assert response.status == 200
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        async with api.session.get(f"{base}/docs/style.css") as response:
            assert (response.status, response.content_type) == (200, "text/css")


def test_document_is_openapi(document: Any) -> None:
    """It keeps to OpenAPI 3.1, and each reference in it leads somewhere."""
    schemathesis.openapi.from_dict(document).validate()

    assert document["openapi"].startswith("3.1.")
    for part in inside(document):
        if isinstance(part, dict) and "$ref" in part:
            assert docs._resolved(document, part), part  # noqa: SLF001 (the renderer's own way)


def test_every_route_is_documented(document: Any, server: TestServer) -> None:
    """All that the router serves, and nothing else; a name for each, used once."""
    found = [(method, path) for method, path, _ in operations(document)]
    served = {
        (route.method, route.resource.canonical.removeprefix("/api/v1"))
        for route in server.app.router.routes()
        if route.resource and "/console" not in route.resource.canonical
    }
    slashless = {(method, path.rstrip("/")) for method, path in found if path.endswith("/")}

    assert len(found) == len(set(found))
    assert set(found) | slashless == served
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert document["servers"] == [{"url": "/api/v1"}, {"url": "/"}]


def test_every_code_is_listed(document: Any) -> None:
    """Each code that an answer can have is in the table; those of an operation are at it, under their status."""
    assert document["x-error-codes"] == {str(code): message for code, message in MESSAGES.items()}
    for method, path, operation in operations(document):
        assert "500" in operation["responses"], (method, path)
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                content = response["content"]["application/json"]
                codes = content["schema"]["properties"]["code"]["enum"]
                assert [str(code) for code in codes] == list(content["examples"])
                assert all(str(code)[:3] == status for code in codes)
    somewhere = {code for *_, operation in operations(document) for code in _codes(operation)}
    # what is no operation has none: an unknown path and another method
    assert {str(code) for code in MESSAGES} - somewhere == {"404002", "405001"}


def _codes(operation: Any) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get("application/json", {}).get("examples", {})
    }


def test_guarded_operations(document: Any) -> None:
    """Who may use an operation is said; with a token come 401 and its challenge, 403, and the tenant's header."""
    assert list(document["x-roles"]) == list(ROLES)
    for method, path, operation in operations(document):
        is_guarded = "/admin/" in path or "/internal/" in path
        assert operation["security"] == ([{"bearer": []}] if is_guarded else []), (method, path)
        assert ("x-roles" in operation) is is_guarded
        assert {"401", "403"} & operation["responses"].keys() == ({"401", "403"} if is_guarded else set())
        if is_guarded:
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
            assert {"$ref": "#/components/parameters/Tenant"} in operation["parameters"]


def test_keys_are_documented(document: Any) -> None:
    """Where Idempotency-Key is understood, and nowhere else, it is listed with all that comes of it."""
    parameter = {"$ref": "#/components/parameters/Key"}
    understood = {route.summary for route in clients.ROUTES if MalformedKey in route.refusals}

    assert understood == {
        operation["summary"] for *_, operation in operations(document) if parameter in operation["parameters"]
    }
    for *_, operation in operations(document):
        is_understood = operation["summary"] in understood
        for status, response in operation["responses"].items():
            has = "Idempotency-Replayed" in response["headers"]
            assert has is (is_understood and status == "201"), operation["summary"]
        conflicts = operation["responses"].get("409", {"headers": {}})
        assert ("Retry-After" in conflicts["headers"]) is is_understood
        if is_understood:
            assert conflicts["headers"]["Retry-After"]["required"] is False
            assert "422" in operation["responses"]
    key = document["components"]["parameters"]["Key"]
    assert (key["name"], key["in"]) == ("Idempotency-Key", "header")
    assert "24 h" in key["description"]
    good = validator(document, key["schema"])
    for text in ("x" * 22, "x" * 255, str(uuid4()), f'"{uuid4()}"'):
        assert good.is_valid(text), text
    for text in ("x" * 21, "x" * 256, " " * 22, "x" * 22 + ";", '"' + "x" * 22, "é" * 22):
        assert not good.is_valid(text), text
    replayed = document["components"]["headers"]["Idempotency-Replayed"]
    assert replayed["schema"]["const"] == "true"
    assert replayed["required"] is False


def test_clone_is_documented(document: Any) -> None:
    """The mission's endpoint, to the letter: its body may be left out, its answer is not to be stored."""
    clone = document["paths"]["/admin/oauth/clients/{client_id}/clone"]["post"]

    assert clone["requestBody"]["required"] is False
    assert clone["x-roles"] == ["admin", "super_admin"]
    assert {"201", "400", "401", "403", "404", "500"} <= clone["responses"].keys()
    created = clone["responses"]["201"]
    assert {"Cache-Control", "Pragma"} <= created["headers"].keys()
    example = created["content"]["application/json"]["example"]
    assert example["code"] == 0
    assert list(example["data"]) == [
        *("id", "client_id", "client_secret", "name", "status", "redirect_uris", "scopes", "grant_types"),
        *("cors_origins", "client_auth_methods", "fapi_profile", "jwks_uri"),
    ]


def test_no_null(document: Any) -> None:
    """Nothing in the document is null, and no answer may be."""
    assert all(part is not None for part in inside(document))
    answers = [operation["responses"] for *_, operation in operations(document)]
    requests = {ref.rpartition("/")[2] for *_, operation in operations(document) for ref in _body(operation)}
    told = [schema for name, schema in document["components"]["schemas"].items() if name not in requests]
    for part in inside([answers, told]):
        assert not (isinstance(part, dict) and part.get("type") == "null"), part


def _body(operation: Any) -> Iterator[str]:
    if "requestBody" in operation:
        yield operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]


def test_names(document: Any) -> None:
    """Components are named so that OpenAPI takes them and people can read them."""
    for kind, components in document["components"].items():
        for name in components:
            assert re.fullmatch(r"[A-Za-z0-9.-]+", name), (kind, name)


def test_examples_are_examples(document: Any) -> None:
    """What is shown as an example keeps to the schema beside it."""
    seen = 0
    for part in inside(document["paths"]):
        if isinstance(part, dict) and "schema" in part:
            shown = [part["example"]] if "example" in part else []
            shown += [example["value"] for example in part.get("examples", {}).values()]
            for example in shown:
                validator(document, part["schema"]).validate(example)
                seen += 1
    assert seen > len(MESSAGES)


def test_every_answer_has_an_example(document: Any) -> None:
    """Whoever reads of an operation sees what it answers, and what to send where something has to be sent."""
    for method, path, operation in operations(document):
        bodies = [response["content"] for status, response in operation["responses"].items() if "content" in response]
        if operation.get("requestBody", {}).get("required"):
            bodies.append(operation["requestBody"]["content"])
        for content in bodies:
            shown = content.get("application/json")
            if shown is not None and path != "/openapi.json":
                assert "example" in shown or "examples" in shown, (method, path)


async def test_the_registration_in_it_registers(api: Api, document: Any) -> None:
    """The example of a registration is one, and the example of its answer has the same fields."""
    operation = document["paths"]["/admin/oauth/clients/"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]

    reply = await api.post("/admin/oauth/clients/", json=example)

    assert reply.status == 201
    created = operation["responses"]["201"]["content"]["application/json"]
    assert list(created["example"]["data"]) == list(reply.data)
    validator(document, created["schema"]).validate(reply.body)


def test_patterns_are_the_rules(document: Any) -> None:
    """A pattern says of a scope what the rules say, character by character."""
    scopes = document["components"]["schemas"]["Registration"]["properties"]["scopes"]
    pattern = re.compile(scopes["items"]["pattern"])

    assert {chr(code) for code in range(0x300) if pattern.fullmatch(chr(code))} == SCOPE_CHARACTERS


class Reader(HTMLParser):
    """What a browser would fetch and where it would go, and what it shows; tags must close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "style", "img", "iframe", "object", "base", "form"}
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "srcset", "action", "data", "xlink:href"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in {"meta", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stays_at_home(page: str) -> None:
    """Nothing on the page is fetched from elsewhere or runs; each of its own places exists, once."""
    reader = Reader(page)

    assert {address for address in reader.addresses if not address.startswith("#")} == {
        "docs/style.css",
        "openapi.json",
    }
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))


async def test_style_stays_at_home(api: Api) -> None:
    """Nor does the style sheet fetch anything."""
    async with api.session.get(f"{api.base}/docs/style.css") as response:
        style = await response.text()

    assert "url(" not in style
    assert "@import" not in style


def test_page_shows_everything(page: str, document: Any) -> None:
    """Every operation with its path and a curl for it, and every code with its message."""
    reader = Reader(page)
    for method, path, operation in operations(document):
        assert operation["operationId"] in reader.ids
        assert path in reader.text
        assert operation["summary"] in reader.text
        curl = "curl" if method == "GET" else f"curl -X {method}"
        assert f'{curl} "$MITOSIS{path.partition("{")[0]}' in reader.text
    assert "app-demo/clone" in reader.text
    for code, message in MESSAGES.items():
        assert str(code) in reader.ids
        assert message.replace("`", "") in reader.text


def test_page_escapes(document: Any) -> None:
    """Whatever a document says is text on the page."""
    hostile = "<script>alert(1)</script>\"'&"
    document["info"].update(title=hostile, description=hostile)
    for *_, operation in operations(document):
        operation.update(summary=hostile, description=f"`{hostile}`")

    page = docs.page(document)

    assert "<script" not in page
    assert Reader(page).text.count(hostile) > 3


def test_without_a_prefix() -> None:
    """Where no base path is configured, the addresses are those of the service itself."""
    assert openapi.document([], "")["servers"] == [{"url": "/"}]
