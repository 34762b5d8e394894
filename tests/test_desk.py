"""The write path: what one turn decides, and whom a failure concerns."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
from ulid import ULID

from events import log
from events.client import ClientSettings
from events.errors import DatabaseAway
from events.log import Conn, Head
from events.record import Actor, Record
from projections.clients import Client
from projections.clients import apply as project
from service import schema, turn
from service.commands import CloneClient, RegisterClient, SealedSecret
from service.config import Config
from service.database import open_pool
from service.desk import Desk
from service.embedded import Embedded
from service.refusals import ClientExists, ClientNotFound, LineFull
from tests.callers import EXAMPLE
from tests.laws import check
from tests.waiting import until

_SETTINGS = msgspec.convert(EXAMPLE, ClientSettings)
_SEALED = SealedSecret(hash="$argon2id$a-hash-of-nothing", last_four="abcd")
_ACTOR = Actor(subject="tester", role="admin", request_id="test")


@pytest.fixture
async def pool(config: Config) -> AsyncIterator[asyncpg.Pool]:
    assert config.database_url
    async with open_pool(config.database_url, size=6, timeout_s=config.database_timeout_s) as pool:
        yield pool


@pytest.fixture
def desk(pool: asyncpg.Pool) -> Desk:
    return Desk(pool, timeout_s=5)


def register(tenant_id: str, name: str = "My Application", client_id: str | None = None) -> RegisterClient:
    ulid = str(ULID())
    return RegisterClient(
        tenant_id=tenant_id,
        actor=_ACTOR,
        reads=client_id or f"app-{ulid.lower()}",
        id=ulid,
        settings=msgspec.structs.replace(_SETTINGS, name=name),
        sealed=_SEALED,
    )


def clone(tenant_id: str, source_id: str) -> CloneClient:
    ulid = str(ULID())
    return CloneClient(
        tenant_id=tenant_id, actor=_ACTOR, reads=source_id, id=ulid, client_id=f"app-{ulid.lower()}", sealed=_SEALED
    )


async def at_once(desk: Desk, *commands: RegisterClient | CloneClient) -> list[Client | BaseException]:
    """What becomes of commands that come to the desk before its next turn."""
    return await asyncio.gather(*(desk.submit(command) for command in commands), return_exceptions=True)


async def turns(owner: asyncpg.Connection, tenant_id: str) -> list[int]:
    """How many records each transaction appended."""
    counted = "select count(*) from events where tenant_id = $1 group by xmin order by min(position)"
    return [row["count"] for row in await owner.fetch(counted, tenant_id)]


def names(outcomes: list[Client | BaseException]) -> list[str]:
    """The name of each client, or of what was raised."""
    return [outcome.settings.name if isinstance(outcome, Client) else type(outcome).__name__ for outcome in outcomes]


async def test_one_turn(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """Commands that come together are appended in one transaction, in the order they came."""
    outcomes = await at_once(desk, *(register(tenant, f"client {number}") for number in range(20)))

    assert names(outcomes) == [f"client {number}" for number in range(20)]
    records = await check(owner, tenant)
    assert [record.client_id for record in records] == [getattr(outcome, "client_id", None) for outcome in outcomes]
    assert await turns(owner, tenant) == [20]


async def test_turn_limit(pool: asyncpg.Pool, tenant: str, owner: asyncpg.Connection) -> None:
    """A turn takes no more than its limit; the rest is for the next one."""
    desk = Desk(pool, timeout_s=5, turn_limit=3)
    await desk.submit(register(tenant))

    await at_once(desk, *(register(tenant) for _ in range(7)))

    await check(owner, tenant)
    assert await turns(owner, tenant) == [1, 3, 3, 1]


async def test_projector_raises(
    desk: Desk, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be projected is not appended: no event, no position, and nobody else of the turn notices."""

    def apply(client: Client | None, record: Record) -> Client:
        after = project(client, record)
        if after.settings.name == "poison":
            raise ZeroDivisionError
        return after

    monkeypatch.setattr(turn, "apply", apply)
    outcomes = await at_once(desk, *(register(tenant, name) for name in ("before", "poison", "after")))

    assert names(outcomes) == ["before", "ZeroDivisionError", "after"]
    assert len(await check(owner, tenant)) == 2
    assert await turns(owner, tenant) == [2]


