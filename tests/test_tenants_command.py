"""`mitosis tenant list`, `show`, `freeze` and `thaw`, and what a tenant does that takes no changes."""

import asyncio
import getpass
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events import log
from events.tenant import TenantFrozen, TenantThawed
from service.audit.verifying import verify
from service.embedded import Embedded
from tests.callers import EXAMPLE, Api, Reply
from tests.commands import Mitosis, Said
from tests.conftest import own_database
from tests.laws import check
from tests.planting import plant
from tests.test_authenticate import authenticate, post, secret_client

CLIENTS = "/admin/oauth/clients/"


class Tenants:
    """The command, on a database whose tenants are those of the test."""

    def __init__(self, mitosis: Mitosis, url: str, owner: asyncpg.Connection) -> None:
        self._mitosis, self._url, self.owner = mitosis, url, owner

    async def __call__(self, *arguments: str) -> Said:
        return await self._mitosis("tenant", *arguments, MITOSIS_DATABASE_URL=self._url)


@pytest.fixture
async def tenants(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> AsyncIterator[Tenants]:
    """Two tenants: acme with two clients, of which one is deleted, and globex with one."""
    async with own_database(postgres, binaries) as name:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        await plant(owner, "acme")
        await plant(owner, "acme", deleted=True)
        await plant(owner, "globex")
        yield Tenants(mitosis, url, owner)
        await owner.close()


async def test_list(tenants: Tenants) -> None:
    """Every tenant, whether it takes changes, how many records and clients it has, and when it last changed."""
    await tenants("freeze", "globex")

    said = await tenants("list")

    assert said.status == 0
    assert [line.split()[:4] for line in said.lines] == [
        ["TENANT", "STATE", "RECORDS", "CLIENTS"],
        ["acme", "open", "2", "1"],
        ["globex", "frozen", "2", "1"],
    ]


async def test_list_as_json(tenants: Tenants) -> None:
    """The same for machines, one object a line."""
    said = await tenants("list", "--json")

    acme, globex = (json.loads(line) for line in said.lines)
    head = await log.head(tenants.owner, "acme")
    assert acme == {
        "tenant_id": "acme",
        "state": "open",
        "position": 2,
        "digest": head.digest.hex(),
        "time": acme["time"],
        "clients": 1,
        "deleted_clients": 1,
    }
    assert (globex["tenant_id"], globex["deleted_clients"]) == ("globex", 0)


async def test_none(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> None:
    """Where there is none, that is said."""
    async with own_database(postgres, binaries) as name:
        said = await mitosis("tenant", "list", MITOSIS_DATABASE_URL=postgres.url("postgres", name))

    assert (said.status, said.out) == (0, "There is no tenant yet.\n")


async def test_show(tenants: Tenants) -> None:
    """One tenant with all there is to know, and of a frozen one who froze it and why; no control character gets out."""
    await tenants("freeze", "acme", "--reason", "an \x1b[31maudit", "--subject", "eve@acme")

    said, shown = await tenants("show", "acme"), json.loads((await tenants("show", "acme", "--json")).out)

    assert (shown["state"], shown["position"], shown["reason"]) == ("frozen", 3, "an \x1b[31maudit")
    assert shown["by"] == "eve@acme (operator)"
    assert "reason           an \N{REPLACEMENT CHARACTER}[31maudit" in said.lines
    assert "\x1b" not in said.out


@pytest.mark.parametrize("action", ["show", "freeze", "thaw"])
async def test_no_such_tenant(tenants: Tenants, action: str) -> None:
    """A tenant that never was is said not to be there, and is not made."""
    said = await tenants(action, "initech")

    assert (said.status, said.err) == (1, "mitosis: there is no tenant initech\n")
    assert len((await tenants("list", "--json")).lines) == 2


async def test_freeze_and_thaw(tenants: Tenants) -> None:
    """Each is a record with who did it; each is refused where it makes no sense."""
    frozen = await tenants("freeze", "acme", "--reason", "an audit")
    again = await tenants("freeze", "acme")
    thawed = await tenants("thaw", "acme", "--subject", "eve@acme", "--json")
    twice = await tenants("thaw", "acme")

    assert (frozen.status, frozen.out) == (0, "tenant acme is frozen at position 3\n")
    assert (again.status, again.err) == (1, "mitosis: tenant acme is frozen\n")
    told = {"tenant_id": "acme", "state": "open", "position": 4, "dry_run": False}
    assert (thawed.status, json.loads(thawed.out)) == (0, told)
    assert (twice.status, twice.err) == (1, "mitosis: tenant acme is open\n")
    rows = await tenants.owner.fetch("select body from events where tenant_id = 'acme' order by position offset 2")
    freezing, thawing = (log.Entry("acme", 0, "", b"", row["body"].encode()).record for row in rows)
    assert (freezing.data, freezing.actor.subject) == (TenantFrozen(reason="an audit"), getpass.getuser())
    assert (thawing.data, thawing.actor.subject) == (TenantThawed(), "eve@acme")
    assert {freezing.actor.role, thawing.actor.role} == {"operator"}


async def test_dry_run(tenants: Tenants) -> None:
    """What would be done is said, and nothing is."""
    said = await tenants("freeze", "acme", "--dry-run")

    assert (said.status, said.out) == (0, "tenant acme would be frozen at position 3\n")
    assert (await log.head(tenants.owner, "acme"))[3:] == ("open", None)
    assert (await tenants("thaw", "acme", "--dry-run")).status == 1


async def test_held_up(tenants: Tenants) -> None:
    """Where somebody holds the tenant, that is said after a moment, in one line."""
    async with tenants.owner.transaction():
        await log.lock(tenants.owner, ["acme"], wait=True)
        said = await tenants("freeze", "acme")

    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "holds the tenant" in said.err


MISPLACED = ["4711/hidden", "4711#hidden", "4711?hidden", "hid@den", "hid:den", "[hidden", "4711/hidden?x=@:hidden"]


@pytest.mark.parametrize("secret", MISPLACED)
async def test_a_malformed_url(mitosis: Mitosis, secret: str) -> None:
    """A password with a letter that should have been encoded is not shown, wherever in the URL it ended up."""
    for command in (("tenant", "list"), ("consumers",), ("db", "status")):
        said = await mitosis(*command, MITOSIS_DATABASE_URL=f"postgresql://user:{secret}@127.0.0.1:1/name")

        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
        assert not any(part in said.err for part in ("hid", "den", "4711"))


async def test_for_whoever_does_not_ask(tenants: Tenants) -> None:
    """A service of a version that knows no states cannot write to a frozen tenant, and not even the owner can."""
    await tenants("freeze", "acme")
    await tenants.owner.execute("set role mitosis_service")

    for role in ("mitosis_service", "none"):
        await tenants.owner.execute(f"set role {role}")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="takes no changes"):
            await plant(tenants.owner, "acme")


# ------------------------------------------------------------------------------------------------------ a frozen tenant


async def changes(api: Api, client: Any) -> list[Reply]:
    """What is answered to each change that can be asked for of *client*."""
    path = CLIENTS + client["client_id"]
    first = (await api.get(f"{path}/secrets")).data["secrets"][0]["secret_id"]
    return [
        await api.post(CLIENTS, json=EXAMPLE),
        await api.clone(client["client_id"]),
        await api.put(path, json={"name": "renamed"}),
        await api.put(path, json={"status": "suspended"}),
        await api.post(f"{path}/secrets"),
        await api.put(f"{path}/secrets/{first}/deactivate"),
        await api.post(f"{path}/rotate-secret"),
        await api.delete(f"{path}/secrets/{first}"),
        await api.delete(path),
    ]


async def test_frozen(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """It refuses every change, and says when to come back; reads and authentication go on; thawed, it takes changes."""
    client, gone = await secret_client(api), await api.register()
    await api.delete(CLIENTS + gone["client_id"])
    assert (await mitosis("tenant", "freeze", tenant)).status == 0
    before = await check(owner, tenant)

    refused = await changes(api, client)
    erasing = await mitosis("clients", "erase-sealed", "--tenant", tenant)

    assert {(reply.status, reply.body["code"], reply.headers["Retry-After"]) for reply in refused} == {
        (503, 503006, "1")
    }
    assert (erasing.status, "takes no changes" in erasing.err) == (1, True)
    assert await check(owner, tenant) == before
    assert (await api.get(CLIENTS + client["client_id"])).status == 200
    assert (await api.get(CLIENTS)).body["total"] == 1
    assert (await api.get("/admin/audit/logs")).body["items"][0]["action"] == "TenantFrozen"
    assert (await authenticate(api, tenant, post(client["client_id"], client["client_secret"]))).status == 200
    assert (await verify(owner, tenant)).is_whole
    assert (await mitosis("tenant", "thaw", tenant)).status == 0
    assert [reply.status // 100 for reply in await changes(api, client)] == [2] * 9


async def test_commands_in_line(api: Api, owner: asyncpg.Connection, tenant: str, mitosis: Mitosis) -> None:
    """Commands that wait when the tenant is frozen are refused, or were there before: none happens afterwards."""
    await api.register()
    transaction = owner.transaction()
    await transaction.start()
    await log.lock(owner, [tenant], wait=True)
    waiting = [asyncio.create_task(api.post(CLIENTS, json=EXAMPLE)) for _ in range(40)]
    freezing = asyncio.create_task(mitosis("tenant", "freeze", tenant))
    await asyncio.sleep(0.5)
    late = [asyncio.create_task(api.post(CLIENTS, json=EXAMPLE)) for _ in range(10)]
    await transaction.commit()

    frozen, replies = await freezing, await asyncio.gather(*waiting, *late)

    assert frozen.status == 0, frozen.err
    records = await check(owner, tenant)
    assert isinstance(records[-1].data, TenantFrozen)
    assert {(reply.status, reply.body["code"]) for reply in replies} <= {(201, 0), (503, 503006)}
    accepted = [reply.data["client_id"] for reply in replies if reply.status == 201]
    assert sorted(accepted) == sorted(record.client_id for record in records[1:-1])


async def test_other_tenants_go_on(api: Api, tenant: str, mitosis: Mitosis) -> None:
    """A frozen tenant is nobody else's business, also within one turn of the desk."""
    other = api.as_role("admin", f"{tenant}-other")
    await api.register()
    await other.register()
    await mitosis("tenant", "freeze", tenant)

    callers: Sequence[Api] = [api, other] * 10
    replies = await asyncio.gather(*(caller.post(CLIENTS, json=EXAMPLE) for caller in callers))

    assert [reply.status for reply in replies] == [503, 201] * 10


async def test_it_is_documented(api: Api) -> None:
    """Wherever a client is changed, the document says that the tenant may take no changes, or be elsewhere."""
    document = (await api.get("/openapi.json")).body

    writes = [
        operation["responses"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith(CLIENTS) and method != "get"
    ]
    assert len(writes) == 8
    for responses in writes:
        assert "503006" in responses["503"]["content"]["application/json"]["examples"]
        assert "Retry-After" in responses["503"]["headers"]
        assert list(responses["421"]["content"]["application/json"]["examples"]) == ["421001"]
        assert responses["421"]["headers"]["Location"]["required"] is False
