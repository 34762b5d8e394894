"""The handlers for who reads what happened as a list: to one client, or in the whole tenant; newest first."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from events import excerpts, log
from events.database import borrowed
from events.errors import DatabaseAway, RecordMissing
from events.excerpts import Found
from events.log import Conn, Entry
from projections import clients as table
from service.audit.entries import OF_TARGET, Action, LogEntry, Target, log_entry
from service.audit.stream import TYPES
from service.bearer import CLAIM_LIMIT, READERS
from service.envelope import Listing, listing
from service.fairness import QueuedPlaces
from service.refusals import ClientNotFound, InvalidRequest, MalformedClientId
from service.requests import READS, TIMEOUT_S, asked, named
from service.routes import CALLER, Route
from service.rules.validation import Violation

COUNTING = web.AppKey("counting", QueuedPlaces)

AT_ONCE = 2  # searches of a process, each tenant one at a time: each may read all of a tenant's records
_BEFORE = timedelta(microseconds=1)  # no time in the log is finer

_Subject = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=CLAIM_LIMIT,
        pattern="^[^\\x00-\\x1f\\x7f]*$",
        description="Only what was done with tokens of this subject.",
    ),
]
_Resource = Annotated[Target, Meta(description="Only what happened to clients, to secrets, or to the tenant.")]
_Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # to the end of the year 9999


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page."""

    page: Annotated[int, Meta(ge=1, le=1_000_000, description="From 1.")] = 1
    page_size: Annotated[int, Meta(ge=1, le=100, description="The most that one page may hold.")] = 20

    @property
    def offset(self) -> int:
        """How many entries come before it."""
        return (self.page - 1) * self.page_size


class LogQuery(PageQuery, frozen=True, kw_only=True):
    """Which entries, and which page of them."""

    action: Annotated[Action, Meta(description="Only events of this type.")] | UnsetType = UNSET
    user_id: _Subject | UnsetType = UNSET
    resource_type: _Resource | UnsetType = UNSET
    start_time: Annotated[_Seconds, Meta(description="Nothing before this time (Unix seconds).")] | UnsetType = UNSET
    end_time: Annotated[_Seconds, Meta(description="Nothing from this time on (Unix seconds).")] | UnsetType = UNSET

    @property
    def types(self) -> frozenset[str] | None:
        """The types of events that are asked for; None for all."""
        wanted = frozenset(TYPES)
        if self.action is not UNSET:
            wanted &= {self.action}
        if self.resource_type is not UNSET:
            wanted &= OF_TARGET[self.resource_type]
        return wanted if len(wanted) < len(TYPES) else None


async def client_logs(request: web.Request) -> web.Response:
    """
    GET /admin/oauth/clients/{client_id}/audit-logs -> 200: what happened to the client, newest first.

    It can still be read when the client was deleted. `total` is the client's version.
    """
    client_id, query = named(request), asked(request, PageQuery)
    key = (request[CALLER].tenant_id, client_id)
    async with (
        borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection,
        # so that the version and the records are of one moment
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        client = (await table.load(connection, [key])).get(key)
        if client is None:
            raise ClientNotFound
        due = max(min(query.page_size, client.version - query.offset), 0)
        entries = await excerpts.of_client(connection, *key, limit=due, offset=query.offset) if due else []
    if len(entries) != due:
        raise RecordMissing(f"tenant {client.tenant_id} lacks a record of {client_id}")
    return listing(_shown(entries), page=query.page, page_size=query.page_size, total=client.version)


async def logs(request: web.Request) -> web.Response:
    """
    GET /admin/audit/logs -> 200: what happened in the tenant, newest first.

    `start_time` is included and `end_time` is not. A page of all that happened, or of a time, costs the same however
    long the log is. With `action`, `user_id` or `resource_type` all records of that time are searched, two requests at
    once: who searches a long log says which time is meant.
    """
    query = asked(request, LogQuery)
    if query.start_time is not UNSET and query.end_time is not UNSET and query.end_time < query.start_time:
        raise InvalidRequest(violations=(Violation("end_time", "is before start_time", "the OpenAPI document"),))
    tenant_id = request[CALLER].tenant_id
    if query.types is None and query.user_id is UNSET:
        async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
            found = await _cut(connection, query, tenant_id)
    else:
        async with _counting(request) as connection:
            found = await _searched(connection, query, tenant_id)
    return listing(_shown(found.entries), page=query.page, page_size=query.page_size, total=found.total)


async def _cut(conn: Conn, query: LogQuery, tenant_id: str) -> Found:
    """The page, by arithmetic: between two positions there is nothing but records."""
    first, last = await _range(conn, query, tenant_id)
    newest = last - query.offset
    oldest = max(newest - query.page_size + 1, first)
    entries = await excerpts.between(conn, tenant_id, oldest, newest) if oldest <= newest else []
    return Found(max(last - first + 1, 0), entries)


async def _searched(conn: Conn, query: LogQuery, tenant_id: str) -> Found:
    """The page, of what was found between the two positions."""
    first, last = await _range(conn, query, tenant_id)
    if first > last or query.types == frozenset():
        return Found(0, [])
    subject = None if query.user_id is UNSET else query.user_id
    return await excerpts.search(
        conn, tenant_id, first, last, types=query.types, subject=subject, limit=query.page_size, offset=query.offset
    )


async def _range(conn: Conn, query: LogQuery, tenant_id: str) -> tuple[int, int]:
    """The first and the last position of the time that is asked for; where there is none, the last is the smaller."""
    if query.end_time is UNSET:
        last = (await log.head(conn, tenant_id)).position
    else:
        last = await excerpts.position_at(conn, tenant_id, _time(query.end_time) - _BEFORE)
    if query.start_time is UNSET:
        return 1, last
    return await excerpts.position_at(conn, tenant_id, _time(query.start_time) - _BEFORE) + 1, last


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


_ENDS = "select set_config('statement_timeout', $1, true)"


@asynccontextmanager
async def _counting(request: web.Request) -> AsyncIterator[Conn]:
    """
    A connection for one of the AT_ONCE searches, for what the wait for a place leaves of the request's time.

    Raises:
        DatabaseAway: there was no place, or the search took too long.
    """
    clock, timeout_s = asyncio.get_running_loop().time, request.app[TIMEOUT_S]
    deadline = clock() + timeout_s
    async with AsyncExitStack() as held:
        try:
            await held.enter_async_context(request.app[COUNTING].place(request[CALLER].tenant_id, wait_s=timeout_s))
        except TimeoutError:
            raise DatabaseAway from None
        left_s = deadline - clock()
        async with borrowed(request.app[READS], left_s) as connection, connection.transaction(readonly=True):
            # the place is given back then: nothing may go on in the server for somebody who has left
            await connection.execute(_ENDS, str(max(int(left_s * 1000), 1)))
            yield connection


def _shown(entries: Iterable[Entry]) -> list[LogEntry]:
    return [log_entry(entry.record) for entry in entries]


ROUTES = [
    Route(
        "GET",
        "/admin/oauth/clients/{client_id}/audit-logs",
        client_logs,
        "List what happened to a client",
        {HTTPStatus.OK: Listing[LogEntry]},
        READERS,
        query=PageQuery,
        refusals=(MalformedClientId, ClientNotFound),
    ),
    Route(
        "GET",
        "/admin/audit/logs",
        logs,
        "List what happened in the tenant",
        {HTTPStatus.OK: Listing[LogEntry]},
        READERS,
        query=LogQuery,
    ),
]
