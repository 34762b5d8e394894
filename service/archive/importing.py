"""
Bringing a tenant back from its archive: whole, as it was, or not at all.

It is one transaction. What was read is verified before it is written, a batch at a time, and nobody sees a row of it
before all of it was: a fault at the very end, a lost connection or a killed process leave what was there before. While
one batch is on its way to the database the next one is read and verified.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from events import excerpts, loading, log
from events.errors import LogDamaged, MitosisError
from events.log import Conn, Head
from projections.gathering import Gathering
from service.archive import withheld
from service.archive.unpacking import Batch, Unpacking
from service.database import ERASER_ROLE, MOVER_ROLE, reason

Progress = Callable[[int, int], None]  # records read, records in all


# what PostgreSQL has against what is no record of ours, though its digest is right
_NO_RECORD = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


_ERASE = """
update events set private = null
from clients
where clients.tenant_id = $1 and is_deleted and state ->> 'erased_at' is not null
  and events.tenant_id = $1 and body ->> 'client_id' = client_id and body ->> 'sealed' is not null
"""


class ThereAlready(MitosisError):
    """There is such a tenant, and the archive does not extend it. The message says how the two differ."""


class Unproven(MitosisError):
    """There is such a tenant, and nobody says that what the archive would add to it is from where it came."""


class Imported(NamedTuple):
    """
    What came of it.

    Attributes:
        head: where the log ends now, and whether it takes changes.
        begun: the position behind which its records are new here.
        credentials: private parts that came.
        withheld: private parts that did not, and were not erased.
    """

    head: Head
    begun: int
    credentials: int
    withheld: int


class Import:
    """
    Brings in what *unpacking* reads, in the caller's transaction and in the role mitosis_mover.

    Args:
        conn: in whose transaction.
        unpacking: what is brought in. Its chain shows that it is whole, and only a signature who wrote it.
        may_extend: whether it may add records to a tenant that is here.

    Nothing is visible before that transaction commits; where anything is raised, it must not.
    """

    def __init__(self, conn: Conn, unpacking: Unpacking, *, may_extend: bool) -> None:
        self._conn = conn
        self._unpacking = unpacking
        self._may_extend = may_extend
        self._tenant_id = unpacking.manifest.tenant_id
        self._withheld = 0
        self._has_erased = False

    async def run(self, progress: Progress) -> Imported:
        """
        Read it all, and write it.

        Raises:
            ThereAlready: there are other records of this tenant, more of them, or it takes no changes.
            Unproven: it would be extended, and may not be.
            NoArchive, LogDamaged: the archive is damaged; or the log here is, which it should extend.
        """
        try:
            return await self._run(progress)
        except (*_NO_RECORD, UnicodeError) as error:
            raise LogDamaged(f"there is a record that no log can have: {reason(error)}") from error

    async def _run(self, progress: Progress) -> Imported:
        held = await self._lock()
        if self._unpacking.manifest.records <= held.position:
            await self._require_the_same(held)
            return Imported(held, held.position, 0, 0)
        if held.position and not self._may_extend:
            raise Unproven(
                f"tenant {self._tenant_id} is here, and no key that is known signed what would be added to it"
            )
        gathering = Gathering(self._conn, self._tenant_id, is_new=held.position == 0)
        batch = await asyncio.to_thread(self._unpacking.next)
        while batch.entries:
            await self._compare(batch, held)
            new, last = batch.after(held.position), batch.entries[-1]
            await gathering.recall(new.records)
            reading = asyncio.ensure_future(asyncio.to_thread(self._read_on, new, gathering))
            reading.add_done_callback(_heard)
            await self._write(new)
            progress(last.position, self._unpacking.manifest.records)
            batch = await reading
        head = self._unpacking.end()
        await gathering.write(head.position)
        await loading.move(self._conn, self._tenant_id, head)
        if self._has_erased and (held.position or self._unpacking.credentials):
            await self._erase()
        return Imported(head, held.position, self._unpacking.credentials, self._withheld)

    async def _lock(self) -> Head:
        """The tenant's head, held until the transaction ends; a new one is seen by nobody before."""
        await log.open_heads(self._conn, [self._tenant_id])
        held = (await log.lock(self._conn, [self._tenant_id], wait=True))[self._tenant_id]
        if held.state != "open":
            raise ThereAlready(f"tenant {self._tenant_id} is here, and {held.state}: it takes no changes")
        return held

    async def _require_the_same(self, held: Head) -> None:
        """That the tenant has the records of the archive and no more, so that there is nothing to do."""
        manifest = self._unpacking.manifest
        found = await log.digest_at(self._conn, self._tenant_id, manifest.records)
        if found is None or found.hex() != manifest.head.digest:
            raise self._other(manifest.records)
        if manifest.records < held.position:
            more = held.position - manifest.records
            raise ThereAlready(f"tenant {self._tenant_id} has all the records of this archive, and {more} more")

    async def _compare(self, batch: Batch, held: Head) -> None:
        """That the records that the tenant has are those that the archive begins with."""
        first, last = batch.entries[0].position, min(batch.entries[-1].position, held.position)
        if first > last:
            return
        ours = await excerpts.between(self._conn, self._tenant_id, first, last)
        if last == held.position and batch.entries[last - first].digest != held.digest:
            raise self._other(last)
        for entry, our in zip(batch.entries, reversed(ours), strict=False):
            if entry.digest != our.digest:
                raise self._other(entry.position)
            if entry[:-1] != our[:-1]:
                raise LogDamaged(f"the record at position {our.position} of {self._tenant_id} was altered here")

    def _read_on(self, batch: Batch, gathering: Gathering) -> Batch:
        gathering.take(batch.records, batch.size)
        return self._unpacking.next()

    async def _write(self, batch: Batch) -> None:
        await loading.load(self._conn, batch.entries)
        missing, erased = batch.withheld, batch.erased
        await withheld.note(self._conn, self._tenant_id, missing)
        self._withheld += len(missing) - await withheld.forget(self._conn, self._tenant_id, erased)
        self._has_erased = self._has_erased or bool(erased)

    def _other(self, position: int) -> ThereAlready:
        return ThereAlready(f"there is a tenant {self._tenant_id} with other records, at position {position} or before")

    async def _erase(self) -> None:
        """
        Let the private parts go that the archive's records say were erased: the tenant may have had them from before.

        It is done as who may do it, and that is not who imports.
        """
        await self._conn.execute(f"set local role {ERASER_ROLE}")
        await self._conn.execute(_ERASE, self._tenant_id)
        await self._conn.execute(f"set local role {MOVER_ROLE}")


def _heard(reading: asyncio.Future[Batch]) -> None:
    """Where an import fails, nobody asks any more how the reading of its next batch went."""
    if not reading.cancelled():
        reading.exception()
