"""
A tenant's log, proven and folded in memory that neither its records nor its clients outgrow.

It is read twice, in one snapshot: in the order of its positions, which proves the chain, and client by client, through
the index that finds a client's events, so that one client at a time is in the making and each is written once. To fold
while the chain is read would take either all clients in memory, or a row written anew for nearly every record.
"""

from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg

from events import log
from events.client import ClientEvent
from events.errors import LogDamaged, OutOfOrder
from events.log import Conn, Entry, Head
from events.record import Record, decode
from events.verification.verifier import Verification
from projections.clients import Client, apply
from projections.reading_ahead import read_ahead

BATCH = 500  # records that are read at a time, and clients
_BEFORE_ALL = -(2**63)  # positions begin at 1, unless somebody has seen to it that they do not

Note = Callable[[int], None]
"""Is told how many more records were read."""


async def prove(conn: Conn, tenant_id: str, head: Head, note: Note) -> Verification:
    """
    Verify the log of *tenant_id* up to *head*; the verification can be read on from there.

    Raises:
        LogDamaged: there is a fault in it. The message says the first one.
    """
    verification = Verification(tenant_id)

    async def fetch(last: Entry | None) -> list[Entry]:
        return await log.following(conn, tenant_id, last.position if last else _BEFORE_ALL, limit=BATCH)

    def take(entries: Sequence[Entry]) -> None:
        for entry in entries:
            verification.take(entry)
        note(len(entries))

    async for _ in read_ahead(fetch, take):
        pass
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
    clients, found = _Clients(tenant_id), 0

    def take(rows: Sequence[asyncpg.Record]) -> None:
        nonlocal found
        found += len(rows)
        clients.take(rows)
        note(len(rows))
        if found > count:
            raise _miscounted(tenant_id, count, found)

    async def of_none(last: asyncpg.Record | None) -> list[asyncpg.Record]:
        return await conn.fetch(_OF_NO_CLIENT, tenant_id, last["position"] if last else 0, BATCH)

    async def of_clients(last: asyncpg.Record | None) -> list[asyncpg.Record]:
        after = (last["client_id"], last["position"]) if last else ("", 0)
        return await conn.fetch(_OF_CLIENTS, tenant_id, *after, BATCH)

    for fetch in (of_none, of_clients):
        async for _ in read_ahead(fetch, take):
            if len(clients.done) >= BATCH:
                yield clients.hand_over()
    if found < count:
        raise _miscounted(tenant_id, count, found)
    clients.end()
    if clients.done:
        yield clients.hand_over()


def _miscounted(tenant_id: str, count: int, found: int) -> LogDamaged:
    return LogDamaged(f"tenant {tenant_id} has {count} records, and its index events_of_client finds {found}")


class _Clients:
    """One client in the making, as its records come one behind the other, and those that are `done`."""

    def __init__(self, tenant_id: str) -> None:
        self.done: list[Client] = []
        self._tenant_id = tenant_id
        self._client: Client | None = None

    def take(self, rows: Sequence[asyncpg.Record]) -> None:
        client = self._client
        for row in rows:
            record = decode(row["body"], tenant_id=self._tenant_id, position=row["position"])
            if not is_about_client(record):
                continue
            if client is not None and client.client_id != record.client_id:
                self.done.append(client)
                client = None
            client = apply(client, record)
        self._client = client

    def end(self) -> None:
        if self._client is not None:
            self.done.append(self._client)

    def hand_over(self) -> list[Client]:
        done, self.done = self.done, []
        return done


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
select body ->> 'client_id' as client_id, position, body
from events
where tenant_id = $1 and (body ->> 'client_id', position) > ($2, $3)
order by body ->> 'client_id', position
limit $4
"""
