"""Moving a tenant from one database to another: nothing is lost, nothing happens twice, and it can be called off."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from events import checkpoints
from events.record import Actor
from events.tenant import TenantArrived, TenantFrozen, TenantMoved, TenantThawed
from service import tenancy
from service.audit.verifying import verify
from service.authentication.usage import read as last_uses
from service.cli import main
from service.config import Config
from service.dsn import called
from service.embedded import Embedded
from service.moving import belongings, move
from service.moving.journey import Journey
from service.moving.move import Move
from tests.callers import EXAMPLE, Api, Reply
from tests.commands import Mitosis
from tests.keys import claims, key_set, new_key, presented, signed
from tests.laws import check
from tests.movers import SHORT_S, Side, Sides, consuming, cut, have_moved, kept, meet, side, told
from tests.planting import defenceless, plant, tampered
from tests.streams import following
from tests.test_authenticate import authenticate, post, secret_client
from tests.waiting import until

CLIENTS = "/admin/oauth/clients/"
ACTOR = Actor(subject="somebody", role="operator", request_id="tests")


@pytest.fixture(scope="module")
async def source(postgres: Embedded, binaries: Path | None, config: Config) -> AsyncIterator[Side]:
    async with side(postgres, binaries, config) as made:
        yield made


@pytest.fixture(scope="module")
async def target(postgres: Embedded, binaries: Path | None, config: Config) -> AsyncIterator[Side]:
    async with side(postgres, binaries, config) as made:
        yield made


@pytest.fixture
async def sides(source: Side, target: Side, mitosis: Mitosis, tenant: str) -> AsyncIterator[Sides]:
    """Two databases with a service each, and a tenant that never was."""
    async with ClientSession() as session:
        yield Sides(source, target, mitosis, session, tenant)


async def write(api: Api) -> Reply:
    """What somebody is answered who registers a client."""
    return await api.post(CLIENTS, json=EXAMPLE)


async def test_moved(sides: Sides, config: Config) -> None:
    """All that a tenant has is there afterwards, to the byte; heads are equal, and those that were kept still hold."""
    client = await secret_client(sides.here)
    clone = (await sides.here.clone(client["client_id"])).data
    await sides.here.put(CLIENTS + client["client_id"], json={"name": "renamed"})
    gone = await sides.here.register()
    await sides.here.delete(CLIENTS + gone["client_id"])
    head = (await sides.here.get("/admin/audit/head")).data["head"]

    said = await sides.move("--json", "--subject", "ops@acme")

    assert said.status == 0, said.err
    records = await sides.moved()
    old = await sides.source.head(sides.tenant)
    frozen_s = told(said)["frozen_s"]
    assert (told(said)["position"], told(said)["digest"]) == (old.position, old.digest.hex())
    assert 0 < frozen_s < SHORT_S
    assert (await verify(sides.target.owner, sides.tenant, kept(config, [head]))).is_whole
    frozen, moved, arrived = records[-3:]
    assert isinstance(frozen.data, TenantFrozen)
    assert moved.data == TenantMoved(to=told(said)["to"], address=sides.target.address)
    assert arrived.data == TenantArrived(source=told(said)["from"])
    assert {(record.actor.subject, record.actor.role) for record in records[-3:]} == {("ops@acme", "mover")}
    assert (
        await authenticate(sides.there, sides.tenant, post(clone["client_id"], clone["client_secret"]))
    ).status == 200
    names = [each["name"] for each in (await sides.there.get(CLIENTS)).body["items"]]
    assert sorted(names) == sorted(each["name"] for each in (await sides.here.get(CLIENTS)).body["items"])


async def test_who_is_sent_on(sides: Sides) -> None:
    """Whoever would change a tenant that has moved is told where it is, and finds it there; reads go on at both."""
    client = await sides.here.register()
    assert (await sides.move()).status == 0

    refused = await write(sides.here)
    read = await sides.here.get(CLIENTS + client["client_id"])
    logs = await sides.here.get("/admin/audit/logs")
    followed = await sides.there.put(CLIENTS + client["client_id"], json={"name": "at the target"})

    assert (refused.status, refused.body["code"]) == (421, 421001)
    assert refused.headers["Location"] == sides.target.address
    assert (read.status, read.data["name"]) == (200, client["name"])
    assert [entry["action"] for entry in logs.body["items"]][:2] == ["TenantMoved", "TenantFrozen"]
    assert (followed.status, followed.data["name"]) == (200, "at the target")
    await sides.moved()
    assert (await sides.here.get(CLIENTS + client["client_id"])).data["name"] == client["name"]


async def test_what_is_old_refuses_nothing(sides: Sides) -> None:
    """What the source has kept of a tenant that has moved says neither that a client is not there, nor who one is."""
    client = await secret_client(sides.here)
    assert (await sides.move()).status == 0
    later = (await sides.there.register())["client_id"]
    await sides.there.post(f"{CLIENTS}{client['client_id']}/rotate-secret")

    presented = post(client["client_id"], client["client_secret"])
    for refused in (
        await sides.here.clone(later),
        await sides.here.post(f"{CLIENTS}{later}/clone?dry_run=true"),
        await sides.here.post(f"{CLIENTS}{later}/clone?as_of=1"),
        await sides.here.post(f"{CLIENTS}{later}/rotate-secret"),
        await sides.here.post(f"{CLIENTS}{later}/secrets"),
        await sides.here.post(f"{CLIENTS}{client['client_id']}/clone", headers={"If-Match": '"7"'}),
        await authenticate(sides.here, sides.tenant, presented),
    ):
        assert (refused.status, refused.body["code"]) == (421, 421001)
        assert refused.headers["Location"] == sides.target.address
    assert (await authenticate(sides.there, sides.tenant, presented)).status == 200


async def test_without_an_address(sides: Sides) -> None:
    """Where nobody said an address, none is made up."""
    await sides.here.register()
    assert (await sides.command("move", sides.tenant, "--to", sides.target.url)).status == 0

    refused = await write(sides.here)

    assert refused.status == 421
    assert "Location" not in refused.headers


# ----------------------------------------------------------------------------------------------------- what comes along


async def test_a_retry_at_the_target(sides: Sides) -> None:
    """A request whose answer was lost at the source is answered at the target as it was there, and happened once."""
    key = {"Idempotency-Key": str(uuid4())}
    first = await sides.here.post(CLIENTS, json=EXAMPLE, headers=key)
    assert (await sides.move()).status == 0

    again = [await api.post(CLIENTS, json=EXAMPLE, headers=key) for api in (sides.here, sides.there)]

    assert [reply.status for reply in again] == [201, 201]
    assert all(reply.body == first.body for reply in again)
    assert all(reply.headers["Idempotency-Replayed"] == "true" for reply in again)
    assert len(await sides.moved()) == 4


async def test_receipts_that_are_written_meanwhile(sides: Sides) -> None:
    """Only new receipts are carried amid the freeze; those that end sooner than others come as well, at the end."""
    await sides.here.register()
    journey = Journey(sides.tenant, sides.source.owner, sides.target.owner, "", "", ACTOR)

    async def there() -> list[str]:
        rows = await sides.target.owner.fetch(
            "select answer from receipts where tenant_id = $1 order by 1", sides.tenant
        )
        return [row["answer"].decode() for row in rows]

    async def write_down(name: str, hours: int) -> None:
        insert = "insert into receipts values ($1, sha256($2), sha256(''), $2, now() + $3 * interval '1 hour')"
        await sides.source.owner.execute(insert, sides.tenant, name.encode(), hours)

    await write_down("a", 24)
    first = await belongings.carry(journey)
    await write_down("b", 24)
    second = await belongings.carry(journey, first)
    await sides.target.owner.execute("delete from receipts where tenant_id = $1", sides.tenant)
    await write_down("c", 24)
    await write_down("d", 1)

    await belongings.carry(journey, second)
    assert await there() == ["c"]
    await belongings.carry_rest(journey, first)
    assert await there() == ["b", "c", "d"]


async def test_a_used_assertion(sides: Sides) -> None:
    """An assertion that was used at the source is used up at the target."""
    key = new_key()
    settings = {"fapi_profile": None, "jwks_uri": None, "client_auth_methods": ["private_key_jwt"]}
    client = await sides.here.register(**settings, jwks=key_set(key))
    used, fresh = (presented(signed(key, claims(client["client_id"]))) for _ in range(2))
    assert (await authenticate(sides.here, sides.tenant, used)).status == 200
    assert (await sides.move()).status == 0

    assert (await authenticate(sides.there, sides.tenant, used)).status == 401
    assert (await authenticate(sides.there, sides.tenant, fresh)).status == 200


async def test_last_uses(sides: Sides) -> None:
    """When a secret was last used comes along, and what is known better at the target stays."""
    old, new = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 2, tzinfo=UTC)
    client = await sides.here.register()
    insert = "insert into secret_usage values ($1, $2, $3, $4)"
    for owner, secret, time in (
        (sides.source.owner, "one", new),
        (sides.source.owner, "two", old),
        (sides.target.owner, "two", new),
    ):
        await owner.execute(insert, sides.tenant, client["client_id"], secret, time)

    assert (await sides.move()).status == 0

    assert await last_uses(sides.target.owner, sides.tenant, client["client_id"]) == {"one": new, "two": new}


async def test_erased_on_the_way(sides: Sides, mitosis: Mitosis) -> None:
    """A hash that was erased at the source after it was copied is erased at the target too, by who may."""
    kept_client, doomed = await secret_client(sides.here), await secret_client(sides.here)
    await sides.killed_at("carry")
    assert (await sides.target.head(sides.tenant)).position == 2
    await sides.here.delete(CLIENTS + doomed["client_id"])
    erased = await mitosis("clients", "erase-sealed", "--tenant", sides.tenant, MITOSIS_DATABASE_URL=sides.source.url)
    assert erased.status == 0

    assert (await sides.move()).status == 0

    private = "select private is not null as there from events where tenant_id = $1 order by position limit 2"
    assert [row["there"] for row in await sides.target.owner.fetch(private, sides.tenant)] == [True, False]
    await sides.moved()
    presented_secret = post(kept_client["client_id"], kept_client["client_secret"])
    assert (await authenticate(sides.there, sides.tenant, presented_secret)).status == 200


async def test_withheld(sides: Sides) -> None:
    """Which private parts never came to the source is known at the target."""
    await sides.here.register()
    record = (await check(sides.source.owner, sides.tenant))[0]
    await sides.source.owner.execute("insert into withheld values ($1, $2)", sides.tenant, record.event_id)
    async with defenceless(sides.source.owner):
        await sides.source.owner.execute("update events set private = null where tenant_id = $1", sides.tenant)

    assert (await sides.move()).status == 0

    rows = await sides.target.owner.fetch("select event_id from withheld where tenant_id = $1", sides.tenant)
    assert [row["event_id"] for row in rows] == [record.event_id]


# ------------------------------------------------------------------------------------------------------------ followers


async def test_readers_go_on(sides: Sides) -> None:
    """Who followed the log at the source goes on at the target behind the last record it has, and misses nothing."""
    for _ in range(3):
        await sides.here.register()
    async with following(sides.here, last_id="0") as stream:
        first = await stream.take(2)
    assert (await sides.move()).status == 0
    await sides.there.register()

    async with following(sides.there, last_id=first[-1].id) as stream:
        rest = await stream.take(5)

    assert [int(seen.id) for seen in (*first, *rest)] == [1, 2, 3, 4, 5, 6, 7]
    assert [seen.type for seen in rest] == [
        *("ClientRegistered", "TenantFrozen", "TenantMoved", "TenantArrived", "ClientRegistered"),
    ]


async def test_consumers_are_handed_over(sides: Sides) -> None:
    """A consumer that runs at both has each record once: up to the last one at the source, the rest at the target."""
    for _ in range(5):
        await sides.here.register()
    async with consuming(sides.source.url, "billing") as old, consuming(sides.target.url, "billing") as new:
        await until(lambda: len(old.positions(sides.tenant)) == 5)

        assert (await sides.move()).status == 0
        await sides.there.register()
        await until(lambda: new.positions(sides.tenant)[-1:] == [9])

        assert old.positions(sides.tenant) == [1, 2, 3, 4, 5, 6, 7]
        assert new.positions(sides.tenant) == [8, 9]
    (place,) = await sides.source.owner.fetch("select * from checkpoints where tenant_id = $1", sides.tenant)
    assert (place["position"], place["member"]) == (7, None)
    assert place["parked_because"].startswith("the tenant has moved to ")


async def test_a_consumer_that_is_behind(sides: Sides) -> None:
    """One that does not run goes on at the target where it stopped; one that is parked is parked there too."""
    for _ in range(3):
        await sides.here.register()
    owner = sides.source.owner
    for name, position in (("slow", 2), ("parked", 1)):
        (claim,) = await checkpoints.claim(owner, [sides.tenant], name, "gone", ["gone"])
        claim = await checkpoints.move(owner, name, claim, position)
        if name == "parked":
            await checkpoints.park(owner, name, claim, "ValueError: no")

    assert (await sides.move()).status == 0

    rows = await sides.target.owner.fetch(
        "select consumer, position, parked_because from checkpoints where tenant_id = $1 order by 1", sides.tenant
    )
    assert [tuple(row) for row in rows] == [("parked", 1, "ValueError: no"), ("slow", 2, None)]
    async with consuming(sides.target.url, "slow") as running:
        await until(lambda: running.positions(sides.tenant) == [3, 4, 5, 6])


# -------------------------------------------------------------------------------------------------- on its way and back


async def test_on_its_way(sides: Sides) -> None:
    """As long as a tenant is on its way it takes no changes at the target, and all of them at the source."""
    await sides.here.register()
    await sides.killed_at("carry")

    assert await sides.states() == ("open", "arriving")
    refused = await write(sides.there)
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, 503006, "1")
    assert (await write(sides.here)).status == 201
    assert (await sides.command("freeze", sides.tenant, side=sides.target)).status == 1
    assert (await sides.command("thaw", sides.tenant, side=sides.target)).status == 1
    consumer_places = "select count(*) from checkpoints where tenant_id = $1 and parked_at is null"
    assert await sides.target.owner.fetchval(consumer_places, sides.tenant) == 0


async def test_called_off(sides: Sides) -> None:
    """A move that was interrupted amid the freeze can be called off, without the target, and then made again."""
    await sides.here.register()
    await sides.killed_at("leave")
    assert await sides.states() == ("frozen", "arriving")
    assert (await write(sides.here)).body["code"] == 503006
    again = await sides.move()
    assert (again.status, again.err) == (
        1,
        f"mitosis: a move of tenant {sides.tenant} ended before it was done: say --resume or --abort\n",
    )

    off = await sides.command("move", sides.tenant, "--abort")
    nothing = await sides.command("move", sides.tenant, "--abort", "--json")

    assert (off.status, off.err) == (0, "")
    name = called(sides.source.url)
    assert told(nothing) == {"tenant_id": sides.tenant, "in": name, "was_frozen": False}
    assert await sides.states() == ("open", "arriving")
    await sides.here.register()
    kinds = [type(record.data) for record in await check(sides.source.owner, sides.tenant)]
    assert kinds[1:3] == [TenantFrozen, TenantThawed]
    assert (await sides.move()).status == 0
    assert len(await sides.moved()) == 7


async def test_resumed(sides: Sides) -> None:
    """A move that was interrupted while the tenant was frozen goes on; callers do not wait until it has caught up."""
    await sides.here.register()
    await sides.killed_at("leave")

    said = await sides.move("--resume", "--json")

    assert said.status == 0, said.err
    kinds = [type(record.data) for record in await sides.moved()]
    assert kinds[1:] == [TenantFrozen, TenantThawed, TenantFrozen, TenantMoved, TenantArrived]
    assert told(said)["frozen_s"] < SHORT_S


async def test_resumed_behind_the_last_step(sides: Sides) -> None:
    """Once the source has let go a move only goes on, and to nowhere else."""
    await sides.here.register()
    await sides.killed_at("arrive")
    assert await sides.states() == ("moved", "arriving")
    asked = [await authenticate(api, sides.tenant, post("app-one", "secret")) for api in (sides.here, sides.there)]
    assert [reply.body["code"] for reply in asked] == [421001, 503006]

    off = await sides.command("move", sides.tenant, "--abort")
    elsewhere = await sides.move("--resume", to=sides.source, side=sides.target)
    assert (off.status, elsewhere.status) == (1, 1)
    assert "cannot be called off" in off.err
    assert "arriving" in elsewhere.err
    assert (await sides.move()).status == 1
    said = await sides.move("--resume", "--json")

    assert (said.status, told(said)["frozen_s"]) == (0, None)
    assert len(await sides.moved()) == 4


async def test_moved_already(sides: Sides) -> None:
    """Moved again, it is said to be there; with --resume that is no mistake, and nothing is done twice."""
    await sides.here.register()
    await sides.move()

    again, resumed = await sides.move(), await sides.move("--resume")

    assert (again.status, "has moved" in again.err) == (1, True)
    assert resumed.status == 0
    assert len(await sides.moved()) == 4


async def test_no_other_way(sides: Sides, postgres: Embedded, binaries: Path | None, config: Config) -> None:
    """A tenant that the source has let go is not brought to a third database, whatever that has of it."""
    await sides.here.register()
    async with side(postgres, binaries, config) as third:
        await sides.killed_at("carry", to=third)
        await sides.killed_at("arrive")

        said = await sides.move("--resume", to=third)

        assert said.status == 1
        assert "has moved to " in said.err
        assert (await third.head(sides.tenant)).state == "arriving"
    assert (await sides.move("--resume")).status == 0


async def test_there_and_back(sides: Sides) -> None:
    """A tenant may come back: its log goes on where it was left, callers are led to where it is all the time."""
    await sides.here.register()
    await sides.move()
    await sides.there.register()
    await sides.killed_at("carry", to=sides.source, side=sides.target)
    assert await sides.states() == ("moved", "open")
    assert (await write(sides.here)).headers["Location"] == sides.target.address

    said = await sides.move(to=sides.source, side=sides.target)

    assert said.status == 0, said.err
    assert await sides.states() == ("open", "moved")
    records = await have_moved(sides.target.owner, sides.source.owner, sides.tenant)
    assert [type(record.data).__name__ for record in records] == [
        *("ClientRegistered", "TenantFrozen", "TenantMoved", "TenantArrived"),
        *("ClientRegistered", "TenantFrozen", "TenantMoved", "TenantArrived"),
    ]
    assert (await write(sides.here)).status == 201
    assert (await write(sides.there)).headers["Location"] == sides.source.address
    assert (await sides.move()).status == 0
    await sides.moved()


# --------------------------------------------------------------------------------------------------- what is in the way


async def test_no_such_tenant(sides: Sides) -> None:
    """What is not there is not moved, and leaves nothing at the target."""
    for said in (await sides.move(), await sides.move("--resume"), await sides.move("--abort")):
        assert (said.status, said.err.count("\n")) == (1, 1)
        assert said.err.startswith(f"mitosis: there is no tenant {sides.tenant}")
    assert await sides.target.owner.fetchval("select count(*) from heads where tenant_id = $1", sides.tenant) == 0


async def test_another_tenant_of_that_name(sides: Sides) -> None:
    """A tenant of that name at the target is left alone, whether it takes changes or not."""
    await plant(sides.source.owner, sides.tenant)
    await plant(sides.target.owner, sides.tenant)

    open_there = await sides.move()
    await sides.target.owner.execute("update heads set state = 'arriving' where tenant_id = $1", sides.tenant)
    other = await sides.move()

    assert (open_there.status, "there is a tenant" in open_there.err) == (1, True)
    assert (other.status, "has other records" in other.err) == (1, True)
    assert [len(await check(each.owner, sides.tenant)) for each in (sides.source, sides.target)] == [1, 1]


async def test_frozen_by_somebody(sides: Sides) -> None:
    """A tenant that an operator froze is neither moved nor thawed by a move."""
    await sides.here.register()
    await sides.command("freeze", sides.tenant, "--reason", "a court order")

    for arguments in ((), ("--resume",), ("--abort",)):
        said = await sides.move(*arguments)
        assert said.status == (0 if arguments == ("--abort",) else 1)
    assert await sides.states() == ("frozen", "open")


async def test_frozen_by_somebody_meanwhile(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where that was while the move copied."""
    await sides.here.register()

    async def freeze(journey: Journey, *_: object) -> None:
        await tenancy.freeze(journey.source, sides.tenant, "a court order", ACTOR)

    meet(monkeypatch, "carry", freeze)
    said = await sides.move()

    assert (said.status, "is frozen" in said.err) == (1, True)
    assert await sides.states() == ("frozen", "arriving")


