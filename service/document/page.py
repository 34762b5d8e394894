"""
The OpenAPI document as a page for people: one function from the one to the other.

The page loads nothing but its style sheet and runs nothing. Whatever comes from the document is escaped on its way in.
"""

import json
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from typing import Any

from service.document.markup import block, element, inline, laid_out, literal, marked, prose, table

Json = dict[str, Any]

_STYLE = "docs/style.css"  # beside /docs, under whatever prefix that was asked for
_DOCUMENT = "openapi.json"
_METHODS = ("get", "post", "put", "patch", "delete")

# two cells that were one a moment ago
_LOGO = (
    '<svg class="logo" viewBox="0 0 48 32" aria-hidden="true">'
    '<path d="M24 8.6A12 12 0 1 0 24 23.4A12 12 0 1 0 24 8.6Z" fill="none" stroke="currentColor" stroke-width="2.5"/>'
    '<circle cx="14.5" cy="16" r="3.6" fill="currentColor"/><circle cx="33.5" cy="16" r="3.6" fill="currentColor"/>'
    "</svg>"
)


def page(document: Json) -> str:
    """*document*, which service.document.openapi made, as HTML."""
    info = document["info"]
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(info['title'])} {escape(info['version'])}</title>"
        f'<link rel="stylesheet" href="{_STYLE}">'
    )
    title = element("h1", _LOGO, escape(info["title"]), element("span", escape(info["version"]), class_="version"))
    link = element("p", element("a", "The OpenAPI document", href=_DOCUMENT), class_="source")
    main = [
        element("header", title, prose(info["description"]), link, id="overview"),
        _authentication(document),
        *_operations(document),
        _failures(document["x-error-codes"]),
    ]
    body = _navigation(document) + element("main", *main)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _navigation(document: Json) -> str:
    """All there is on the page."""
    groups = [element("a", "Overview", href="#overview") + element("a", "Authentication", href="#authentication")]
    for name, operations in _by_tag(document).items():
        links = (
            element(
                "a", _badge(method), element("span", escape(operation["summary"])), href=f"#{operation['operationId']}"
            )
            for method, _, operation in operations
        )
        groups.append(element("h2", escape(name)) + "".join(links))
    groups.append(element("h2", "Failures") + element("a", "Error codes", href="#failures"))
    name = element("a", _LOGO, escape(document["info"]["title"]), href="#overview", class_="name")
    return element("nav", name, element("details", element("summary", "Contents"), *groups, open="open"))


def _authentication(document: Json) -> str:
    scheme = document["components"]["securitySchemes"]["bearer"]
    server = document["servers"][0]["url"].rstrip("/")
    setting = f"export MITOSIS=http://127.0.0.1:8080{server}\nexport TOKEN=$(mitosis token --tenant demo --role admin)"
    roles = table(("Role", "May"), ((literal(role), inline(may)) for role, may in document["x-roles"].items()))
    return element(
        "section",
        element("h2", "Authentication"),
        prose(scheme["description"]),
        roles,
        prose("Any other role may nothing. The commands on this page take the address and the token from here:"),
        block(escape(setting)),
        id="authentication",
    )


def _operations(document: Json) -> Iterator[str]:
    for name, operations in _by_tag(document).items():
        shown = (_operation(document, *operation) for operation in operations)
        yield element("section", element("h2", escape(name), class_="tag"), *shown)


