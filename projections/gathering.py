"""
The clients of a log that is brought in, folded while it is read.

As many as there is room for are folded in memory, and each is written once. Where there are more, that is given up,
and they are folded in the end out of the database, client by client: that reads every record again, and holds one
client at a time.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from events.errors import OutOfOrder
from events.log import Conn
from events.record import Record
from projections import clients, folding
from projections.clients import Client, Row, apply, row
from projections.folding import is_about_client

ROOM = 128 * 1024 * 1024  # bytes of records: the clients of 200,000 of them, which take about as much memory
_AT_ONCE = 1000  # clients

_decode = msgspec.json.Decoder(Client).decode


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

    async def take(self, records: Sequence[Record], size: int) -> None:
        """
        The next *records*, of *size* bytes.

        Raises:
            OutOfOrder: one cannot follow the state before it.
        """
        about = [record for record in records if is_about_client(record)]
        self._room -= size
        if self._room < 0:
            self._clients.clear()
            return
        if not self._is_new:
            await self._recall({record.client_id for record in about} - self._clients.keys())
        for record in about:
            self._clients[record.client_id] = _applied(self._clients.get(record.client_id), record)

    async def write(self, position: int) -> None:
        """
        Write the clients, as they are after the record at *position*, which is in the log by now.

        Raises:
            LogDamaged: there is no telling what they are.
        """
        if self._room >= 0:
            left = iter(self._clients.values())
            while some := list(islice(left, _AT_ONCE)):
                await self._write(some)
            return
        # the planner has not heard of these records, and would sort all of them again and again
        await self._conn.execute("set local enable_sort = off")
        async for some in folding.fold(self._conn, self._tenant_id, position, _nobody):
            await self._write(some)

    async def _recall(self, client_ids: Iterable[str]) -> None:
        keys = [(self._tenant_id, client_id) for client_id in client_ids]
        found = await clients.load(self._conn, keys)
        self._clients |= {client.client_id: client for client in found.values()}

    async def _write(self, some: Sequence[Client]) -> None:
        if self._is_new:
            await self._conn.copy_records_to_table("clients", records=[_row(one) for one in some], columns=Row._fields)
        else:
            await clients.save(self._conn, some)


def _applied(client: Client | None, record: Record) -> Client:
    """What `projections.clients.apply` says, also of records that no version of this program wrote."""
    try:
        return apply(client, record)
    except (TypeError, ValueError, AttributeError) as error:
        raise _nonsense(record.tenant_id, record.client_id) from error


def _row(client: Client) -> Row:
    """The row of *client*, once it was found that it can be read again."""
    try:
        made = row(client)
        _decode(made.state)
    except (msgspec.MsgspecError, TypeError, ValueError, AttributeError) as error:
        raise _nonsense(client.tenant_id, client.client_id) from error
    return made


def _nonsense(tenant_id: str, client_id: str) -> OutOfOrder:
    return OutOfOrder(f"the records of {client_id} in tenant {tenant_id} add up to no client")


def _nobody(_count: int) -> None:
    """Who is told how far it is."""
