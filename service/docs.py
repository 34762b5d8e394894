"""
The OpenAPI document as a page for people: one function from the one to the other.

The page loads nothing but its style sheet and runs nothing. Whatever comes from the document is escaped on its way in.
"""

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from http import HTTPStatus
from typing import Any

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
    """*document*, which service.openapi made, as HTML."""
    info = document["info"]
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_text(info['title'])} {_text(info['version'])}</title>"
        f'<link rel="stylesheet" href="{_STYLE}">'
    )
    title = _element("h1", _LOGO, _text(info["title"]), _element("span", _text(info["version"]), class_="version"))
    link = _element("p", _element("a", "The OpenAPI document", href=_DOCUMENT), class_="source")
    main = [
        _element("header", title, _prose(info["description"]), link, id="overview"),
        _authentication(document),
        *_operations(document),
        _failures(document["x-error-codes"]),
    ]
    body = _navigation(document) + _element("main", *main)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _navigation(document: Json) -> str:
    """All there is on the page."""
    groups = [_link("#overview", "Overview") + _link("#authentication", "Authentication")]
    for name, operations in _by_tag(document).items():
        links = (
            _link(f"#{operation['operationId']}", _badge(method) + _element("span", _text(operation["summary"])))
            for method, _, operation in operations
        )
        groups.append(_element("h2", _text(name)) + "".join(links))
    groups.append(_element("h2", "Failures") + _link("#failures", "Error codes"))
    name = _element("a", _LOGO, _text(document["info"]["title"]), href="#overview", class_="name")
    return _element("nav", name, _element("details", _element("summary", "Contents"), *groups, open="open"))


def _authentication(document: Json) -> str:
    scheme = document["components"]["securitySchemes"]["bearer"]
    server = document["servers"][0]["url"].rstrip("/")
    setting = f"export MITOSIS=http://127.0.0.1:8080{server}\nexport TOKEN=$(mitosis token --tenant demo --role admin)"
    roles = _table(("Role", "May"), ((_code(role), _inline(may)) for role, may in document["x-roles"].items()))
    return _element(
        "section",
        _element("h2", "Authentication"),
        _prose(scheme["description"]),
        roles,
        _prose("Any other role may nothing. The commands on this page take the address and the token from here:"),
        _block(_text(setting)),
        id="authentication",
    )


def _operations(document: Json) -> Iterator[str]:
    for name, operations in _by_tag(document).items():
        shown = (_operation(document, *operation) for operation in operations)
        yield _element("section", _element("h2", _text(name), class_="tag"), *shown)


def _by_tag(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    """Method, path and operation, under the names of their groups."""
    found: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                found[methods[method]["tags"][0]].append((method, path, methods[method]))
    return found


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    heading = _element("h3", _element("a", _text(operation["summary"]), href=f"#{operation['operationId']}"))
    place = _element("p", _badge(method), _code(path), class_="place")
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    words = [_prose(operation.get("description", "")), _who(operation), _parameters(document, parameters)]
    body = operation.get("requestBody")
    if body is not None:
        words.append(_request(document, body))
    words.append(_refusals(operation))
    code = [_element("h4", "Request"), _curl(method, path, parameters, body, is_public=not operation["security"])]
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            code.append(_success(document, status, response))
    return _element(
        "article",
        heading,
        place,
        _element("div", *words, class_="words"),
        _element("div", *code, class_="code"),
        id=operation["operationId"],
    )


def _who(operation: Json) -> str:
    if not operation["security"]:
        return _element("p", "For everybody, without a token.", class_="who")
    roles = " ".join(_element("span", _text(role), class_="role") for role in operation["x-roles"])
    return _element("p", "For ", roles, class_="who")


def _parameters(document: Json, parameters: list[Json]) -> str:
    rows = (
        (
            _name(parameter["name"], parameter["in"], is_required=parameter.get("required", False)),
            _meaning(document, {"description": parameter["description"], **parameter["schema"]}),
        )
        for parameter in parameters
    )
    return _element("h4", "Parameters") + _table((), rows) if parameters else ""


def _request(document: Json, body: Json) -> str:
    schema = _resolved(document, body["content"]["application/json"]["schema"])
    if not schema["properties"]:
        return _element("h4", "Body") + _prose("None, or an empty object.")
    needed = "" if body["required"] else _prose("May be left out.")
    return _element("h4", "Body") + needed + _fields(document, schema)


def _fields(document: Json, schema: Json) -> str:
    rows = (
        (
            _name(name, _type(document, field), is_required=name in schema["required"]),
            _meaning(document, field),
        )
        for name, field in schema["properties"].items()
    )
    return _table((), rows)


def _name(name: str, kind: str, *, is_required: bool) -> str:
    """A field's or a parameter's first column."""
    mark = _element("span", "required", class_="required") if is_required else ""
    return _code(name) + _element("small", _text(kind), mark)


def _meaning(document: Json, schema: Json) -> str:
    """A field's or a parameter's second column: what it is for, and which values it may have."""
    schema = _present(document, schema)
    entries = _present(document, schema.get("items", {}))
    shown = _inline(schema.get("description", ""))
    if values := schema.get("enum", entries.get("enum")):
        shown += _element("small", " ".join(_code(str(value)) for value in values))
    bounds = [*_bounds(schema), *(f"each {bound}" for bound in _bounds(entries))]
    return shown + (_element("small", " &middot; ".join(bounds)) if bounds else "")


def _bounds(schema: Json) -> Iterator[str]:
    for words, least, most in (
        ("", "minimum", "maximum"),
        (" characters", "minLength", "maxLength"),
        (" entries", "minItems", "maxItems"),
    ):
        if most in schema and "enum" not in schema.get("items", {}):
            yield (f"{schema[least]:,} to " if least in schema else "at most ") + f"{schema[most]:,}{words}"
    if schema.get("default", []) != []:
        yield f"default {_code(json.dumps(schema['default']))}"


def _type(document: Json, schema: Json) -> str:
    schema = _present(document, schema)
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
        (_element("a", _text(code), href=f"#{code}"), _inline(example["summary"]))
        for status, response in operation["responses"].items()
        if not status.startswith("2")
        for code, example in response["content"]["application/json"]["examples"].items()
    ]
    summary = _element("summary", f"What can go wrong ({len(rows)})")
    return _element("details", summary, _table((), rows))


