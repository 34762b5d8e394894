"""
Rebuilding a tenant's clients from its log, while the service goes on.

They are folded anew into the shadow, from one snapshot of the log. What was appended since is folded into it too, and
the two tables are compared. Then the tenant's head is locked for a moment: the last records are folded, and the rows
that differ are replaced, in one transaction. So each row of the live table is the old one or the new one, whatever ends
a rebuild and whenever; what a dead one leaves in the shadow, the next one clears away.

Whoever waits for the head waits for no more than some `AT_ONCE` rows. Where more differ, they are replaced in several
such transactions: a client's row depends on no other, and nobody should have to wait for all of them.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from events import log
from events.errors import LogDamaged, MitosisError
from events.log import Conn
from events.verification.verifier import Verification
from projections import folding, replaced, shadow
from projections.differences import Differences
from projections.folding import BATCH, Note
from projections.outcome import Outcome

AT_ONCE = 2000  # rows that are compared, and replaced, while a head is held

_TENANTS = """
select tenant_id, coalesce(position, 0) as position
from heads
full join (select distinct tenant_id from clients) as listed using (tenant_id)
where (position > 0 or listed.tenant_id is not null) and ($1::text[] is null or tenant_id = any($1))
order by tenant_id
"""


class Busy(MitosisError):
    """Another process rebuilds this tenant."""


async def tenants(conn: Conn, among: Iterable[str] | None = None) -> dict[str, int]:
    """The tenants that have records or clients (those *among* some, where they are named), and how many records."""
    rows = await conn.fetch(_TENANTS, None if among is None else list(among))
    return {row["tenant_id"]: row["position"] for row in rows}


async def rebuild(conn: Conn, tenant_id: str, note: Note) -> Outcome:
    """
    Make the live clients of *tenant_id* what its events add up to, and keep the rows that were replaced.

    Raises:
        LogDamaged: there is no telling what they add up to, so nothing is replaced.
        Busy
    """
    async with _alone(conn, tenant_id):
        try:
            return await _Rebuild(conn, tenant_id).run(note)
        except LogDamaged:
            await shadow.clear(conn, tenant_id)
            raise


class _Rebuild:
    """
    One rebuild of one tenant.

    Between two steps this holds: a client that was compared, and is no *suspect*, is the same in the live table and in
    the shadow but for records behind `position`. Those make it a suspect when they are folded.
    """

    def __init__(self, conn: Conn, tenant_id: str) -> None:
        self._conn = conn
        self._tenant_id = tenant_id
        self._verification = Verification(tenant_id)
        self._position = 0  # of the last record that is folded in the shadow
        self._suspects = set[str]()
        self._differences = Differences()
        self._held_s = 0.0

    async def run(self, note: Note) -> Outcome:
        begun: datetime = await self._conn.fetchval("select now()")
        await self._fold(note)
        await self._catch_up()
        self._suspects.clear()  # none was compared yet
        after = ""
        while stretch := await shadow.stretch(self._conn, self._tenant_id, after):
            self._suspects.update(stretch.differing)
            await self._catch_up()
            if len(self._suspects) >= AT_ONCE:
                await self._switch(begun)
            after = stretch.last
        await self._switch(begun)
        clients = await shadow.clear(self._conn, self._tenant_id)
        await replaced.discard(self._conn, self._tenant_id, but=begun)
        return Outcome(
            tenant_id=self._tenant_id,
            position=self._position,
            clients=clients,
            differing=self._differences.total,
            differences=tuple(self._differences.listed),
            held_s=round(self._held_s, 6),
        )

    async def _fold(self, note: Note) -> None:
        """Fill the shadow from a snapshot. One that is interrupted never was: it is one transaction."""
        async with self._conn.transaction(isolation="repeatable_read"):
            head = await log.head(self._conn, self._tenant_id)
            self._verification = await folding.prove(self._conn, self._tenant_id, head, note)
            await shadow.clear(self._conn, self._tenant_id)
            async for clients in folding.fold(self._conn, self._tenant_id, head.position, note):
                await shadow.write(self._conn, clients)
        self._position = head.position

    async def _catch_up(self) -> None:
        """Fold what was appended meanwhile, until little is left."""
        while await self._advance() == BATCH:
            pass

    async def _advance(self) -> int:
        """Fold the next records; returns how many."""
        news = await log.news(self._conn, {self._tenant_id: self._position}, limit=BATCH)
        entries = news.get(self._tenant_id, [])
        if not entries:
            return 0
        for entry in entries:
            self._verification.take(entry)
        async with self._conn.transaction():
            records = [entry.record for entry in entries]
            self._suspects |= await shadow.fold(self._conn, self._tenant_id, records)
        self._position = entries[-1].position
        return len(entries)

    async def _switch(self, begun: datetime) -> None:
        """Close the last gap and replace what differs among the suspects, under the head's lock."""
        async with self._conn.transaction():
            await self._conn.execute(_ASLEEP)
            heads = await log.lock(self._conn, [self._tenant_id], wait=True)
            held = time.monotonic()
            while await self._advance():
                pass
            head = heads.get(self._tenant_id) or log.beginning(self._tenant_id)
            folding.require_whole(self._verification, head)
            pairs = await shadow.differing(self._conn, self._tenant_id, self._suspects)
            if pairs:
                await replaced.replace(self._conn, self._tenant_id, pairs, begun)
        self._held_s = max(self._held_s, time.monotonic() - held)
        self._differences.add(pairs)
        self._suspects.clear()


_ASLEEP = "set local idle_in_transaction_session_timeout = '5s'"  # a process that sleeps lets go of the head

_PATIENCE = "set local lock_timeout = '10s'"  # the session of one that was killed may take a moment to notice
_LOCK = "select pg_advisory_lock(hashtextextended('mitosis rebuild ' || $1, 0))"
_UNLOCK = "select pg_advisory_unlock(hashtextextended('mitosis rebuild ' || $1, 0))"


@asynccontextmanager
async def _alone(conn: Conn, tenant_id: str) -> AsyncIterator[None]:
    """Within this, nobody else rebuilds *tenant_id*; whoever dies in it lets others in."""
    try:
        async with conn.transaction():
            await conn.execute(_PATIENCE)
            await conn.execute(_LOCK, tenant_id)
    except asyncpg.LockNotAvailableError:
        raise Busy(f"another process rebuilds tenant {tenant_id}") from None
    try:
        yield
    finally:
        if not conn.is_closed():
            await conn.execute(_UNLOCK, tenant_id)
