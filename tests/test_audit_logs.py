"""What happened as a list: GET /admin/audit/logs, and GET /admin/oauth/clients/{client_id}/audit-logs."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, web
from ulid import ULID

from events import chain, excerpts, log
from events.client import (
    ClientCloned,
    ClientDeactivated,
    ClientDeleted,
    ClientReactivated,
    ClientRegistered,
    ClientSettings,
    ClientSuspended,
    ClientUpdated,
    IssuedSecret,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
    SettingsChange,
)
from events.errors import RecordMissing
from events.excerpts import Found
from events.log import Conn, Entry, Head
from events.record import SCHEMA_VERSION, Actor, Happening, Record, encode
from events.tenant import TenantArrived, TenantCopied, TenantEvent, TenantFrozen, TenantMoved, TenantThawed
from projections.clients import Client, apply, save
from service.app import build
from service.audit import logs
from service.audit.entries import log_entry
from service.audit.stream import TYPES
from service.config import Config
from service.routes import TOKENS
from tests.callers import EXAMPLE, Api
from tests.conftest import Served
from tests.laws import check
from tests.planting import tampered
from tests.waiting import until

LOGS = "/admin/audit/logs"
CLIENTS = "/admin/oauth/clients/"
BEGINNING = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
START = int(BEGINNING.timestamp())
UNTIL = datetime(2026, 3, 1, 13, 30, 0, 500000, UTC)
SETTINGS = msgspec.convert({**EXAMPLE, "name": "tell-tale"}, ClientSettings)
SECRET = IssuedSecret(secret_id="01JN0000000000000000SECRET", last_four="abcd", description="tell-tale")
SUBJECTS = ("ops@acme", 'o\'neil "the \\ boss"', "作者", '","type":"ClientDeleted')
SECRET_TYPES = {"SecretAdded", "SecretRotated", "SecretDeactivated", "SecretDeleted"}

# what each event is told as: level, module, what it happened to, and the sentence
TOLD: list[tuple[Happening, str, str, str, str]] = [
    (
        ClientRegistered(id="1", status="active", settings=SETTINGS, secret=SECRET),
        *("info", "clients", "client", "The client was registered."),
    ),
    (
        ClientCloned(id="1", source_id="app-x", source_version=3, status="active", settings=SETTINGS),
        *("info", "clients", "client", "The client was cloned from app-x."),
    ),
    (
        ClientUpdated(changed=SettingsChange(scopes=("tell-tale",), name="tell-tale"), removed=("logo_url", "website")),
        *("info", "clients", "client", "Settings were changed: name, scopes; removed: logo_url, website."),
    ),
    (
        ClientUpdated(changed=SettingsChange(is_confidential=False)),
        *("info", "clients", "client", "Settings were changed: is_confidential."),
    ),
    (
        ClientUpdated(changed=SettingsChange(), removed=("jwks",)),
        *("info", "clients", "client", "Settings were removed: jwks."),
    ),
    (ClientSuspended(), "warning", "clients", "client", "The client was suspended."),
    (ClientDeactivated(), "warning", "clients", "client", "The client was deactivated."),
    (ClientReactivated(), "info", "clients", "client", "The client was reactivated."),
    (ClientDeleted(), "warning", "clients", "client", "The client was deleted."),
    (SecretAdded(secret=SECRET), "info", "secrets", "secret", "The secret was added."),
    (
        SecretAdded(secret=msgspec.structs.replace(SECRET, expires_at=UNTIL)),
        *("info", "secrets", "secret", "The secret was added; it works until 2026-03-01T13:30:00.500000Z."),
    ),
    (SecretRotated(secret=SECRET), "info", "secrets", "secret", "The secret was rotated; no old one was retired."),
    (
        SecretRotated(secret=SECRET, retired="2", retired_until=BEGINNING),
        *("info", "secrets", "secret"),
        "The secret was rotated; the old one works until 2026-03-01T09:30:00Z at the latest.",
    ),
    (
        SecretDeactivated(secret_id=SECRET.secret_id),
        *("warning", "secrets", "secret", "The secret was deactivated."),
    ),
    (SecretDeleted(secret_id=SECRET.secret_id), "warning", "secrets", "secret", "The secret was deleted."),
    (SecretsErased(event_ids=("1",)), "warning", "secrets", "client", "The sealed hash of 1 secret was erased."),
    (
        TenantFrozen(reason="tell-tale"),
        *("warning", "tenants", "tenant", "The tenant was frozen: it takes no changes."),
    ),
    (TenantThawed(), "info", "tenants", "tenant", "The tenant was thawed: it takes changes again."),
    (TenantMoved(to="tell-tale"), "warning", "tenants", "tenant", "The tenant has moved to another service."),
    (TenantArrived(source="tell-tale"), "info", "tenants", "tenant", "The tenant arrived from another service."),
    (
        TenantCopied(source_tenant="globex", source_position=7, source_digest="00", copied_at=BEGINNING),
        *("info", "tenants", "tenant", "The tenant was copied from globex at position 7."),
    ),
    (
        SecretsErased(event_ids=("1", "2")),
        "warning",
        "secrets",
        "client",
        "The sealed hashes of 2 secrets were erased.",
    ),
]


def record(data: Happening, **changes: Any) -> Record:
    """A record of what happened, with *changes*."""
    about = {} if isinstance(data, TenantEvent) else {"client_id": "app-1", "client_version": 1}
    usual = {
        **about,
        "event_id": str(ULID()),
        "tenant_id": "acme",
        "position": 1,
        "schema_version": SCHEMA_VERSION,
        "time": BEGINNING,
        "actor": Actor(subject="ops@acme", role="admin", request_id="1", address="192.0.2.17"),
        "data": data,
    }
    return Record(**{**usual, **changes})


def events(random: Random) -> Iterator[Happening]:
    """A client's life: how it began, and what happened to it until it was deleted, its secrets last."""
    yield random.choice([TOLD[0][0], TOLD[1][0]])
    others = (ClientDeleted, SecretsErased, TenantEvent)
    for _ in range(random.randrange(60)):
        yield random.choice([event for event, *_ in TOLD[2:] if not isinstance(event, others)])
    yield ClientDeleted()
    yield SecretsErased(event_ids=("1",))