async def test_thawed_meanwhile(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant that an operator thaws amid the freeze of a move stays; what he let in is not lost."""
    await sides.here.register()

    async def thaw(move: Move) -> None:
        source = move._journey.source  # noqa: SLF001 (a session in the same loop)
        await tenancy.thaw(source, sides.tenant, ACTOR)
        await plant(source, sides.tenant)

    meet(monkeypatch, "leave", thaw)
    said = await sides.move()

    assert (said.status, "was thawed" in said.err) == (1, True)
    assert await sides.states() == ("open", "arriving")


async def test_one_at_a_time(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who move one tenant do not get into each other's way: the second one is told."""
    await sides.here.register()
    statuses: list[int] = []

    async def others(*_: object) -> None:
        to = ["--to", sides.target.url]
        for how in (to, [*to, "--resume"], ["--abort"]):
            statuses.append(await asyncio.to_thread(main, ["tenant", "move", sides.tenant, *how]))  # noqa: PERF401

    meet(monkeypatch, "leave", others)
    first = await sides.move()

    assert first.status == 0
    assert statuses == [1, 1, 1]
    assert first.err == f"mitosis: somebody else is moving tenant {sides.tenant}\n" * 3
    await sides.moved()


async def test_too_busy(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant that is written to faster than it can be copied is not frozen: callers would wait for too long."""
    await sides.here.register()
    for name, value in (("SHORT_S", 0), ("LONG_S", 0), ("ROUNDS", 3)):
        monkeypatch.setattr(move, name, value)

    said = await sides.move()

    assert (said.status, "written to faster" in said.err) == (1, True)
    assert await sides.states() == ("open", "arriving")
    assert len(await check(sides.source.owner, sides.tenant)) == 1


async def test_to_itself(sides: Sides) -> None:
    """A tenant is not moved to where it is."""
    await sides.here.register()

    said = await sides.move(to=sides.source)

    assert (said.status, "the database that it is in" in said.err) == (1, True)


DAMAGES = {
    "a body": "update events set body = replace(body::text, 'App', 'Ape')::json where tenant_id = $1 and position = 2",
    "a digest": "update events set digest = sha256('') where tenant_id = $1 and position = 2",
    "a hash": "update events set private = 'another' where tenant_id = $1 and position = 2",
    "an id": "update events set event_id = 'another' where tenant_id = $1 and position = 2",
    "a gap": "delete from events where tenant_id = $1 and position = 2",
    "the end": "delete from events where tenant_id = $1 and position = 3",
    "the beginning": "delete from events where tenant_id = $1 and position = 1",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_log(sides: Sides, damage: str) -> None:
    """A tenant whose log is damaged is not moved, and not frozen to find that out."""
    for _ in range(3):
        await plant(sides.source.owner, sides.tenant)

    async with tampered(sides.source.owner, sides.tenant, DAMAGES[damage]):
        said = await sides.move()

    assert (said.status, said.err.count("\n")) == (3, 1)
    assert "audit verify" in said.err
    assert (await sides.source.head(sides.tenant)).state == "open"
    assert len(await check(sides.source.owner, sides.tenant)) == 3
    assert (await sides.move()).status == 0
    await sides.moved()


# ------------------------------------------------------------------------------------------------------- what goes away


@pytest.mark.parametrize("when", ["bring", "carry", "leave"])
async def test_the_target_goes_away(sides: Sides, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Where the target goes away before the last step, callers go on at the source at once."""
    await sides.here.register()
    meet(monkeypatch, when, lambda *_: cut(sides.target))

    said = await sides.move()

    assert (said.status, said.err.count("\n"), "went away" in said.err) == (1, 1, True)
    assert str(called(sides.target.url)) in said.err
    assert await sides.states() == ("open", "arriving")
    assert (await write(sides.here)).status == 201
    monkeypatch.undo()
    assert (await sides.move()).status == 0
    await sides.moved()


async def test_the_source_goes_away(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the source goes away amid the freeze, it is said that the tenant takes no changes, and what to do."""
    await sides.here.register()
    meet(monkeypatch, "leave", lambda *_: cut(sides.source))

    said = await sides.move()

    assert (said.status, said.err.count("\n")) == (4, 1)
    assert "run it again with --resume" in said.err
    assert await sides.states() == ("frozen", "arriving")
    monkeypatch.undo()
    assert (await sides.move("--resume")).status == 0
    await sides.moved()


async def test_the_target_goes_away_behind_the_last_step(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last step that is said too, and only going on helps."""
    await sides.here.register()
    meet(monkeypatch, "arrive", lambda *_: cut(sides.target))

    said = await sides.move()

    assert (said.status, "run it again with --resume" in said.err) == (4, True)
    assert await sides.states() == ("moved", "arriving")
    monkeypatch.undo()
    assert (await sides.move("--resume")).status == 0
    await sides.moved()


async def test_a_target_that_hangs(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that says nothing more amid the freeze is given up, and callers go on."""
    await sides.here.register()
    monkeypatch.setattr(move, "LIMIT_S", 0.5)

    async def hang(move: Move) -> None:
        await move._journey.target.execute("select pg_sleep(60)")  # noqa: SLF001 (there is no other)

    meet(monkeypatch, "leave", hang)
    said = await sides.move()

    assert (said.status, "went away" in said.err) == (1, True)
    assert (await write(sides.here)).status == 201


# ------------------------------------------------------------------------------------------------------- what is said


async def test_dry_run(sides: Sides) -> None:
    """Whether a tenant could be moved is said, and how far a move has come; nothing is done."""
    await sides.here.register()
    before = await sides.states()

    first, as_json = await sides.move("--dry-run"), told(await sides.move("--dry-run", "--json"))

    assert first.status == 0
    assert first.out.startswith(f"tenant {sides.tenant} would be moved to {called(sides.target.url)}: 1 of 1 records")
    assert (as_json["stage"], as_json["records"], as_json["to_copy"]) == ("before", 1, 1)
    assert await sides.states() == before
    assert await sides.target.owner.fetchval("select count(*) from heads where tenant_id = $1", sides.tenant) == 0
    await sides.killed_at("arrive")
    assert told(await sides.move("--dry-run", "--json"))["stage"] == "between"
    assert (await sides.command("move", "nobody", "--to", sides.target.url, "--dry-run")).status == 1


async def test_summary(sides: Sides) -> None:
    """In the end there is a line with where the tenant is, its head, and for how long it took no changes."""
    await sides.here.register()

    said = await sides.move()

    head = await sides.source.head(sides.tenant)
    beginning = (
        f"tenant {sides.tenant} is in {called(sides.target.url)}, with equal heads at position 3 "
        f"({head.digest.hex()[:16]}...), after "
    )
    assert (said.status, len(said.lines), said.err) == (0, 1, "")
    assert said.out.startswith(beginning)
    assert re.search(r"; it took no changes for \d+ ms\n$", said.out)


async def test_where_to(sides: Sides) -> None:
    """The other database may be named in the environment, where nobody else sees it; it has to be named."""
    await sides.here.register()

    missing = await sides.command("move", sides.tenant)
    said = await sides.command("move", sides.tenant, MITOSIS_TARGET_DATABASE_URL=sides.target.url)

    assert (missing.status, "MITOSIS_TARGET_DATABASE_URL" in missing.err) == (1, True)
    assert said.status == 0
    await sides.moved()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hidden@127.0.0.1:1/x",
        "postgresql://u:hidden@no.such.host.invalid/x",
        "postgresql://u:hid/den@127.0.0.1/x",
        "postgresql://u:1/hidden@127.0.0.1/x",
        "postgresql://u:1#hidden@127.0.0.1/x",
        "postgresql://u:1?hidden@127.0.0.1/x",
        "postgresql://u:1?a=hidden@127.0.0.1/x",
        "postgresql://u:hidden:x@h@127.0.0.1/x",
        "postgresql://u@127.0.0.1:1/x?password=hidden",
        "postgresql://127.0.0.1:hidden/x",
        "u:hidden@127.0.0.1/x",
        "hidden",
    ],
)
async def test_no_password_is_told(sides: Sides, url: str) -> None:
    """Whatever is wrong with the other database or its URL, that is one line, and no part of a password is in it."""
    await sides.here.register()

    for said in (
        await sides.command("move", sides.tenant, "--to", url),
        await sides.command("move", sides.tenant, MITOSIS_TARGET_DATABASE_URL=url),
    ):
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
        assert not re.search("hid|den", said.err)
    assert await sides.states() == ("open", "open")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:p@db.example.com/x", "db.example.com:5432/x"),
        ("postgres://db.example.com:6432/x%2Fy", "db.example.com:6432/x/y"),
        ("postgresql://u:p%40%2F@[::1]:6432/x", "[::1]:6432/x"),
        ("postgresql://u@[::1]/x", "[::1]:5432/x"),
        ("postgresql://u@a:1,b/x?target_session_attrs=primary", "a:1,b:5432/x"),
        ("postgresql://u@/x?host=/run/postgresql&port=6432", "/run/postgresql:6432/x"),
        ("postgresql://u@%2Frun%2Fpostgresql/x", "/run/postgresql:5432/x"),
        ("postgresql:///x", "localhost:5432/x"),
        ("postgresql://u:p@h", "h:5432/u"),
    ],
)
def test_how_a_database_is_called(url: str, name: str) -> None:
    """A database is called by its host, port and name, or by the directory of its socket."""
    assert called(url) == name


async def test_an_address_that_is_none(sides: Sides) -> None:
    """Nobody is sent to an address that is none."""
    said = await sides.command("move", sides.tenant, "--to", sides.target.url, "--address", "javascript:alert(1)")

    assert (said.status, said.err.startswith("mitosis: --address ")) == (1, True)
