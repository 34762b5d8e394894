"""The records of a tenant that moves: brought as they are, proven as they come, folded as they arrive."""

from collections.abc import Sequence

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


async def bring(journey: Journey) -> Head | None:
    """
    Bring the target the next records, and the clients that they lead to, in one transaction.

    Returns its head then; None where there is nothing to bring.

    Raises:
        LogDamaged: a record does not follow from the one before, or is not what stands beside it.
    """
    tenant_id, target = journey.tenant_id, journey.target
    async with tenancy.held(target, tenant_id) as head:
        entries = await log.whole(journey.source, tenant_id, head.position, limit=BATCH)
        if not entries:
            return None
        records = _proven(tenant_id, head, entries)
        last = entries[-1]
        after = head._replace(position=last.position, digest=last.digest, time=records[-1].time)
        await loading.load(target, entries)
        await loading.move(target, tenant_id, after)
        await _fold(target, tenant_id, records)
        await _bring_withheld(journey, entries)
        await _erase(target, tenant_id, records)
    return after


async def require_all(journey: Journey, source: Head) -> None:
    """
    Make sure that the target has the records up to *source*, a head that the source had before they were brought.

    Raises:
        RecordMissing: the source ends before its head.
        LogDamaged: its last record is not the head's.
    """
    digest = await log.digest_at(journey.target, journey.tenant_id, source.position)
    if digest is None:
        raise RecordMissing(f"the log of tenant {journey.tenant_id} ends before its head", source.position)
    if digest != source.digest:
        raise LogDamaged(f"the last record of tenant {journey.tenant_id} is not its head's", source.position)


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
    keys = {(tenant_id, record.client_id) for record in about}
    known = await clients.load(target, keys)
    folded = dict(known)
    for record in about:
        key = (tenant_id, record.client_id)
        folded[key] = clients.apply(folded.get(key), record)
    await clients.save(target, [folded[key] for key in known])
    new = [clients.row(folded[key]) for key in keys - known.keys()]
    # with COPY: most records of a log are of clients that begin with them
    await target.copy_records_to_table("clients", records=new, columns=Row._fields)


_WITHHELD = "select event_id from withheld where tenant_id = $1 and event_id = any($2::text[])"


async def _bring_withheld(journey: Journey, entries: Sequence[Entry]) -> None:
    """Which of the private parts that do not come never came to the source either."""
    without = [entry.event_id for entry in entries if entry.private is None]
    rows = await journey.source.fetch(_WITHHELD, journey.tenant_id, without)
    await withheld.note(journey.target, journey.tenant_id, [row["event_id"] for row in rows])


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
