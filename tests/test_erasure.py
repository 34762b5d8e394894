"""Erasure: the hashes of deleted clients go, as an act in the log, and everything still verifies."""

import asyncio
import getpass
from typing import Any

import asyncpg
import pytest

from events.client import SecretsErased
from events.record import decode
from service.audit.verifying import verify
from service.database import ERASER_ROLE
from service.embedded import Embedded
from tests.callers import Api
from tests.commands import Mitosis
from tests.laws import check
from tests.planting import tampered

_PRIVATE = "select event_id, private from events where tenant_id = $1 order by position"


@pytest.fixture
async def eraser(postgres: Embedded) -> Any:
    """A session as `mitosis clients erase-sealed` opens it."""
    connection = await asyncpg.connect(postgres.url("postgres"), server_settings={"role": ERASER_ROLE})
    yield connection
    await connection.close()


async def hashes(owner: asyncpg.Connection, tenant: str) -> list[bool]:
    """Of each record of *tenant*, whether it has a private part."""
    return [row["private"] is not None for row in await owner.fetch(_PRIVATE, tenant)]


async def gone(api: Api, *, rotations: int = 0) -> str:
    """A client with some secrets that was deleted."""
    client_id = str((await api.register())["client_id"])
    for _ in range(rotations):
        assert (await api.post(f"/admin/oauth/clients/{client_id}/rotate-secret")).status == 200
    assert (await api.delete(f"/admin/oauth/clients/{client_id}")).status == 204
    return client_id


