"""The log: append-only, chained, and the same bytes for everybody."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from events import chain
from events.client import ClientCloned, ClientRegistered, ClientSettings, IssuedSecret
from events.errors import NoRecord, OutOfOrder
from events.record import SCHEMA_VERSION, Actor, Record, decode, encode
from projections.clients import apply
from service import schema
from service.embedded import Embedded
from tests.callers import EXAMPLE, Api
from tests.laws import check
from tests.planting import plant

# ---------------------------------------------------------------------------------------------------------- append-only

CHANGES = [
    "update events set private = null",
    "update events set position = position + 1",
    "update events set body = '{}' where false",
    "delete from events",
    "delete from events where false",
    "truncate events",
    "truncate heads cascade",
    "insert into events select * from events on conflict (tenant_id, position) do update set body = excluded.body",
    "merge into events using heads on heads.tenant_id = events.tenant_id when matched then delete",
]
HEADS_BACK = [
    "delete from heads",
    "truncate heads cascade",
    "update heads set position = position - 1",
    "update heads set time = time - interval '1 microsecond'",
    "update heads set tenant_id = tenant_id || '-moved'",
]


@pytest.fixture
async def written(api: Api, owner: asyncpg.Connection, tenant: str) -> AsyncIterator[str]:
    """A tenant with a record, which is there afterwards as it was before."""
    await api.register()
    before = await check(owner, tenant)
    yield tenant
    assert await check(owner, tenant) == before


@pytest.mark.parametrize("statement", CHANGES)
async def test_service_changes_no_record(postgres: Embedded, written: str, statement: str) -> None:
    """The service's role has no right to change what happened."""
    service = await asyncpg.connect(postgres.url("mitosis_service"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)
    finally:
        await service.close()


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_owner_changes_no_record(owner: asyncpg.Connection, written: str, role: str, statement: str) -> None:
    """Nor does a trigger let the owner, not even one who poses as a replica."""
    await owner.execute(f"set session_replication_role = {role}")

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="is refused"):
        await owner.execute(statement)


@pytest.mark.parametrize("statement", HEADS_BACK)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_head_moves_forward(owner: asyncpg.Connection, written: str, role: str, statement: str) -> None:
    """A tenant keeps its head, and a head only moves forward."""
    await owner.execute(f"set session_replication_role = {role}")

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="is refused"):
        await owner.execute(statement)


GRANTS = {
    "mitosis_service": {
        "schema_state": "select",
        "heads": "select",
        **dict.fromkeys(("heads(position)", "heads(time)"), "update"),
        "heads(digest)": "insert update",
        "heads(tenant_id)": "insert",
        "events": "insert select",
        "withheld": "select",
        "clients": "insert select",
        **{f"clients({column})": "update" for column in ("state", "name_folded")},
        "assertions": "delete insert select",
        "assertions(expires_at)": "update",
        "secret_usage": "insert select update",
        "receipts": "delete insert select update",
    },
    "mitosis_consumer": {
        "schema_state": "select",
        "heads": "select",
        **{f"events({column})": "select" for column in ("tenant_id", "position", "event_id", "digest", "body")},
        "checkpoints": "insert select update",
        "members": "delete insert select update",
    },
    "mitosis_eraser": {
        "schema_state": "select",
        "heads": "select",
        **{f"heads({column})": "update" for column in ("position", "digest", "time")},
        "events": "insert",
        **{f"events({column})": "select" for column in ("tenant_id", "position", "event_id", "digest", "body")},
        "events(private)": "update",
        "clients": "insert select",
        **{f"clients({column})": "update" for column in ("state", "name_folded")},
    },
    "mitosis_mover": {
        "schema_state": "select",
        "heads": "insert select",
        **{f"heads({column})": "update" for column in ("position", "digest", "time", "state", "moved_to")},
        "events": "insert select",
        "withheld": "delete insert select",
        "clients": "insert select",
        **{f"clients({column})": "update" for column in ("state", "name_folded")},
        **dict.fromkeys(("receipts", "assertions", "secret_usage"), "insert select"),
        "secret_usage(last_used_at)": "update",
        "checkpoints": "insert select",
        **{
            f"checkpoints({column})": "update"
            for column in ("position", "epoch", "member", "parked_at", "parked_because", "updated_at")
        },
        "members": "select",
    },
    "mitosis_operator": {
        "schema_state": "select",
        "heads": "select",
        "heads(tenant_id)": "update",
        **{f"events({column})": "select" for column in ("tenant_id", "position", "event_id", "digest", "body")},
        **dict.fromkeys(("clients", "clients_shadow", "clients_replaced"), "delete insert select update"),
    },
}


