"""The tenants, as operators list them: what their heads say, and how many clients they have."""

from datetime import datetime
from typing import NamedTuple

from events.log import Conn, State


class Tenant(NamedTuple):
    """A tenant: the end of its log, whether it takes changes, and its clients that are not deleted, or are."""

    tenant_id: str
    state: State
    moved_to: str | None
    position: int
    digest: bytes
    time: datetime
    clients: int
    deleted_clients: int


_TENANTS = """
select heads.tenant_id, heads.state, moved_to, position, digest, time,
    count(client_id) filter (where not is_deleted) as clients,
    count(client_id) filter (where is_deleted) as deleted_clients
from heads
left join clients on clients.tenant_id = heads.tenant_id
where ($1::text is null or heads.tenant_id = $1)
group by heads.tenant_id
order by heads.tenant_id
"""


async def tenants(conn: Conn, tenant_id: str | None = None) -> list[Tenant]:
    """All tenants, or the one with *tenant_id*."""
    return [Tenant(**row) for row in await conn.fetch(_TENANTS, tenant_id)]
