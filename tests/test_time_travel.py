"""A client as it was: `as_of` on GET and on clone."""

import asyncio
import uuid
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiohttp.test_utils import TestServer

from events.client import ClientCloned
from events.errors import NoRecord, OutOfOrder
from events.record import Record
from projections import history
from projections.clients import Client, apply, load
from service import clients, requests
from service.as_of import PATTERN, NoMoment, parse
from service.requests import PASTS
from tests.callers import EXAMPLE, Api, Reply
from tests.laws import check
from tests.planting import defenceless, plant

CLIENTS = "/admin/oauth/clients/"
MICROSECOND = timedelta(microseconds=1)
STATUSES = ("active", "inactive", "suspended")  # the later, the more restrictive
NOBODYS = "app-00000000000000000000000000"
# a time at which nothing of these tests had happened
LONG_AGO = "2020-02-29T23:59:59.999999Z"


def written(time: datetime, offset_h: int = 0) -> str:
    """*time* as RFC 3339 writes it, in the time zone so many hours ahead of UTC."""
    return time.astimezone(timezone(timedelta(hours=offset_h))).isoformat()


async def then(api: Api, client_id: str, as_of: int | str) -> Reply:
    """What is shown of a client as of then."""
    return await api.get(CLIENTS + client_id, params={"as_of": str(as_of)})


async def clone(api: Api, client_id: str, as_of: int | str, **options: Any) -> Reply:
    """What becomes of cloning a client as it was then."""
    return await api.clone(client_id, params={"as_of": str(as_of)}, **options)


def faults(reply: Reply) -> dict[str, str]:
    """The fields that a 400 blames, with what it says of each."""
    assert (reply.status, reply.body["code"]) == (400, 400003), reply.body
    return {violation["field"]: violation["message"] for violation in reply.body["violations"]}


def essence(reply: Reply) -> Any:
    """What an answer says, but for when it says it."""
    return reply.status, {**reply.body, "timestamp": None}, reply.headers.get("ETag")


# ------------------------------------------------------------------------------------------------------- what was shown


class Moment(NamedTuple):
    """A tenant at a moment, as it was looked at then: how long its log was, its rows, and what was shown of each."""

    position: int
    rows: Mapping[tuple[str, str], Client]
    shown: Mapping[str, Any]


class Walk:
    """A tenant in which anything happens, in an order that *random* decides."""

    def __init__(self, api: Api, owner: asyncpg.Connection, tenant: str, random: Random) -> None:
        self.api, self.owner, self.tenant, self.random = api, owner, tenant, random
        self.ids: list[str] = []
        self.moments: list[Moment] = []

    async def go(self, steps: int) -> None:
        """Do so many things, and look at everything after each."""
        while len(self.moments) < steps:
            await self._step()
            position = await self.owner.fetchval("select position from heads where tenant_id = $1", self.tenant)
            rows = await load(self.owner, [(self.tenant, client_id) for client_id in self.ids])
            shown = {client_id: essence(await self.api.get(CLIENTS + client_id)) for client_id in self.ids}
            self.moments.append(Moment(position, rows, shown))

    async def _step(self) -> None:
        if len(self.living) < 2:
            self.ids.append((await self.api.register(name=f"client {len(self.ids)}"))["client_id"])
            return
        path = CLIENTS + self.random.choice(self.living)
        match self.random.choice(("update", "update", "update", "clone", "rotate", "add", "off", "drop", "delete")):
            case "update":
                await self.api.put(path, json=self._change())
            case "clone" if len(self.living) < 4:
                self.ids.append((await self.api.post(f"{path}/clone")).data["client_id"])
            case "rotate":
                await self.api.post(f"{path}/rotate-secret")
            case "add":
                await self.api.post(f"{path}/secrets", json={"description": f"secret {len(self.moments)}"})
            case "off":
                await self.api.put(f"{path}/secrets/{await self._secret(path)}/deactivate")
            case "drop":
                await self.api.delete(f"{path}/secrets/{await self._secret(path)}")
            case "delete":
                await self.api.delete(path)

    @property
    def living(self) -> list[str]:
        """Those who were not deleted."""
        return [one for one in self.ids if not self.moments or self.moments[-1].shown.get(one, (200,))[0] == 200]

    def _change(self) -> dict[str, Any]:
        """One that may be of a setting, of the status or of both, and then is two records."""
        settings = {"name": f"name {len(self.moments)}", "scopes": ["openid", "email"], "website": None}
        settings |= {"logo_url": f"https://app.example.com/{len(self.moments)}.png"}
        some = self.random.sample(sorted(settings), self.random.randint(0, 2))
        status = {"status": self.random.choice(STATUSES)} if self.random.random() < 0.6 else {}
        return {**{name: settings[name] for name in some}, **status}

    async def _secret(self, path: str) -> str:
        return str(self.random.choice((await self.api.get(f"{path}/secrets")).data["secrets"])["secret_id"])