async def test_privileges(owner: asyncpg.Connection) -> None:
    """Each role may do what it is there for and nothing more, and no other role may do anything."""
    granted = await owner.fetch(
        """
        select grantee::regrole::text as role, place,
            string_agg(lower(privilege_type), ' ' order by privilege_type) as may
        from (
            select relname::text as place, relowner, privilege.*
            from pg_class, aclexplode(relacl) as privilege
            where relnamespace = 'public'::regnamespace
            union all
            select relname || '(' || attname || ')', relowner, privilege.*
            from pg_class join pg_attribute on attrelid = pg_class.oid, aclexplode(attacl) as privilege
            where relnamespace = 'public'::regnamespace
        ) as privileges
        where grantee <> relowner
        group by 1, 2
        """
    )
    roles = await owner.fetch("select * from pg_roles where rolname like 'mitosis%'")

    found: dict[str, dict[str, str]] = {}
    for row in granted:
        found.setdefault(row["role"], {})[row["place"]] = row["may"]
    assert found == GRANTS
    assert {role["rolname"] for role in roles} == GRANTS.keys()
    rights = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
    assert not any(role[right] for role in roles for right in rights)
    members = "select count(*) from pg_auth_members where member = any($1::oid[])"
    assert await owner.fetchval(members, [role["oid"] for role in roles]) == 0


async def test_schema_at_once(postgres: Embedded, owner: asyncpg.Connection) -> None:
    """The schema is applied to a new database by ten at once, and again by each, and is the same as applied by one."""
    name = f"fresh_{ULID()}".lower()
    await owner.execute(f"create database {name}")
    connections = await asyncio.gather(*(asyncpg.connect(postgres.url("postgres", name)) for _ in range(10)))
    try:
        for _ in range(2):
            await asyncio.gather(*(connection.execute(schema.text()) for connection in connections))

        assert await schema.current(connections[0]) == schema.version()
        catalog = """
            select table_name, column_name, data_type, is_nullable, column_default, generation_expression
            from information_schema.columns where table_schema = 'public' order by 1, ordinal_position
        """
        assert await connections[0].fetch(catalog) == await owner.fetch(catalog)
        triggers = "select tgname, tgenabled from pg_trigger where not tgisinternal order by 1"
        assert [tuple(row) for row in await connections[0].fetch(triggers)] == [
            ("events_append_only", b"A"),
            ("events_only_erased", b"A"),
            ("events_unchanged", b"A"),
            ("heads_move_forward", b"A"),
            ("heads_stay", b"A"),
            ("heads_take_changes", b"A"),
        ]
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
        await owner.execute(f"drop database {name}")


# ------------------------------------------------------------------------------------------------------ canonical bytes

