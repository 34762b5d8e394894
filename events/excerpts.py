"""Excerpts of a tenant's log, for whoever looks for something in it: a time, a stretch, a client, an act."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from events.errors import RecordMissing
from events.log import Conn, Entry, entry_of


class Found(NamedTuple):
    """Some of the records that a search is for, newest first, and how many there are in all."""

    total: int
    entries: list[Entry]


_POSITION_AT = """
with recursive halving (low, high) as (
    -- no record up to low is after the time, and each from high on is
    select 0::bigint, coalesce((select position from heads where tenant_id = $1), 0) + 1
    union all
    select case when is_after then low else middle end, case when is_after then middle else high end
    from halving
    cross join lateral (
        select position as middle, (body ->> 'time')::timestamptz > $2 as is_after
        from events
        where tenant_id = $1 and position = (low + high) / 2
    ) as probe
    where low + 1 < high
)
select low from halving where low + 1 = high
"""


async def position_at(conn: Conn, tenant_id: str, time: datetime) -> int:
    """
    The last position of *tenant_id* whose time is not after *time*, 0 where there is none.

    Positions and times rise together, so it halves the log: 20 look-ups by primary key in a log of a million records.

    Raises:
        RecordMissing: there is none where it looked.
    """
    position = await conn.fetchval(_POSITION_AT, tenant_id, time)
    if position is None:
        raise RecordMissing(f"tenant {tenant_id} lacks a record that the search for {time} came to")
    return int(position)


_BETWEEN = """
select tenant_id, position, event_id, digest, body
from events
where tenant_id = $1 and position between $2 and $3
order by position desc
"""


async def between(conn: Conn, tenant_id: str, first: int, last: int) -> list[Entry]:
    """
    The records of *tenant_id* from position *first* to *last*, newest first, without private parts.

    Raises:
        RecordMissing: one of them is.
    """
    entries = [entry_of(row) for row in await conn.fetch(_BETWEEN, tenant_id, first, last)]
    if len(entries) != last - first + 1:
        raise RecordMissing(f"tenant {tenant_id} lacks a record between positions {first} and {last}")
    return entries


_OF_CLIENT = """
select tenant_id, position, event_id, digest, body
from events
where tenant_id = $1 and body ->> 'client_id' = $2
order by position desc
limit $3 offset $4
"""


async def of_client(conn: Conn, tenant_id: str, client_id: str, *, limit: int, offset: int) -> list[Entry]:
    """A client's records, newest first, without private parts: *limit* at most, behind the newest *offset*."""
    return [entry_of(row) for row in await conn.fetch(_OF_CLIENT, tenant_id, client_id, limit, offset)]


# A record is in canonical form, and no other member of it has one of these two names: what a member is can be found by
# its letters. To read the JSON of every record takes seven times as long.
_SEARCH = """
with matching as (
    select position
    from events
    where tenant_id = $1 and position between $2 and $3
      and ($4::text[] is null or exists (select from unnest($4) as member where strpos(body::text, member) > 0))
      and ($5::text is null or strpos(body::text, $5) > 0)
)
select total, found.*
from (select count(*) as total from matching) as counted
left join lateral (
    select tenant_id, position, event_id, digest, body
    from (select position from matching order by position desc limit $6 offset $7) as page
    join events using (position)
    where tenant_id = $1
) as found on true
order by position desc
"""


async def search(  # noqa: PLR0913 (a search's filters)
    conn: Conn,
    tenant_id: str,
    first: int,
    last: int,
    *,
    types: Iterable[str] | None,
    subject: str | None,
    limit: int,
    offset: int,
) -> Found:
    """
    The records from position *first* to *last* that are of one of *types* and of an actor called *subject*.

    None stands for any. All of the range is read to count them.
    """
    members = None if types is None else [_member("type", kind) for kind in types]
    actor = None if subject is None else _member("subject", subject)
    rows = await conn.fetch(_SEARCH, tenant_id, first, last, members, actor, limit, offset)
    return Found(rows[0]["total"], [entry_of(row) for row in rows if row["position"] is not None])


def _member(name: str, value: str) -> str:
    """A member of a record, letter by letter."""
    return f'"{name}":{msgspec.json.encode(value).decode()}'
