"""
The log in PostgreSQL: one append-only chain a tenant.

A tenant's *head* holds its last position and digest. `lock` takes it for the transaction and `append` moves it on, so
positions run 1, 2, 3 without a gap and become visible in that order, while other tenants go their own way.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import asyncpg
from asyncpg import Connection
from asyncpg.pool import PoolConnectionProxy

from events import chain
from events.errors import RecordMissing
from events.record import Record, decode

Conn = Connection | PoolConnectionProxy

_EPOCH = datetime.fromtimestamp(0, UTC)


State = Literal["open", "frozen", "arriving", "moved"]


class Head(NamedTuple):
    """
    Where a tenant's log ends: its last position (0 for none), digest (32 bytes) and time.

    `state` is whether the tenant takes writes here (only when it is `open`); `moved_to` is where callers find one that
    has moved.
    """

    position: int
    digest: bytes
    time: datetime
    state: State = "open"
    moved_to: str | None = None


class Entry(NamedTuple):
    """A record as the log keeps it. `private` is None where there is none, or where it was not asked for."""

    tenant_id: str
    position: int
    event_id: str
    digest: bytes
    body: bytes
    private: str | None = None

    @property
    def record(self) -> Record:
        """
        The record that the body holds, decoded anew each time.

        Raises:
            NoRecord, UnknownVersion: as `events.record.decode`.
        """
        return decode(self.body, tenant_id=self.tenant_id, position=self.position)


_OPEN = """
insert into heads (tenant_id, digest)
select * from unnest($1::text[], $2::bytea[])
on conflict (tenant_id) do nothing
"""


async def open_heads(conn: Conn, tenants: Sequence[str]) -> None:
    """Give each of *tenants* a head where it has none. Outside a transaction, so that nobody waits for this one."""
    await conn.execute(_OPEN, tenants, [chain.genesis(tenant) for tenant in tenants])


_LOCK = """
select tenant_id, position, digest, time, state, moved_to
from heads
where tenant_id = any($1::text[])
order by tenant_id
for update
"""


async def lock(conn: Conn, tenants: Sequence[str], *, wait: bool, limit_s: float | None = None) -> dict[str, Head]:
    """
    Lock the heads of *tenants* until the transaction ends, in the tenants' order, so that two callers cannot deadlock.

    With *wait* it waits for heads that others hold; without, those are missing from the answer. So are tenants
    without a head.

    Raises:
        TimeoutError: it took longer than *limit_s*. The server's own limit is for each head.
    """
    rows = await conn.fetch(_LOCK if wait else _LOCK + "skip locked", tenants, timeout=limit_s)
    return {row["tenant_id"]: _head(row) for row in rows}


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


def beginning(tenant_id: str) -> Head:
    """The head of a tenant that never wrote: position 0 and the genesis digest."""
    return Head(0, chain.genesis(tenant_id), _EPOCH)


_HEAD = "select position, digest, time, state, moved_to from heads where tenant_id = $1"


async def head(conn: Conn, tenant_id: str) -> Head:
    """Where the log of *tenant_id* ends; position 0 and the genesis digest for a tenant that never wrote."""
    row = await conn.fetchrow(_HEAD, tenant_id)
    return beginning(tenant_id) if row is None else _head(row)


def _head(row: asyncpg.Record) -> Head:
    return Head(row["position"], row["digest"], row["time"], row["state"], row["moved_to"])


_READ = """
select tenant_id, position, event_id, digest, body
from events
where tenant_id = $1 and position > $2
order by position
limit $3
"""


async def following(conn: Conn, tenant_id: str, after: int, *, limit: int) -> list[Entry]:
    """The next *limit* records of *tenant_id* after a position, in order, without private parts."""
    return [entry_of(row) for row in await conn.fetch(_READ, tenant_id, after, limit)]


async def read(conn: Conn, tenant_id: str, *, after: int = 0, batch: int = 1000) -> AsyncIterator[Entry]:
    """The records of *tenant_id* after a position, in order, without private parts; *batch* in memory at a time."""
    while entries := await following(conn, tenant_id, after, limit=batch):
        for entry in entries:
            yield entry
        after = entries[-1].position


_POSITIONS = "select tenant_id, position from heads where tenant_id = any($1::text[])"


async def positions(conn: Conn, tenants: Iterable[str]) -> dict[str, int]:
    """Where the logs of *tenants* end; a tenant that never wrote may be missing."""
    return {row["tenant_id"]: row["position"] for row in await conn.fetch(_POSITIONS, list(tenants))}


_ALL_POSITIONS = "select tenant_id, position from heads where position > 0 order by tenant_id limit $1"


async def all_positions(conn: Conn, *, limit: int) -> dict[str, int]:
    """Where the logs of all tenants end, of *limit* tenants at most."""
    return {row["tenant_id"]: row["position"] for row in await conn.fetch(_ALL_POSITIONS, limit)}


_NEWS = """
select tenant_id, record.*
from unnest($1::text[], $2::bigint[]) as cursor (tenant_id, after)
cross join lateral (
    select position, event_id, digest, body
    from events
    where events.tenant_id = cursor.tenant_id and position > after
    order by position
    limit $3
) as record
order by tenant_id, position
"""


async def news(conn: Conn, cursor: Mapping[str, int], *, limit: int) -> dict[str, list[Entry]]:
    """What comes after each tenant's position in *cursor*: of each the next *limit* records, without private parts."""
    rows = await conn.fetch(_NEWS, list(cursor), list(cursor.values()), limit)
    return _by_tenant(rows)