def _success(document: Json, status: str, response: Json) -> str:
    shown = _element("h4", "Answer ", _element("span", _text(f"{status} {response['description']}"), class_="status"))
    for kind, content in response.get("content", {}).items():
        if "example" in content:
            shown += _block(_json(content["example"]))
        else:
            shown += _prose(f"`{kind}`")
        data = _present(document, content["schema"]).get("properties", {}).get("data")
        if data is not None:
            fields = _fields(document, _present(document, data))
            shown += _element("details", _element("summary", "Fields of ", _code("data")), fields)
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
        text = _laid_out(example).replace("'", "'\\''")
        lines += ['-H "Content-Type: application/json"', f"-d '{text}'"]
    return _block(_text(" \\\n  ".join(lines)))


def _failures(codes: dict[str, str]) -> str:
    rows = (
        (
            _element("span", _code(code), id=code),
            _inline(message) + _element("small", _text(HTTPStatus(int(code) // 1000).phrase)),
        )
        for code, message in codes.items()
    )
    return _element("section", _element("h2", "Error codes"), _table(("Code", "Message"), rows), id="failures")


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(_element("th", name, scope="col") for name in heads)
    body = (_element("tr", *(_element("td", cell) for cell in row)) for row in rows)
    return _element("table", _element("thead", _element("tr", head)) if head else "", _element("tbody", *body))


def _badge(method: str) -> str:
    return _element("span", _text(method.upper()), class_=f"method {method}")


def _link(address: str, shown: str) -> str:
    return _element("a", shown, href=address)


def _prose(text: str) -> str:
    return "".join(_element("p", _inline(paragraph)) for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    """*text*, with what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _code(text: str) -> str:
    return _element("code", _text(text))


def _json(value: object) -> str:
    """*value* with the names of its members marked."""
    return re.sub(r"(?m)^( *)(&quot;\w+&quot;)(?=: )", r'\1<span class="key">\2</span>', _text(_laid_out(value)))


def _laid_out(value: object) -> str:
    """JSON in lines, each array of plain values in one."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(r"\[\n *([^\[\]{}]+?)\n *\]", lambda array: "[" + re.sub(r"\n *", " ", array[1]) + "]", text)


def _block(html: str) -> str:
    return _element("pre", _element("code", html), tabindex="0")


def _element(name: str, *content: str, **attributes: str) -> str:
    """An element with *content*, which is HTML already, and *attributes*, which are text."""
    written = "".join(f' {key.rstrip("_")}="{_text(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(content)}</{name}>"


def _text(text: str) -> str:
    return escape(text)