def folded(records: list[Record], tenant: str, position: int) -> dict[tuple[str, str], Client]:
    """What the first records of a tenant add up to."""
    states: dict[tuple[str, str], Client] = {}
    for record in records[:position]:
        key = (tenant, record.client_id)
        states[key] = apply(states.get(key), record)
    return states


Begin = Callable[[int], Walk]


@pytest.fixture
def walk(api: Api, owner: asyncpg.Connection, tenant: str) -> Begin:
    return lambda seed: Walk(api, owner, tenant, Random(seed))


@pytest.mark.parametrize("seed", range(3))
async def test_every_position(walk: Begin, owner: asyncpg.Connection, tenant: str, seed: int) -> None:
    """As of every position each client is what it was then: to the fold, to the table then, and to who looked then."""
    tour = walk(seed)
    await tour.go(40)
    records = await check(owner, tenant)
    seen = {moment.position: moment for moment in tour.moments}

    for position in range(len(records) + 1):
        states = folded(records, tenant, position)
        for client_id in tour.ids:
            was = await history.as_of(owner, tenant, client_id, position)
            assert was == states.get((tenant, client_id))
        if position in seen:
            assert seen[position].rows == states
            for client_id in tour.ids:
                reply = await then(tour.api, client_id, position)
                if client_id in seen[position].shown:
                    assert essence(reply) == seen[position].shown[client_id]
                else:
                    assert (reply.status, reply.body["code"]) == (404, 404001)
    assert len(seen) > 20
    assert {type(record.data).__name__ for record in records} >= {"ClientUpdated", "ClientSuspended", "SecretRotated"}


async def test_between_two_records_of_one_command(api: Api) -> None:
    """A change of settings and status is two records: between them the client has the one and not yet the other."""
    client_id = (await api.register())["client_id"]
    await api.put(CLIENTS + client_id, json={"name": "other", "status": "suspended"})

    shown = [(await then(api, client_id, position)).data for position in (1, 2, 3)]

    assert [(data["name"], data["status"], data["version"]) for data in shown] == [
        ("My Application", "active", 1),
        ("other", "active", 2),
        ("other", "suspended", 3),
    ]


async def test_every_time(walk: Begin, owner: asyncpg.Connection, tenant: str) -> None:
    """A time is the position of the last record that is not later: at every record's, just before and just after."""
    tour = walk(7)
    await tour.go(20)
    times = [record.time for record in await check(owner, tenant)]

    for number, time in enumerate(times):
        for moment in (time - MICROSECOND, time, time + MICROSECOND):
            position = bisect_right(times, moment)
            client_id = tour.ids[number % len(tour.ids)]
            by_time = await then(tour.api, client_id, written(moment, offset_h=number % 27 - 13))
            assert essence(by_time) == essence(await then(tour.api, client_id, position))


async def test_spellings_of_a_time(api: Api, owner: asyncpg.Connection, tenant: str) -> None:
    """RFC 3339 in any of its forms; finer than the log's microseconds is later, and leaves nothing out."""
    client_id = (await api.register())["client_id"]
    (record,) = await check(owner, tenant)
    text = record.time.strftime("%Y-%m-%dT%H:%M:%S.%f")

    for spelling in (f"{text}Z", f"{text.lower()}z", f"{text}+00:00", f"{text}-00:00", f"{text}999999Z"):
        assert (await then(api, client_id, spelling)).status == 200, spelling
    for earlier in (LONG_AGO, "2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.5-12:00"):
        assert (await then(api, client_id, earlier)).status == 404, earlier


