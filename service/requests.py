"""What the handlers share: from a request to what it names, who sends it, and what the application lends it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import asyncpg
import msgspec
from aiohttp import web
from msgspec import UnsetType

from events import log
from events.database import borrowed
from events.errors import DatabaseAway, Refused
from events.record import Actor
from projections import clients as table
from projections import history
from projections.clients import Client
from service import fields
from service.ahead import Ahead
from service.as_of import Moment, NoMoment, parse, reached
from service.commands import SealedSecret
from service.credentials import Credential, Hasher
from service.desk import Desk
from service.fairness import QueuedPlaces
from service.lookup import Lookup
from service.recent import Recent
from service.refusals import (
    ClientNotFound,
    InvalidRequest,
    MalformedClientId,
    MalformedPrecondition,
    MovedAway,
    VersionMoved,
)
from service.routes import CALLER, QUERY, REQUEST_ID
from service.rules.validation import Violation

AHEAD = web.AppKey("ahead", Ahead)
DESK = web.AppKey("desk", Desk)
HASHER = web.AppKey("hasher", Hasher)
LOOKUP = web.AppKey("lookup", Lookup)
PASTS = web.AppKey("pasts", QueuedPlaces)
READS = web.AppKey("reads", asyncpg.Pool)
RECENT = web.AppKey("recent", Recent)
TIMEOUT_S = web.AppKey("timeout_s", float)

PASTS_AT_ONCE = 4  # clients as they were: each takes as many records as the client had, and the memory of some
PASTS_SHARE = 2  # of them, for one tenant

T = TypeVar("T", bound=msgspec.Struct)

_client_id = re.compile(fields.CLIENT_ID)
# RFC 9110 section 8.8.3, as far as ours go: "3". A weak tag never matches in If-Match (section 13.1.1).
_entity_tag = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*')


def named(request: web.Request) -> str:
    """
    The client id in the path, which is not known to exist.

    Raises:
        MalformedClientId
    """
    client_id = request.match_info["client_id"]
    if _client_id.fullmatch(client_id) is None:
        raise MalformedClientId
    return client_id


def asked(request: web.Request, kind: type[T]) -> T:
    """The query's parameters, as the route declares them."""
    query = request[QUERY]
    if not isinstance(query, kind):
        raise TypeError(kind)
    return query


def moment(as_of: str | UnsetType) -> Moment | None:
    """
    The moment that the query's `as_of` names, None where it is not given.

    Raises:
        InvalidRequest: it names none.
    """
    try:
        return parse(as_of) if isinstance(as_of, str) else None
    except NoMoment as error:
        hint = "; a + is written %2B in a URL" if " " in str(as_of) else ""
        raise InvalidRequest(violations=(Violation("as_of", f"{error}{hint}", "RFC 3339 5.6"),)) from None


def actor(request: web.Request) -> Actor:
    """Who sends *request*, as a record says it."""
    caller = request[CALLER]
    return Actor(
        subject=caller.subject, role=caller.role, request_id=request[REQUEST_ID], address=request.remote or None
    )


async def load(request: web.Request, client_id: str, limit_s: float) -> Client:
    """
    The caller's tenant's client.

    Raises:
        ClientNotFound: there is none, or it was deleted.
        DatabaseAway: the database did not answer within *limit_s*.
    """
    client = await request.app[LOOKUP].find(request[CALLER].tenant_id, client_id, limit_s=limit_s)
    if client is None or client.deleted_at is not None:
        raise ClientNotFound
    return client


@asynccontextmanager
async def looking_ahead(request: web.Request) -> AsyncIterator[None]:
    """
    A look ahead of a change, which may refuse it on what is read here; of a tenant that has moved that is old.

    Raises:
        MovedAway: it was refused, and the tenant has moved.
    """
    try:
        yield
    except Refused:
        async with borrowed(request.app[READS], request.app[TIMEOUT_S] / 4) as connection:
            head = await log.head(connection, request[CALLER].tenant_id)
        if head.state == "moved":
            raise MovedAway(head.moved_to) from None
        raise


async def load_past(request: web.Request, client_id: str, when: Moment, limit_s: float) -> tuple[Client, Client]:
    """
    The caller's tenant's client as it was *when*, and as it is at present, deleted or not.

    Raises:
        InvalidRequest: that moment has not come.
        ClientNotFound: there was none then, or it was deleted by then.
        DatabaseAway: the database did not answer within *limit_s*.
    """
    key, clock = (request[CALLER].tenant_id, client_id), asyncio.get_running_loop().time
    deadline = clock() + limit_s
    async with AsyncExitStack() as held:
        try:
            await held.enter_async_context(request.app[PASTS].place(key[0], wait_s=limit_s))
        except TimeoutError:
            raise DatabaseAway from None
        connection = await held.enter_async_context(borrowed(request.app[READS], deadline - clock()))
        try:
            past = await history.as_of(connection, *key, await reached(connection, key[0], when))
        except NoMoment as error:
            raise InvalidRequest(violations=(Violation("as_of", str(error), "the OpenAPI document"),)) from None
        present = (await table.load(connection, [key])).get(key)
    if past is None or past.deleted_at is not None or present is None:
        raise ClientNotFound
    return past, present


async def mint(request: web.Request) -> Credential:
    """
    A new credential.

    Raises:
        TooManyHashes
    """
    return await request.app[AHEAD].mint(request[CALLER].tenant_id)


def sealed(credential: Credential) -> SealedSecret:
    """What a command carries of *credential*."""
    return SealedSecret(hash=credential.hash, last_four=credential.last_four)


def entity_tag(client: Client) -> dict[str, str]:
    """The ETag header of *client*: its version."""
    return {"ETag": f'"{client.version}"'}


def expected_version(request: web.Request) -> int | None:
    """
    The version that If-Match asks for; None where any will do.

    Raises:
        MalformedPrecondition: it is neither * nor a list of entity tags.
        VersionMoved: none of its tags can be of a version.
    """
    given = request.headers.getall("If-Match", [])
    text = ",".join(given).strip()
    if not given or text == "*":
        return None
    tags = text.split(",")
    if not all(_entity_tag.fullmatch(tag) for tag in tags):
        raise MalformedPrecondition
    versions = {int(tag.strip()[1:-1]) for tag in tags if re.fullmatch(r'\s*"[1-9][0-9]{0,17}"\s*', tag)}
    if len(versions) > 1:
        # one client is at one version: a list says that the caller does not know which it has seen
        raise MalformedPrecondition
    if not versions:
        raise VersionMoved
    return versions.pop()
