"""What can befall the clients table, callers who write meanwhile, and the command that mends it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from events import log
from events.log import Conn
from projections.clients import Client, apply, save
from tests.callers import Api
from tests.commands import Mitosis, Said
from tests.damage import Log, head_of, written
from tests.waiting import until

TABLES = ("clients", "clients_shadow", "clients_replaced")


class Mishap(NamedTuple):
    """What befalls a row: the statement, what the command calls it, and the fields that it names."""

    statement: str
    kind: str
    fields: tuple[str, ...]


def _altered(assignments: str, *fields: str) -> Mishap:
    return Mishap(f"update clients set {assignments} where tenant_id = $1 and client_id = $2", "altered", fields)


MISHAPS = {
    "removed": Mishap("delete from clients where tenant_id = $1 and client_id = $2", "missing", ()),
    "renamed": _altered("""state = jsonb_set(state::jsonb, '{settings,name}', '"Evil"')::json""", "settings.name"),
    "suspended": _altered("""state = jsonb_set(state::jsonb, '{status}', '"suspended"')::json""", "status"),
    "set back": _altered("""state = jsonb_set(state::jsonb, '{version}', '7')::json""", "version"),
    "deleted": _altered("""state = (state::jsonb || '{"deleted_at": "2026-01-01T00:00:00Z"}')::json""", "deleted_at"),
    "robbed of its secrets": _altered("state = (state::jsonb - 'secrets')::json", "secrets"),
    "painted": _altered("""state = (state::jsonb || '{"colour": {"of": "red"}}')::json""", "colour.of"),
    "written otherwise": _altered("state = state::jsonb::json", "state"),
    "folded wrongly": _altered("name_folded = 'MY'", "name_folded"),
    "ruined": _altered(
        "name_folded = '', state = (state::jsonb - 'updated_at' - 'secrets')::json",
        *("secrets", "updated_at", "name_folded"),
    ),
}
SURPLUS = """
insert into clients (tenant_id, client_id, state, name_folded)
select tenant_id, 'app-never', state, name_folded from clients where tenant_id = $1 limit 1
"""


async def befall(owner: Conn, tenant: str, client_id: str, what: str) -> None:
    """Let one of MISHAPS befall a client."""
    assert (await owner.execute(MISHAPS[what].statement, tenant, client_id)).endswith(" 1")


class Replay:
    """`mitosis replay rebuild`, of the test's own tenant where no other is named."""

    def __init__(self, mitosis: Mitosis, tenant: str) -> None:
        self._mitosis, self._tenant = mitosis, tenant

    async def __call__(self, *arguments: str, tenants: Sequence[str] = ()) -> Said:
        named = [word for tenant in tenants or [self._tenant] for word in ("--tenant", tenant)]
        return await self._mitosis("replay", "rebuild", *named, *arguments)

    async def report(self, *arguments: str, status: int = 0, tenants: Sequence[str] = ()) -> Any:
        """What it says to machines."""
        said = await self("--json", *arguments, tenants=tenants)
        assert said.status == status, said
        (line,) = said.lines
        return json.loads(line)

    async def outcome(self, *arguments: str, status: int = 0) -> Any:
        """What it says to machines of the one tenant."""
        (outcome,) = (await self.report(*arguments, status=status))["tenants"]
        return outcome


async def dump(owner: Conn, *tenants: str, tables: Sequence[str] = TABLES) -> dict[str, list[Any]]:
    """The rows of some tenants, with who wrote each."""
    statement = "select xmin::text, * from {} where tenant_id = any($1::text[]) order by tenant_id, client_id"
    return {table: [tuple(row) for row in await owner.fetch(statement.format(table), tenants)] for table in tables}


async def append(owner: Conn, tenant: str, entries: Log) -> None:
    """Append to the log of *tenant*, and let nobody project it."""
    await log.open_heads(owner, [tenant])
    end = head_of(entries, tenant)._replace(position=entries[-1].position)
    await log.append(owner, entries, {tenant: end})


async def grow(owner: Conn, tenant: str, clients: Sequence[int]) -> None:
    """A log in which something happens to these clients, one after the other, and the clients that it leads to."""
    entries, folded = written(clients, tenant), dict[str, Client]()
    await append(owner, tenant, entries)
    for entry in entries:
        record = entry.record
        folded[record.client_id] = apply(folded.get(record.client_id), record)
    await save(owner, list(folded.values()))


@asynccontextmanager
async def writers(api: Api, source: str, count: int = 3) -> AsyncIterator[list[int]]:
    """Callers who clone *source* and suspend their clones all the time; the statuses that they are answered."""
    statuses = list[int]()
    is_over = False

    async def write() -> None:
        while not is_over:
            cloned = await api.clone(source)
            suspended = await api.put(f"/admin/oauth/clients/{cloned.data['client_id']}", json={"status": "suspended"})
            statuses.extend((cloned.status, suspended.status))

    tasks = [asyncio.create_task(write()) for _ in range(count)]
    try:
        await until(lambda: len(statuses) > 5 * count)
        yield statuses
    finally:
        is_over = True
        await asyncio.gather(*tasks)


def nothing(_count: int) -> None:
    """Nobody is told how many records were read."""