def _by_tag(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    """Method, path and operation, under the names of their groups."""
    found: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                found[methods[method]["tags"][0]].append((method, path, methods[method]))
    return found


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    heading = element("h3", element("a", escape(operation["summary"]), href=f"#{operation['operationId']}"))
    place = element("p", _badge(method), literal(path), class_="place")
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    words = [prose(operation.get("description", "")), _who(operation), _parameters(document, parameters)]
    body = operation.get("requestBody")
    if body is not None:
        words.append(_request(document, body))
    words.append(_refusals(operation))
    code = [element("h4", "Request"), _curl(method, path, parameters, body, is_public=not operation["security"])]
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            code.append(_success(document, status, response))
    return element(
        "article",
        heading,
        place,
        element("div", *words, class_="words"),
        element("div", *code, class_="code"),
        id=operation["operationId"],
    )


def _who(operation: Json) -> str:
    if not operation["security"]:
        return element("p", "For everybody, without a token.", class_="who")
    roles = " ".join(element("span", escape(role), class_="role") for role in operation["x-roles"])
    return element("p", "For ", roles, class_="who")


def _parameters(document: Json, parameters: list[Json]) -> str:
    rows = (
        (
            _name(parameter["name"], parameter["in"], is_required=parameter.get("required", False)),
            _meaning(document, {"description": parameter["description"], **parameter["schema"]}),
        )
        for parameter in parameters
    )
    return element("h4", "Parameters") + table((), rows) if parameters else ""


def _request(document: Json, body: Json) -> str:
    schema = _resolved(document, body["content"]["application/json"]["schema"])
    if not schema["properties"]:
        return element("h4", "Body") + prose("None, or an empty object.")
    needed = "" if body["required"] else prose("May be left out.")
    return element("h4", "Body") + needed + _fields(document, schema)


def _fields(document: Json, schema: Json) -> str:
    rows = (
        (
            _name(name, _type(document, field), is_required=name in schema["required"]),
            _meaning(document, field),
        )
        for name, field in schema["properties"].items()
    )
    return table((), rows)


def _name(name: str, kind: str, *, is_required: bool) -> str:
    """A field's or a parameter's first column."""
    mark = element("span", "required", class_="required") if is_required else ""
    return literal(name) + element("small", escape(kind), mark)


def _meaning(document: Json, schema: Json) -> str:
    """A field's or a parameter's second column: what it is for, and which values it may have."""
    schema = _present(document, schema)
    entries = _present(document, schema.get("items", {}))
    shown = inline(schema.get("description", ""))
    if values := schema.get("enum", entries.get("enum")):
        shown += element("small", " ".join(literal(str(value)) for value in values))
    bounds = [*_bounds(schema), *(f"each {bound}" for bound in _bounds(entries))]
    return shown + (element("small", " &middot; ".join(bounds)) if bounds else "")


def _bounds(schema: Json) -> Iterator[str]:
    for words, least, most in (
        ("", "minimum", "maximum"),
        (" characters", "minLength", "maxLength"),
        (" entries", "minItems", "maxItems"),
    ):
        if most in schema and "enum" not in schema.get("items", {}):
            yield (f"{schema[least]:,} to " if least in schema else "at most ") + f"{schema[most]:,}{words}"
    if schema.get("default", []) != []:
        yield f"default {literal(json.dumps(schema['default']))}"


def _type(document: Json, schema: Json) -> str:
    schema = _resolved(document, schema)
    if "anyOf" in schema:
        return " or ".join(_type(document, choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if schema.get("type") == "array":
        return f"array of {_type(document, schema['items'])}"
    return str(schema.get("format", schema.get("type", "string")))


def _present(document: Json, schema: Json) -> Json:
    """What *schema* says of a value that is there, and is no null."""
    schema = _resolved(document, schema)
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            return _resolved(document, choice)
    return schema


def _resolved(document: Json, schema: Json) -> Json:
    """What *schema* refers to, itself if to nothing."""
    found: Json = schema
    if "$ref" in schema:
        found = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    return found


def _refusals(operation: Json) -> str:
    """Whatever may go wrong with it."""
    rows = [
        (element("a", escape(code), href=f"#{code}"), inline(example["summary"]))
        for status, response in operation["responses"].items()
        if not status.startswith("2")
        for code, example in response["content"]["application/json"]["examples"].items()
    ]
    summary = element("summary", f"What can go wrong ({len(rows)})")
    return element("details", summary, table((), rows))


def _success(document: Json, status: str, response: Json) -> str:
    shown = element("h4", "Answer ", element("span", escape(f"{status} {response['description']}"), class_="status"))
    for kind, content in response.get("content", {}).items():
        if "example" in content:
            shown += block(marked(content["example"]))
        else:
            shown += prose(f"`{kind}`")
        data = _present(document, content["schema"]).get("properties", {}).get("data")
        if data is not None:
            fields = _fields(document, _present(document, data))
            shown += element("details", element("summary", "Fields of ", literal("data")), fields)
    return shown


def _curl(method: str, path: str, parameters: list[Json], body: Json | None, *, is_public: bool) -> str:
    for parameter in parameters:
        path = path.replace(f"{{{parameter['name']}}}", parameter.get("example", ""))
    verb = "" if method == "get" else f" -X {method.upper()}"
    lines = [f'curl{verb} "$MITOSIS{path}"']
    if not is_public:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    example = (body or {}).get("content", {}).get("application/json", {}).get("example")
    if example is not None:
        text = laid_out(example).replace("'", "'\\''")
        lines += ['-H "Content-Type: application/json"', f"-d '{text}'"]
    return block(escape(" \\\n  ".join(lines)))


def _failures(codes: dict[str, str]) -> str:
    rows = (
        (
            element("span", literal(code), id=code),
            inline(message) + element("small", escape(HTTPStatus(int(code) // 1000).phrase)),
        )
        for code, message in codes.items()
    )
    return element("section", element("h2", "Error codes"), table(("Code", "Message"), rows), id="failures")


def _badge(method: str) -> str:
    return element("span", escape(method.upper()), class_=f"method {method}")
