"""
The OpenAPI 3.1 document: the table of routes and the Structs that decode and encode, in words for other machines.

What a route may be refused with follows from what it is; no route lists what the guard, the query, the body or the
database refuse for all of them.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import fields

from events.errors import DatabaseAway, MitosisError, OutcomeUnknown
from service import languages, refusals
from service.bearer import ROLES
from service.document import components, examples
from service.document.components import Json
from service.envelope import NO_STORE, Answer, Failure, Listing
from service.fields import Secret
from service.reading import Nothing
from service.refusals import CRASHED, FAILURES, MESSAGES, Refusal
from service.routes import Route

_ANYWHERE = (refusals.InvalidRequest, refusals.MalformedRequest, refusals.ExpectationFailed)
_GUARD = (
    refusals.Unauthenticated,
    refusals.InvalidToken,
    refusals.NotPermitted,
    refusals.OtherTenant,
    refusals.MalformedTenant,
    refusals.IssuerAway,
    DatabaseAway,
)
_BODY = (refusals.MalformedBody, refusals.BodyTooSlow, refusals.BodyTooLarge, refusals.UnsupportedMediaType)
_WRITE = (refusals.LineFull, refusals.TakesNoChanges, refusals.MovedAway, OutcomeUnknown)
_MINT = (refusals.TooManyHashes,)

_ABOUT = """\
A multi-tenant registry of OAuth clients.

Success and failure share one envelope. `code` is the integer 0 on every success, 201 included; `data` (or `items`) \
is the result. A failure has a `code` of six digits, the HTTP status followed by a reason number, which is stable; \
`message` is for people, in English or, to those who prefer it, in Chinese. What has no value is left out: an answer \
never holds a null.

Every answer carries `X-Request-ID`: the one of the request, or a new one."""

_BEARER = """\
A JWT signed with the service's key, or by the issuer that the service is told to trust. Its claims are `sub`, \
`tenant_id`, `role` and `exp`, and `iss` and `aud` as the service expects them. `mitosis token` prints one."""

_MAY = {
    "admin": "Everything in its own tenant.",
    "super_admin": "Everything, in the tenant that `X-Tenant-ID` names or else in its own.",
    "auditor": "Reading in its own tenant, never credentials.",
    "service": "What is under `/internal`.",
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
            "schemas": components.schemas(routes),
            "parameters": dict(components.PARAMETERS),
            "headers": {name: {"required": True, **header} for name, header in components.HEADERS.items()},
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
    if route.request is not None and route.method != "DELETE":  # RFC 9110 section 9.3.5: a body means nothing there
        operation["requestBody"] = _request_body(route.method, route.request)
    operation["responses"] = {
        **{str(status.value): _success(route, status, routes) for status in route.answers},
        **{str(status.value): _failure(status, codes) for status, codes in _by_status(_codes(route)).items()},
    }
    return operation


def _name(route: Route) -> str:
    """The operation's name: two modules may well have handlers of one name."""
    return f"{_home(route)}_{route.handler.__name__}"


def _tag(route: Route) -> str:
    return _home(route).replace("_", " ")


def _home(route: Route) -> str:
    """The module of the handler, or the package that it is in."""
    return route.handler.__module__.split(".")[1]


def _in_path(route: Route) -> list[str]:
    return re.findall(r"\{(\w+)\}", route.path)


def _parameters(route: Route) -> list[Json]:
    in_path = [
        {"name": name, "in": "path", "required": True, **components.PATH_PARAMETERS[name]} for name in _in_path(route)
    ]
    _, structs = msgspec.json.schema_components([route.query])
    query = structs[route.query.__name__]
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
        *(name for refusal, name in components.UNDERSTOOD.items() if refusal in route.refusals),
        "Language",
        "RequestId",
    ]
    return in_path + in_query + [{"$ref": f"#/components/parameters/{name}"} for name in in_headers]


def _request_body(method: str, kind: type[msgspec.Struct]) -> Json:
    # what existing callers send to a POST that needs nothing is nothing
    is_needed = kind is not Nothing and (method != "POST" or any(field.required for field in fields(kind)))
    return {"required": is_needed, "content": {"application/json": components.content(kind)}}


def _success(route: Route, status: HTTPStatus, routes: Sequence[Route]) -> Json:
    kind = route.answers[status]
    names = ["X-Request-ID"]
    names += languages.HEADERS if get_origin(kind) in {Answer, Listing} else []
    if get_origin(kind) is Answer:
        names += NO_STORE if _has_secret(kind) else []
        # what is one client's comes with that client's version
        names += ["ETag"] if status == HTTPStatus.CREATED or "client_id" in _in_path(route) else []
    # nothing that makes nothing is answered twice
    names += ["Idempotency-Replayed"] if status == HTTPStatus.CREATED and _takes_keys(route) else []
    response: Json = {"description": status.phrase, "headers": components.headers(names)}
    if isinstance(kind, tuple):
        response["content"] = {media_type: {"schema": {"type": "string"}} for media_type in kind}
    elif kind is not None:
        response["content"] = {"application/json": components.content(kind)}
    if status == HTTPStatus.CREATED:
        response["links"] = _links(route, kind, routes)
    return response


def _takes_keys(route: Route) -> bool:
    """Whether *route* understands Idempotency-Key."""
    return refusals.MalformedKey in route.refusals


def _has_secret(kind: Any) -> bool:  # noqa: ANN401 (an Answer of some Struct)
    (data,) = get_args(kind)
    return any(Secret in (field.type, *get_args(field.type)) for field in fields(data))


def _links(route: Route, kind: Any, routes: Iterable[Route]) -> Json:  # noqa: ANN401 (an Answer of some Struct)
    """Where that which *route* just made can be met again."""
    (data,) = get_args(kind)
    known = {name: f"$request.path.{name}" for name in _in_path(route)}
    known |= {field.name: f"$response.body#/data/{field.name}" for field in fields(data)}
    return {
        _name(other): {"operationId": _name(other), "parameters": {name: known[name] for name in _in_path(other)}}
        for other in routes
        if _in_path(other) and known.keys() >= set(_in_path(other))
    }


def _failure(status: HTTPStatus, codes: list[int]) -> Json:
    names = ["X-Request-ID", *languages.HEADERS]
    names += ["WWW-Authenticate"] if status in _CHALLENGED else []
    names += ["Retry-After"] if status in _PASSING else []
    headers = components.headers(names)
    headers |= components.optional("Location") if status == HTTPStatus.MISDIRECTED_REQUEST else {}
    # of several conflicts, this one alone passes
    headers |= components.optional("Retry-After") if refusals.StillRunning.code in codes else {}
    return {
        "description": "\n".join(f"- `{code}` {MESSAGES[code]}" for code in codes),
        "headers": headers,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{Failure.__name__}", "properties": {"code": {"enum": codes}}},
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