def history(tenant: str, random: Random, count: int, *, clients: int = 12) -> list[Record]:
    """A log of *count* records, many of them of one time, by several people."""
    lives = {number: events(random) for number in range(clients)}
    versions = dict.fromkeys(lives, 0)
    made, time = list[Record](), BEGINNING
    while len(made) < count:
        number = random.choice(list(lives))
        event = next(lives[number], None)
        if event is None:
            del lives[number]
            new = max(versions) + 1
            lives[new], versions[new] = events(random), 0
            continue
        versions[number] += 1
        time += random.choice([0, 0, 1, 250_000, 1_000_000, 5_000_000]) * timedelta(microseconds=1)
        address = random.choice(["192.0.2.1", "2001:db8::1", None])
        actor = Actor(subject=random.choice(SUBJECTS), role="admin", request_id="1", address=address)
        place = {"tenant_id": tenant, "position": len(made) + 1, "client_version": versions[number]}
        made.append(record(event, client_id=f"app-{number}", time=time, actor=actor, **place))
    return made


async def write(owner: Conn, records: Sequence[Record]) -> list[Record]:
    """Write a log that holds *records*, and the clients that they lead to."""
    tenant = records[0].tenant_id
    digest, entries, clients = chain.genesis(tenant), list[Entry](), dict[str, Client]()
    for one in records:
        body = encode(one)
        digest = chain.link(digest, body)
        entries.append(Entry(tenant, one.position, one.event_id, digest, body))
        clients[one.client_id] = apply(clients.get(one.client_id), one)
    async with owner.transaction():
        await log.open_heads(owner, [tenant])
        await log.append(owner, entries, {tenant: Head(len(records), digest, records[-1].time)})
        await save(owner, list(clients.values()))
    assert await check(owner, tenant) == records
    return list(records)


