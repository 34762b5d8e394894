"""Named consumers: nothing is missed, nothing is out of order, and who dies is replaced."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import asyncpg
import pytest
from ulid import ULID

from events import checkpoints
from events.checkpoints import Standing
from events.consumer import TICK_S, Consumer
from events.doorbell import CHANNEL
from events.errors import DatabaseAway, Fenced
from events.log import Conn, Entry
from events.share import Share
from service.embedded import Embedded
from tests.conftest import own_database
from tests.planting import defenceless, plant
from tests.waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
async def database(postgres: Embedded, binaries: Path | None) -> AsyncIterator[str]:
    """A database whose tenants are those of these tests alone."""
    async with own_database(postgres, binaries) as name:
        yield name


@pytest.fixture
async def owner(postgres: Embedded, database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as its owner, who writes."""
    connection = await asyncpg.connect(postgres.url("postgres", database))
    yield connection
    await connection.close()


@pytest.fixture
async def pool(postgres: Embedded, database: str) -> AsyncIterator[asyncpg.Pool]:
    """Sessions as the README tells who writes a consumer to open them."""
    role = {"role": "mitosis_consumer"}
    pool = await asyncpg.create_pool(postgres.url("postgres", database), min_size=0, max_size=20, server_settings=role)
    yield pool
    pool.terminate()


@pytest.fixture
def name() -> str:
    """A consumer that never was."""
    return f"consumer-{ULID()}".lower()


async def planted(owner: Conn, tenant: str, count: int, *, tenants: int = 1) -> list[str]:
    """*count* records in each of some *tenants*."""
    names = [f"{tenant}-{number}" for number in range(tenants)]
    for _ in range(count):
        for each in names:
            await plant(owner, each)
    return names


class Running:
    """A consumer as a task, and what it was handed of the tenants that count."""

    def __init__(self, consumer: Consumer, tenants: list[str]) -> None:
        self.seen: list[tuple[str, int]] = []
        self._tenants = tenants
        self._consumer = consumer
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for entry in self._consumer:
            if entry.tenant_id in self._tenants:
                self.seen.append((entry.tenant_id, entry.position))

    def positions(self, tenant: str) -> list[int]:
        return [position for name, position in self.seen if name == tenant]

    async def ended(self) -> None:
        """Once it has ended by itself; what it ended for is raised."""
        await asyncio.wait_for(self._task, PATIENCE_S)

    async def stop(self) -> None:
        """As a program ends that is told to."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def die(self, pool: asyncpg.Pool) -> None:
        """As a process ends that is killed: nothing more is written."""
        pool.terminate()
        await self.stop()


async def standing(pool: asyncpg.Pool, name: str, tenant: str) -> Standing | None:
    async with pool.acquire() as connection:
        found = await checkpoints.standings(connection)
    return next((one for one in found if (one.consumer, one.tenant_id) == (name, tenant)), None)


async def test_everything_in_order(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """Each tenant's records come in their order, those from before and those that are written meanwhile."""
    tenants = await planted(owner, tenant, 30, tenants=3)
    running = Running(Consumer(pool, name), tenants)

    await planted(owner, tenant, 30, tenants=3)
    await until(lambda: len(running.seen) >= 180)
    await running.stop()

    for each in tenants:
        assert running.positions(each) == list(range(1, 61))


