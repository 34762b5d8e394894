"""
The OpenAPI 3.1 document: the table of routes and the Structs that decode and encode, in words for other machines.

What a route may be refused with follows from what it is; no route lists what the guard, the query, the body or the
database refuse for all of them.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, get_args

import msgspec
from msgspec.structs import fields

from events.errors import DatabaseAway, MitosisError, OutcomeUnknown
from service import examples, refusals
from service.bearer import ROLES, TENANT_ID
from service.envelope import NO_STORE, Failure
from service.fields import CLIENT_ID, ULID
from service.reading import Nothing
from service.refusals import CRASHED, FAILURES, MESSAGES, Refusal
from service.routes import Route

Json = dict[str, Any]

_ANYWHERE = (refusals.InvalidRequest, refusals.MalformedRequest, refusals.ExpectationFailed)
_GUARD = (
    refusals.Unauthenticated,
    refusals.InvalidToken,
    refusals.NotPermitted,
    refusals.OtherTenant,
    refusals.MalformedTenant,
    DatabaseAway,
)
_BODY = (refusals.MalformedBody, refusals.BodyTooSlow, refusals.BodyTooLarge, refusals.UnsupportedMediaType)
_WRITE = (refusals.LineFull, OutcomeUnknown)
_MINT = (refusals.TooManyHashes,)

_SCHEMA = "#/components/schemas/"
_HEADER = "#/components/headers/"

_ABOUT = """\
A multi-tenant registry of OAuth clients.

Success and failure share one envelope. `code` is the integer 0 on every success, 201 included; `data` (or `items`) \
is the result. A failure has a `code` of six digits, the HTTP status followed by a reason number, which is stable; \
`message` is for people. What has no value is left out: an answer never holds a null.

Every answer carries `X-Request-ID`: the one of the request, or a new one."""

_BEARER = """\
A JWT signed with the service's key. Its claims are `sub`, `tenant_id`, `role` and `exp`, and `iss` and `aud` as the \
service expects them. `mitosis token` prints one."""

_MAY = {
    "admin": "Everything in its own tenant.",
    "super_admin": "Everything, in the tenant that `X-Tenant-ID` names or else in its own.",
    "auditor": "Reading in its own tenant, never credentials.",
    "service": "What is under `/internal`.",
}

_PATH_PARAMETERS: Mapping[str, Json] = {
    "client_id": {
        "description": "The client's `client_id`.",
        "schema": {"type": "string", "pattern": f"^{CLIENT_ID}$"},
        "example": examples.CLIENT_ID,
    },
    "secret_id": {
        "description": "The secret's id, which is no secret.",
        "schema": {"type": "string", "pattern": ULID},
        "example": examples.EVENT_ID,
    },
}
_PARAMETERS: Mapping[str, Json] = {
    "Tenant": {
        "name": "X-Tenant-ID",
        "in": "header",
        "description": "The tenant to act in. Another than the token's own takes a `super_admin`.",
        "schema": {"type": "string", "pattern": f"^{TENANT_ID}$"},
    },
    "Match": {
        "name": "If-Match",
        "in": "header",
        "description": "The version of the client that the request is meant for, as an entity tag (RFC 9110 13.1.1).",
        "schema": {"type": "string", "pattern": r'^(\*|"[1-9][0-9]{0,17}")$'},
    },
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "What the logs and the answer shall call this request. An unusable one is replaced.",
        "schema": {"type": "string"},
    },
}
_HEADERS: Mapping[str, Json] = {
    "X-Request-ID": {"description": "What the logs call this request.", "schema": {"type": "string", "minLength": 1}},
    "WWW-Authenticate": {"description": "RFC 6750 section 3.", "schema": {"type": "string", "pattern": "^Bearer "}},
    "ETag": {"description": "The client's version.", "schema": {"type": "string"}, "required": False},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    **{name: {"description": "It holds a secret.", "schema": {"const": value}} for name, value in NO_STORE.items()},
}
_CHALLENGED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_PASSING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def document(routes: Sequence[Route], base_path: str) -> Json:
    """What *routes* are to their callers, who find them under *base_path* or without it."""
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mitosis",
            "version": version("mitosis"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url} for url in dict.fromkeys([base_path or "/", "/"])],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(route) for route in routes)],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "parameters": dict(_PARAMETERS),
            "headers": {name: {"required": True, **header} for name, header in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _BEARER}
            },
        },
        "x-roles": dict(_MAY),
        "x-error-codes": {str(code): MESSAGES[code] for code in sorted(MESSAGES)},
    }


def _operation(route: Route, routes: Sequence[Route]) -> Json:
    about = (inspect.getdoc(route.handler) or "").partition("\n\n")[2]
    operation: Json = {
        "operationId": _name(route),
        "tags": [_tag(route)],
        "summary": route.summary,
        **({"description": about} if about else {}),
        "security": [] if route.roles is None else [{"bearer": []}],
        "parameters": _parameters(route),
    }
    if route.roles is not None:
        operation["x-roles"] = [role for role in ROLES if role in route.roles]
    if route.request is not None:
        operation["requestBody"] = _request_body(route.method, route.request)
    operation["responses"] = {
        **{str(status.value): _success(route, status, routes) for status in route.answers},
        **{str(status.value): _failure(status, codes) for status, codes in _by_status(_codes(route)).items()},
    }
    return operation


def _name(route: Route) -> str:
    """The operation's name: two modules may well have handlers of one name."""
    return f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}"


def _tag(route: Route) -> str:
    return route.handler.__module__.rpartition(".")[2].replace("_", " ")


def _in_path(route: Route) -> list[str]:
    return re.findall(r"\{(\w+)\}", route.path)


