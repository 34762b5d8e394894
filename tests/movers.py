"""Two databases, a service at each, and a tenant that is moved from one to the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession
from ulid import ULID

from events import chain, loading, log
from events.client import ClientRegistered, ClientSettings, IssuedSecret
from events.consumer import Consumer
from events.log import Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, encode
from projections.clients import Row, apply, row
from service.app import build
from service.audit import heads
from service.audit.verifying import verify
from service.config import Config
from service.embedded import Embedded
from service.jose import PublicKey
from service.moving import belongings, cursors, move, records
from service.moving.move import Move
from service.routes import TOKENS
from service.signing import load_key
from tests.callers import EXAMPLE, Api
from tests.commands import Mitosis, Said
from tests.conftest import Served, own_database
from tests.laws import check

_SETTINGS = msgspec.convert(EXAMPLE, ClientSettings)
SHORT_S = 2.5  # "less than a second", where other tests run on the same two cores


class Side(NamedTuple):
    """A database: how the owner comes there, a connection of his, and the service on it."""

    url: str
    owner: asyncpg.Connection
    service: Served

    @property
    def address(self) -> str:
        """Where its service is."""
        return str(self.service.make_url("")).rstrip("/")

    def api(self, session: ClientSession, tenant: str) -> Api:
        """The service, called by an administrator of *tenant*."""
        return Api(session, self.address, self.service.app[TOKENS], {}).as_role("admin", tenant)

    async def head(self, tenant: str) -> Head:
        return await log.head(self.owner, tenant)


@asynccontextmanager
async def side(postgres: Embedded, binaries: Path | None, config: Config) -> AsyncIterator[Side]:
    """A database of the test's own with a service on it; those of one *config* share its key."""
    async with own_database(postgres, binaries) as name, AsyncExitStack() as stack:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        stack.push_async_callback(owner.close)
        service = Served(build(msgspec.structs.replace(config, database_url=postgres.url("mitosis_service", name))))
        await service.start_server()
        stack.push_async_callback(service.close)
        yield Side(url, owner, service)


# where a move can be met: what it is about to do then
PLACES: dict[str, tuple[Any, str]] = {
    "bring": (records, "bring"),  # the first record
    "carry": (belongings, "carry"),  # what there is besides records, which are all there by then
    "leave": (Move, "_leave"),  # let go of the tenant, which is frozen
    "arrive": (Move, "_arrive"),  # let it take changes at the target
    "hand over": (cursors, "hand_over"),  # its consumers
}


class Killed(BaseException):
    """What ends a move that had no chance to do anything about it."""


