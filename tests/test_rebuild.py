"""`mitosis replay rebuild`: the clients are the fold of their log, and are made so again whatever befell them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.errors import LogDamaged
from events.log import Conn
from events.record import Actor
from projections import rebuild, shadow
from projections.clients import Client
from projections.outcome import Outcome
from service import tenancy
from service.database import OPERATOR_ROLE
from service.embedded import Embedded
from tests.callers import Api
from tests.commands import Mitosis
from tests.conftest import own_database
from tests.damage import Log, altered, rechained, written
from tests.laws import check
from tests.planting import plant, tampered
from tests.rebuilding import MISHAPS, SURPLUS, Replay, append, befall, dump, grow, nothing, writers
from tests.waiting import until

CLIENTS = "/admin/oauth/clients/"


@pytest.fixture
def replay(mitosis: Mitosis, tenant: str) -> Replay:
    return Replay(mitosis, tenant)


@pytest.fixture
async def operator(postgres: Embedded) -> AsyncIterator[asyncpg.Connection]:
    """A session as the command opens it."""
    connection = await asyncpg.connect(postgres.url("postgres"), server_settings={"role": OPERATOR_ROLE})
    yield connection
    await connection.close()


async def registered(api: Api, count: int) -> list[str]:
    """The ids of some new clients."""
    return [str((await api.register())["client_id"]) for _ in range(count)]


async def frozen_and_thawed(owner: Conn, tenant: str) -> None:
    """Two records about the tenant as a whole."""
    actor = Actor(subject="eve", role="operator", request_id="r")
    await tenancy.freeze(owner, tenant, None, actor)
    await tenancy.thaw(owner, tenant, actor)


# ------------------------------------------------------------------------------------------------------ what is mended


async def test_nothing_differs(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """What the service writes is the fold of what it appends: there is nothing to mend, and nothing is."""
    (source,) = await registered(api, 1)
    await api.post(f"{CLIENTS}{source}/rotate-secret")
    await api.put(CLIENTS + source, json={"name": "STRASSE ß", "status": "suspended"})
    await api.clone(source)
    await api.delete(CLIENTS + source)
    records = await check(owner, tenant)
    before = await dump(owner, tenant)

    checked, rebuilt = await replay.outcome("--check"), await replay.outcome()

    for outcome in (checked, rebuilt):
        assert (outcome["position"], outcome["clients"], outcome["differing"]) == (len(records), 2, 0)
        assert outcome["differences"] == []
    assert await dump(owner, tenant) == before
    assert "every client is what its events say" in (await replay()).out


async def test_every_difference(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """Rows that are missing, too many or altered are named by client and field, and then are as they were."""
    whole, *victims = await registered(api, 1 + len(MISHAPS))
    right = (await dump(owner, tenant))["clients"]
    for client_id, what in zip(victims, MISHAPS, strict=True):
        await befall(owner, tenant, client_id, what)
    await owner.execute(SURPLUS, tenant)

    checked, rebuilt = await replay.outcome("--check", status=4), await replay.outcome()

    expected = {
        client_id: (mishap.kind, [*mishap.fields]) for client_id, mishap in zip(victims, MISHAPS.values(), strict=True)
    }
    for outcome in (checked, rebuilt):
        assert outcome["differing"] == len(MISHAPS) + 1
        found = {one["client_id"]: (one["kind"], one["fields"]) for one in outcome["differences"]}
        assert found == {**expected, "app-never": ("surplus", [])}
    await check(owner, tenant)
    mended = (await dump(owner, tenant))["clients"]
    assert [row[1:] for row in mended] == [row[1:] for row in right]
    assert {row[2] for row in mended if row in right} == {whole}, "a row that did not differ was written"
    assert (await replay.outcome("--check"))["differing"] == 0


async def test_what_people_read(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """People are told the same in lines, and what it comes to in the last one."""
    one, other = await registered(api, 2)
    await befall(owner, tenant, one, "removed")
    await befall(owner, tenant, other, "ruined")

    said = await replay()

    assert said.status == 0
    assert said.lines[:3] == [
        f"{tenant}: 2 clients differed and were replaced",
        f"  missing  {one}",
        f"  altered  {other}  secrets, updated_at, name_folded",
    ]
    assert said.lines[3].startswith("1 tenant, 2 records, 2 clients in ")
    assert "2 clients differed and were replaced; writers waited" in said.lines[3]
    assert len(said.lines) == 4


async def test_old_rows(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """What was replaced is kept as it was, until the next rebuild or until it is told to go."""
    rows = "select client_id, state, name_folded from {} where tenant_id = $1 order by client_id"
    kept = rows.format("clients_replaced")
    one, other = await registered(api, 2)
    await befall(owner, tenant, one, "removed")
    await befall(owner, tenant, other, "ruined")
    await owner.execute(SURPLUS, tenant)
    before = await owner.fetch(rows.format("clients"), tenant)

    await replay()

    old = {row["client_id"]: row for row in await owner.fetch(kept, tenant)}
    assert (old.pop(one)["state"], len(old)) == (None, 2)
    assert list(old.values()) == before
    await befall(owner, tenant, one, "renamed")
    await replay()
    assert [row["client_id"] for row in await owner.fetch(kept, tenant)] == [one]
    await replay()
    assert await owner.fetch(kept, tenant) == []
    await check(owner, tenant)


async def test_old_rows_are_discarded(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """What was replaced goes when it is told to, and nothing else is done."""
    one, other = await registered(api, 2)
    await befall(owner, tenant, one, "removed")
    await replay()
    await befall(owner, tenant, other, "removed")
    before = await dump(owner, tenant)

    assert (await replay("--discard-old", "--dry-run")).lines == [f"{tenant}: 1", "1 replaced row would be discarded."]
    assert await dump(owner, tenant) == before
    told = await replay.report("--discard-old")

    assert told == {"act": "discard", "rows": 1, "tenants": {tenant: 1}}
    assert await dump(owner, tenant) == {**before, "clients_replaced": []}
    assert (await replay("--discard-old")).lines == ["0 replaced rows were discarded."]


@pytest.mark.parametrize("argument", ["--check", "--dry-run"])
async def test_looking_changes_nothing(
    api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay, argument: str
) -> None:
    """To check, or to try, leaves every row as it is, down to who wrote it."""
    for client_id, what in zip(await registered(api, len(MISHAPS)), MISHAPS, strict=True):
        await befall(owner, tenant, client_id, what)
    before = await dump(owner, tenant)

    said = await replay(argument)

    assert said.status == (4 if argument == "--check" else 0)
    assert len(said.lines) == len(MISHAPS) + 2
    assert await dump(owner, tenant) == before


async def test_many_differences(
    owner: asyncpg.Connection, tenant: str, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows differ, all are mended, some at a time; a hundred are named and the rest is counted."""
    monkeypatch.setattr(rebuild, "AT_ONCE", 100)
    monkeypatch.setattr(shadow, "_COMPARED", 70)
    monkeypatch.setattr("projections.folding.BATCH", 7)
    monkeypatch.setattr("projections.checking.BATCH", 9)
    await grow(owner, tenant, [client for _ in range(3) for client in range(500)])
    for statement in (
        "update clients set name_folded = client_id where tenant_id = $1",
        "delete from clients where tenant_id = $1 and client_id like '%7'",
        "update clients set client_id = client_id || '~' where tenant_id = $1 and client_id like '%3'",
    ):
        await owner.execute(statement, tenant)

    for arguments, status in ((["--check"], 4), ([], 0)):
        outcome = await replay.outcome(*arguments, status=status)
        assert (outcome["differing"], len(outcome["differences"]), outcome["clients"]) == (550, 100, 500)

    await check(owner, tenant)
    assert (await replay("--check")).status == 0
    await owner.execute("delete from clients where tenant_id = $1", tenant)
    assert (await replay()).lines[101] == "  and 400 more"
    await check(owner, tenant)


