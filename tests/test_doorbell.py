"""The doorbell: a line that is cut costs time and never a record, and whatever is said on it harms nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest
from ulid import ULID

from events.consumer import Consumer
from events.doorbell import CHANNEL, Doorbell
from events.feed import Feed
from events.log import Conn, Entry
from service.embedded import Embedded
from tests.conftest import own_database
from tests.planting import plant
from tests.waiting import until

_CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1"
_PID = "select pid from pg_stat_activity where application_name = $1"
_SEEN = "select seen_at from members where consumer = $1"
_FOR_EVER_S = 3600.0
_GARBAGE = ["", "garbage", "null", "{}", "[1]", '["a', '"t"', "[]", '["nobody\\u0000\\u20ac"]', "[" * 7000, "x" * 7999]


@pytest.fixture(scope="module")
async def url(postgres: Embedded, binaries: Path | None) -> AsyncIterator[str]:
    """A database whose channel, and whose tenants, are those of these tests alone."""
    async with own_database(postgres, binaries) as name:
        yield postgres.url("postgres", name)


@pytest.fixture
async def owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner, who writes."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


class Bell:
    """A doorbell as another process has it, with a pool of its own, and what a listener was told by it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.name = f"bell-{ULID()}"
        self.pool = asyncpg.create_pool(url, min_size=0, max_size=4, server_settings={"application_name": self.name})
        self.doorbell = Doorbell(self.pool, timeout_s=timeout_s)
        self.heard: list[Collection[str] | None] = []

    @property
    def tenants(self) -> set[str]:
        """All that were rung for."""
        return {tenant for told in self.heard if told for tenant in told}

    @property
    def lines(self) -> int:
        """How often a line was made: each time the listener is told that it may have missed some."""
        return self.heard.count(None)


@asynccontextmanager
async def hanging(url: str, timeout_s: float = 5) -> AsyncIterator[Bell]:
    """A doorbell that is never run: it has no line, and what it rings for is heard by its own process alone."""
    bell = Bell(url, timeout_s)
    async with bell.pool:
        with bell.doorbell.heard_by(bell.heard.append):
            yield bell


@asynccontextmanager
async def running(url: str, timeout_s: float = 5) -> AsyncIterator[Bell]:
    """A doorbell with a line."""
    async with hanging(url, timeout_s) as bell:
        line = asyncio.create_task(bell.doorbell.run())
        try:
            await until(lambda: bell.lines == 1)
            yield bell
        finally:
            line.cancel()
            await asyncio.wait([line])


@asynccontextmanager
async def overheard(owner: Conn) -> AsyncIterator[list[str]]:
    """What is said on the channel, NOTIFY by NOTIFY."""
    said: list[str] = []

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        said.append(str(payload))

    await owner.add_listener(CHANNEL, hear)
    yield said
    await owner.remove_listener(CHANNEL, hear)


async def pids(owner: Conn, bell: Bell) -> set[int]:
    """The sessions of *bell*."""
    return {row["pid"] for row in await owner.fetch(_PID, bell.name)}


async def cut(owner: Conn, bell: Bell) -> None:
    """End every session of *bell*."""
    for row in await owner.fetch(_CUT, bell.name):
        assert row["pg_terminate_backend"]


async def test_heard_by_others(url: str) -> None:
    """Who rings is heard in its own process at once, and in the others through the database; by nobody twice."""
    async with running(url) as near, running(url) as far:
        near.doorbell.ring(["one", "other"])
        assert near.heard == [None, {"one", "other"}]
        await until(lambda: far.tenants == {"one", "other"})

        far.doorbell.ring(["last"])
        await until(lambda: "last" in near.tenants)

    assert near.heard == [None, {"one", "other"}, ["last"]]
    assert len(far.heard) == 3


async def test_a_line_that_is_cut(url: str, owner: asyncpg.Connection) -> None:
    """It is mended, however often; who listens is told that it may have missed some, and hears the others again."""
    async with running(url) as near, running(url) as far:
        for number in range(1, 4):
            await cut(owner, near)
            await cut(owner, far)
            near.doorbell.ring([f"amid-{number}"])
            await until(lambda number=number: near.lines == far.lines == number + 1)  # type: ignore[misc]
            near.doorbell.ring([f"after-{number}"])
            await until(lambda number=number: f"after-{number}" in far.tenants)  # type: ignore[misc]


