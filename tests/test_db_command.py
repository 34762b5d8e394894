"""`mitosis db status`: what operators see of the database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from ulid import ULID

from events import checkpoints
from service import schema
from service.embedded import Embedded
from tests.commands import Mitosis, Said
from tests.conftest import own_database
from tests.planting import plant

_SESSIONS = """
select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'
"""


class Status:
    """The command, on a database that nobody else uses."""

    def __init__(self, mitosis: Mitosis, url: str, owner: asyncpg.Connection) -> None:
        self._mitosis, self.url, self.owner = mitosis, url, owner

    async def __call__(self, *arguments: str) -> Said:
        return await self._mitosis("db", "status", *arguments, MITOSIS_DATABASE_URL=self.url)


@pytest.fixture
async def status(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> AsyncIterator[Status]:
    """Two tenants with three records in all; a consumer called billing has one of them, and is parked in one tenant."""
    async with own_database(postgres, binaries) as name:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        for tenant in ("acme", "acme", "globex"):
            await plant(owner, tenant)
        acme, globex = await checkpoints.claim(owner, ["acme", "globex"], "billing", "m1", ["m1"])
        await checkpoints.move(owner, "billing", acme, 1)
        await checkpoints.park(owner, "billing", globex, "ValueError: no")
        await owner.execute("analyze")
        yield Status(mitosis, url, owner)
        await owner.close()


async def test_as_json(status: Status) -> None:
    """Everything that there is to say, as one object."""
    said = await status("--json")

    assert said.status == 0
    found = json.loads(said.out)
    version = schema.version()
    assert (found["schema_version"], found["needed_version"]) == (version, version)
    tables = {table["name"]: table for table in found["tables"]}
    assert tables["events"]["rows"] == 3
    assert 0 < tables["events"]["bytes"] < found["bytes"]
    assert found["tenants"] == {"open": 2}
    assert found["consumers"] == [{"consumer": "billing", "tenants": 2, "records": 2, "parked": 1}]
    assert found["oldest_transaction"] is None
    assert 2 <= found["connections"] <= found["max_connections"]
    assert {session["application"] for session in found["sessions"]} == {"", "mitosis db status"}


async def test_for_people(status: Status) -> None:
    """The same to be read."""
    async with status.owner.transaction():
        await status.owner.execute("set local application_name = 'a \x1b[31mclerk'")
        await status.owner.fetch("select pg_current_xact_id()")
        said = await status()

    assert said.status == 0
    assert said.lines[1] == f"schema: {schema.version()}, as this program needs it"
    assert said.lines[2] == "tenants: 2 open"
    assert said.lines[4].startswith("oldest open transaction: 0.")
    assert "idle in transaction" in said.lines[4]
    assert ["billing", "2", "2", "1"] in [line.split() for line in said.lines]
    assert "\x1b" not in said.out


async def test_a_user_who_is_shown_less(status: Status) -> None:
    """Other users' sessions are counted, though what they do is not told; and that this is so is said."""
    name = f"lesser_{ULID()}".lower()
    await status.owner.execute(f"create role {name} login")
    await status.owner.execute(f"grant select on all tables in schema public to {name}")
    status.url = status.url.replace("postgres@", f"{name}@")
    count = await status.owner.fetchval(_SESSIONS)

    found = json.loads((await status("--json")).out)
    said = await status()

    await status.owner.execute(f"drop owned by {name}; drop role {name}")
    shown = {(one["application"], one["state"]): one["count"] for one in found["sessions"]}
    assert shown == {("mitosis db status", "active"): 1, ("", "unknown"): count}
    assert found["connections"] > count
    assert said.lines[4:6] == [
        "oldest open transaction: none",
        f"sessions whose transactions are not shown to this user: {count} (grant pg_read_all_stats)",
    ]


async def test_tenants_that_have_moved(status: Status) -> None:
    """Nobody is behind in a tenant that is elsewhere."""
    await status.owner.execute("update heads set state = 'moved' where tenant_id = 'acme'")

    found = json.loads((await status("--json")).out)

    assert found["tenants"] == {"moved": 1, "open": 1}
    assert found["consumers"] == [{"consumer": "billing", "tenants": 1, "records": 1, "parked": 1}]


async def test_another_schema(status: Status) -> None:
    """A database with an older schema, or none, is shown as far as that goes, and the exit status says so."""
    await status.owner.execute("update schema_state set version = 1")
    older = await status()
    await status.owner.execute("drop table schema_state")
    none = await status("--json")

    assert (older.status, none.status) == (3, 3)
    assert older.lines[1] == f"schema: 1, and this program needs {schema.version()}"
    assert json.loads(none.out)["schema_version"] == 0


@pytest.mark.parametrize(
    "url", ["postgresql://u:hidden@127.0.0.1:1/none", "nonsense", "postgresql://u:hid/den@127.0.0.1:1/x"]
)
async def test_no_database(mitosis: Mitosis, url: str) -> None:
    """Without a database there is one line that says so, and no password in it."""
    said = await mitosis("db", "status", MITOSIS_DATABASE_URL=url)

    assert (said.status, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert "hid" not in said.err
