"""From what a request carries to a Struct, with every fault named by its path and not the first alone."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec.structs import FieldInfo

from service.refusals import BodyTooLarge, BodyTooSlow, InvalidRequest, MalformedBody, UnsupportedMediaType
from service.rules.validation import Violation

BODY_LIMIT = 64 * 1024  # bytes
BODY_TIMEOUT_S = 10
_NAMED_FAULTS_LIMIT = 100  # of unknown fields in one answer
_RULES = "the OpenAPI document"

T = TypeVar("T", bound=msgspec.Struct)


async def read(request: web.Request) -> bytes:
    """
    The body, empty where there is none.

    Raises:
        BodyTooLarge: it is over 64 KiB.
        BodyTooSlow: it did not arrive within 10 s.
    """
    if not request.body_exists:
        return b""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType  # nothing is unpacked: a small body must not become a large one
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.RequestPayloadError:
        raise MalformedBody(headers={"Connection": "close"}) from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(headers={"Connection": "close"}) from None
    except TimeoutError:
        raise BodyTooSlow(headers={"Connection": "close"}) from None


Rules = Callable[[Mapping[str, Any]], Iterable[Violation]]


async def decode(request: web.Request, kind: type[T], rules: Rules | None = None) -> T:
    """
    The body as a *kind*.

    Where some fields do not fit, *rules* says what is wrong with those that do, so that all is in one answer.

    Raises:
        MalformedBody: it is no JSON object.
        InvalidRequest: it has fields that *kind* has not, lacks some, or has values of the wrong type; all are named.
        BodyTooLarge, BodyTooSlow, UnsupportedMediaType.
    """
    text = await read(request)
    if request.content_type != "application/json":
        raise UnsupportedMediaType
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedBody from None
    if not isinstance(value, dict):
        raise MalformedBody
    return _fields(value, kind, rules, strict=True)


async def decode_optional(request: web.Request, kind: type[T]) -> T:
    """The body as a *kind*, all of whose fields have defaults, or those where there is none. Raises as `decode`."""
    return await decode(request, kind) if await read(request) else kind()


async def expect_no_body(request: web.Request) -> None:
    """
    Read the body of a request that takes none: nothing, or an empty object.

    Raises:
        MalformedBody, InvalidRequest: there is something in it.
    """
    await decode_optional(request, Nothing)


def query(request: web.Request, kind: type[T]) -> T:
    """
    The query's parameters as a *kind*.

    A name that *kind* has not is a fault too: misspelt, it would be silently without effect.

    Raises:
        InvalidRequest: as `decode`; a parameter that stands there twice is one of the faults.
    """
    if not request.query_string and kind is Nothing:
        return kind()
    twice = [name for name in dict.fromkeys(request.query) if len(request.query.getall(name)) > 1]
    if twice:
        faults = [Violation(field=_path(name), message="is given twice", reference=_RULES) for name in twice]
        faults += _read(dict(request.query), kind, strict=False)[1]
        raise InvalidRequest(violations=tuple(faults[:_NAMED_FAULTS_LIMIT]))
    return _fields(dict(request.query), kind, None, strict=False)


class Nothing(msgspec.Struct, frozen=True):
    """No field at all."""


def _fields(value: dict[str, Any], kind: type[T], rules: Rules | None, *, strict: bool) -> T:
    found, faults = _read(value, kind, strict=strict)
    if faults:
        raise InvalidRequest(violations=(*faults, *(rules(found) if rules else ())))
    return kind(**found)


def _read(value: dict[str, Any], kind: type[T], *, strict: bool) -> tuple[dict[str, Any], list[Violation]]:
    """The fields of *value* that fit *kind*, and what is wrong with the others."""
    fields = _fields_of(kind)
    faults = [
        Violation(field=_path(name), message="is no field of this request", reference=_RULES)
        for name in list(value)[:_NAMED_FAULTS_LIMIT]
        if name not in fields
    ]
    found: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            try:
                found[field.name] = msgspec.convert(value[name], field.type, strict=strict)
            except msgspec.ValidationError as error:
                faults += _mistyped_entries(name, value[name]) or [_mistyped(name, str(error))]
        elif field.required:
            faults.append(Violation(field=name, message="is required", reference=_RULES))
    return found, faults


@cache
def _fields_of(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _mistyped_entries(name: str, value: Any) -> list[Violation]:  # noqa: ANN401 (whatever was sent)
    """Every entry of an array that is no text; all arrays that are asked for are of text."""
    if not isinstance(value, list):
        return []
    faults = []
    for index, entry in enumerate(value[:_NAMED_FAULTS_LIMIT]):
        try:
            msgspec.convert(entry, str)
        except msgspec.ValidationError as error:
            faults.append(_mistyped(f"{name}[{index}]", str(error)))
    return faults


def _mistyped(name: str, message: str) -> Violation:
    """Msgspec says ``Expected `str`, got `int` - at `$[1]` ``; the path goes into the field."""
    reason, _, path = message.partition(" - at `$")
    reason = reason[:1].lower() + reason[1:].replace("`", "'")
    return Violation(field=name + path.removesuffix("`"), message=f"does not fit: {reason}", reference=_RULES)


def _path(name: str) -> str:
    """A name that a stranger chose, as far as it can be shown: printable and short."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name[:64])