_NEWS_OF_ALL = """
with lagging as (
    select heads.tenant_id, coalesce(after, 0) as after
    from heads
    left join unnest($1::text[], $2::bigint[]) as cursor (tenant_id, after) using (tenant_id)
    where position > coalesce(after, 0)
    order by (heads.tenant_id > $3) desc, heads.tenant_id
    limit $4
)
select tenant_id, record.*
from lagging
cross join lateral (
    select position, event_id, digest, body
    from events
    where events.tenant_id = lagging.tenant_id and position > after
    order by position
    limit $5
) as record
order by (tenant_id > $3) desc, tenant_id, position
"""


async def news_of_all(
    conn: Conn, cursor: Mapping[str, int], *, since: str, tenants: int, limit: int
) -> dict[str, list[Entry]]:
    """
    What comes after *cursor* in any tenant, those that are not in it included, from their beginning.

    At most so many *tenants*, in their order and beginning behind *since*, so that none is always the last; of each
    the next *limit* records, without private parts.
    """
    return _by_tenant(await conn.fetch(_NEWS_OF_ALL, list(cursor), list(cursor.values()), since, tenants, limit))


def require_next(after: int, entry: Entry) -> None:
    """
    Make sure that *entry* is the one behind position *after*.

    Raises:
        RecordMissing
    """
    if entry.position != after + 1:
        raise RecordMissing(f"tenant {entry.tenant_id} has no record at position {after + 1}")


def _by_tenant(rows: Iterable[asyncpg.Record]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for row in rows:
        found.setdefault(row["tenant_id"], []).append(entry_of(row))
    return found


def entry_of(row: asyncpg.Record) -> Entry:
    """The entry that *row* has, without its private part."""
    return Entry(row["tenant_id"], row["position"], row["event_id"], row["digest"], row["body"].encode())


_FIND = """
select event_id
from events
join unnest($1::text[], $2::text[]) as wanted (tenant_id, event_id) using (tenant_id, event_id)
"""


async def find(conn: Conn, wanted: Iterable[tuple[str, str]]) -> set[str]:
    """Those of the (tenant, event id) pairs that are in the log, by event id."""
    tenants, ids = zip(*wanted, strict=True)
    return {row["event_id"] for row in await conn.fetch(_FIND, tenants, ids)}


_ERASE = "update events set private = null where tenant_id = $1 and event_id = any($2::text[])"


async def erase(conn: Conn, tenant_id: str, event_ids: Sequence[str]) -> None:
    """Take private parts away, as the role mitosis_eraser, and only a deleted client's. Digests do not cover them."""
    await conn.execute(_ERASE, tenant_id, event_ids)


_SET_STATE = "update heads set state = $2, moved_to = $3 where tenant_id = $1"


async def set_state(conn: Conn, tenant_id: str, state: State, moved_to: str | None = None) -> None:
    """Whether *tenant_id* takes writes from the end of this transaction on, which holds the lock of its head."""
    await conn.execute(_SET_STATE, tenant_id, state, moved_to)


_WHOLE = """
select tenant_id, position, event_id, digest, body, private
from events
where tenant_id = $1 and position > $2
order by position
limit $3
"""


async def whole(conn: Conn, tenant_id: str, after: int, *, limit: int) -> list[Entry]:
    """The next *limit* records of *tenant_id* after a position, with their private parts: for moving a tenant alone."""
    rows = await conn.fetch(_WHOLE, tenant_id, after, limit)
    return [entry_of(row)._replace(private=row["private"]) for row in rows]


_DIGEST = "select digest from events where tenant_id = $1 and position = $2"


async def digest_at(conn: Conn, tenant_id: str, position: int) -> bytes | None:
    """The digest of the record at *position*, the genesis digest for 0; None where the log has no such position."""
    if position == 0:
        return chain.genesis(tenant_id)
    digest: bytes | None = await conn.fetchval(_DIGEST, tenant_id, position)
    return digest
