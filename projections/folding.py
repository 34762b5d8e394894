"""
A tenant's log, proven and folded in memory that neither its records nor its clients outgrow.

It is read twice, in one snapshot: in the order of its positions, which proves the chain, and client by client, through
the index that finds a client's events, so that one client at a time is in the making and each is written once. To fold
while the chain is read would take either all clients in memory, or a row written anew for nearly every record.
"""

from collections.abc import AsyncIterator, Callable, Iterable

import asyncpg

from events import log
from events.client import ClientEvent
from events.errors import LogDamaged, OutOfOrder
from events.log import Conn, Head
from events.record import Record, decode
from events.verification.verifier import Verification
from projections.clients import Client, apply

BATCH = 1000  # records in memory, and clients
_BEFORE_ALL = -(2**63)  # positions begin at 1, unless somebody has seen to it that they do not

Note = Callable[[int], None]
"""Is told how many more records were read."""


async def prove(conn: Conn, tenant_id: str, head: Head, note: Note) -> Verification:
    """
    Verify the log of *tenant_id* up to *head*; the verification can be read on from there.

    Raises:
        LogDamaged: there is a fault in it. The message says the first one.
    """
    verification, count = Verification(tenant_id), 0
    async for entry in log.read(conn, tenant_id, after=_BEFORE_ALL, batch=BATCH):
        verification.take(entry)
        count += 1
        if count % BATCH == 0:
            note(BATCH)
    note(count % BATCH)
    require_whole(verification, head)
    return verification


def require_whole(verification: Verification, head: Head) -> None:
    """
    Make sure that what was read is a whole log that ends at *head*.

    Raises:
        LogDamaged
    """
    verdict = verification.end(head)
    if not verdict.is_whole:
        first = verdict.faults[0]
        others = len(verdict.faults) + verdict.unlisted - 1
        more = f" There is more, {others} in all; `mitosis audit verify` says what." if others else ""
        raise LogDamaged(
            f"position {first.position} of tenant {verdict.tenant_id}: {first.kind}. {first.message}{more}",
            first.position,
        )


async def fold(conn: Conn, tenant_id: str, count: int, note: Note) -> AsyncIterator[list[Client]]:
    """
    The clients of *tenant_id* in the database's order of their ids, so many at a time, each after all its records.

    *count* is how many records there are; a log that was proven may still lack some in the index, or hold some that no
    fold understands.

    Raises:
        OutOfOrder: an event cannot follow the state before it.
        NoRecord, UnknownVersion: as `events.record.decode`.
        LogDamaged: the database found another number of records this time.
    """
    client: Client | None = None
    done, left = list[Client](), count
    async for records in _by_client(conn, tenant_id):
        for record in records:
            if not is_about_client(record):
                continue
            if client is not None and client.client_id != record.client_id:
                done.append(client)
                client = None
            client = apply(client, record)
        left -= len(records)
        note(len(records))
        if left < 0:
            break
        if len(done) >= BATCH:
            yield done
            done = []
    if left:
        raise LogDamaged(f"tenant {tenant_id} has {count} records, and its index events_of_client finds {count - left}")
    if client is not None:
        done.append(client)
    if done:
        yield done


def is_about_client(record: Record) -> bool:
    """
    Whether *record* says what happened to a client, and not to the tenant as a whole.

    Raises:
        OutOfOrder: it is about a client, and says none.
    """
    if record.client_id:
        return True
    if isinstance(record.data, ClientEvent):
        raise OutOfOrder(
            f"position {record.position} of tenant {record.tenant_id}: {type(record.data).__name__} of no client",
            record.position,
        )
    return False


_OF_NO_CLIENT = """
select position, body
from events
where tenant_id = $1 and body ->> 'client_id' is null and position > $2
order by position
limit $3
"""
_OF_CLIENTS = """
select position, body
from events
where tenant_id = $1 and (body ->> 'client_id', position) > ($2, $3)
order by body ->> 'client_id', position
limit $4
"""


async def _by_client(conn: Conn, tenant_id: str) -> AsyncIterator[list[Record]]:
    """The records about no client, then those about each client, one client after the other; so many at a time."""
    position, client_id = 0, ""
    while records := _decoded(tenant_id, await conn.fetch(_OF_NO_CLIENT, tenant_id, position, BATCH)):
        yield records
        position = records[-1].position
    position = 0
    while records := _decoded(tenant_id, await conn.fetch(_OF_CLIENTS, tenant_id, client_id, position, BATCH)):
        yield records
        client_id, position = records[-1].client_id, records[-1].position


def _decoded(tenant_id: str, rows: Iterable[asyncpg.Record]) -> list[Record]:
    return [decode(row["body"], tenant_id=tenant_id, position=row["position"]) for row in rows]