class Sides:
    """Where a tenant is, where it goes, and the command that moves it."""

    def __init__(self, source: Side, target: Side, mitosis: Mitosis, session: ClientSession, tenant: str) -> None:
        self.source, self.target, self.tenant = source, target, tenant
        self.here, self.there = source.api(session, tenant), target.api(session, tenant)
        self._mitosis = mitosis

    async def command(self, *arguments: str, side: Side | None = None, **environment: str) -> Said:
        """`mitosis tenant ...` at *side*, or at the source."""
        url = (side or self.source).url
        return await self._mitosis("tenant", *arguments, **{"MITOSIS_DATABASE_URL": url, **environment})

    async def move(self, *arguments: str, to: Side | None = None, side: Side | None = None) -> Said:
        """`mitosis tenant move`, to the target where nothing else is said."""
        target = to or self.target
        given = ("--to", target.url, "--address", target.address, *arguments)
        return await self.command("move", self.tenant, *given, side=side)

    async def killed_at(self, place: str, *, to: Side | None = None, side: Side | None = None) -> None:
        """A move that was killed when it came to *place*: nobody called it off."""

        async def die(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            meet(patch, place, die)
            patch.setattr(move, "call_off", die)
            with pytest.raises(Killed):
                await self.move(to=to, side=side)

    async def states(self) -> tuple[str, str]:
        """The tenant's state at the source, and at the target."""
        return (await self.source.head(self.tenant)).state, (await self.target.head(self.tenant)).state

    async def moved(self) -> list[Record]:
        """Hold both sides against what is promised of a tenant that has moved; returns the target's records."""
        return await have_moved(self.source.owner, self.target.owner, self.tenant)


def meet(patch: pytest.MonkeyPatch, place: str, act: Callable[..., Awaitable[object]]) -> None:
    """Do *act* when a move comes to *place* the first time; it is given what is given there."""
    owner, name = PLACES[place]
    original = getattr(owner, name)

    async def met(*arguments: Any) -> Any:
        patch.setattr(owner, name, original)
        await act(*arguments)
        return await original(*arguments)

    patch.setattr(owner, name, met)


_CUT = """
select pg_terminate_backend(pid, 5000)
from pg_stat_activity
where application_name = 'mitosis tenant move' and datname = current_database()
"""


async def cut(side: Side) -> None:
    """What a mover sees of a database that goes away."""
    connection = await asyncpg.connect(side.url)
    await connection.execute(_CUT)
    await connection.close()


class Consuming:
    """A consumer in a process of its own, as far as it can tell, and what it was handed."""

    def __init__(self, pool: asyncpg.Pool, name: str) -> None:
        self.seen: list[tuple[str, int]] = []
        self._consumer = Consumer(pool, name)

    async def run(self) -> None:
        async for entry in self._consumer:
            self.seen.append((entry.tenant_id, entry.position))

    def positions(self, tenant: str) -> list[int]:
        """Of the records of *tenant*, in the order in which they came."""
        return [position for name, position in self.seen if name == tenant]


@asynccontextmanager
async def consuming(url: str, name: str) -> AsyncIterator[Consuming]:
    """A consumer called *name* at the database of *url*."""
    pool = await asyncpg.create_pool(url, min_size=0, max_size=8, server_settings={"role": "mitosis_consumer"})
    running = Consuming(pool, name)
    task = asyncio.create_task(running.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.wait([task])
        pool.terminate()


async def have_moved(source: asyncpg.Connection, target: asyncpg.Connection, tenant: str) -> list[Record]:
    """
    Assert that *tenant* has moved from one database to the other; returns the records of the other.

    All laws hold on both sides, both logs verify, the source's log is the beginning of the target's, and it ends with
    the record that says where it went.
    """
    before, after = await check(source, tenant), await check(target, tenant)
    old, new = await log.head(source, tenant), await log.head(target, tenant)
    assert (old.state, new.state, new.moved_to) == ("moved", "open", None)
    assert after[: len(before)] == before
    kinds = [type(record.data).__name__ for record in after[len(before) - 1 : len(before) + 1]]
    assert kinds == ["TenantMoved", "TenantArrived"]
    bodies = "select body::text, private from events where tenant_id = $1 and position <= $2 order by position"
    assert await source.fetch(bodies, tenant, old.position) == await target.fetch(bodies, tenant, old.position)
    for owner in (source, target):
        assert (await verify(owner, tenant)).is_whole
    return after


async def filled(owner: asyncpg.Connection, tenant: str, clients: int) -> None:
    """A tenant with so many *clients*, each with a secret, a receipt, a use of the secret and a used assertion."""
    async with owner.transaction():
        await log.open_heads(owner, [tenant])
        head = log.beginning(tenant)
        for start in range(0, clients, _AT_ONCE):
            entries, rows = list[Entry](), list[Row]()
            for _ in range(start, min(start + _AT_ONCE, clients)):
                head, entry = _registered(tenant, head)
                entries.append(entry)
                rows.append(row(apply(None, entry.record)))
            await loading.load(owner, entries)
            await owner.copy_records_to_table("clients", records=rows, columns=Row._fields)
        await loading.move(owner, tenant, head)
        for statement in _BELONGINGS:
            await owner.execute(statement, tenant)


_AT_ONCE = 1000
_BELONGINGS = (
    """
    insert into receipts (tenant_id, key_digest, request_digest, answer, expires_at)
    select tenant_id, sha256(event_id::bytea), sha256(digest), decode(repeat(md5(event_id), 75), 'hex'),
        now() + interval '24 hours' - position * interval '1 millisecond'
    from events
    where tenant_id = $1
    """,
    """
    insert into secret_usage (tenant_id, client_id, secret_id, last_used_at)
    select tenant_id, body ->> 'client_id', event_id, now() from events where tenant_id = $1
    """,
    """
    insert into assertions (tenant_id, client_id, jti_digest, expires_at)
    select tenant_id, body ->> 'client_id', digest, now() + interval '1 hour' from events where tenant_id = $1
    """,
)


def _registered(tenant: str, head: Head) -> tuple[Head, Entry]:
    ulid, event_id = str(ULID()), str(ULID())
    private = f"$argon2id$a-hash-of-nothing-{ulid}"
    record = Record(
        event_id=event_id,
        tenant_id=tenant,
        position=head.position + 1,
        schema_version=SCHEMA_VERSION,
        client_id=f"app-{ulid.lower()}",
        client_version=1,
        time=max(datetime.now(UTC), head.time),
        actor=Actor(subject="planter", role="system", request_id=event_id),
        data=ClientRegistered(
            id=ulid, status="active", settings=_SETTINGS, secret=IssuedSecret(secret_id=event_id, last_four="abcd")
        ),
        sealed=chain.seal(private),
    )
    body = encode(record)
    after = Head(record.position, chain.link(head.digest, body), record.time)
    return after, Entry(tenant, record.position, event_id, after.digest, body, private)


def kept(config: Config, texts: Sequence[str]) -> list[Any]:
    """Signed heads as an auditor keeps them."""
    key = load_key(config.key_file)
    public = PublicKey({**key.as_dict(private=False), "kid": key.thumbprint()})
    return [heads.read(text, [public], source="kept")[1] for text in texts]


def told(said: Said) -> Any:
    """What a command said as JSON."""
    return json.loads(said.out)
