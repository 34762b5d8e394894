"""
Private parts that never came: those of records that were imported without credentials.

Which ones is kept in a table of its own. A record of it in the log would make that another log than its source's, and
no head that was kept there would hold here any more.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from events.log import Conn


class Needy(NamedTuple):
    """A client that is not deleted, and how many secrets it has that would work if they could be checked."""

    client_id: str
    name: str
    secrets: int


async def note(conn: Conn, tenant_id: str, event_ids: Iterable[str]) -> None:
    """The private parts of these records did not come."""
    rows = [(tenant_id, event_id) for event_id in event_ids]
    if rows:
        await conn.copy_records_to_table("withheld", records=rows, columns=("tenant_id", "event_id"))


_FORGET = "delete from withheld where tenant_id = $1 and event_id = any($2::text[])"


async def forget(conn: Conn, tenant_id: str, event_ids: Sequence[str]) -> int:
    """The private parts of these records were erased where they were; returns how many of them did not come."""
    if not event_ids:
        return 0
    return int((await conn.execute(_FORGET, tenant_id, event_ids)).removeprefix("DELETE "))


_NEEDY = """
select client_id, name, count(*) as secrets
from clients
cross join lateral json_array_elements(state -> 'secrets') as secret
join withheld on withheld.tenant_id = clients.tenant_id and event_id = secret ->> 'secret_id'
where exists (select from withheld where tenant_id = $1) -- seldom, and then there is no need to look at any client
  and clients.tenant_id = $1 and not is_deleted
  and secret ->> 'status' <> 'inactive'
  and (secret ->> 'expires_at' is null or (secret ->> 'expires_at')::timestamptz > now())
group by client_id, name
order by client_id
"""


async def needy(conn: Conn, tenant_id: str) -> AsyncIterator[Needy]:
    """The clients that need new secrets, in the order of their ids. In a transaction, since it reads a cursor."""
    async for row in conn.cursor(_NEEDY, tenant_id, prefetch=500):
        yield Needy(**row)