def wanted(records: Sequence[Record], query: Mapping[str, Any]) -> list[str]:
    """The ids of those that *query* asks for, newest first, found by looking at all of them."""

    def is_wanted(one: Record) -> bool:
        kind = type(one.data).__name__
        about = "secret" if kind in SECRET_TYPES else "client"
        return all(
            (
                query.get("action", kind) == kind,
                query.get("resource_type", about) == about,
                query.get("user_id", one.actor.subject) == one.actor.subject,
                query.get("start_time", 0) <= one.time.timestamp() < query.get("end_time", 1e12),
            )
        )

    return [one.event_id for one in reversed(records) if is_wanted(one)]


def params(query: Mapping[str, Any]) -> dict[str, str]:
    """*query* as it is sent."""
    return {name: str(value) for name, value in query.items()}


def ids(body: Any) -> list[str]:
    """The events of a page."""
    return [item["id"] for item in body["items"]]


def check_page(body: Any, due: Sequence[str], page: int, size: int) -> None:
    """Assert that *body* is that page of what is *due*, and says so."""
    pages = -(-len(due) // size)
    assert ids(body) == list(due[(page - 1) * size : page * size])
    assert body["total"] == len(due)
    assert body["pagination"] == {
        "page": page,
        "page_size": size,
        "total": len(due),
        "total_pages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
    }


# ------------------------------------------------------------------------------------------------------------- an entry


@pytest.mark.parametrize(("data", "level", "module", "target", "message"), TOLD)
def test_what_is_told(data: Happening, level: str, module: str, target: str, message: str) -> None:
    """An event is told in one sentence that quotes nothing a caller wrote; what takes something away is a warning."""
    entry = log_entry(record(data))

    assert (entry.level, entry.module, entry.target_type, entry.message) == (level, module, target, message)
    targets = {"secret": SECRET.secret_id, "client": "app-1", "tenant": entry.tenant_id}
    assert entry.target_id == targets[target]
    assert (entry.action, entry.status) == (type(data).__name__, "success")
    assert "tell-tale" not in str(entry)


def test_every_event_is_told() -> None:
    """No kind of event is without its sentence."""
    assert {type(data) for data, *_ in TOLD} == set(get_args(Happening))


@pytest.mark.parametrize(("name", "home"), [("type", set(TYPES)), ("subject", {"Actor"})])
def test_members_are_found_by_their_letters(name: str, home: set[str]) -> None:
    """A search looks for a member without reading the JSON around it, so nothing else in a record has its name."""
    _, structs = msgspec.json.schema_components([Record])

    assert {kind for kind, schema in structs.items() if name in schema.get("properties", {})} == home


async def test_an_entry(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """An entry says what its record says: both lists show the same, and what has no value is left out."""
    client_id = (await api.register())["client_id"]
    (only,) = await check(owner, tenant)

    in_all, of_client = (await api.get(LOGS)).body, (await api.get(f"{CLIENTS}{client_id}/audit-logs")).body

    assert set(in_all) == {"code", "message", "timestamp", "items", "total", "pagination"}
    assert in_all["items"] == of_client["items"]
    assert in_all["items"] == [
        {
            "id": only.event_id,
            "action": "ClientRegistered",
            "level": "info",
            "message": "The client was registered.",
            "module": "clients",
            "status": "success",
            "operator_id": f"admin@{tenant}",
            "operator_type": "admin",
            "target_id": client_id,
            "target_type": "client",
            "tenant_id": tenant,
            "ip": "127.0.0.1",
            "timestamp": (only.time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1),
        }
    ]


async def test_without_an_address(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """Who came from nowhere that is known has no `ip`, and a time is cut to the millisecond."""
    actor = Actor(subject="mitosis", role="system", request_id="1")
    time = BEGINNING + timedelta(microseconds=1999)
    await write(owner, [record(TOLD[0][0], tenant_id=tenant, actor=actor, time=time)])

    (item,) = (await api.get(LOGS)).body["items"]

    assert "ip" not in item
    assert (item["operator_type"], item["timestamp"]) == ("system", START * 1000 + 1)


# ------------------------------------------------------------------------------------------------------------ a client


async def test_a_client(api: Api, tenant: str) -> None:
    """All that happened to one client and nothing else, newest first; deleted, it can still be read about."""
    source = (await api.register())["client_id"]
    path = f"{CLIENTS}{source}/audit-logs"
    await api.clone(source)
    await api.put(CLIENTS + source, json={"name": "another", "logo_url": None, "status": "suspended"})
    secret = (await api.post(f"{CLIENTS}{source}/rotate-secret")).data
    assert secret["new_secret"]
    before = (await api.get(path)).body
    await api.delete(CLIENTS + source)

    for reader in (api, api.as_role("auditor", tenant)):
        after = (await reader.get(path)).body
        assert [item["action"] for item in after["items"]] == [
            *("ClientDeleted", "SecretRotated", "ClientSuspended", "ClientUpdated", "ClientRegistered")
        ]
        assert after["items"][1:] == before["items"]
        assert (before["total"], after["total"]) == (4, 5)
        assert after["items"][3]["message"] == "Settings were changed: name; removed: logo_url."
    assert (await api.get(CLIENTS + source)).status == 404


async def test_who_never_was(api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never was and another tenant's are the same: 404, before any log is read."""
    theirs = (await api.as_role("admin", f"{tenant}-other").register())["client_id"]

    async def of_client(*_: object, **__: object) -> list[Entry]:
        raise AssertionError

    monkeypatch.setattr(excerpts, "of_client", of_client)
    never, another = [await api.get(f"{CLIENTS}{one}/audit-logs") for one in ("app-never", theirs)]

    assert (never.status, never.body["code"]) == (404, 404001)
    assert {**never.body, "timestamp": 0} == {**another.body, "timestamp": 0}
    assert (await api.get(f"{CLIENTS}APP-1/audit-logs")).body["code"] == 400002


async def test_pages_of_a_client(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """Pages are cut from one order; `total` is the client's version."""
    random = Random(1)
    records = await write(owner, history(tenant, random, 400))
    for number in range(12):
        due = wanted([one for one in records if one.client_id == f"app-{number}"], {})
        for _ in range(5):
            page, size = random.choice([1, 1, 2, 3, 1_000_000]), random.choice([1, 2, 7, 20, 100])
            reply = await api.get(f"{CLIENTS}app-{number}/audit-logs", params=params({"page": page, "page_size": size}))
            check_page(reply.body, due, page, size)


async def test_while_it_changes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version and the records are of one moment, whatever is written between the two looks."""
    client_id = (await api.register())["client_id"]
    path, of_client = f"{CLIENTS}{client_id}/audit-logs", excerpts.of_client

    async def late(*arguments: Any, **limits: Any) -> list[Entry]:
        assert (await api.put(CLIENTS + client_id, json={"name": str(ULID())})).status == 200
        return await of_client(*arguments, **limits)

    monkeypatch.setattr(excerpts, "of_client", late)

    for count in (1, 2, 3):
        body = (await api.get(path)).body
        assert body["total"] == count
        assert [item["action"] for item in body["items"]] == ["ClientUpdated"] * (count - 1) + ["ClientRegistered"]


# ------------------------------------------------------------------------------------------------------------ a tenant


async def test_nothing_yet(api: Api) -> None:
    """A tenant that never wrote anything has an empty list, whatever is asked for."""
    for query in (
        {},
        {"user_id": "x"},
        {"start_time": "0"},
        {"end_time": "0"},
        {"page": "3", "action": "ClientCloned"},
    ):
        reply = await api.get(LOGS, params=query)
        assert (reply.status, reply.body["items"], reply.body["total"]) == (200, [], 0)


@pytest.mark.parametrize("seed", range(4))
async def test_any_query(api: Api, tenant: str, owner: asyncpg.Connection, seed: int) -> None:
    """Whatever is asked for, the page is the one that looking at every record would find."""
    random = Random(seed)
    records = await write(owner, history(tenant, random, random.choice([1, 50, 300])))
    end = int(records[-1].time.timestamp())
    for _ in range(60):
        first = random.randrange(START - 2, end + 3)
        choices = {
            "action": random.choice(TYPES),
            "user_id": random.choice([*SUBJECTS, "nobody", "ops", "%", '"']),
            "resource_type": random.choice(["client", "secret"]),
            "start_time": first,
            "end_time": random.randrange(first, end + 4),
        }
        query = {name: value for name, value in choices.items() if random.random() < 0.35}
        page, size = random.choice([1, 1, 1, 2, 3, 5, 1_000_000]), random.choice([1, 3, 20, 100])

        reply = await api.get(LOGS, params=params({**query, "page": page, "page_size": size}))

        assert reply.status == 200, (query, reply.body)
        check_page(reply.body, wanted(records, query), page, size)


async def test_what_cannot_be(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be found, nothing is searched."""

    async def search(*_: object, **__: object) -> Found:
        raise AssertionError

    await api.register()
    monkeypatch.setattr(excerpts, "search", search)
    for query in (
        {"action": "ClientCloned", "resource_type": "secret"},
        {"action": "SecretAdded", "resource_type": "client"},
        {"user_id": "x", "end_time": "1"},
    ):
        check_page((await api.get(LOGS, params=query)).body, [], 1, 20)


async def test_times(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """`start_time` is included and `end_time` is not, to the microsecond; records of one time stay together."""
    offsets = [0, 0, 999_999, 1_000_000, 1_000_000, 1_000_001, 3_000_000]
    records = [
        record(
            TOLD[0][0] if place == 1 else ClientSuspended(),
            tenant_id=tenant,
            position=place,
            client_version=place,
            time=BEGINNING + timedelta(microseconds=offset),
        )
        for place, offset in enumerate(offsets, 1)
    ]
    await write(owner, records)
    newest = wanted(records, {})
    for start, end, due in [
        (START, None, newest),
        (START + 1, None, newest[:4]),
        (START + 2, None, newest[:1]),
        (START + 3, None, newest[:1]),
        (START + 4, None, []),
        (None, START, []),
        (None, START + 1, newest[4:]),
        (None, START + 3, newest[1:]),
        (None, START + 4, newest),
        (START, START + 1, newest[4:]),
        (START + 1, START + 2, newest[1:4]),
        (START + 2, START + 3, []),
        (START + 1, START + 1, []),
        (0, 253_402_300_799, newest),
    ]:
        query = {name: value for name, value in (("start_time", start), ("end_time", end)) if value is not None}
        for filters in ({}, {"user_id": "ops@acme"}):
            check_page((await api.get(LOGS, params=params({**query, **filters}))).body, due, 1, 20)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("action=Nothing", "action"),
        ("action=clientcloned", "action"),
        ("action=ClientCloned,ClientDeleted", "action"),
        ("action=ClientCloned%0A", "action"),
        ("action=", "action"),
        ("resource_type=clients", "resource_type"),
        ("user_id=", "user_id"),
        ("user_id=a%00b", "user_id"),
        ("user_id=" + "x" * 256, "user_id"),
        ("start_time=-1", "start_time"),
        ("start_time=2026-03-01", "start_time"),
        ("start_time=1772357400000", "start_time"),
        ("end_time=253402300800", "end_time"),
        ("start_time=2&end_time=1", "end_time"),
        ("page=0", "page"),
        ("page_size=101", "page_size"),
        ("type=ClientCloned", "type"),
    ],
)
async def test_malformed_queries(api: Api, query: str, field: str) -> None:
    """What cannot be meant is refused, and the parameter named."""
    reply = await api.get(f"{LOGS}?{query}")

    assert (reply.status, reply.body["code"]) == (400, 400003)
    assert [violation["field"] for violation in reply.body["violations"]] == [field]


@pytest.mark.parametrize("subject", ["%ff", "%ed%a0%80", "%", "%25", "_", "'", "\\", "💥", "x%0A"])
async def test_odd_subjects(api: Api, subject: str) -> None:
    """Whoever is asked for is text and nothing else."""
    await api.register()

    reply = await api.get(f"{LOGS}?user_id={subject}")

    assert (reply.status, reply.body["total"]) == (200, 0)


async def test_isolation(api: Api, tenant: str) -> None:
    """A list is of one tenant; another's is for a super_admin, who says so."""
    await api.register()
    await api.as_role("admin", f"{tenant}-other").register()
    root = api.as_role("super_admin", f"{tenant}-root")

    for query in ({}, {"action": "ClientRegistered"}):
        for reader, whose in (
            (api, tenant),
            (api.as_role("auditor", f"{tenant}-other"), f"{tenant}-other"),
            (root.with_headers(X_Tenant_ID=tenant), tenant),
        ):
            body = (await reader.get(LOGS, params=query)).body
            assert ([item["tenant_id"] for item in body["items"]], body["total"]) == ([whose], 1)
        assert (await root.get(LOGS, params=query)).body["total"] == 0
        assert (await api.as_role("service", tenant).get(LOGS, params=query)).status == 403
        assert (await api.with_headers(X_Tenant_ID=f"{tenant}-other").get(LOGS, params=query)).status == 403


# -------------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("seed", range(3))
async def test_position_at(tenant: str, owner: asyncpg.Connection, seed: int) -> None:
    """The last position whose time is not after another time, whichever that is."""
    assert await excerpts.position_at(owner, tenant, BEGINNING) == 0
    random = Random(seed)
    records = await write(owner, history(tenant, random, random.choice([1, 2, 3, 64, 65, 200])))

    for one in random.choices(records, k=20):
        for offset in (-1, 0, 1):
            time = one.time + timedelta(microseconds=offset)
            due = sum(one.time <= time for one in records)
            assert await excerpts.position_at(owner, tenant, time) == due
    assert await excerpts.position_at(owner, tenant, datetime.max.replace(tzinfo=UTC)) == len(records)
    assert await excerpts.position_at(owner, tenant, datetime.min.replace(tzinfo=UTC)) == 0


class Plan:
    """How PostgreSQL ran a statement: the indexes it used, and how many records it read."""

    def __init__(self, explained: str) -> None:
        self.indexes, self.read = set[str](), 0
        (plan,) = msgspec.json.decode(explained)
        self._visit(plan["Plan"])

    def _visit(self, node: Any) -> None:
        if node.get("Relation Name") == "events":
            self.indexes.add(node.get("Index Name", ""))
            self.read += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for part in node.get("Plans", []):
            self._visit(part)


async def test_a_long_log(tenant: str, owner: asyncpg.Connection) -> None:
    """A page of thousands of records costs its own rows and a few look-ups: no scan, no count."""
    records = await write(owner, history(tenant, Random(1), 5000, clients=100))
    await owner.execute("analyze events")

    async def plan(statement: str, *arguments: Any) -> Plan:
        return Plan(await owner.fetchval(f"explain (analyze, format json) {statement}", tenant, *arguments))

    searched = await plan(excerpts._POSITION_AT, records[1234].time)  # noqa: SLF001 (the statement itself)
    assert searched.indexes == {"events_pkey"}
    assert searched.read <= 13
    page = await plan(excerpts._BETWEEN, 2001, 2020)  # noqa: SLF001 (as above)
    assert (page.indexes, page.read) == ({"events_pkey"}, 20)
    client = records[-1].client_id
    count = sum(one.client_id == client for one in records)
    for limit, offset in ((5, 0), (5, count - 5)):
        of_client = await plan(excerpts._OF_CLIENT, client, limit, offset)  # noqa: SLF001 (as above)
        assert (of_client.indexes, of_client.read) == ({"events_of_client"}, limit + offset)


async def test_a_gap(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A record that is missing is never passed over in silence, in neither list."""
    records = await write(owner, history(tenant, Random(2), 40, clients=2))
    client = records[19].client_id
    path = f"{CLIENTS}{client}/audit-logs"
    async with tampered(owner, tenant, "delete from events where tenant_id = $1 and position = 20"):
        assert (await api.get(LOGS)).status == 200
        assert (await api.get(LOGS, params={"page": "2"})).body["code"] == 500001
        assert (await api.get(path, params={"page_size": "100"})).body["code"] == 500001
        with pytest.raises(RecordMissing):
            await excerpts.position_at(owner, tenant, records[18].time)


async def test_no_record(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What is no record is a failure that says nothing of its cause."""
    await write(owner, history(tenant, Random(3), 3))
    async with tampered(owner, tenant, "update events set body = '{}' where tenant_id = $1 and position = 2"):
        assert (await api.get(LOGS)).body["code"] == 500001
        assert (await api.get(LOGS, params={"page_size": "1"})).status == 200


@asynccontextmanager
async def impatient(config: Config, tenant: str) -> AsyncIterator[tuple[web.Application, Api]]:
    """A service that waits for a second, and the tenant's administrator at it."""
    made = build(msgspec.structs.replace(config, database_timeout_s=1))
    async with Served(made) as server, ClientSession() as session:
        yield made, Api(session, str(server.make_url("")).rstrip("/"), made[TOKENS], {}).as_role("admin", tenant)


async def test_two_at_once(api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two searches run at once, of two tenants; the others wait, and who asks for a page of everything for none."""
    now, most, go = 0, 0, asyncio.Event()
    search = excerpts.search

    async def slow(*arguments: Any, **filters: Any) -> Found:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await go.wait()
        found = await search(*arguments, **filters)
        now -= 1
        return found

    await api.register()
    monkeypatch.setattr(excerpts, "search", slow)
    other = api.as_role("admin", f"{tenant}-other")
    await other.register()
    asked = [asyncio.create_task(one.get(LOGS, params={"user_id": "x"})) for one in (*[api] * 6, other)]
    await until(lambda: now == logs.AT_ONCE)

    assert (await api.get(LOGS)).status == 200
    assert not any(task.done() for task in asked)
    go.set()
    assert [reply.status for reply in await asyncio.gather(*asked)] == [200] * 7
    assert most == logs.AT_ONCE == 2


_RUNNING = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60) as searched' and state = 'active'"


async def test_too_long(
    config: Config, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search has a request's time, the wait for a place included; then it is over, in the server too."""

    async def endless(connection: Conn, *_: object, **__: object) -> Found:
        await connection.execute("select pg_sleep(60) as searched")
        raise AssertionError

    async with impatient(config, tenant) as (made, api):
        await api.register()
        monkeypatch.setattr(excerpts, "search", endless)
        places, clock = made[logs.COUNTING], asyncio.get_running_loop().time
        async with places.place("one", wait_s=1):
            async with places.place("two", wait_s=1):
                began = clock()
                waiting, vain = [asyncio.create_task(api.get(LOGS, params={"user_id": "x"})) for _ in range(2)]
                await asyncio.sleep(0.5)
            replies = await asyncio.gather(waiting, vain)

        assert [(reply.status, reply.body["code"]) for reply in replies] == [(503, 503001)] * 2
        assert clock() - began < 1.5

        async def is_over() -> bool:
            return bool(await owner.fetchval(_RUNNING) == 0)

        await until(is_over, patience_s=5)