ODD = [
    'quotes " and \\ backslashes / slashes',
    "\b\t\n\f\r \x01 \x1f \x7f",
    "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}\N{ZERO WIDTH JOINER}\N{BYTE ORDER MARK}",
    "é e\N{COMBINING ACUTE ACCENT} ß \N{ARABIC LETTER ALEF} 漢字",
    "👩\N{ZERO WIDTH JOINER}👩\N{ZERO WIDTH JOINER}👧 \N{MATHEMATICAL FRAKTUR CAPITAL A} \U0010ffff",
    "</script><!-- &amp; %00 ${x} ' ",
    "1e400 -0 0.1 NaN null",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
async def test_stored_bytes(owner: asyncpg.Connection, tenant: str, name: str) -> None:
    """What is stored is the canonical form (RFC 8785) of what it says, as another implementation writes it."""
    await plant(owner, tenant, name=name, scopes=(name, name[::-1]), jwks=name)

    body = await owner.fetchval("select body from events where tenant_id = $1", tenant)

    assert rfc8785.dumps(json.loads(body)) == body.encode()
    (record,) = await check(owner, tenant)
    assert isinstance(record.data, ClientRegistered)
    assert record.data.settings.name == name


async def test_stored_bytes_of_requests(api: Api, owner: asyncpg.Connection, tenant: str) -> None:
    """So it is with all that callers write."""
    source = await api.register(name='"\\/ é 漢字 👩 \N{MATHEMATICAL FRAKTUR CAPITAL A}')
    for _ in range(3):
        await api.clone(source["client_id"], headers={"X-Request-ID": "a~b:c+d/e=f"})

    bodies = [row["body"] for row in await owner.fetch("select body from events where tenant_id = $1", tenant)]

    assert len(bodies) == 4
    assert [rfc8785.dumps(json.loads(body)).decode() for body in bodies] == bodies


texts = st.text()  # of any Unicode but surrogates, which UTF-8 cannot hold
moments = st.datetimes(timezones=st.just(UTC))
places = st.integers(1, 2**53 - 1)
secrets = st.none() | st.builds(
    IssuedSecret, secret_id=texts, last_four=texts, description=st.none() | texts, expires_at=st.none() | moments
)
settings = st.builds(
    ClientSettings,
    name=texts,
    **dict.fromkeys(
        ("redirect_uris", "scopes", "grant_types", "client_auth_methods", "cors_origins"),
        st.lists(texts, max_size=3).map(tuple),
    ),
    is_confidential=st.booleans(),
    **dict.fromkeys(("fapi_profile", "jwks", "jwks_uri", "logo_url", "website"), st.none() | texts),
)
statuses = st.sampled_from(["active", "suspended", "inactive"])
events = st.one_of(
    st.builds(ClientRegistered, id=texts, status=statuses, settings=settings, secret=secrets),
    st.builds(
        ClientCloned,
        id=texts,
        source_id=texts,
        source_version=places,
        status=statuses,
        settings=settings,
        secret=secrets,
    ),
)
records = st.builds(
    Record,
    event_id=texts,
    tenant_id=texts,
    position=places,
    schema_version=st.just(SCHEMA_VERSION),
    client_id=texts,
    client_version=places,
    time=moments,
    actor=st.builds(Actor, subject=texts, role=texts, request_id=texts, address=st.none() | texts),
    data=events,
    sealed=st.none() | texts,
)


@given(records)
def test_canonical(record: Record) -> None:
    """Whatever a record holds, its bytes are canonical, and it comes back from them as it was."""
    body = encode(record)

    assert rfc8785.dumps(json.loads(body)) == body
    assert decode(body) == record
    assert encode(decode(body)) == body


# ------------------------------------------------------------------------------------------------------------ the chain


@given(st.text(), st.text())
def test_genesis(tenant: str, other: str) -> None:
    """No tenant's chain starts where another's does, so no log passes for another tenant's."""
    assert (chain.genesis(tenant) == chain.genesis(other)) == (tenant == other)


async def test_private_part_is_committed_to(api: Api, owner: asyncpg.Connection, tenant: str) -> None:
    """A body says which private part it goes with, without a word of it."""
    await api.register()

    row = await owner.fetchrow("select body, private from events where tenant_id = $1", tenant)

    assert row is not None
    assert decode(row["body"]).sealed == chain.seal(row["private"])
    assert row["private"].startswith("$argon2id$")
    assert row["private"] not in row["body"]


# -------------------------------------------------------------------------------------------------- what cannot be read

REGISTERED = Record(
    event_id="01",
    tenant_id="acme",
    position=1,
    schema_version=SCHEMA_VERSION,
    client_id="app-demo",
    client_version=1,
    time=datetime(2025, 1, 1, tzinfo=UTC),
    actor=Actor(subject="tester", role="admin", request_id="test"),
    data=ClientRegistered(id="01", status="active", settings=msgspec.convert(EXAMPLE, ClientSettings)),
)


def test_unknown_event() -> None:
    """An event of an unknown type is an error, and never skipped."""
    with pytest.raises(NoRecord, match=r"position 1 of tenant acme.*ClientEaten"):
        decode(encode(REGISTERED).replace(b"ClientRegistered", b"ClientEaten"))


def test_out_of_order() -> None:
    """An event that cannot follow the state before it says that the log is damaged."""
    client = apply(None, REGISTERED)

    with pytest.raises(OutOfOrder, match="position 1 of tenant acme"):
        apply(client, REGISTERED)
    for version in (0, 2):
        with pytest.raises(OutOfOrder):
            apply(None, msgspec.structs.replace(REGISTERED, client_version=version))
        with pytest.raises(OutOfOrder):
            apply(client, msgspec.structs.replace(REGISTERED, client_version=version))
