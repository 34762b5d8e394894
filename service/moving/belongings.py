"""
What a tenant has besides its log: receipts for retries, and what authentication keeps.

None of it is in the log, and all of it counts for a tenant that moves: a retry with its Idempotency-Key gets its answer
again, an assertion that was used is not used twice, and it stays known when a secret was last used.

Each is carried whole once, while callers go on. Afterwards only rows that a younger transaction of the source wrote are
carried, and there are few of those when the tenant is frozen.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from service.moving.journey import Journey

_PIECE = 1000  # rows
_SLACK = timedelta(seconds=30)  # for which a request may take to be answered, and its receipt to be written


class Mark(NamedTuple):
    """
    What was carried: all that is visible where no transaction from *xid* on is.

    `receipts_from` is when a receipt that is not carried ends at the earliest, as far as that is known: all live
    equally long, so those that were written last end last. There is an index for that, and none for who wrote a row.
    """

    xid: str
    receipts_from: datetime | None = None


class _Kind(NamedTuple):
    """A table: which rows of a tenant to carry, of which only the young ones where a mark says so, and how to."""

    read: str
    write: str


_YOUNG = "($2::text is null or age(xmin) <= age($2::text::xid))"

# ten minutes for clocks that disagree, as where they are swept
_ASSERTIONS = _Kind(
    f"""
    select tenant_id, client_id, jti_digest, expires_at
    from assertions
    where tenant_id = $1 and {_YOUNG} and expires_at > now() - interval '10 minutes'
    """,  # noqa: S608 (a constant)
    """
    insert into assertions (tenant_id, client_id, jti_digest, expires_at)
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[])
    on conflict (tenant_id, client_id, jti_digest) do nothing
    """,
)
_RECEIPTS = _Kind(
    f"""
    select tenant_id, key_digest, request_digest, answer, expires_at
    from receipts
    where tenant_id = $1 and {_YOUNG} and expires_at > coalesce($3::timestamptz, now())
    """,  # noqa: S608 (a constant)
    """
    insert into receipts (tenant_id, key_digest, request_digest, answer, expires_at)
    select * from unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::timestamptz[])
    on conflict (tenant_id, key_digest) do nothing
    """,
)
# in the order in which the service writes them, so that the two cannot deadlock
_USAGE = _Kind(
    """
    select tenant_id, client_id, secret_id, last_used_at
    from secret_usage
    where tenant_id = $1
    order by client_id, secret_id
    """,
    """
    insert into secret_usage (tenant_id, client_id, secret_id, last_used_at)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
    on conflict (tenant_id, client_id, secret_id) do update
    set last_used_at = greatest(secret_usage.last_used_at, excluded.last_used_at)
    """,
)

_XID = "select pg_snapshot_xmin(pg_current_snapshot())::text"


async def carry(journey: Journey, mark: Mark | None = None) -> Mark:
    """
    Bring the target the receipts and the used assertions, or those written since *mark*; returns the next mark.

    A transaction that began before *mark* and ended since counts as since.
    """
    xid = await _xid(journey)
    since = None if mark is None else mark.xid
    await _carry(journey, _ASSERTIONS, since)
    bound = None if mark is None else mark.receipts_from
    ends = await _carry(journey, _RECEIPTS, since, bound)
    # what the first one finds says nothing of those that are written now
    return Mark(xid, bound if mark is None or ends is None else ends - _SLACK)


async def carry_rest(journey: Journey, mark: Mark | None = None) -> None:
    """
    Bring what no caller waits for, once the tenant takes changes at the target.

    That is when secrets were last used; and, since *mark*, assertions that the source took while it was left, and
    receipts that end sooner than others, of a service that was told to keep them for less time while the tenant moved.
    """
    since = None if mark is None else mark.xid
    await _carry(journey, _ASSERTIONS, since)
    await _carry(journey, _RECEIPTS, since, None)
    await _carry(journey, _USAGE)


async def _xid(journey: Journey) -> str:
    """The transaction of the source from which on some may not have ended."""
    return str(await journey.source.fetchval(_XID))


async def _carry(journey: Journey, kind: _Kind, *asked: object) -> datetime | None:
    """Copy rows; returns the earliest of what their last column says."""
    earliest = None
    async for rows in _pieces(journey, kind.read, *asked):
        await journey.target.execute(kind.write, *(list(column) for column in zip(*rows, strict=True)))
        earliest = min([*([earliest] if earliest else []), *(row[-1] for row in rows)])
    return earliest


async def _pieces(journey: Journey, read: str, *asked: object) -> AsyncIterator[list[asyncpg.Record]]:
    """The rows of the source, so many at a time; a few cost one question, which counts where a tenant is frozen."""
    rows = await journey.source.fetch(f"{read} limit {_PIECE}", journey.tenant_id, *asked)
    if len(rows) < _PIECE:
        if rows:
            yield rows
        return
    async with journey.source.transaction(readonly=True):
        cursor = await journey.source.cursor(read, journey.tenant_id, *asked)
        while rows := await cursor.fetch(_PIECE):
            yield rows
