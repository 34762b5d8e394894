"""Clients by id: who asks while a statement is on its way shares the next one, and gets what was committed by then."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import asyncpg
import pytest

from events.errors import DatabaseAway
from events.log import Conn
from projections import clients
from projections.clients import Client
from service.embedded import Embedded
from service.lookup import Lookup
from tests.planting import plant
from tests.waiting import until

Key = tuple[str, str]


@pytest.fixture
async def pool(postgres: Embedded) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(postgres.url("mitosis_service"), min_size=0, max_size=5) as pool:
        yield pool


@pytest.fixture
async def lookup(pool: asyncpg.Pool) -> AsyncIterator[Lookup]:
    lookup = Lookup(pool, timeout_s=5)
    yield lookup
    await lookup.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[set[Key]]:
    """What each statement asked for."""
    seen, load = list[set[Key]](), clients.load

    async def counted(conn: Conn, keys: Iterable[Key]) -> dict[Key, Client]:
        seen.append(set(keys))
        return await load(conn, seen[-1])

    monkeypatch.setattr(clients, "load", counted)
    return seen


async def test_together(owner: asyncpg.Connection, lookup: Lookup, statements: list[set[Key]], tenant: str) -> None:
    """A hundred who ask at once need three statements at most: one for the first, one each for all the others."""
    planted = [await plant(owner, tenant) for _ in range(10)]

    found = await asyncio.gather(
        *(lookup.find(tenant, planted[number % 10].client_id, limit_s=5) for number in range(100))
    )

    assert found == planted * 10
    assert len(statements) <= 3


async def test_of_the_tenant_alone(
    owner: asyncpg.Connection, lookup: Lookup, statements: list[set[Key]], tenant: str
) -> None:
    """In one statement as in several, nobody is given another tenant's client."""
    mine, theirs = await plant(owner, tenant), await plant(owner, f"{tenant}-other")

    def asked(tenant_id: str, client: Client) -> Any:
        return lookup.find(tenant_id, client.client_id, limit_s=5)

    found = await asyncio.gather(
        *(asked(tenant, mine), asked(tenant, theirs), asked(f"{tenant}-other", mine), asked(f"{tenant}-other", theirs)),
        lookup.find(tenant, "app-never", limit_s=5),
    )

    assert list(found) == [mine, None, None, theirs, None]
    assert max(len(keys) for keys in statements) > 1


async def test_as_it_was_committed(owner: asyncpg.Connection, lookup: Lookup, tenant: str) -> None:
    """What was committed before somebody asks is found, however many statements are on their way."""
    for _ in range(20):
        others = [asyncio.create_task(lookup.find(tenant, "app-never", limit_s=5)) for _ in range(3)]
        await asyncio.sleep(0)
        client = await plant(owner, tenant)
        assert await lookup.find(tenant, client.client_id, limit_s=5) == client
        await asyncio.gather(*others)


async def test_asked_again_as_all_statements_end(
    owner: asyncpg.Connection, lookup: Lookup, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again at the moment at which all statements end is answered, though nobody else asks any more."""
    client = await plant(owner, tenant)
    gate, held = asyncio.Event(), 0

    async def gated(_conn: Conn, keys: Iterable[Key]) -> dict[Key, Client]:
        nonlocal held
        held += 1
        await gate.wait()
        return dict.fromkeys(keys, client)

    async def twice() -> Client | None:
        await lookup.find(tenant, client.client_id, limit_s=5)
        return await lookup.find(tenant, client.client_id, limit_s=5)

    monkeypatch.setattr(clients, "load", gated)
    first = asyncio.create_task(twice())
    await until(lambda: held == 1)
    second = asyncio.create_task(lookup.find(tenant, client.client_id, limit_s=5))
    await until(lambda: held == 2)
    gate.set()

    assert tuple(await asyncio.gather(first, second)) == (client, client)


async def test_a_database_that_does_not_answer(
    owner: asyncpg.Connection, pool: asyncpg.Pool, lookup: Lookup, tenant: str
) -> None:
    """Each waits for no longer than he has said, and who asks later is answered when it is back."""
    client = await plant(owner, tenant)
    held = [await pool.acquire() for _ in range(5)]

    asked = [lookup.find(tenant, client.client_id, limit_s=0.1) for _ in range(3)]
    assert all(isinstance(error, DatabaseAway) for error in await asyncio.gather(*asked, return_exceptions=True))
    for connection in held:
        await pool.release(connection)

    assert await lookup.find(tenant, client.client_id, limit_s=5) == client


async def test_a_row_that_cannot_be_read(owner: asyncpg.Connection, lookup: Lookup, tenant: str) -> None:
    """It fails whoever asks for that client, and nobody who asks for another at the same moment."""
    sound, broken = await plant(owner, tenant), await plant(owner, tenant)
    spoil = "update clients set state = jsonb_set(state::jsonb, '{settings,scopes}', '5')::json where client_id = $1"
    await owner.execute(spoil, broken.client_id)

    asked = [lookup.find(tenant, one.client_id, limit_s=5) for one in (sound, broken, sound, broken) * 2]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert outcomes[::2] == [sound] * 4
    failures = outcomes[1::2]
    assert all(isinstance(one, Exception) and not isinstance(one, DatabaseAway) for one in failures)
    assert len(set(map(id, failures))) == 4


async def test_no_time_left(owner: asyncpg.Connection, lookup: Lookup, tenant: str) -> None:
    """Whose time is over before anything was asked is told that, and not that there is no such client."""
    client = await plant(owner, tenant)

    with pytest.raises(DatabaseAway):
        await lookup.find(tenant, client.client_id, limit_s=0)


async def test_a_statement_is_not_longer_than_who_waits(
    lookup: Lookup, tenant: str, monkeypatch: pytest.MonkeyPatch, owner: asyncpg.Connection
) -> None:
    """A statement that hangs ends when nobody waits for it any more: whoever asks next does not wait behind it."""
    client = await plant(owner, tenant)

    async def endless(conn: Conn, _keys: Iterable[Key]) -> dict[Key, Client]:
        await conn.execute("select pg_sleep(60)")
        raise AssertionError

    with monkeypatch.context() as hanging:
        hanging.setattr(clients, "load", endless)
        asked = [asyncio.create_task(lookup.find(tenant, client.client_id, limit_s=0.2)) for _ in range(2)]
        for task in asked:
            with pytest.raises(DatabaseAway):
                await task

    assert await lookup.find(tenant, client.client_id, limit_s=2) == client


async def test_a_statement_that_fails(
    lookup: Lookup, tenant: str, monkeypatch: pytest.MonkeyPatch, owner: asyncpg.Connection
) -> None:
    """It fails for all who shared it, and for nobody else; who gave up meanwhile is in nobody's way."""
    client = await plant(owner, tenant)

    async def failing(_conn: Conn, _keys: Iterable[Key]) -> dict[Key, Client]:
        raise ConnectionResetError

    with monkeypatch.context() as broken:
        broken.setattr(clients, "load", failing)
        asked = [asyncio.create_task(lookup.find(tenant, client.client_id, limit_s=5)) for _ in range(5)]
        await asyncio.sleep(0)
        asked[0].cancel()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert all(isinstance(outcome, DatabaseAway) for outcome in outcomes[1:])
    assert await lookup.find(tenant, client.client_id, limit_s=5) == client