def _parameters(route: Route) -> list[Json]:
    in_path = [{"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in _in_path(route)]
    _, components = msgspec.json.schema_components([route.query])
    query = components[route.query.__name__]
    in_query = [
        {
            "name": name,
            "in": "query",
            "required": name in query["required"],
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in query["properties"].items()
    ]
    in_headers = [
        *(["Tenant"] if route.roles is not None else []),
        *(["Match"] if refusals.MalformedPrecondition in route.refusals else []),
        "RequestId",
    ]
    return in_path + in_query + [{"$ref": f"#/components/parameters/{name}"} for name in in_headers]


def _request_body(method: str, kind: type[msgspec.Struct]) -> Json:
    # what existing callers send to a POST that needs nothing is nothing
    is_needed = kind is not Nothing and (method != "POST" or any(field.required for field in fields(kind)))
    return {"required": is_needed, "content": {"application/json": _content(kind)}}


def _success(route: Route, status: HTTPStatus, routes: Sequence[Route]) -> Json:
    kind = route.answers[status]
    response: Json = {
        "description": status.phrase,
        "headers": _headers(
            [
                "X-Request-ID",
                *(NO_STORE if route.mints else []),
                *(["ETag"] if kind is not None and _is_conditional(route, routes) else []),
            ]
        ),
    }
    if isinstance(kind, str):
        response["content"] = {kind: {"schema": {"type": "string"}}}
    elif kind is not None:
        response["content"] = {"application/json": _content(kind)}
    if status == HTTPStatus.CREATED:
        response["links"] = _links(route, kind, routes)
    return response


def _is_conditional(route: Route, routes: Iterable[Route]) -> bool:
    """Whether If-Match is understood where *route* is, so that an entity tag is of use."""
    return any(refusals.MalformedPrecondition in other.refusals for other in routes if other.path == route.path)


def _links(route: Route, kind: Any, routes: Iterable[Route]) -> Json:  # noqa: ANN401 (an Answer of some Struct)
    """Where that which *route* just made can be met again."""
    (data,) = get_args(kind)
    known = {
        **{name: f"$request.path.{name}" for name in _in_path(route)},
        **{name: f"$response.body#/data/{name}" for name in data.__struct_fields__},
    }
    return {
        _name(other): {"operationId": _name(other), "parameters": {name: known[name] for name in _in_path(other)}}
        for other in routes
        if _in_path(other) and known.keys() >= set(_in_path(other))
    }


def _failure(status: HTTPStatus, codes: list[int]) -> Json:
    names = ["X-Request-ID"]
    names += ["WWW-Authenticate"] if status in _CHALLENGED else []
    names += ["Retry-After"] if status in _PASSING else []
    return {
        "description": "\n".join(f"- `{code}` {MESSAGES[code]}" for code in codes),
        "headers": _headers(names),
        "content": {
            "application/json": {
                "schema": {"$ref": f"{_SCHEMA}{Failure.__name__}", "properties": {"code": {"enum": codes}}},
                "examples": {str(code): {"summary": MESSAGES[code], "value": examples.failure(code)} for code in codes},
            }
        },
    }


def _codes(route: Route) -> list[int]:
    """The code of everything that *route* can be refused or fail with."""
    errors: list[type[MitosisError]] = [*_ANYWHERE, *route.refusals]
    errors += _GUARD if route.roles is not None else []
    errors += _BODY if route.request is not None else []
    errors += _WRITE if route.writes else []
    errors += _MINT if route.mints else []
    return sorted({CRASHED} | {error.code if issubclass(error, Refusal) else FAILURES[error] for error in errors})


def _by_status(codes: Iterable[int]) -> dict[HTTPStatus, list[int]]:
    found: dict[HTTPStatus, list[int]] = {}
    for code in codes:
        found.setdefault(HTTPStatus(code // 1000), []).append(code)
    return found


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": _HEADER + name} for name in names}


def _content(kind: Any) -> Json:  # noqa: ANN401 (whatever msgspec has a schema of)
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_SCHEMA + "{name}")
    shown = examples.example(kind)
    return {"schema": _tidy(schema), **({} if shown is None else {"example": shown})}


def _schemas(routes: Sequence[Route]) -> Json:
    """The Structs of bodies: a request may have no field besides, and an answer leaves out only what has no value."""
    asked = [route.request for route in routes if route.request is not None]
    told = [
        kind for route in routes for kind in route.answers.values() if kind is not None and not isinstance(kind, str)
    ]
    _, requests = msgspec.json.schema_components(asked, ref_template=_SCHEMA + "{name}")
    _, answers = msgspec.json.schema_components([*told, Failure], ref_template=_SCHEMA + "{name}")
    for schema in requests.values():
        schema["additionalProperties"] = False
    for schema in answers.values():
        properties, required = schema["properties"], schema["required"]
        schema["required"] = [name for name, field in properties.items() if name in required or "default" in field]
        for field in properties.values():
            field.pop("default", None)
    return {_readable(name): _tidy(schema) for name, schema in {**answers, **requests}.items()}


def _tidy(schema: Any) -> Any:  # noqa: ANN401 (whatever JSON holds)
    """*schema* with readable names, and without msgspec's titles and defaults of null, which say nothing."""
    match schema:
        case dict():
            return {
                key: _tidy(value)
                for key, value in schema.items()
                if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
            }
        case list():
            return [_tidy(entry) for entry in schema]
        case str() if schema.startswith(_SCHEMA):
            return _SCHEMA + _readable(schema.removeprefix(_SCHEMA))
        case _:
            return schema


def _readable(name: str) -> str:
    """Msgspec's `Answer_Item_` for Answer[Item] as `ItemAnswer`."""
    return re.sub(r"(\w+?)_(\w+)_", r"\2\1", name)
