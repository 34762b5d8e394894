"""The records of a tenant that moves: brought as they are, proven as they come, folded as they arrive."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from events import chain, loading, log
from events.client import SecretsErased
from events.errors import LogDamaged, RecordMissing
from events.log import Conn, Entry, Head
from events.record import Record
from projections import clients
from projections.clients import Row
from projections.folding import is_about_client
from service import tenancy
from service.archive import withheld
from service.database import ERASER_ROLE
from service.moving.journey import Journey

BATCH = 1000  # records in one transaction at the target

Progress = Callable[[int, int], None]
"""Is told how many records are there, and how many there are."""


class _Batch(NamedTuple):
    """Records of the source, and the ids of those whose private parts never came to it either."""

    entries: list[Entry]
    withheld: list[str]


def unwatched(_done: int, _all: int) -> None:
    """Nobody is told: where nothing may get in the way, a terminal that is gone least of all."""


async def bring(journey: Journey, source: Head, progress: Progress = unwatched) -> None:
    """
    Bring the target the records up to *source*, the source's head, and the clients that they lead to.

    While one batch is written the next one is read. What was written stays, whatever becomes of the rest.

    Raises:
        RecordMissing: the source ends before its head, or has a gap.
        LogDamaged: a record does not follow from the one before, is not what stands beside it, or is not the head's.
    """
    position = (await log.head(journey.target, journey.tenant_id)).position
    batch = await _read(journey, position)
    while batch.entries:
        position = batch.entries[-1].position
        reading = asyncio.ensure_future(_read(journey, position, source.position))
        try:
            await _write(journey, batch)
        finally:
            batch = await reading
        progress(position, max(position, source.position))
    digest = await log.digest_at(journey.target, journey.tenant_id, source.position)
    if digest is None:
        raise RecordMissing(f"the log of tenant {journey.tenant_id} ends before its head", source.position)
    if digest != source.digest:
        raise LogDamaged(f"the last record of tenant {journey.tenant_id} is not its head's", source.position)


_WITHHELD = "select event_id from withheld where tenant_id = $1 and event_id = any($2::text[])"


async def _read(journey: Journey, position: int, end: int | None = None) -> _Batch:
    """The records behind *position*; none where that is the *end*."""
    if end is not None and position >= end:
        return _Batch([], [])
    entries = await log.whole(journey.source, journey.tenant_id, position, limit=BATCH)
    without = [entry.event_id for entry in entries if entry.private is None]
    rows = await journey.source.fetch(_WITHHELD, journey.tenant_id, without) if without else []
    return _Batch(entries, [row["event_id"] for row in rows])


async def _write(journey: Journey, batch: _Batch) -> None:
    tenant_id, target = journey.tenant_id, journey.target
    async with tenancy.held(target, tenant_id) as head:
        records = _proven(tenant_id, head, batch.entries)
        last = batch.entries[-1]
        await loading.load(target, batch.entries)
        after = head._replace(position=last.position, digest=last.digest, time=records[-1].time)
        await loading.move(target, tenant_id, after)
        await withheld.note(target, tenant_id, batch.withheld)
        await _fold(target, tenant_id, records)
        await _erase(target, tenant_id, records)


def _proven(tenant_id: str, head: Head, entries: Sequence[Entry]) -> list[Record]:
    """The records of *entries*, which follow *head*."""
    records, digest = list[Record](), head.digest
    for position, entry in enumerate(entries, head.position + 1):
        if entry.position != position:
            raise RecordMissing(f"tenant {tenant_id} has no record at position {position}", position)
        digest = chain.link(digest, entry.body)
        if entry.digest != digest:
            raise LogDamaged(f"the record at position {position} of tenant {tenant_id} does not follow", position)
        record = entry.record
        says = (record.tenant_id, record.position, record.event_id)
        if says != (tenant_id, position, entry.event_id):
            raise LogDamaged(f"the record at position {position} of tenant {tenant_id} is another's", position)
        if entry.private is not None and chain.seal(entry.private) != record.sealed:
            raise LogDamaged(
                f"the private part at position {position} of tenant {tenant_id} is not the sealed one", position
            )
        records.append(record)
    return records


async def _fold(target: Conn, tenant_id: str, records: Sequence[Record]) -> None:
    about = [record for record in records if is_about_client(record)]
    if not about:
        return
    keys = {(tenant_id, record.client_id) for record in about}
    known = await clients.load(target, keys)
    folded = dict(known)
    for record in about:
        key = (tenant_id, record.client_id)
        folded[key] = clients.apply(folded.get(key), record)
    if known:
        await clients.save(target, [folded[key] for key in known])
    if new := [clients.row(folded[key]) for key in keys - known.keys()]:
        await target.copy_records_to_table("clients", records=new, columns=Row._fields)


async def _erase(target: Conn, tenant_id: str, records: Sequence[Record]) -> None:
    """
    What was erased at the source since it was brought is erased here too.

    That takes the role that may, which whoever the session belongs to may become, to the end of the transaction.
    """
    acts = [record.data for record in records if isinstance(record.data, SecretsErased)]
    erased = [event_id for act in acts for event_id in act.event_ids]
    if erased:
        await withheld.forget(target, tenant_id, erased)
        await target.execute(f"set local role {ERASER_ROLE}")
        await log.erase(target, tenant_id, erased)
