"""The stream of records: Server-Sent Events (WHATWG HTML section 9.2), live and resumable, and pages of the same."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, NamedTuple, get_args

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from events.errors import CursorAhead, DatabaseAway, LogDamaged
from events.feed import Feed, Told
from events.record import Happening
from service.audit import cursor
from service.audit.followers import CutOff, Followers, bound, require_presence, send
from service.audit.readers import CursorOverflow, Reader, reading
from service.bearer import READERS, reach
from service.naming import ALL, TENANT_ID
from service.refusals import InvalidRequest, LogShorter, MalformedRequest, TooManyFollowers, TooManyTenants
from service.requests import asked
from service.routes import CALLER, Route
from service.rules.validation import Violation

FEED = web.AppKey("feed", Feed)
FOLLOWERS = web.AppKey("followers", Followers)

EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"
TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(Happening))

HEARTBEAT_S = 15.0
_PRESENT_S = 1.0  # so often it is looked whether the follower is still there
_RETRY_S = 1.0  # between two questions to a database that is away
_SHARED = 64  # pieces, of 64 KiB each or one record, whose frames are kept for other followers
_AT_ONCE = 10  # frames, before others have their turn
_PAGE_BYTES = 1024 * 1024
_LOOKED_AT_LIMIT = 10_000  # records for one page
_NO_STORE = {"Cache-Control": "no-store"}

_logger = logging.getLogger(__name__)

_TYPE = f"({'|'.join(TYPES)})"
_After = Annotated[
    str,
    Meta(
        max_length=cursor.LONGEST,
        pattern="^[0-9A-Za-z_-]+$",
        description="What comes behind this `id`; everything without it. `Last-Event-ID` has precedence.",
    ),
]
_Types = Annotated[
    str, Meta(pattern=f"^{_TYPE}(,{_TYPE})*$", description="Only records of these types, separated by commas.")
]
_Tenant = Annotated[
    str,
    Meta(
        pattern=f"^{TENANT_ID}$",
        description="Whose records: the token's own tenant's or, for a `super_admin`, any; `*` is all of them.",
    ),
]


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which records, and from where on."""

    after: _After | UnsetType = UNSET
    types: _Types | UnsetType = UNSET
    tenant_id: _Tenant | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1000, description="Of a page: how many records it has at most.")] = 100


class _Wanted(NamedTuple):
    """What is asked for, once it is understood and permitted."""

    tenant_id: str
    after: str
    types: frozenset[str]
    limit: int

    def has(self, one: Told) -> bool:
        return not self.types or one.type in self.types


async def stream(request: web.Request) -> web.StreamResponse:
    """
    GET /admin/audit/stream -> 200: the records, from the one behind `after` on, and then those that come.

    Each event's `id` is its record's position, `event` the type, and `data` a CloudEvent in JSON whose `data` is the
    record's body, byte for byte as it was hashed, beside its `digest`. A comment every 15 s says that all is well. Who
    does not read for 10 s is cut off, and goes on with `Last-Event-ID`, as browsers do by themselves; so does who was
    cut off because the token expired or the service stopped.

    With `tenant_id=*` a `super_admin` follows all tenants. Each tenant's records are in their order, and the `id` is a
    cursor that no one need understand.

    With `Accept: application/x-ndjson` the same CloudEvents come as a page, one a line, which may be shorter than
    `limit`. Its `Last-Event-ID` is what to ask for next, and is what was asked for when there was no more.
    """
    wanted = _wanted(request)
    try:
        with request.app[FOLLOWERS].place(request[CALLER].tenant_id):
            async with reading(request.app[FEED], wanted.tenant_id, wanted.after) as reader:
                if _wants_page(",".join(request.headers.getall("Accept", []))):
                    return await _page(wanted, reader)
                return await _follow(request, wanted, reader)
    except ValueError:
        fault = Violation("after", "is no id that this stream gave", "the OpenAPI document")
        raise InvalidRequest(violations=(fault,)) from None
    except CursorAhead:
        raise LogShorter from None
    except CursorOverflow:
        raise TooManyTenants from None