async def test_all_tenants(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> None:
    """Where no tenant is named it is all of them, those included that have clients and no log."""
    async with own_database(postgres, binaries) as name:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        for tenant in ("acme", "globex", "initech"):
            await plant(owner, tenant)
        await owner.execute("update clients set tenant_id = 'hooli' where tenant_id = 'acme'")
        await owner.execute("delete from clients where tenant_id = 'initech'")

        checked = await mitosis("replay", "rebuild", "--check", "--json", MITOSIS_DATABASE_URL=url)
        said = await mitosis("replay", "rebuild", MITOSIS_DATABASE_URL=url)
        again = await mitosis("replay", "rebuild", "--check", MITOSIS_DATABASE_URL=url)
        kept = await owner.fetch("select tenant_id, state is null as is_new from clients_replaced order by tenant_id")
        await owner.close()

    assert (checked.status, said.status, again.status) == (4, 0, 0)
    tenants = json.loads(checked.out)["tenants"]
    kinds = {one["tenant_id"]: [each["kind"] for each in one["differences"]] for one in tenants}
    assert kinds == {"acme": ["missing"], "globex": [], "hooli": ["surplus"], "initech": ["missing"]}
    assert [tuple(row) for row in kept] == [("acme", True), ("hooli", False), ("initech", True)]


async def test_unknown_tenant(api: Api, tenant: str, replay: Replay) -> None:
    """A tenant that is not there is an error, and not one in which nothing differs."""
    await api.register()

    said = await replay("--check", tenants=[tenant, "nowhere"])

    assert (said.status, said.out, said.err) == (1, "", "mitosis: there is no tenant nowhere\n")


# ------------------------------------------------------------------------------------------------------ what is damaged


async def test_damaged_chain(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """A log that does not verify stops its own tenant, at its position, and no other."""
    *_, victim = await registered(api, 3)
    await befall(owner, tenant, victim, "removed")
    other = f"{tenant}-other"
    await befall(owner, other, (await plant(owner, other)).client_id, "removed")
    forgery = "update events set body = replace(body::text, 'My', 'Our')::json where tenant_id = $1 and position = 2"

    async with tampered(owner, tenant, forgery):
        before = await dump(owner, tenant)
        report = await replay.report(status=3, tenants=[tenant, other])
        checked = await replay("--check")
        after = await dump(owner, tenant)

    damaged, mended = report["tenants"]
    assert (report["damaged"], report["differing"]) == (1, 1)
    assert damaged["damage"]["position"] == 2
    assert damaged["damage"]["message"].startswith(f"position 2 of tenant {tenant}: altered. ")
    assert after == before
    assert (mended["tenant_id"], mended["differing"], mended["damage"]) == (other, 1, None)
    await check(owner, other)
    assert checked.status == 3
    assert checked.lines[0].startswith(f"{tenant}: DAMAGED, nothing was done. position 2 of tenant {tenant}: altered.")


def with_body(log: Log, position: int, old: bytes, new: bytes) -> Log:
    """A log that was written with other words at *position*, and verifies."""
    log = list(log)
    assert old in log[position - 1].body
    log[position - 1] = log[position - 1]._replace(body=log[position - 1].body.replace(old, new))
    return rechained(log, position)


NO_FOLD: dict[str, tuple[int, str, Callable[[Log], Log]]] = {
    "out of order": (
        3,
        "ClientSuspended as version 7 of app-0 cannot follow version 1",
        lambda log: rechained([*log[:2], altered(log[2], client_version=7), *log[3:]], 3),
    ),
    "an unknown type": (3, "ClientEaten", lambda log: with_body(log, 3, b"ClientSuspended", b"ClientEaten")),
    "a newer version": (
        4,
        "its schema version is 2",
        lambda log: with_body(log, 4, b'"schema_version":1', b'"schema_version":2'),
    ),
    "of no client": (4, "ClientReactivated of no client", lambda log: with_body(log, 4, b'"client_id":"app-0",', b"")),
    "of a number": (4, "client_id", lambda log: with_body(log, 4, b'"client_id":"app-0"', b'"client_id":7')),
}


@pytest.mark.parametrize("reason", NO_FOLD)
async def test_no_fold(owner: asyncpg.Connection, tenant: str, replay: Replay, reason: str) -> None:
    """A chain that verifies may still hold what no fold understands: an error with its position, and no guess."""
    position, message, edit = NO_FOLD[reason]
    await append(owner, tenant, edit(written([0, 1, 0, 0, 1], tenant)))
    before = await dump(owner, tenant)

    for arguments in ([], ["--check"]):
        damage = (await replay.outcome(*arguments, status=3))["damage"]
        assert damage["position"] == position
        assert damage["message"].startswith(f"position {position} of tenant {tenant}: ")
        assert message in damage["message"]

    assert await dump(owner, tenant) == before


async def test_damage_in_the_gap(
    owner: asyncpg.Connection, operator: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended meanwhile is verified like the rest; where it is damaged, nothing is replaced."""
    entries = written([0, 1, 0, 1, 0], tenant)
    await append(owner, tenant, entries[:2])
    before = await dump(owner, tenant)
    forged = [*entries[2:4], entries[4]._replace(digest=bytes(32))]

    with pytest.raises(LogDamaged, match="position 5 of tenant") as damage:
        await rebuild_while(operator, tenant, append(owner, tenant, forged), monkeypatch)

    assert damage.value.position == 5
    assert await dump(owner, tenant) == before


# -------------------------------------------------------------------------------------------------- while others write


async def rebuild_while(
    conn: Conn, tenant: str, happening: Awaitable[None], monkeypatch: pytest.MonkeyPatch
) -> Outcome:
    """A rebuild after whose snapshot of the log, and before whose end, something happens."""
    clear = shadow.clear

    async def and_then(conn: Conn, tenant_id: str) -> int:
        monkeypatch.setattr(shadow, "clear", clear)
        await happening
        return await clear(conn, tenant_id)

    monkeypatch.setattr(shadow, "clear", and_then)
    return await rebuild.rebuild(conn, tenant, nothing)


async def test_gap(
    api: Api, owner: asyncpg.Connection, operator: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens while the log is read counts: to clients that differ, to those that do not, and to new ones."""
    one, other, third = await registered(api, 3)
    await befall(owner, tenant, other, "removed")

    async def happen() -> None:
        for client_id in (one, third):
            assert (await api.put(CLIENTS + client_id, json={"status": "suspended"})).status == 200
        await api.delete(CLIENTS + third)
        await api.clone(one)
        await frozen_and_thawed(owner, tenant)
        await befall(owner, tenant, one, "folded wrongly")

    outcome = await rebuild_while(operator, tenant, happen(), monkeypatch)

    assert {each.client_id: each.kind for each in outcome.differences} == {one: "altered", other: "missing"}
    assert (outcome.position, outcome.clients) == (9, 4)
    assert len(await check(owner, tenant)) == 9


async def test_records_of_the_tenant(api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay) -> None:
    """What happened to the tenant as a whole changes no client."""
    (client_id,) = await registered(api, 1)
    await frozen_and_thawed(owner, tenant)
    await befall(owner, tenant, client_id, "removed")

    outcome = await replay.outcome()

    assert (outcome["position"], outcome["clients"], outcome["differing"]) == (3, 1, 1)
    await check(owner, tenant)


async def test_under_load(
    api: Api, owner: asyncpg.Connection, tenant: str, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers go on while it rebuilds, none is refused, and what they write is what the table has."""
    monkeypatch.setattr(rebuild, "AT_ONCE", 20)
    monkeypatch.setattr(rebuild, "BATCH", 10)
    monkeypatch.setattr(shadow, "_COMPARED", 10)
    source, *victims = await registered(api, 30)

    async with writers(api, source) as statuses:
        for _ in range(4):
            for number, client_id in enumerate(victims):
                await befall(owner, tenant, client_id, ("renamed", "folded wrongly", "removed")[number % 3])
            goal = len(statuses) + 10
            outcome = await replay.outcome()
            assert {each["client_id"] for each in outcome["differences"]} == {*victims}
            assert outcome["held_s"] < 1
            await until(lambda goal=goal: len(statuses) > goal)  # type: ignore[misc]

    assert {*statuses} == {200, 201}
    assert len(await check(owner, tenant)) == len(statuses) + 30
    assert (await replay("--check")).status == 0


async def test_checked_under_load(api: Api, tenant: str, replay: Replay) -> None:
    """A check is of one moment: while callers write nothing differs, not for that moment."""
    (source,) = await registered(api, 1)

    async with writers(api, source):
        for _ in range(5):
            assert (await replay.outcome("--check"))["differing"] == 0


async def test_two_at_once(
    owner: asyncpg.Connection,
    operator: asyncpg.Connection,
    tenant: str,
    replay: Replay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenant is rebuilt by one at a time: the second waits, and gives up after a while."""
    await befall(owner, tenant, (await plant(owner, tenant)).client_id, "removed")
    waiting = list[Any]()

    async def second_and_third() -> None:
        waiting.append(asyncio.create_task(rebuild.rebuild(owner, tenant, nothing)))
        await asyncio.sleep(0.1)
        assert not waiting[0].done()
        monkeypatch.setattr(rebuild, "_PATIENCE", "set local lock_timeout = '10ms'")
        said = await replay()
        assert (said.status, said.out) == (1, "")
        assert f"mitosis: another process rebuilds tenant {tenant}\n" in said.err

    first = await rebuild_while(operator, tenant, second_and_third(), monkeypatch)

    assert (first.differing, (await waiting[0]).differing) == (1, 0)
    await check(owner, tenant)


async def test_database_goes_away(
    owner: asyncpg.Connection, postgres: Embedded, tenant: str, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database goes away there is one line that says so, and every row is as it was."""
    await befall(owner, tenant, (await plant(owner, tenant)).client_id, "removed")
    before = await dump(owner, tenant)
    write = shadow.write

    async def cut_off(conn: Conn, clients: Sequence[Client]) -> None:
        await write(conn, clients)
        other = await asyncpg.connect(postgres.url("postgres"))
        await other.execute("select pg_terminate_backend($1)", conn.get_server_pid())
        await other.close()

    monkeypatch.setattr(shadow, "write", cut_off)
    said = await replay()

    assert (said.status, said.out) == (1, "")
    assert said.err.splitlines()[0].startswith("mitosis: stopped after 0 of 1 tenants;")
    assert " went away: " in said.err.splitlines()[1]
    assert await dump(owner, tenant) == before
    monkeypatch.undo()
    assert (await replay()).status == 0
    await check(owner, tenant)


# ------------------------------------------------------------------------------------------------------------ the role

FORBIDDEN = [
    "select private from events where tenant_id = $1",
    "update events set body = body where tenant_id = $1",
    "delete from events where tenant_id = $1",
    "insert into events select * from events where tenant_id = $1",
    "update heads set position = position + 1 where tenant_id = $1",
    "update heads set time = now() where tenant_id = $1",
    "delete from heads where tenant_id = $1",
    "select * from receipts where tenant_id = $1",
    "select * from secret_usage where tenant_id = $1",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_role_may_nothing_else(api: Api, operator: asyncpg.Connection, tenant: str, statement: str) -> None:
    """Whoever rebuilds reads the log and writes clients, and neither sees a private part nor moves a head."""
    await api.register()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await operator.execute(statement, tenant)


async def test_the_role_moves_no_head(api: Api, operator: asyncpg.Connection, tenant: str) -> None:
    """The one column of a head that it may write, so that it may lock one, stays what it is."""
    await api.register()

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="a head only moves forward"):
        await operator.execute("update heads set tenant_id = 'other' where tenant_id = $1", tenant)
