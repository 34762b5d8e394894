"""
Where a tenant's consumers are, handed over from source to target so that each goes on behind its place.

A consumer of one name may run at both databases. As long as the tenant is on its way its places at the target are
parked, so that nobody there begins with what is being dealt with at the source. Once the tenant takes changes at the
target, those at the source are given a moment to deal with its last records; then they are parked for good, which
fences off whoever still has the tenant there, and those at the target go on from where they were.
"""

import asyncio
import time

from events.checkpoints import GONE_S
from events.log import Conn
from service.moving.journey import Journey

PATIENCE_S = 3.0  # for consumers at the source to come to the end
_LOOK_S = 0.05

ARRIVING = "the tenant is on its way here: its consumers at the other database come first"
_GONE = "the tenant has moved"

_READ = """
select consumer, position, parked_at, parked_because
from checkpoints
where tenant_id = $1
"""

_ANNOUNCE = """
insert into checkpoints (tenant_id, consumer, position, parked_at, parked_because)
select $1, consumer, position, now(), $4
from unnest($2::text[], $3::bigint[]) as place (consumer, position)
on conflict (tenant_id, consumer) do update
set position = excluded.position, parked_at = excluded.parked_at, parked_because = excluded.parked_because,
    epoch = checkpoints.epoch + 1, member = null, updated_at = now()
"""


async def announce(journey: Journey) -> None:
    """Give the consumers of the source a place at the target, parked, before the first record is there."""
    rows = await journey.source.fetch(_READ, journey.tenant_id)
    places = [row["consumer"] for row in rows], [row["position"] for row in rows]
    await journey.target.execute(_ANNOUNCE, journey.tenant_id, *places, ARRIVING)


_PARK = """
update checkpoints
set parked_at = now(), parked_because = $2, epoch = epoch + 1, member = null, updated_at = now()
where tenant_id = $1 and parked_at is null
"""

# whoever parked a consumer at the source for a reason of his own finds it parked at the target
_HAND_OVER = """
insert into checkpoints (tenant_id, consumer, position, parked_at, parked_because)
select $1, place.*
from unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::text[])
    as place (consumer, position, parked_at, parked_because)
on conflict (tenant_id, consumer) do update
set position = excluded.position, parked_at = excluded.parked_at, parked_because = excluded.parked_because,
    epoch = checkpoints.epoch + 1, updated_at = now()
where checkpoints.parked_because = $6
"""


async def hand_over(journey: Journey) -> None:
    """
    Let the tenant's consumers go on at the target, and no more at the source. May be repeated.

    A consumer at the source that is not at the end when its time is up is fenced off: what it did since it last noted
    its place is then done again, as whenever another process takes a tenant over.
    """
    await _let_finish(journey.source, journey.tenant_id)
    gone = f"{_GONE} to {journey.target_name}"
    async with journey.source.transaction():
        await journey.source.execute(_PARK, journey.tenant_id, gone)
        rows = await journey.source.fetch(_READ, journey.tenant_id)
    places = [
        (row["consumer"], row["position"], None, None)
        if (row["parked_because"] or "").startswith(_GONE)
        else tuple(row)
        for row in rows
    ]
    columns = [list(column) for column in zip(*places, strict=True)] or [[], [], [], []]
    await journey.target.execute(_HAND_OVER, journey.tenant_id, *columns, ARRIVING)


_BUSY = """
select exists (
    select
    from checkpoints
    join members using (consumer, member)
    join heads using (tenant_id)
    where tenant_id = $1 and parked_at is null and checkpoints.position < heads.position
        and seen_at > now() - $2::float8 * interval '1 second'
)
"""


async def _let_finish(source: Conn, tenant_id: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and await source.fetchval(_BUSY, tenant_id, GONE_S):  # noqa: ASYNC110 (it is the database that knows)
        await asyncio.sleep(_LOOK_S)