MALFORMED = [
    *("", "now", "latest", "-1", "+1", "1.0", "01", "1e3", "0x1", " 1", "1 ", "1\n", "\u0661", "9" * 19, "null"),
    *("2026-01-01", "2026-01-01T00:00", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00.Z"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2016-12-31T23:59:60Z"),
    *("2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+24:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"),
    *("20260101T000000Z", "2026-W01-1T00:00:00Z", "1767225600000000000000", "x" * 3000, "\x00"),
]


@pytest.mark.parametrize("text", MALFORMED, ids=ascii)
async def test_malformed_moments(api: Api, text: str) -> None:
    """What is neither a position nor a time is 400 and says so, whoever's client is meant and whether it is there."""
    with pytest.raises(NoMoment):
        parse(text)
    for reply in (await then(api, NOBODYS, text), await clone(api, NOBODYS, text)):
        assert "neither a position nor a time" in faults(reply)["as_of"]


async def test_a_plus_in_a_url(api: Api) -> None:
    """Who forgets that a + is a space in a query is told."""
    reply = await api.get(f"{CLIENTS}{NOBODYS}?as_of=2026-01-01T00:00:00+01:00")

    assert "%2B" in faults(reply)["as_of"]


async def test_what_has_not_come(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A position that the log has not reached and a time in the future are 400: the answer could turn out wrong."""
    client_id = (await api.register())["client_id"]
    future = datetime.now(UTC) + timedelta(minutes=1)

    for send in (then, clone):
        assert faults(await send(api, client_id, 2)) == {
            "as_of": "is a position that the log has not reached: it ends at 1"
        }
        assert "has not reached" in faults(await send(api, client_id, "9" * 18))["as_of"]
        for time in (written(future), written(future, -12), "9999-12-31T23:59:59Z"):
            assert faults(await send(api, client_id, time)) == {"as_of": "is in the future"}
    assert (await then(api, client_id, 1)).status == 200
    assert (await then(api, client_id, written(datetime.now(UTC)))).status == 200
    assert len(await check(owner, tenant)) == 1


async def test_a_clock_that_is_ahead(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What another process's clock has written has happened, though it is in the future by this one's."""
    client_id = (await api.register())["client_id"]
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await owner.execute("update heads set time = $2 where tenant_id = $1", tenant, ahead)
    await api.put(CLIENTS + client_id, json={"name": "other"})

    assert (await then(api, client_id, written(ahead))).data["name"] == "other"
    assert (await then(api, client_id, written(ahead - MICROSECOND))).data["name"] == "My Application"
    assert faults(await then(api, client_id, written(ahead + MICROSECOND))) == {"as_of": "is in the future"}


async def test_before_and_after(api: Api) -> None:
    """Before its registration and from its deletion on there is no client; in between it is shown, deleted or not."""
    await api.register()
    client_id = (await api.register())["client_id"]
    live = (await api.get(CLIENTS + client_id)).data
    await api.delete(CLIENTS + client_id)
    nobodys = await then(api, NOBODYS, 3)

    for as_of in (0, 1, LONG_AGO, 3, written(datetime.now(UTC))):
        assert essence(await then(api, client_id, as_of)) == essence(nobodys)
    assert (nobodys.status, nobodys.body["code"]) == (404, 404001)
    was = (await then(api, client_id, 2)).data
    assert was == live
    assert "deleted_at" not in was


async def test_an_old_version_does_not_overwrite(api: Api) -> None:
    """An answer's ETag is that of the version shown: a change that was made up from what was is refused."""
    client_id = (await api.register())["client_id"]
    await api.put(CLIENTS + client_id, json={"name": "other"})
    old, new = await then(api, client_id, 1), await then(api, client_id, 2)

    assert (old.headers["ETag"], new.headers["ETag"]) == ('"1"', '"2"')
    for was, status in ((old, 412), (new, 200)):
        reply = await api.with_headers(If_Match=was.headers["ETag"]).put(CLIENTS + client_id, json={"scopes": []})
        assert reply.status == status


async def test_across_tenants(api: Api, tenant: str) -> None:
    """A position or a time is one of the caller's own log, in which another tenant's client never was."""
    client_id = (await api.register())["client_id"]
    stranger = api.as_role("admin", f"{tenant}-other")
    await stranger.register()

    for as_of in (0, 1, LONG_AGO, written(datetime.now(UTC))):
        for send in (then, clone):
            reply, reference = await send(stranger, client_id, as_of), await send(stranger, NOBODYS, as_of)
            assert reply.status == 404
            assert essence(reply) == essence(reference)
    await api.register()
    assert "it ends at 1" in faults(await then(stranger, client_id, 2))["as_of"]


async def test_who_may(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """An auditor may see what was, and not clone it."""
    client_id = (await api.register())["client_id"]
    auditor = api.as_role("auditor", tenant)

    assert (await then(auditor, client_id, 1)).data == (await then(api, client_id, 1)).data
    assert (await clone(auditor, client_id, 1)).status == 403
    assert (await then(api.as_role("service", tenant), client_id, 1)).status == 403
    assert len(await check(owner, tenant)) == 1


async def test_in_batches(walk: Begin, owner: asyncpg.Connection, tenant: str) -> None:
    """A long history is read a few records at a time, and comes to the same."""
    tour = walk(11)
    await tour.go(12)
    end = tour.moments[-1].position

    for client_id in tour.ids:
        whole = await history.as_of(owner, tenant, client_id, end)
        assert whole is not None
        for batch in (1, 2, 3, whole.version, whole.version + 1):
            assert await history.as_of(owner, tenant, client_id, end, batch=batch) == whole


async def test_a_tenants_share(api: Api, server: TestServer, tenant: str) -> None:
    """Of the places for what was a tenant has its share, and whoever is of another finds one."""
    client_id = (await api.register())["client_id"]
    other = api.as_role("admin", f"{tenant}-other")
    theirs = (await other.register())["client_id"]
    places = server.app[PASTS]

    async with places.place(tenant, wait_s=1), places.place(tenant, wait_s=1):
        waiting = asyncio.create_task(then(api, client_id, 1))
        assert (await then(other, theirs, 1)).status == 200
        assert not waiting.done()

    assert (await waiting).status == 200


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("delete from events where tenant_id = $1 and position = 2", OutOfOrder),
        ("update events set body = {} where tenant_id = $1 and position = 2", NoRecord),
    ],
    ids=["missing", "no record"],
)
async def test_a_damaged_log(
    api: Api, tenant: str, owner: asyncpg.Connection, damage: str, error: type[Exception]
) -> None:
    """Where a record is missing or is none, nothing is made up: 500, without a word of why."""
    client_id = (await api.register())["client_id"]
    for number in range(2):
        await api.put(CLIENTS + client_id, json={"name": f"name {number}"})
    async with defenceless(owner):
        # what is left of the record is whose it was
        body = f"""'{{"client_id": "{client_id}", "schema_version": 1}}'"""
        await owner.execute(damage.format(body), tenant)

    with pytest.raises(error):
        await history.as_of(owner, tenant, client_id, 3)
    for reply in (await then(api, client_id, 3), await clone(api, client_id, 3)):
        assert (reply.status, reply.body["code"]) == (500, 500001)
        assert set(reply.body) == {"code", "message", "timestamp"}
    assert (await then(api, client_id, 1)).status == 200