async def test_refusal(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """A refusal is its caller's alone: the rest of the turn goes on."""
    outcomes = await at_once(desk, register(tenant, "before"), clone(tenant, "app-nobody"), register(tenant, "after"))

    assert names(outcomes) == ["before", "ClientNotFound", "after"]
    assert len(await check(owner, tenant)) == 2
    assert await turns(owner, tenant) == [2]


async def test_refusals_alone(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """A turn in which everything is refused appends nothing."""
    with pytest.raises(ClientNotFound):
        await desk.submit(clone(tenant, "app-nobody"))

    assert await check(owner, tenant) == []


@pytest.fixture
async def poisoned(postgres: Embedded, owner: asyncpg.Connection) -> AsyncIterator[str]:
    """The name of a database that takes no client whose name contains `poison`."""
    name = f"poisoned_{ULID()}".lower()
    await owner.execute(f"create database {name}")
    connection = await asyncpg.connect(postgres.url("postgres", name))
    await schema.apply(connection)
    await connection.execute(
        """
        create function refuse_poison() returns trigger language plpgsql as $$
        begin
            raise exception 'no poison';
        end
        $$;
        create trigger poison before insert or update on clients
            for each row when (new.name_folded like '%poison%') execute function refuse_poison();
        """
    )
    await connection.close()
    yield name
    await owner.execute(f"drop database {name} with (force)")


async def test_database_refuses_one(postgres: Embedded, poisoned: str, tenant: str) -> None:
    """If the database fails a turn, only the command at fault fails; the others of it, in any tenant, are done once."""
    other = f"{tenant}-other"
    url = postgres.url("mitosis_service", poisoned)
    async with open_pool(url, size=6, timeout_s=5) as pool, pool.acquire() as connection:
        desk = Desk(pool, timeout_s=5)
        await at_once(desk, register(tenant), register(other))

        commands = [register(tenant, "before"), register(tenant, "poison"), register(other), register(tenant, "after")]
        outcomes = await at_once(desk, *commands)

        assert names(outcomes) == ["before", "RaiseError", "My Application", "after"]
        assert [len(await check(connection, each)) for each in (tenant, other)] == [3, 2]
        assert names(await at_once(desk, register(tenant, "later"))) == ["later"]


@asynccontextmanager
async def holding(postgres: Embedded, tenant_id: str) -> AsyncIterator[None]:
    """Have the head of a tenant, as another process's turn would."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        async with connection.transaction():
            assert await log.lock(connection, [tenant_id], wait=True)
            yield
    finally:
        await connection.close()


def submitted(desk: Desk, *commands: RegisterClient) -> list["asyncio.Task[Client]"]:
    return [asyncio.create_task(desk.submit(command)) for command in commands]


def contended(desk: Desk) -> int:
    """How many wait for their turn with other contended tenants', besides those whose turn waits for its heads."""
    return len(desk._contended.tickets)  # noqa: SLF001 (nobody else can know)


async def waits_for_heads(owner: asyncpg.Connection) -> bool:
    """Whether a turn waits in the database."""
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%from heads%'"
    return bool(await owner.fetchval(waiting))


async def test_latecomers(pool: asyncpg.Pool, postgres: Embedded, tenant: str, owner: asyncpg.Connection) -> None:
    """Those who come while a turn waits for their tenant's head are in that turn, as far as its limit goes."""
    desk = Desk(pool, timeout_s=10, together_s=5, turn_limit=5)
    await desk.submit(register(tenant))
    async with holding(postgres, tenant):
        waiting = submitted(desk, register(tenant), register(tenant))
        await until(lambda: waits_for_heads(owner))
        waiting += submitted(desk, *(register(tenant) for _ in range(4)))
        await until(lambda: contended(desk) == 4)
    await asyncio.gather(*waiting)

    await check(owner, tenant)
    assert await turns(owner, tenant) == [1, 5, 1]


async def test_latecomers_of_others(
    pool: asyncpg.Pool, postgres: Embedded, tenant: str, owner: asyncpg.Connection
) -> None:
    """A turn that has its heads waits for no other: who came meanwhile for another tenant has the next one."""
    other, turned = f"{tenant}-other", list[int]()
    desk = Desk(pool, timeout_s=10, together_s=5, turned=lambda commands, _took_s: turned.append(commands))
    await at_once(desk, register(tenant), register(other))
    turned.clear()
    async with holding(postgres, other):
        async with holding(postgres, tenant):
            (first,) = submitted(desk, register(tenant))
            await until(lambda: waits_for_heads(owner))
            (second,) = submitted(desk, register(other))
            await until(lambda: contended(desk) == 1)
        await first
        assert not second.done()
    await second

    assert turned == [1, 1, 1, 1]  # each was passed over, and then had its head
    assert [len(await check(owner, each)) for each in (tenant, other)] == [2, 2]


async def test_held_for_long(config: Config, postgres: Embedded, tenant: str, owner: asyncpg.Connection) -> None:
    """Of contended tenants that wait together, one that is held for long does not hold up the others."""
    other = f"{tenant}-other"
    assert config.database_url
    async with open_pool(config.database_url, size=6, timeout_s=5, lock_timeout_s=0.05) as pool:
        desk = Desk(pool, timeout_s=20)
        await at_once(desk, register(tenant), register(other))
        async with holding(postgres, tenant):
            async with holding(postgres, other):
                held, *briefly = submitted(desk, register(tenant), register(other), register(other))
                await until(lambda: waits_for_heads(owner))
            await asyncio.gather(*briefly)
            for _ in range(5):
                await desk.submit(register(other))
            assert not held.done()
        await held
        await desk.close()

    assert [len(await check(owner, each)) for each in (tenant, other)] == [2, 8]


async def test_held_for_long_with_others_behind(
    config: Config, postgres: Embedded, tenant: str, owner: asyncpg.Connection
) -> None:
    """Those who came behind such a turn follow their tenants: the one that is held is waited for together once."""
    other, took = f"{tenant}-other", list[float]()
    assert config.database_url
    async with open_pool(config.database_url, size=6, timeout_s=5, lock_timeout_s=2) as pool:
        desk = Desk(
            pool, timeout_s=20, together_s=5, turn_limit=2, turned=lambda _commands, took_s: took.append(took_s)
        )
        await at_once(desk, register(tenant), register(other))
        async with holding(postgres, tenant):
            async with holding(postgres, other):
                waiting = submitted(desk, register(tenant), register(other))
                await until(lambda: waits_for_heads(owner))
                waiting += submitted(desk, *(register(each) for each in (tenant, other) * 4))
                await until(lambda: contended(desk) == 8)
            await until(lambda: contended(desk) == 0)
            assert sum(took_s > 1 for took_s in took) == 1
        await asyncio.gather(*waiting)
        await desk.close()

    assert [len(await check(owner, each)) for each in (tenant, other)] == [6, 6]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long (s) each turn that waits for several heads has for them all."""
    noted, lock = list[float | None](), log.lock

    async def noting(conn: Conn, among: Sequence[str], *, wait: bool, limit_s: float | None = None) -> dict[str, Head]:
        if wait and len(among) > 1:
            noted.append(limit_s)
        return await lock(conn, among, wait=wait, limit_s=limit_s)

    monkeypatch.setattr(log, "lock", noting)
    return noted


async def test_held_with_little_time_left(
    pool: asyncpg.Pool, postgres: Embedded, tenant: str, owner: asyncpg.Connection, limits: list[float | None]
) -> None:
    """A turn waits for its heads for half of its own time at most: the rest is for what it is there for."""
    tenants = [tenant, f"{tenant}-other"]
    desk = Desk(pool, timeout_s=4, together_s=60)
    await at_once(desk, *map(register, tenants))
    async with holding(postgres, tenant), holding(postgres, tenants[1]):
        waiting = submitted(desk, *map(register, tenants))
        await until(lambda: len(limits) == 1)
    await asyncio.gather(*waiting)

    assert limits[0] is not None
    assert 0 < limits[0] <= 1
    assert [len(await check(owner, each)) for each in tenants] == [2, 2]


async def test_held_one_after_the_other(
    config: Config, postgres: Embedded, tenant: str, owner: asyncpg.Connection, limits: list[float | None]
) -> None:
    """A turn's patience is for all its heads together, and not for each: it keeps none that it has from others."""
    assert config.database_url
    first, *others = tenants = sorted(f"{tenant}-{number}" for number in range(3))
    async with open_pool(config.database_url, size=6, timeout_s=60) as pool:
        desk = Desk(pool, timeout_s=20, together_s=0.3)
        await at_once(desk, *map(register, tenants))
        async with holding(postgres, others[0]):
            async with holding(postgres, first):
                waiting = submitted(desk, *map(register, tenants))
                await until(lambda: waits_for_heads(owner))
            # now it can have the first head, and not the second one, which nobody lets go of
            await waiting[0]
            assert not waiting[1].done()
            assert limits == [0.3]
        await asyncio.gather(*waiting)
        await desk.close()

    assert [len(await check(owner, each)) for each in tenants] == [2, 2, 2]


async def test_heads_that_cannot_be_opened(
    desk: Desk, postgres: Embedded, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new tenant can get no head, its caller is told so at once, and nobody else of the turn."""
    asked, held = 0, f"{tenant}-held"
    await desk.submit(register(held))

    async def fail(_conn: Any, _tenants: Any) -> None:
        nonlocal asked
        asked += 1
        raise asyncpg.DiskFullError

    with monkeypatch.context() as full:
        full.setattr(log, "open_heads", fail)
        async with holding(postgres, held):
            new, waiting = submitted(desk, register(tenant), register(held))
            with pytest.raises(DatabaseAway):
                await new
    await waiting

    assert asked == 1
    assert [len(await check(owner, each)) for each in (tenant, held)] == [0, 2]


async def test_same_id_twice(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """Of two registrations under one id in one turn, the first wins and the second is told so."""
    first, second = register(tenant, "first", "app-twice"), register(tenant, "second", "app-twice")

    outcomes = await at_once(desk, first, second)

    assert names(outcomes) == ["first", ClientExists.__name__]
    assert [record.event_id for record in await check(owner, tenant)] == [first.event_id]


async def test_clone_of_a_newborn(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """A command sees what those before it in its turn decided: a client may be cloned in the turn that made it."""
    born = register(tenant)
    child = clone(tenant, born.reads)

    outcomes = await at_once(desk, born, child, clone(tenant, child.client_id))

    assert names(outcomes) == ["My Application", "My Application (clone)", "My Application (clone) (clone)"]
    await check(owner, tenant)
    assert await turns(owner, tenant) == [3]


async def test_line_is_bounded(pool: asyncpg.Pool, tenant: str, owner: asyncpg.Connection) -> None:
    """Who finds the line full is told at once when to come back; those in it are served, and then there is room."""
    desk = Desk(pool, timeout_s=5, line_limit=3)

    outcomes = await at_once(desk, *(register(tenant) for _ in range(5)))

    assert names(outcomes) == ["My Application"] * 3 + ["LineFull"] * 2
    assert [outcome.headers["Retry-After"] for outcome in outcomes if isinstance(outcome, LineFull)] == ["1"] * 2
    assert names(await at_once(desk, register(tenant))) == ["My Application"]
    assert len(await check(owner, tenant)) == 4


async def test_expired_commands(pool: asyncpg.Pool, tenant: str, owner: asyncpg.Connection) -> None:
    """A command whose caller was told that nothing was changed is not executed when the way is free again."""
    desk = Desk(pool, timeout_s=0.4)
    await desk.submit(register(tenant))
    async with owner.transaction():
        await log.lock(owner, [tenant], wait=True)
        expired = [asyncio.create_task(desk.submit(register(tenant))) for _ in range(3)]
        await asyncio.wait(expired, return_when=asyncio.FIRST_COMPLETED)
        expired += [asyncio.create_task(desk.submit(register(tenant))) for _ in range(3)]
        outcomes = await asyncio.gather(*expired, return_exceptions=True)

    later = register(tenant)
    await desk.submit(later)

    assert names(outcomes) == [DatabaseAway.__name__] * 6
    await desk.close()
    assert [record.event_id for record in (await check(owner, tenant))[1:]] == [later.event_id]


async def test_close(pool: asyncpg.Pool, tenant: str, owner: asyncpg.Connection) -> None:
    """Closing answers all that wait, those held up by others included."""
    desk = Desk(pool, timeout_s=5)
    await desk.submit(register(tenant))
    transaction = owner.transaction()
    await transaction.start()
    await log.lock(owner, [tenant], wait=True)
    waiting = [asyncio.create_task(desk.submit(register(tenant))) for _ in range(3)]
    other = await desk.submit(register(f"{tenant}-other"))

    closing = asyncio.create_task(desk.close())
    await transaction.commit()
    await closing

    assert other.version == 1
    assert [task.result().version for task in waiting] == [1] * 3
    assert len(await check(owner, tenant)) == 4


async def test_what_is_answered(desk: Desk, tenant: str, owner: asyncpg.Connection) -> None:
    """The answer is the row as the database has it."""
    client = await desk.submit(register(tenant, 'a "name" \N{PILE OF POO}'))

    row: Any = await owner.fetchrow("select * from clients where tenant_id = $1", tenant)
    assert msgspec.json.decode(row["state"], type=Client) == client
    assert (row["name"], row["status"], row["version"]) == (client.settings.name, "active", 1)