async def test_a_line_that_is_silent(url: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there and says nothing any more, whoever asks it, is taken for lost and mended."""
    monkeypatch.setattr("events.doorbell._SOUND_S", 0.2)
    async with running(url) as near, running(url, timeout_s=0.5) as far:
        (line,) = await pids(owner, far)
        os.kill(line, signal.SIGSTOP)
        try:
            await until(lambda: far.lines == 2)
            near.doorbell.ring(["after"])
            await until(lambda: "after" in far.tenants)
            assert line in await pids(owner, far)
        finally:
            os.kill(line, signal.SIGCONT)


async def test_a_follower_without_a_bell(url: str, owner: asyncpg.Connection, tenant: str) -> None:
    """Where nobody rings, records arrive because it is looked for them; where it rings, that is what brings them."""
    async with hanging(url) as silent, running(url) as near:
        looks = Feed(near.pool, near.doorbell, timeout_s=5)
        hears = Feed(near.pool, near.doorbell, timeout_s=5, poll_s=_FOR_EVER_S)
        running_feeds = [asyncio.create_task(feed.run()) for feed in (looks, hears)]
        async with looks.tail(tenant, 0) as looking, hears.tail(tenant, 0) as hearing:
            await until(lambda: hears.rings > 0)  # its one look
            await plant(owner, tenant)
            silent.doorbell.ring([tenant])
            assert [told.position for told in await looking.after(0, wait_s=30)] == [1]
            assert hearing.last == 0

            line = asyncio.create_task(silent.doorbell.run())
            assert [told.position for told in await hearing.after(0, wait_s=30)] == [1]
        for task in (line, *running_feeds):
            task.cancel()
        await asyncio.wait([line, *running_feeds])


async def test_a_consumer_without_a_bell(
    url: str, owner: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of a consumer, and of a tenant that it has never seen."""
    handled: list[tuple[str, int]] = []

    async def handle(entry: Entry) -> None:
        if entry.tenant_id.startswith(tenant):
            handled.append((entry.tenant_id, entry.position))

    async with running(url) as far, hanging(url) as own:
        consuming = asyncio.create_task(Consumer(own.pool, f"consumer-{tenant}").run(handle))
        await plant(owner, tenant)
        await until(lambda: handled == [(tenant, 1)])

        monkeypatch.setattr("events.consumer.TICK_S", _FOR_EVER_S)
        seen_at = await owner.fetchval(_SEEN, f"consumer-{tenant}")

        async def ticked() -> bool:
            return bool(seen_at != await owner.fetchval(_SEEN, f"consumer-{tenant}"))

        await until(ticked)  # the last look for an hour
        for number, name in enumerate((tenant, f"{tenant}-new"), 2):
            await plant(owner, name)
            far.doorbell.ring([name])
            await until(lambda number=number: len(handled) == number)  # type: ignore[misc]
        consuming.cancel()
        await asyncio.wait([consuming])

    assert handled == [(tenant, 1), (tenant, 2), (f"{tenant}-new", 1)]


async def test_coalesced(url: str, owner: asyncpg.Connection) -> None:
    """While one NOTIFY is on its way, all who ring meanwhile go into the next one."""
    names = {f"t-{number}" for number in range(500)}
    async with running(url) as near, running(url) as far, overheard(owner) as said:
        (line,) = await pids(owner, near)
        os.kill(line, signal.SIGSTOP)
        try:
            near.doorbell.ring(["first"])
            for name in sorted(names):
                await asyncio.sleep(0)
                near.doorbell.ring([name])
        finally:
            os.kill(line, signal.SIGCONT)
        await until(lambda: far.tenants == {"first"} | names)

    assert len(said) == 2


async def test_a_thousand_tenants(url: str, owner: asyncpg.Connection) -> None:
    """A ring for more than one NOTIFY can carry goes in several, and arrives whole."""
    names = {f"{number:04}-".ljust(128, "x") for number in range(1000)}
    async with running(url) as near, running(url) as far, overheard(owner) as said:
        near.doorbell.ring(names)
        await until(lambda: far.tenants == names)

    assert 1000 * 128 / 8000 < len(said) < 20
    assert sum(len(msgspec.json.decode(payload)) for payload in said) == 1000


@pytest.mark.parametrize("payload", _GARBAGE)
async def test_garbage(url: str, owner: asyncpg.Connection, tenant: str, payload: str) -> None:
    """Anybody may say anything on the channel: who listens looks whether there is news, and nothing else happens."""
    handled: list[Entry] = []

    async def handle(entry: Entry) -> None:
        if entry.tenant_id == tenant:
            handled.append(entry)

    async with running(url) as near, running(url) as far, hanging(url) as own:
        (line,) = await pids(owner, far)
        feed = Feed(far.pool, far.doorbell, timeout_s=5)
        looking = asyncio.create_task(feed.run())
        consuming = asyncio.create_task(Consumer(own.pool, f"consumer-{tenant}").run(handle))
        async with feed.tail(tenant, 0) as tail:
            for _ in range(3):
                await owner.execute("select pg_notify($1, $2)", CHANNEL, payload)
            await plant(owner, tenant)
            near.doorbell.ring([tenant])
            assert [told.position for told in await tail.after(0, wait_s=30)] == [1]
            await until(lambda: len(handled) == 1)
        assert line in await pids(owner, far)
        for task in (looking, consuming):
            assert not task.done()
            task.cancel()
        await asyncio.wait([looking, consuming])


async def test_cancelled_as_its_line_is_lost(url: str) -> None:
    """A doorbell that is told to end ends, whatever happens to its line at the same moment."""
    async with hanging(url) as bell:
        line = asyncio.create_task(bell.doorbell.run())
        await until(lambda: bell.lines == 1)

        bell.pool.terminate()
        line.cancel()
        await until(line.done)

    assert line.cancelled()
