"""The OpenAPI document's components: the schemas of the Structs, and the parameters and headers of many operations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from service import idempotency, languages, refusals
from service.document import examples
from service.envelope import NO_STORE, Failure
from service.fields import CLIENT_ID, ULID
from service.naming import TENANT_ID
from service.refusals import Refusal
from service.routes import Route

Json = dict[str, Any]

_SCHEMA = "#/components/schemas/"
_HEADER = "#/components/headers/"

PATH_PARAMETERS: Mapping[str, Json] = {
    "client_id": {
        "description": "The client's `client_id`.",
        "schema": {"type": "string", "pattern": f"^{CLIENT_ID}$"},
        "example": examples.CLIENT_ID,
    },
    "tenant_id": {
        "description": "The tenant.",
        "schema": {"type": "string", "pattern": f"^{TENANT_ID}$"},
        "example": examples.TENANT_ID,
    },
    "secret_id": {
        "description": "The secret's id, which is no secret.",
        "schema": {"type": "string", "pattern": ULID},
        "example": examples.EVENT_ID,
    },
}
PARAMETERS: Mapping[str, Json] = {
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
    "Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "A secret of the caller's, such as a new UUID, quoted or bare. A retry with the same key gets the same "
            "answer for 24 h, unless the service is told to keep it for another time."
        ),
        "schema": {
            "type": "string",
            "minLength": idempotency.LEAST,
            "maxLength": idempotency.MOST,
            "pattern": f"^({idempotency.BARE}|{idempotency.QUOTED})$",
        },
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` to go on behind, as browsers send it when they come back.",
        "schema": {"type": "string"},
    },
    "Language": {
        "name": "Accept-Language",
        "in": "header",
        "description": "The language that `message` should be in (RFC 9110 12.5.4).",
        "schema": {"type": "string"},
        "example": "zh-CN, en;q=0.5",
    },
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "What the logs and the answer shall call this request. An unusable one is replaced.",
        "schema": {"type": "string"},
    },
}
# headers that a route takes, known by what it says of a malformed one
UNDERSTOOD: Mapping[type[Refusal], str] = {
    refusals.MalformedPrecondition: "Match",
    refusals.MalformedKey: "Key",
    refusals.LogShorter: "LastEventId",
}
HEADERS: Mapping[str, Json] = {
    "X-Request-ID": {"description": "What the logs call this request.", "schema": {"type": "string", "minLength": 1}},
    "WWW-Authenticate": {
        "description": "RFC 6750 section 3; Basic where a client was not authenticated (RFC 6749 section 5.2).",
        "schema": {"type": "string", "pattern": "^(Bearer|Basic) "},
    },
    "ETag": {"description": "The client's version.", "schema": {"type": "string"}, "required": False},
    "Idempotency-Replayed": {
        "description": "There where the answer is one that was given before, to a request with this `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
        "required": False,
    },
    "Content-Language": {"description": "The language of `message`.", "schema": {"enum": ["en", "zh"]}},
    "Vary": {"description": "What else the answer depends on.", "schema": {"const": languages.HEADERS["Vary"]}},
    "Location": {"description": "Where the tenant is now, if that is known.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    **{name: {"description": "It holds a secret.", "schema": {"const": value}} for name, value in NO_STORE.items()},
}


def headers(names: Iterable[str]) -> Json:
    """References to the headers with *names*."""
    return {name: {"$ref": _HEADER + name} for name in names}


def optional(name: str) -> Json:
    """The header with *name*, where not every answer has it that elsewhere would."""
    return {name: {**HEADERS[name], "required": False}}


def content(kind: Any) -> Json:  # noqa: ANN401 (whatever msgspec has a schema of)
    """A body of *kind*, with an example where there is one."""
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_SCHEMA + "{name}")
    shown = examples.example(kind)
    return {"schema": _tidy(schema), **({} if shown is None else {"example": shown})}


def schemas(routes: Sequence[Route]) -> Json:
    """The Structs of bodies: a request may have no field besides, and an answer leaves out only what has no value."""
    asked = [route.request for route in routes if route.request is not None]
    told = [
        kind for route in routes for kind in route.answers.values() if kind is not None and not isinstance(kind, tuple)
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
