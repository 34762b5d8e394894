"""
The log in PostgreSQL: one append-only chain a tenant.

A tenant's *head* holds its last position and digest. `lock` takes it for the transaction and `append` moves it on, so
positions run 1, 2, 3 without a gap and become visible in that order, while other tenants go their own way.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from asyncpg import Connection
from asyncpg.pool import PoolConnectionProxy

from events import chain

Conn = Connection | PoolConnectionProxy

_EPOCH = datetime.fromtimestamp(0, UTC)


class Head(NamedTuple):
    """Where a tenant's log ends: its last position (0 for none), digest (32 bytes) and time."""

    position: int
    digest: bytes
    time: datetime


class Entry(NamedTuple):
    """A record as the log keeps it. `private` is None where there is none, or where it was not asked for."""

    tenant_id: str
    position: int
    event_id: str
    digest: bytes
    body: bytes
    private: str | None = None


_OPEN = """
insert into heads (tenant_id, digest)
select * from unnest($1::text[], $2::bytea[])
on conflict (tenant_id) do nothing
"""


async def open_heads(conn: Conn, tenants: Sequence[str]) -> None:
    """Give each of *tenants* a head where it has none. Outside a transaction, so that nobody waits for this one."""
    await conn.execute(_OPEN, tenants, [chain.genesis(tenant) for tenant in tenants])


_LOCK = """
select tenant_id, position, digest, time
from heads
where tenant_id = any($1::text[])
order by tenant_id
for update
"""


async def lock(conn: Conn, tenants: Sequence[str], *, wait: bool) -> dict[str, Head]:
    """
    Lock the heads of *tenants* until the transaction ends, in the tenants' order, so that two callers cannot deadlock.

    With *wait* it waits for heads that others hold; without, those are missing from the answer. So are tenants
    without a head.
    """
    rows = await conn.fetch(_LOCK if wait else _LOCK + "skip locked", tenants)
    return {row["tenant_id"]: Head(row["position"], row["digest"], row["time"]) for row in rows}


_APPEND = """
with moved as (
    update heads set position = head.position, digest = head.digest, time = head.time
    from unnest($6::text[], $7::bigint[], $8::bytea[], $9::timestamptz[]) as head (tenant_id, position, digest, time)
    where heads.tenant_id = head.tenant_id
)
insert into events (tenant_id, position, event_id, digest, body, private)
select * from unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::json[], $10::text[])
"""


async def append(conn: Conn, entries: Sequence[Entry], heads: dict[str, Head]) -> None:
    """
    Append *entries* and move *heads* to where they end. The caller's transaction holds the locks of these heads.

    Durable and visible when that transaction commits; before, a crash leaves nothing.
    """
    await conn.execute(
        _APPEND,
        [entry.tenant_id for entry in entries],
        [entry.position for entry in entries],
        [entry.event_id for entry in entries],
        [entry.digest for entry in entries],
        [entry.body.decode() for entry in entries],
        list(heads),
        [head.position for head in heads.values()],
        [head.digest for head in heads.values()],
        [head.time for head in heads.values()],
        [entry.private for entry in entries],
    )


_HEADS = "select tenant_id from heads where tenant_id = any($1::text[])"


async def heads(conn: Conn, tenants: Iterable[str]) -> set[str]:
    """Those of *tenants* that have a head."""
    return {row["tenant_id"] for row in await conn.fetch(_HEADS, list(tenants))}


def beginning(tenant_id: str) -> Head:
    """The head of a tenant that never wrote: position 0 and the genesis digest."""
    return Head(0, chain.genesis(tenant_id), _EPOCH)


_HEAD = "select position, digest, time from heads where tenant_id = $1"


async def head(conn: Conn, tenant_id: str) -> Head:
    """Where the log of *tenant_id* ends; position 0 and the genesis digest for a tenant that never wrote."""
    row = await conn.fetchrow(_HEAD, tenant_id)
    if row is None:
        return beginning(tenant_id)
    return Head(row["position"], row["digest"], row["time"])


_READ = """
select tenant_id, position, event_id, digest, body
from events
where tenant_id = $1 and position > $2
order by position
limit $3
"""


async def read(conn: Conn, tenant_id: str, *, after: int = 0, batch: int = 1000) -> AsyncIterator[Entry]:
    """The records of *tenant_id* after a position, in order, without private parts; *batch* in memory at a time."""
    while rows := await conn.fetch(_READ, tenant_id, after, batch):
        for row in rows:
            yield Entry(row["tenant_id"], row["position"], row["event_id"], row["digest"], row["body"].encode())
        after = rows[-1]["position"]


_FIND = """
select event_id
from events
join unnest($1::text[], $2::text[]) as wanted (tenant_id, event_id) using (tenant_id, event_id)
"""


async def find(conn: Conn, wanted: Iterable[tuple[str, str]]) -> set[str]:
    """Those of the (tenant, event id) pairs that are in the log, by event id."""
    tenants, ids = zip(*wanted, strict=True)
    return {row["event_id"] for row in await conn.fetch(_FIND, tenants, ids)}