async def test_documented(api: Api) -> None:
    """Both operations have the parameter, with a pattern that fits what is taken."""
    document = (await api.get("/openapi.json")).body
    path = document["paths"]["/admin/oauth/clients/{client_id}"]

    for operation in (path["get"], document["paths"]["/admin/oauth/clients/{client_id}/clone"]["post"]):
        (parameter,) = [one for one in operation["parameters"] if one.get("name") == "as_of"]
        assert (parameter["in"], parameter["required"]) == ("query", False)
        assert "RFC 3339" in parameter["description"]
        assert parameter["schema"]["pattern"] == PATTERN
        assert "400003" in str(operation["responses"]["400"])
        assert "as_of" in operation["description"]


# ------------------------------------------------------------------------------------------------------------ the clone


async def test_clone_of_what_was(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """The copy has the settings of then, and a secret of its own; its event says which version was copied."""
    source = await api.register()
    changed = {
        "name": "other",
        "scopes": ["openid"],
        "redirect_uris": ["https://other.example.com/cb"],
        "website": None,
    }
    await api.put(CLIENTS + source["client_id"], json=changed)
    await api.post(f"{CLIENTS}{source['client_id']}/rotate-secret")

    reply = await clone(api, source["client_id"], 1)

    assert reply.status == 201
    assert (reply.headers["ETag"], reply.headers["Cache-Control"]) == ('"1"', "no-store")
    assert reply.data["name"] == "My Application (clone)"
    assert reply.data["client_secret"] != source["client_secret"]
    for field in ("redirect_uris", "scopes", "grant_types", "client_auth_methods", "cors_origins", "jwks_uri"):
        assert reply.data[field] == source[field]
    copy = (await api.get(CLIENTS + reply.data["client_id"])).data
    assert (copy["website"], copy["cloned_from"]) == (EXAMPLE["website"], source["client_id"])
    assert copy["secret_last_four"] == reply.data["client_secret"][-4:]
    record = (await check(owner, tenant))[-1]
    assert isinstance(record.data, ClientCloned)
    assert (record.data.source_id, record.data.source_version) == (source["client_id"], 1)
    assert record.data.secret is not None
    assert record.data.secret.secret_id == record.event_id
    assert (await api.get(CLIENTS + source["client_id"])).data["version"] == 3


async def test_clone_of_what_was_with_overrides(api: Api) -> None:
    """What the body gives takes the place of what was then; the rest is as it was."""
    client_id = (await api.register())["client_id"]
    await api.put(CLIENTS + client_id, json={"scopes": []})

    copy = (await clone(api, client_id, 1, json={"name": "copy", "cors_origins": []})).data

    assert (copy["name"], copy["cors_origins"], copy["scopes"]) == ("copy", [], EXAMPLE["scopes"])


async def test_clone_of_a_keyless_past(api: Api) -> None:
    """Whether the copy gets a secret is asked of the methods of then, and not of those of now."""
    client_id = (await api.register(fapi_profile=None, client_auth_methods=["private_key_jwt"]))["client_id"]
    await api.put(CLIENTS + client_id, json={"client_auth_methods": ["client_secret_basic"]})

    assert "client_secret" not in (await clone(api, client_id, 1)).data
    assert "client_secret" in (await clone(api, client_id, 2)).data


async def test_todays_rules(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What was let in once and is not today is not copied, unless the body mends it; a dry run says the same."""
    old = await plant(owner, tenant, redirect_uris=("http://app.example.com/callback",), grant_types=("implicit",))
    mended = {"redirect_uris": EXAMPLE["redirect_uris"], "grant_types": EXAMPLE["grant_types"]}
    assert (await api.put(CLIENTS + old.client_id, json={**mended, "name": "mended"})).status == 200

    for query in ({}, {"dry_run": "true"}):
        reply = await api.clone(old.client_id, params={"as_of": "1", **query})
        assert set(faults(reply)) >= {"redirect_uris[0]", "grant_types[0]"}
    assert len(await check(owner, tenant)) == 2
    copy = await clone(api, old.client_id, 1, json=mended)
    assert (copy.status, copy.data["name"]) == (201, "My Application (clone)")


@pytest.mark.parametrize("now", STATUSES)
@pytest.mark.parametrize("was", STATUSES)
async def test_status(api: Api, tenant: str, owner: asyncpg.Connection, was: str, now: str) -> None:
    """A copy has the more restrictive status of then and now; of a client that is deleted now it is not active."""
    client_id = (await plant(owner, tenant, status=was)).client_id  # type: ignore[arg-type]  # one of them
    await api.put(CLIENTS + client_id, json={"status": now})
    expected = max(was, now, key=STATUSES.index)

    assert (await clone(api, client_id, 1)).data["status"] == expected
    await api.delete(CLIENTS + client_id)
    would = await api.clone(client_id, params={"as_of": "1", "dry_run": "true"})
    assert would.data["client"]["status"] == max(expected, "inactive", key=STATUSES.index)
    assert (await clone(api, client_id, 1)).data["status"] == would.data["client"]["status"]


async def test_a_deleted_client_comes_back_as_a_clone(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """As it was before its deletion it can be cloned, under a new id and inactive; as it is, it does not exist."""
    source = await api.register()
    await api.delete(CLIENTS + source["client_id"])

    copy = await clone(api, source["client_id"], 1)

    assert (copy.status, copy.data["status"]) == (201, "inactive")
    assert copy.data["client_id"] != source["client_id"]
    for gone in (await api.clone(source["client_id"]), await clone(api, source["client_id"], 2)):
        assert (gone.status, gone.body["code"]) == (404, 404001)
    await check(owner, tenant)
    active = await api.put(CLIENTS + copy.data["client_id"], json={"status": "active"})
    assert active.data["status"] == "active"


@pytest.mark.parametrize(("method", "status"), [("PUT", "suspended"), ("DELETE", "inactive")])
async def test_what_happens_meanwhile(  # noqa: PLR0917 (fixtures)
    api: Api,
    tenant: str,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    status: str,
) -> None:
    """What happens to the client while the clone's secret is made counts: its status is read under the lock."""
    client_id = (await api.register())["client_id"]

    async def mint(request: Any) -> Any:
        body = {"status": "suspended"} if method == "PUT" else {}
        assert (await api.send(method, CLIENTS + client_id, json=body)).status in {200, 204}
        return await requests.mint(request)

    with monkeypatch.context() as patch:
        patch.setattr(clients, "mint", mint)
        copy = await clone(api, client_id, 1)

    assert (copy.status, copy.data["status"]) == (201, status)
    await check(owner, tenant)


async def test_suspensions_at_once(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """However suspensions and clones fall together, no clone behind a suspension in the log is active."""
    sources = [(await api.register())["client_id"] for _ in range(8)]

    replies = await asyncio.gather(
        *(clone(api, source, 8) for source in sources for _ in range(3)),
        *(api.put(CLIENTS + source, json={"status": "suspended"}) for source in sources),
        *(clone(api, source, written(datetime.now(UTC))) for source in sources for _ in range(3)),
    )

    assert {reply.status for reply in replies} == {200, 201}
    suspended, statuses = set[str](), list[tuple[bool, str]]()
    for record in await check(owner, tenant):
        if isinstance(record.data, ClientCloned):
            statuses.append((record.data.source_id in suspended, record.data.status))
        elif type(record.data).__name__ == "ClientSuspended":
            suspended.add(record.client_id)
    assert len(statuses) == 48
    assert all((status == "suspended") is was_behind for was_behind, status in statuses)


async def test_a_retry(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A retry gets the answer that was lost, also when the client is gone; another moment is another request."""
    client_id = (await api.register())["client_id"]
    (registered,) = await check(owner, tenant)
    caller = api.with_headers(Idempotency_Key=str(uuid.uuid4()))
    first = await clone(caller, client_id, written(registered.time))
    await api.delete(CLIENTS + client_id)

    again = await clone(caller, client_id, written(registered.time, offset_h=2))

    assert (first.status, again.body) == (201, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    for reply in (await clone(caller, client_id, 1), await caller.clone(client_id)):
        assert (reply.status, reply.body["code"]) == (422, 422001)
    assert len(await check(owner, tenant)) == 3


@pytest.mark.parametrize("tag", ['"1"', '"2"', "*", 'W/"1"', "nonsense"])
async def test_no_condition_on_what_was(api: Api, tenant: str, owner: asyncpg.Connection, tag: str) -> None:
    """If-Match does not go with `as_of`: the version of then cannot change, and that of now is not copied."""
    client_id = (await api.register())["client_id"]
    await api.put(CLIENTS + client_id, json={"name": "other"})

    for query in ({}, {"dry_run": "true"}):
        reply = await api.with_headers(If_Match=tag).clone(client_id, params={"as_of": "1", **query})
        assert set(faults(reply)) == {"If-Match"}
    assert len(await check(owner, tenant)) == 2


async def test_dry_run(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A dry run says what would be cloned of then, with the status of now, and appends nothing."""
    client_id = (await api.register())["client_id"]
    await api.put(CLIENTS + client_id, json={"name": "other", "status": "suspended"})

    reply = await api.clone(client_id, params={"as_of": "1", "dry_run": "true"}, json={"scopes": []})

    assert (reply.status, reply.data["source_version"], reply.data["has_secret"]) == (200, 1, True)
    assert reply.data["client"]["status"] == "suspended"
    assert reply.data["differs"] == [
        {"field": "name", "source": "My Application", "clone": "My Application (clone)"},
        {"field": "scopes", "source": EXAMPLE["scopes"], "clone": []},
    ]
    assert len(await check(owner, tenant)) == 3
