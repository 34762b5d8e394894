"""The rows that a rebuild replaces, kept as they were until the next one or until told otherwise."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from events.log import Conn
from projections.differences import Pair

_REPLACE = """
with kept as (
    insert into clients_replaced (tenant_id, client_id, state, name_folded, replaced_at)
    select $1, client_id, state, name_folded, $2
    from unnest($3::text[], $4::json[], $5::text[]) as live (client_id, state, name_folded)
    on conflict (tenant_id, client_id) do update
    set state = excluded.state, name_folded = excluded.name_folded, replaced_at = excluded.replaced_at
), surplus as (
    delete from clients where tenant_id = $1 and client_id = any($6)
)
insert into clients (tenant_id, client_id, state, name_folded)
select $1, client_id, state, name_folded
from unnest($7::text[], $8::json[], $9::text[]) as folded (client_id, state, name_folded)
on conflict (tenant_id, client_id) do update set state = excluded.state, name_folded = excluded.name_folded
"""


async def replace(conn: Conn, tenant_id: str, pairs: Sequence[Pair], at: datetime) -> None:
    """Let the live table have these clients as they are folded, and keep what it had for the rebuild begun *at*."""
    folded = [(pair.client_id, *pair.folded) for pair in pairs if pair.folded is not None]
    await conn.execute(
        _REPLACE,
        tenant_id,
        at,
        [pair.client_id for pair in pairs],
        [pair.live and pair.live[0] for pair in pairs],
        [pair.live and pair.live[1] for pair in pairs],
        [pair.client_id for pair in pairs if pair.folded is None],
        [client_id for client_id, _, _ in folded],
        [state for _, state, _ in folded],
        [name_folded for _, _, name_folded in folded],
    )


_DISCARD = "delete from clients_replaced where tenant_id = $1 and replaced_at is distinct from $2"


async def discard(conn: Conn, tenant_id: str, but: datetime | None = None) -> int:
    """Forget what was replaced in *tenant_id*, *but* by the rebuild begun then; returns how many rows that were."""
    return int((await conn.execute(_DISCARD, tenant_id, but)).removeprefix("DELETE "))


_KEPT = """
select tenant_id, count(*) as count
from clients_replaced
where $1::text[] is null or tenant_id = any($1)
group by tenant_id
order by tenant_id
"""


async def kept(conn: Conn, tenants: Iterable[str] | None = None) -> dict[str, int]:
    """How many rows that were replaced are kept, of each tenant that has some, or of those among *tenants*."""
    rows = await conn.fetch(_KEPT, None if tenants is None else list(tenants))
    return {row["tenant_id"]: row["count"] for row in rows}
