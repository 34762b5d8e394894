"""What all who follow in one process share: nobody's news wait for the others', and damage costs nobody else."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from events import log
from events.doorbell import Doorbell
from events.feed import PIECE, Feed
from events.log import Conn, Entry
from service.embedded import Embedded
from tests.conftest import own_database
from tests.planting import defenceless, plant
from tests.waiting import until


@pytest.fixture(scope="module")
async def database(postgres: Embedded, binaries: Path | None) -> AsyncIterator[str]:
    """A database whose logs may be damaged."""
    async with own_database(postgres, binaries) as name:
        yield postgres.url("postgres", name)


@pytest.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner, who writes."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=0, max_size=5) as pool:
        yield pool


@asynccontextmanager
async def running(pool: asyncpg.Pool) -> AsyncIterator[tuple[Feed, Doorbell]]:
    """A feed, and the doorbell of its process."""
    doorbell = Doorbell(pool, timeout_s=5)
    feed = Feed(pool, doorbell, timeout_s=5)
    looking = asyncio.create_task(feed.run())
    yield feed, doorbell
    looking.cancel()
    await asyncio.wait([looking])


@asynccontextmanager
async def ringing(doorbell: Doorbell, *tenants: str) -> AsyncIterator[None]:
    """The bell rings for *tenants* on and on: whoever has read their news is told of some at once."""

    async def ring() -> None:
        while True:
            doorbell.ring(tenants)
            await asyncio.sleep(0)

    ringer = asyncio.create_task(ring())
    yield
    ringer.cancel()
    await asyncio.wait([ringer])


async def test_news_that_nobody_rang_for(pool: asyncpg.Pool, owner: Conn, tenant: str) -> None:
    """However busy others are, it is looked every now and then for what the doorbell did not say."""
    async with running(pool) as (feed, doorbell), AsyncExitStack() as stack:
        tail, busy = [await stack.enter_async_context(feed.tail(name, 0)) for name in (tenant, f"{tenant}-busy")]
        async with ringing(doorbell, busy.tenant_id):
            await plant(owner, tenant)
            news = await tail.after(0, wait_s=20)
    assert [told.position for told in news] == [1]


async def test_more_tenants_than_are_read_at_once(
    pool: asyncpg.Pool, owner: Conn, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its turn, though others are always due before it was."""
    monkeypatch.setattr("events.feed._TAILS_AT_ONCE", 1)
    names = [f"{tenant}-{number}" for number in range(4)]
    async with running(pool) as (feed, doorbell), AsyncExitStack() as stack:
        tails = [await stack.enter_async_context(feed.tail(name, 0)) for name in names]
        async with ringing(doorbell, *names):
            for name in names:
                await plant(owner, name)
            news = await asyncio.gather(*(tail.after(0, wait_s=20) for tail in tails))
    assert [len(told) for told in news] == [1, 1, 1, 1]


async def test_a_damaged_log_is_left_alone(
    pool: asyncpg.Pool, owner: Conn, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read over and over for a follower who has not yet heard of it, because he does not read."""
    reads, news = 0, log.news

    async def counted(conn: Conn, cursor: Mapping[str, int], *, limit: int) -> dict[str, list[Entry]]:
        nonlocal reads
        reads += tenant in cursor
        return await news(conn, cursor, limit=limit)

    monkeypatch.setattr("events.feed.log.news", counted)
    await plant(owner, tenant)
    async with running(pool) as (feed, doorbell), feed.tail(tenant, 1) as tail:
        async with owner.transaction():
            for _ in range(PIECE + 1):
                await plant(owner, tenant)
            async with defenceless(owner):
                await owner.execute("delete from events where tenant_id = $1 and position = 2", tenant)
        doorbell.ring([tenant])
        await until(lambda: tail.is_damaged)

        rings, before = feed.rings, reads
        await until(lambda: feed.rings >= rings + 2)

        assert reads - before <= 2


async def test_whose_readers_are_far_behind(pool: asyncpg.Pool, owner: Conn, tenant: str) -> None:
    """However many readers of one tenant are far behind, one of another waits no longer than as if there were two."""
    other = f"{tenant}-other"
    for one in (tenant, other):
        await plant(owner, one)
    feed = Feed(pool, Doorbell(pool, timeout_s=5), timeout_s=5)
    order = list[str]()

    async def catch_up(name: str) -> None:
        await feed.catch_up(name, 0)
        order.append(name)

    many = [asyncio.create_task(catch_up(tenant)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(catch_up(other), *many)

    assert order.index(other) < 25


async def test_the_size_of_a_piece_is_the_tenants_own(pool: asyncpg.Pool, owner: Conn, tenant: str) -> None:
    """Where one tenant's records are large, another's are read as many at a time as ever."""
    other = f"{tenant}-other"
    for _ in range(5):
        await plant(owner, tenant, website="https://example.com/" + "x" * 30_000)
        await plant(owner, other)
    feed = Feed(pool, Doorbell(pool, timeout_s=5), timeout_s=5)

    async with feed.tail(tenant, 0), feed.tail(other, 0):
        assert len(await feed.read(tenant, 0)) < 5
        assert len(await feed.read(tenant, 0)) < 5
        assert len(await feed.read(other, 0)) == 5