def _wanted(request: web.Request) -> _Wanted:
    query, caller = asked(request, StreamQuery), request[CALLER]
    resumed = request.headers.getall("Last-Event-ID", [])
    if len(resumed) > 1:
        raise MalformedRequest
    return _Wanted(
        tenant_id=reach(caller, query.tenant_id or caller.tenant_id),
        after=resumed[0] if resumed else query.after or "",
        types=frozenset(query.types.split(",") if query.types else ()),
        limit=query.limit,
    )


def _wants_page(accepted: str) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    return NDJSON in kinds and EVENT_STREAM not in kinds


async def _page(wanted: _Wanted, reader: Reader) -> web.Response:
    lines, size, looked_at = list[bytes](), 0, 0
    while len(lines) < wanted.limit and size < _PAGE_BYTES and looked_at < _LOOKED_AT_LIMIT:
        try:
            found = await reader.next()
        except LogDamaged:
            if looked_at:
                break  # who asks for what comes next is told
            raise
        if not found:
            break
        for one in found:
            if len(lines) == wanted.limit:
                break
            reader.passed(one)
            looked_at += 1
            if wanted.has(one):
                lines.append(one.event + b"\n")
                size += len(one.event)
    headers = {**_NO_STORE, "Last-Event-ID": reader.id}
    return web.Response(body=b"".join(lines), content_type=NDJSON, headers=headers)


async def _follow(request: web.Request, wanted: _Wanted, reader: Reader) -> web.StreamResponse:
    clock = asyncio.get_running_loop().time
    found = await reader.next()  # what is wrong with the log is said while there can still be an answer
    response = web.StreamResponse(headers={**_NO_STORE, "X-Accel-Buffering": "no"})
    response.content_type, response.charset = EVENT_STREAM, "utf-8"
    bound(request)
    await response.prepare(request)
    try:
        async with request.app[FOLLOWERS].until(request[CALLER].expires_at - time.time(), reader):
            await send(request, response, b"retry: 1000\n\n")
            sent_at = clock()
            while True:
                chunk = await _frames(wanted, reader, found)
                if not chunk and clock() - sent_at >= HEARTBEAT_S:
                    # with an id, since records may have been passed that are of no type asked for
                    chunk = b"id: %b\n: still here\n\n" % reader.id.encode()
                if chunk:
                    await send(request, response, chunk)
                    sent_at = clock()
                found = await _more(reader, min(HEARTBEAT_S - (clock() - sent_at), _PRESENT_S))
                require_presence(request)
    except CutOff:
        pass
    except (LogDamaged, CursorOverflow) as error:
        # whoever comes back is told so in an answer
        _logger.error("stream_ended", exc_info=error, extra={"tenant": wanted.tenant_id})  # noqa: TRY400 (as all logs)
    return response


async def _frames(wanted: _Wanted, reader: Reader, found: Sequence[Told]) -> bytes:
    if found and wanted.tenant_id != ALL and not wanted.types:
        reader.passed(found[-1])
        return _shared(tuple(found))
    frames = []
    for number, one in enumerate(found, 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # the id of a reader of many tenants takes a while to write
        reader.passed(one)
        if wanted.has(one):
            frames.append(_frame(reader.id, one))
    return b"".join(frames)


@lru_cache(maxsize=_SHARED)
def _shared(found: tuple[Told, ...]) -> bytes:
    """The frames of some records of one tenant: the same for all who follow it, so they are written once."""
    return b"".join(_frame(str(one.position), one) for one in found)


def _frame(place: str, one: Told) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.encode(), one.type.encode(), one.event)


async def _more(reader: Reader, wait_s: float) -> Sequence[Told]:
    try:
        return await reader.wait(max(wait_s, 0))
    except DatabaseAway:
        await asyncio.sleep(_RETRY_S)
        return ()


ROUTES = [
    Route(
        "GET",
        "/admin/audit/stream",
        stream,
        "Follow the records of what happened",
        {HTTPStatus.OK: (EVENT_STREAM, NDJSON)},
        READERS,
        query=StreamQuery,
        refusals=(LogShorter, TooManyTenants, TooManyFollowers),
    ),
]