async def test_go_on(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A consumer goes on where one of its name stopped; another name begins at the beginning."""
    tenants = await planted(owner, tenant, 5)
    first = Running(Consumer(pool, name), tenants)
    await until(lambda: len(first.seen) == 5)
    await planted(owner, tenant, 5)
    await until(lambda: len(first.seen) == 10)
    await first.stop()
    await planted(owner, tenant, 5)

    second, other = Running(Consumer(pool, name), tenants), Running(Consumer(pool, f"{name}-other"), tenants)
    await until(lambda: second.seen[-1:] == [(tenants[0], 15)] and len(other.seen) == 15)
    await second.stop()
    await other.stop()

    assert second.positions(tenants[0]) == list(range(11, 16))
    assert other.positions(tenants[0]) == list(range(1, 16))


async def test_done_when_the_next_is_asked_for(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A record is done when the next one is asked for, and one amid which the loop is left is handed out again."""
    (only,) = await planted(owner, tenant, 3)
    async with Consumer(pool, name) as consumer:
        async for entry in consumer:
            if (entry.tenant_id, entry.position) == (only, 2):
                break

    async with Consumer(pool, name) as consumer:
        async for entry in consumer:
            if entry.tenant_id == only:
                assert entry.position == 2
                break


async def test_divided(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """Several processes divide the tenants; who comes later gets some, and nothing is handed out twice for it."""
    count = 50  # so many that hardly ever one of three gets none
    tenants = await planted(owner, tenant, 1, tenants=count)
    several = [Running(Consumer(pool, name), tenants)]
    await until(lambda: len(several[0].seen) == count)
    several += [Running(Consumer(pool, name), tenants) for _ in range(2)]
    rounds = 1

    async def all_have_some() -> bool:
        nonlocal rounds
        await planted(owner, tenant, 1, tenants=count)
        rounds += 1
        return all(one.seen for one in several)

    await until(all_have_some)
    await until(lambda: sum(len(one.seen) for one in several) >= count * rounds)
    for one in several:
        await one.stop()

    assert set(Counter(entry for one in several for entry in one.seen).values()) == {1}
    for each in tenants:
        assert sorted(position for one in several for position in one.positions(each)) == list(range(1, rounds + 1))
        assert all(one.positions(each) == sorted(one.positions(each)) for one in several)


async def test_who_dies_is_replaced(  # noqa: PLR0917 (fixtures)
    postgres: Embedded, database: str, pool: asyncpg.Pool, owner: Conn, tenant: str, name: str
) -> None:
    """Within seconds of a process's death the others have its tenants, and miss nothing of them."""
    tenants = await planted(owner, tenant, 2, tenants=8)
    doomed_pool = asyncpg.create_pool(
        postgres.url("postgres", database), min_size=0, server_settings={"role": "mitosis_consumer"}
    )
    await doomed_pool
    doomed, heir = Running(Consumer(doomed_pool, name), tenants), Running(Consumer(pool, name), tenants)
    await until(lambda: len(set(doomed.seen) | set(heir.seen)) == 16)

    await doomed.die(doomed_pool)
    died = asyncio.get_running_loop().time()
    await planted(owner, tenant, 2, tenants=8)
    await until(lambda: len(set(doomed.seen) | set(heir.seen)) == 32)

    assert asyncio.get_running_loop().time() - died < 2 * checkpoints.GONE_S
    await heir.stop()
    for each in tenants:
        assert set(doomed.positions(each)) | set(heir.positions(each)) == {1, 2, 3, 4}
        assert heir.positions(each) == sorted(heir.positions(each))


async def test_who_slept_is_fenced(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """Who was thought dead cannot move a position that is another's by now."""
    (only,) = await planted(owner, tenant, 3)
    async with pool.acquire() as connection:
        (mine,) = await checkpoints.claim(connection, [only], name, "sleeper", ["sleeper"])
        assert await checkpoints.claim(connection, [only], name, "other", ["sleeper", "other"]) == []
        (theirs,) = await checkpoints.claim(connection, [only], name, "other", ["other"])

        with pytest.raises(Fenced):
            await checkpoints.move(connection, name, mine, 1)
        theirs = await checkpoints.move(connection, name, theirs, 2)
        with pytest.raises(Fenced):
            await checkpoints.move(connection, name, theirs._replace(position=1), 3)

    found = await standing(pool, name, only)
    assert found is not None
    assert (found.position, found.lag) == (2, 1)


async def test_parked(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A record that a handler cannot digest parks its tenant with the error; others go on; resumed, it goes on."""
    tenants = await planted(owner, tenant, 4, tenants=3)
    poisoned, handled, asked = tenants[1], list[Entry](), Counter[str]()

    async def handle(entry: Entry) -> None:
        if entry.tenant_id == poisoned and entry.position == 3:
            asked["poison"] += 1
            if asked["antidote"] == 0:
                raise ConnectionRefusedError("no\0body there")
        handled.append(entry)

    consumer = asyncio.create_task(Consumer(pool, name, attempts=3, backoff_s=0.01).run(handle))

    async def is_parked() -> bool:
        found = await standing(pool, name, poisoned)
        return found is not None and found.parked_at is not None

    await until(is_parked)
    await planted(owner, tenant, 1, tenants=3)
    await until(lambda: sum(entry.tenant_id in tenants for entry in handled) == 2 + 5 + 5)
    found = await standing(pool, name, poisoned)
    assert found is not None
    assert (found.position, found.lag, found.parked_because) == (2, 3, "ConnectionRefusedError: nobody there")
    assert asked["poison"] == 3

    asked["antidote"] = 1
    async with pool.acquire() as connection:
        assert await checkpoints.resume(connection, name, poisoned)
        assert not await checkpoints.resume(connection, name, poisoned)
    await until(lambda: sum(entry.tenant_id in tenants for entry in handled) == 15)
    consumer.cancel()
    await asyncio.wait([consumer])
    assert [entry.position for entry in handled if entry.tenant_id == poisoned] == [1, 2, 3, 4, 5]


async def test_parked_is_not_looked_for(
    pool: asyncpg.Pool, owner: Conn, tenant: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is written to a tenant that is parked, its consumer divides no more often than otherwise."""
    (only,) = await planted(owner, tenant, 1)
    looks, divide, clock = 0, Share.divide, asyncio.get_running_loop().time

    async def counted(share: Share, busy: Collection[str]) -> set[str]:
        nonlocal looks
        looks += 1
        return await divide(share, busy)

    async def handle(entry: Entry) -> None:
        raise ValueError(entry.tenant_id)

    async def is_parked() -> bool:
        found = await standing(pool, name, only)
        return found is not None and found.parked_at is not None

    monkeypatch.setattr(Share, "divide", counted)
    consumer = asyncio.create_task(Consumer(pool, name, attempts=1).run(handle))
    await until(is_parked)
    looked = looks
    await until(lambda: looks > looked)
    begun, looked = clock(), looks
    for _ in range(40):
        await owner.execute("select pg_notify($1, $2)", CHANNEL, f'["{only}"]')
        await asyncio.sleep(TICK_S / 50)

    assert looks - looked <= (clock() - begun) / TICK_S + 2
    consumer.cancel()
    await asyncio.wait([consumer])


async def test_a_statement_that_fails_parks(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A handler's own statement that the database, or its driver, refuses is the handler's failure."""
    (only,) = await planted(owner, tenant, 1)

    async def handle(entry: Entry, connection: Conn) -> None:
        if entry.tenant_id == only:
            await connection.execute("select $1::int", 1, 2)

    consumer = asyncio.create_task(Consumer(pool, name, attempts=2, backoff_s=0.01).run_in_transaction(handle))

    async def is_parked() -> bool:
        found = await standing(pool, name, only)
        return found is not None and found.parked_at is not None

    await until(is_parked)
    consumer.cancel()
    await asyncio.wait([consumer])


async def test_what_the_table_alone_knows(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A claim whose answer was lost is given back by the process that does not know of it."""
    (only,) = await planted(owner, tenant, 1)
    share = Share(pool, name, timeout_s=5)
    await share.divide(set())
    share.claims.clear()

    async with pool.acquire() as connection:
        assert await checkpoints.claim(connection, [only], name, "other", ["other", *share._members]) == []  # noqa: SLF001
        await checkpoints.present(connection, name, "other", "there")
        share._members = []  # noqa: SLF001 (so that nothing is its own)
        await checkpoints.keep(connection, name, share._member, share.claims)  # noqa: SLF001
        assert len(await checkpoints.claim(connection, [only], name, "other", ["other"])) == 1


async def test_a_gap_parks(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A position without a record is never passed over: the tenant is parked there."""
    (only,) = await planted(owner, tenant, 4)
    async with defenceless(owner):
        await owner.execute("delete from events where tenant_id = $1 and position = 3", only)
    running = Running(Consumer(pool, name), [only])

    async def is_parked() -> bool:
        found = await standing(pool, name, only)
        return found is not None and found.parked_at is not None

    await until(is_parked)
    await running.stop()
    assert running.positions(only) == [1, 2]
    await owner.execute("update checkpoints set position = 4 where tenant_id = $1", only)


async def test_reset(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A consumer that is reset begins again, at once and wherever it runs."""
    tenants = await planted(owner, tenant, 3, tenants=2)
    running = Running(Consumer(pool, name), tenants)
    await until(lambda: len(running.seen) == 6)

    async with pool.acquire() as connection:
        assert await checkpoints.reset(connection, name, tenants[0], 1) == {tenants[0]: 1}

    await until(lambda: len(running.seen) == 8)
    await running.stop()
    assert running.positions(tenants[0]) == [1, 2, 3, 2, 3]
    assert running.positions(tenants[1]) == [1, 2, 3]


async def test_exactly_once(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """What a handler writes in the transaction it is handed is there once, however often it failed or was cut off."""
    (only,) = await planted(owner, tenant, 40)
    table = f"told_{name[-10:]}"
    await owner.execute(f"create table {table} (position bigint, tenant_id text)")
    await owner.execute(f"grant insert on {table} to mitosis_consumer")
    failures = 0

    async def handle(entry: Entry, connection: Conn) -> None:
        nonlocal failures
        await connection.execute(f"insert into {table} values ($1, $2)", entry.position, entry.tenant_id)
        if entry.tenant_id == only and entry.position % 5 == 0 and failures % 3 < 2:
            failures += 1
            if failures % 2:
                raise RuntimeError("after it wrote")
            connection.terminate()
        failures += entry.tenant_id == only and entry.position % 5 == 0

    async def told() -> bool:
        rows = await owner.fetch(f"select position from {table} where tenant_id = $1 order by position", only)
        return len(rows) >= 40

    consumers = [asyncio.create_task(Consumer(pool, name, backoff_s=0.01).run_in_transaction(handle)) for _ in range(2)]
    await until(told)
    for consumer in consumers:
        consumer.cancel()
    await asyncio.wait(consumers)

    rows = await owner.fetch(f"select position from {table} where tenant_id = $1 order by position", only)
    assert [row["position"] for row in rows] == list(range(1, 41))
    assert failures > 8


async def test_a_database_that_is_away_parks_nobody(  # noqa: PLR0917 (fixtures)
    postgres: Embedded, database: str, pool: asyncpg.Pool, owner: Conn, tenant: str, name: str
) -> None:
    """Every connection may be lost at any time: what was not done is done later, and nobody is parked."""
    tenants = await planted(owner, tenant, 3, tenants=3)
    running = Running(Consumer(pool, name, timeout_s=2), tenants)
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"

    for _ in range(5):
        await planted(owner, tenant, 3, tenants=3)
        await owner.execute(kill, database)
    await until(lambda: len(set(running.seen)) == 54)
    await running.stop()

    for each in tenants:
        assert set(running.positions(each)) == set(range(1, 19))
        found = await standing(pool, name, each)
        assert found is not None
        assert found.parked_at is None


async def test_privileges(pool: asyncpg.Pool, owner: Conn, tenant: str) -> None:
    """Who consumes can read no private part, whatever it asks for, nor a client, and changes nothing but its place."""
    await planted(owner, tenant, 1)
    for statement in (
        "select private from events",
        "select * from events",
        "select count(private) from events",
        "select state from clients",
        "update heads set position = position + 1",
        "insert into events (tenant_id) values ('x')",
        "delete from checkpoints",
        "select * from receipts",
    ):
        async with pool.acquire() as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_done_though_the_database_does_not_say_so(
    pool: asyncpg.Pool, owner: Conn, tenant: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was handled and could not be noted is noted later. It is not handled again."""
    (only,) = await planted(owner, tenant, 5)
    handled, may_end = list[int](), asyncio.Event()

    async def handle(entry: Entry) -> None:
        if entry.tenant_id == only:
            handled.append(entry.position)
            if entry.position == 5:
                await may_end.wait()

    consumer = asyncio.create_task(Consumer(pool, name, timeout_s=0.5).run(handle))
    await until(lambda: len(handled) == 5)
    async with owner.transaction():
        await owner.execute("select from checkpoints where consumer = $1 and tenant_id = $2 for update", name, only)
        may_end.set()
        await until(lambda: "not_noted" in caplog.messages)

    async def is_noted() -> bool:
        found = await standing(pool, name, only)
        return found is not None and found.lag == 0

    await until(is_noted)
    consumer.cancel()
    await asyncio.wait([consumer])
    assert handled == [1, 2, 3, 4, 5]


async def test_told_to_end_as_the_database_goes(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """Who is told to end ends, though at that moment the driver has an error to tell of as well."""
    await planted(owner, tenant, 1)
    is_amid = asyncio.Event()

    async def handle(_entry: Entry, _connection: Conn) -> None:
        is_amid.set()
        await asyncio.Event().wait()

    consumer = asyncio.create_task(Consumer(pool, name).run_in_transaction(handle))
    await is_amid.wait()

    pool.terminate()
    consumer.cancel()
    await until(consumer.done)

    assert consumer.cancelled()


async def test_a_pool_that_was_closed(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A consumer whose pool is closed says so, once, and does not wait for it to come back."""
    tenants = await planted(owner, tenant, 1)
    running = Running(Consumer(pool, name), tenants)
    await until(lambda: len(running.seen) == 1)

    pool.terminate()

    with pytest.raises(ExceptionGroup) as failure:
        await running.ended()
    assert failure.group_contains(DatabaseAway)


async def test_a_failure_is_told(pool: asyncpg.Pool, owner: Conn, tenant: str, name: str) -> None:
    """A consumer that fails while a record is in hand says why when the next one is asked for."""
    await planted(owner, tenant, 2)

    async def has_left() -> bool:
        return not await owner.fetchval("select count(*) from members where consumer = $1", name)

    async def consume() -> None:
        async with Consumer(pool, name) as consumer:
            async for _ in consumer:
                await owner.execute("revoke select on heads from mitosis_consumer")
                await until(has_left)

    try:
        with pytest.raises(ExceptionGroup) as failure:
            await consume()
    finally:
        await owner.execute("grant select on heads to mitosis_consumer")
    assert failure.group_contains(asyncpg.InsufficientPrivilegeError)


async def test_present_however_late(
    pool: asyncpg.Pool, owner: Conn, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says that he is there is there, though the database takes so long to hear it that he counts as gone."""
    monkeypatch.setattr(checkpoints, "GONE_S", 0.1)
    await owner.execute("insert into members values ($1, 'forgotten', 'nowhere', now() - interval '1 day')", name)
    clock = asyncio.get_running_loop().time

    async with pool.acquire() as connection:
        async with owner.transaction():
            await owner.execute("select from members where consumer = $1 for update", name)
            present = asyncio.create_task(checkpoints.present(connection, name, "me", "here"))
            begun = clock()
            await until(lambda: clock() - begun > 5 * checkpoints.GONE_S)
        assert await present == ["me"]