async def test_erased(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """A deleted client's hashes go, all that it ever had; those of others stay; the log says who did it."""
    kept, doomed = (await api.register())["client_id"], await gone(api, rotations=1)
    before = await check(owner, tenant)

    said = await mitosis("clients", "erase-sealed", "--tenant", tenant, "--subject", "dpo@acme")

    assert (said.status, said.lines) == (0, [f"erased 2 of {doomed} in {tenant}", "2 hashes of 1 client erased"])
    records = await check(owner, tenant)
    assert records[:-1] == before
    last = records[-1]
    assert (last.client_id, last.client_version) == (doomed, before[-1].client_version + 1)
    assert (last.actor.subject, last.actor.role) == ("dpo@acme", "operator")
    sealed = tuple(record.event_id for record in before if record.client_id == doomed and record.sealed)
    assert last.data == SecretsErased(event_ids=sealed)
    assert await hashes(owner, tenant) == [True, False, False, False, False]
    assert (await verify(owner, tenant)).is_whole
    assert (await api.get(f"/admin/oauth/clients/{kept}")).status == 200
    rebuilt = await mitosis("replay", "rebuild", "--tenant", tenant, "--check")
    assert (rebuilt.status, rebuilt.err) == (0, "")


async def test_once(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """What is erased is not erased again, however many do it at once, and nothing is left to do."""
    for _ in range(3):
        await gone(api)

    said = [await mitosis("clients", "erase-sealed", "--tenant", tenant) for _ in range(2)]

    assert [one.lines[-1] for one in said] == ["3 hashes of 3 clients erased", "0 hashes of 0 clients erased"]
    records = await check(owner, tenant)
    assert sum(isinstance(record.data, SecretsErased) for record in records) == 3
    assert records[-1].actor.subject == getpass.getuser()


async def test_dry_run(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """What would be erased is said, and nothing is."""
    doomed = await gone(api)
    before = await check(owner, tenant)

    said = await mitosis("clients", "erase-sealed", "--tenant", tenant, "--dry-run")

    assert said.lines == [f"would erase 1 of {doomed} in {tenant}", "1 hash of 1 client would be erased"]
    assert await check(owner, tenant) == before
    assert await hashes(owner, tenant) == [True, False]


async def test_while_others_write(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """It waits its turn for the tenant's head like everybody, and callers go on."""
    source = (await api.register())["client_id"]
    await asyncio.gather(*(gone(api) for _ in range(20)))

    erasing = asyncio.create_task(mitosis("clients", "erase-sealed", "--tenant", tenant))
    while not erasing.done():
        assert (await api.clone(source)).status == 201
    assert (await erasing).lines[-1] == "20 hashes of 20 clients erased"

    records = await check(owner, tenant)
    assert sum(isinstance(record.data, SecretsErased) for record in records) == 20
    assert (await verify(owner, tenant)).is_whole


async def test_a_frozen_tenant(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """A tenant that takes no changes keeps nobody from the others, and is named."""
    other = api.as_role("admin", f"{tenant}-other")
    for one in (api, other):
        await gone(one)
    assert (await mitosis("tenant", "freeze", tenant)).status == 0

    said = await mitosis("clients", "erase-sealed", "--tenant", tenant, "--tenant", f"{tenant}-other")

    assert said.status == 1
    assert said.err.startswith(f"mitosis: {tenant}: The tenant takes no changes")
    assert await hashes(owner, f"{tenant}-other") == [False, False, False]


TRICKS = [
    "update clients set state = jsonb_set(state::jsonb, '{deleted_at}', '\"2026-01-01T00:00:00Z\"')::json",
    "create temp table clients on commit drop as select client_id, tenant_id, true as is_deleted from public.clients",
    "create temp table events on commit drop as select tenant_id, position, event_id, digest, body from public.events",
    # of what is behind the head nobody has heard
    """insert into events (tenant_id, position, event_id, digest, body)
    select tenant_id, position + 1000000, overlay(event_id placing '7' from 1), digest,
        jsonb_set(body::jsonb, '{data}', '{"type": "ClientDeleted"}')::json
    from events""",
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_the_log_says_who_is_deleted(
    api: Api, owner: asyncpg.Connection, eraser: asyncpg.Connection, tenant: str, trick: str
) -> None:
    """No table that the role may write, or make, gets it to a hash that is in use."""
    await api.register()
    transaction = eraser.transaction()
    await transaction.start()
    await eraser.execute(trick)

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="only a deleted client's"):
        await eraser.execute("update public.events set private = null where tenant_id = $1", tenant)

    await transaction.rollback()
    assert await hashes(owner, tenant) == [True]


NOT_ERASURE = [
    "update events set private = 'another' where tenant_id = $1",
    "update events set private = null where tenant_id = $1",  # of clients that are not deleted
]
NOT_PERMITTED = [
    "update events set body = '{}' where tenant_id = $1",
    "update events set digest = digest where tenant_id = $1",
    "update events set position = position + 1 where tenant_id = $1",
    "delete from events where tenant_id = $1",
    "select private from events where tenant_id = $1",
    "select count(private) from events where tenant_id = $1",
    "update events set private = private || 'x' where tenant_id = $1",
    "select answer from receipts where tenant_id = $1",
]


@pytest.mark.parametrize("statement", NOT_ERASURE)
async def test_the_role_erases_and_nothing_else(
    api: Api, owner: asyncpg.Connection, eraser: asyncpg.Connection, tenant: str, statement: str
) -> None:
    """A trigger lets the role take private parts of deleted clients away, and do nothing else to a record."""
    await api.register()
    await gone(api)

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="only a deleted client's"):
        await eraser.execute(statement, tenant)

    assert await hashes(owner, tenant) == [True, True, False]


@pytest.mark.parametrize("statement", NOT_PERMITTED)
async def test_the_role_may_nothing_else(api: Api, eraser: asyncpg.Connection, tenant: str, statement: str) -> None:
    """Nor may it read what it erases, or anything that it does not need."""
    await gone(api)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await eraser.execute(statement, tenant)


async def test_nobody_else_erases(api: Api, owner: asyncpg.Connection, postgres: Embedded, tenant: str) -> None:
    """Neither the service's role nor the owner takes a private part away."""
    await gone(api)
    statement = "update events set private = null where tenant_id = $1"

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="what happened stays"):
        await owner.execute(statement, tenant)
    service = await asyncpg.connect(postgres.url("mitosis_service"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement, tenant)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(f"set role {ERASER_ROLE}")
    finally:
        await service.close()


async def test_a_private_part_that_vanished(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """A private part that is gone without a record of it, or is another, is found and named."""
    await gone(api)
    await api.register()
    await api.register()
    await mitosis("clients", "erase-sealed", "--tenant", tenant)
    vanished = "update events set private = null where tenant_id = $1 and position = 3"
    another = "update events set private = 'another' where tenant_id = $1 and position = 4"

    async with tampered(owner, tenant, vanished, another):
        said = await mitosis("audit", "verify", "--tenant", tenant)

    assert said.status == 3
    assert [line.split()[:2] for line in said.lines[1:]] == [["removed", "3"], ["altered", "4"]]
    assert "another" not in said.out


async def test_a_body_says_what_it_was(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """What a record commits to stays in its body when its private part is gone."""
    await gone(api)
    await mitosis("clients", "erase-sealed", "--tenant", tenant)

    body = await owner.fetchval("select body from events where tenant_id = $1 and position = 1", tenant)

    assert len(decode(body).sealed or "") == 64


@pytest.mark.parametrize("arguments", [(), ("--tenant", "x", "--all-tenants"), ("--tenant",)])
async def test_which_tenants(mitosis: Mitosis, arguments: tuple[str, ...]) -> None:
    """Whose clients has to be said: nothing is erased everywhere by an oversight."""
    said = await mitosis("clients", "erase-sealed", *arguments)

    assert said.status == 2
    assert said.err.count("\n") == 1
