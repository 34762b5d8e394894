"""`mitosis consumers`: what operators see of them, and what they do about one that has stopped."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from events import checkpoints
from service.embedded import Embedded
from tests.commands import Mitosis, Said
from tests.conftest import own_database
from tests.planting import plant


class Consumers:
    """The command, on a database whose consumers are those of the test."""

    def __init__(self, mitosis: Mitosis, url: str, owner: asyncpg.Connection) -> None:
        self._mitosis, self._url, self.owner = mitosis, url, owner

    async def __call__(self, *arguments: str) -> Said:
        return await self._mitosis("consumers", *arguments, MITOSIS_DATABASE_URL=self._url)

    async def at(self, name: str, tenant: str) -> int:
        """The position of a consumer."""
        statement = "select position from checkpoints where tenant_id = $1 and consumer = $2"
        return int(await self.owner.fetchval(statement, tenant, name))


@pytest.fixture
async def consumers(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> AsyncIterator[Consumers]:
    """One called billing: in acme at 2 of 3 and alive, in globex parked at 1 of 2; and initech, which it never saw."""
    async with own_database(postgres, binaries) as name:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        for tenant, count in (("acme", 3), ("globex", 2), ("initech", 1)):
            for _ in range(count):
                await plant(owner, tenant)
        await checkpoints.present(owner, "billing", "m1", "host-7:4711")
        acme, globex = await checkpoints.claim(owner, ["acme", "globex"], "billing", "m1", ["m1"])
        await checkpoints.move(owner, "billing", acme, 2)
        globex = await checkpoints.move(owner, "billing", globex, 1)
        await checkpoints.park(owner, "billing", globex, "ValueError: [red]\x1b[31m")
        yield Consumers(mitosis, url, owner)
        await owner.close()


async def test_list(consumers: Consumers) -> None:
    """Where each is in each tenant, how far behind, which process has it, and where it is parked and why."""
    said = await consumers()

    assert said.status == 0
    assert [line.split()[:5] for line in said.lines] == [
        ["CONSUMER", "TENANT", "POSITION", "LAG", "PROCESS"],
        ["billing", "acme", "2", "1", "host-7:4711"],
        ["billing", "globex", "1", "1", "-"],
        ["billing", "initech", "0", "1", "-"],
    ]
    assert "ValueError: [red]\N{REPLACEMENT CHARACTER}[31m" in said.lines[2]
    assert "\x1b" not in said.out


async def test_list_as_json(consumers: Consumers) -> None:
    """The same for machines, one object a line."""
    said = await consumers("--json")

    acme, globex, _ = (json.loads(line) for line in said.lines)
    assert (acme["consumer"], acme["tenant_id"], acme["position"], acme["head"], acme["lag"]) == (
        *("billing", "acme", 2, 3, 1),
    )
    assert acme["place"] == "host-7:4711"
    assert globex["parked_because"] == "ValueError: [red]\x1b[31m"


async def test_none(postgres: Embedded, binaries: Path | None, mitosis: Mitosis) -> None:
    """Where there are none, that is said."""
    async with own_database(postgres, binaries) as name:
        said = await mitosis("consumers", MITOSIS_DATABASE_URL=postgres.url("postgres", name))

    assert (said.status, said.out) == (0, "No consumer has run yet.\n")


async def test_resume(consumers: Consumers) -> None:
    """A parked tenant goes on; one that is not parked is said not to be."""
    said = await consumers("resume", "billing", "--tenant", "globex")

    assert (said.status, said.out) == (0, "billing goes on in tenant globex.\n")
    assert "red" not in (await consumers()).out
    for tenant in ("globex", "acme", "nowhere"):
        again = await consumers("resume", "billing", "--tenant", tenant)
        assert (again.status, again.err) == (1, f"mitosis: billing is not parked in tenant {tenant}\n")


async def test_reset(consumers: Consumers) -> None:
    """A consumer begins again, in one tenant or in all, at the beginning or at a position, never beyond the end."""
    dry = await consumers("reset", "billing", "--dry-run")
    assert dry.lines == ["would set acme from 2 to 0", "would set globex from 1 to 0"]
    assert await consumers.at("billing", "acme") == 2

    assert (await consumers("reset", "billing", "--tenant", "globex", "--to", "2")).lines == ["set globex from 1 to 2"]
    assert "red" not in (await consumers()).out
    assert (await consumers("reset", "billing", "--to", "99")).lines == [
        "set acme from 2 to 3",
        "set globex from 2 to 2",
    ]
    assert (await consumers("reset", "billing")).status == 0
    assert [await consumers.at("billing", tenant) for tenant in ("acme", "globex")] == [0, 0]


async def test_reset_nothing(consumers: Consumers) -> None:
    """What is not there cannot be reset, and is not made."""
    for arguments in (("reset", "nobody"), ("reset", "billing", "--tenant", "nowhere")):
        said = await consumers(*arguments)
        assert said.status == 1
        assert said.err.startswith("mitosis: ")
    assert (await consumers("reset", "billing", "--to", "-1")).status == 2


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/none", "nonsense", "postgresql://u:hidden@127.0.0.1:1/x"]
)
async def test_no_database(mitosis: Mitosis, url: str) -> None:
    """Without a database there is one line that says so, and no password in it."""
    said = await mitosis("consumers", MITOSIS_DATABASE_URL=url)

    assert (said.status, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert "hidden" not in said.err


async def test_no_home(mitosis: Mitosis, tmp_path: Path) -> None:
    """Nor is one made where the service never ran."""
    said = await mitosis("consumers", MITOSIS_DATABASE_URL="", MITOSIS_HOME=str(tmp_path / "none"))

    assert said.status == 1
    assert said.err.startswith("mitosis: there is no database")
    assert not (tmp_path / "none").exists()
