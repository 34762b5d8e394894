"""
The clients of a log that is brought in, folded while it is read.

As many as there is room for are folded in memory, and each is written once. Where there are more, that is given up,
and they are folded in the end out of the database, client by client: that reads every record again, and holds one
client at a time.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from msgspec.structs import fields

from events.client import ClientCloned, ClientRegistered, ClientSettings, ClientUpdated, SecretAdded, SecretRotated
from events.errors import OutOfOrder
from events.log import Conn
from events.record import Record
from projections import clients, folding
from projections.clients import Client, Row, apply, row
from projections.folding import is_about_client

ROOM = 128 * 1024 * 1024  # bytes of records: the clients of 200,000 of them, which take about as much memory
_AT_ONCE = 2000  # clients

_OPTIONAL = frozenset(field.name for field in fields(ClientSettings) if not field.required)


class Gathering:
    """
    Folds the records of one tenant, in the order of the log.

    Args:
        is_new: whether the tenant has no clients yet.
        room: bytes of records whose clients may be in memory.
    """

    def __init__(self, conn: Conn, tenant_id: str, *, is_new: bool, room: int = ROOM) -> None:
        self._conn = conn
        self._tenant_id = tenant_id
        self._is_new = is_new
        self._room = room
        self._clients = dict[str, Client]()

    async def recall(self, records: Iterable[Record]) -> None:
        """Have the clients at hand that *records* are about, where the tenant has some from before."""
        if self._is_new or self._room < 0:
            return
        missing = {record.client_id for record in records if record.client_id} - self._clients.keys()
        found = await clients.load(self._conn, [(self._tenant_id, client_id) for client_id in missing])
        self._clients |= {client.client_id: client for client in found.values()}

    def take(self, records: Iterable[Record], size: int) -> None:
        """
        The next *records*, of *size* bytes, whose clients were recalled. No I/O.

        Raises:
            OutOfOrder: one cannot follow the state before it.
        """
        self._room -= size
        if self._room < 0:
            self._clients.clear()
        for record in records:
            if is_about_client(record):
                _require_sense(record)
                if self._room >= 0:
                    self._clients[record.client_id] = apply(self._clients.get(record.client_id), record)

    async def write(self, position: int) -> None:
        """
        Write the clients, as they are after the record at *position*, which is in the log by now.

        Raises:
            LogDamaged: there is no telling what they are.
        """
        if self._room < 0:
            # the planner has not heard of these records, and would sort all of them again and again
            await self._conn.execute("set local enable_sort = off")
            async for some in folding.fold(self._conn, self._tenant_id, position, _nobody):
                await (self._copy([row(one) for one in some]) if self._is_new else clients.save(self._conn, some))
            return
        left = iter(self._clients.values())
        if not self._is_new:
            while some := list(islice(left, _AT_ONCE)):
                await clients.save(self._conn, some)
            return
        rows = _rows(left)
        while rows:
            making = asyncio.ensure_future(asyncio.to_thread(_rows, left))
            await self._copy(rows)
            rows = await making

    async def _copy(self, rows: Sequence[Row]) -> None:
        await self._conn.copy_records_to_table("clients", records=rows, columns=Row._fields)


def _rows(left: Iterator[Client]) -> list[Row]:
    return [row(client) for client in islice(left, _AT_ONCE)]


def _require_sense(record: Record) -> None:
    """
    That an event which was decoded says what an event can say, which its types do not tell to the end.

    What a client must have is not removed, and times say their zone.

    Raises:
        OutOfOrder
    """
    makes_sense = True
    match record.data:
        case ClientUpdated(removed=removed):
            makes_sense = _OPTIONAL.issuperset(removed)
        case SecretRotated(secret=secret, retired_until=until):
            makes_sense = _has_zone(until) and _has_zone(secret.expires_at)
        case ClientRegistered(secret=secret) | ClientCloned(secret=secret) | SecretAdded(secret=secret):
            makes_sense = secret is None or _has_zone(secret.expires_at)
        case _:
            pass
    if not makes_sense:
        what = f"{type(record.data).__name__} says what cannot be of {record.client_id}"
        raise OutOfOrder(f"position {record.position} of tenant {record.tenant_id}: {what}", record.position)


def _has_zone(time: datetime | None) -> bool:
    return time is None or time.tzinfo is not None


def _nobody(_count: int) -> None:
    """Who is told how far it is."""
