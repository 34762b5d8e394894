"""The clients as they were: folded from the log up to a position."""

from events.log import Conn
from events.record import decode
from projections.clients import Client, apply

_BATCH = 20  # records, of up to 64 KiB: in memory at a time, and folded before others have their turn

_UP_TO = """
select position, body
from events
where tenant_id = $1 and body ->> 'client_id' = $2 and position > $3 and position <= $4
order by position
limit $5
"""


async def as_of(conn: Conn, tenant_id: str, client_id: str, position: int, *, batch: int = _BATCH) -> Client | None:
    """
    The client after its tenant's record at *position*, deleted or not; None where there was none yet.

    It reads the client's own records and no others, *batch* at a time and without private parts. What it says of a
    position that the log has reached never changes.

    Raises:
        OutOfOrder: its records do not follow each other, so the log is damaged.
        NoRecord, UnknownVersion: what stands in place of one is none, or none that is known.
    """
    client: Client | None = None
    after, count = 0, batch
    while count == batch:
        rows = await conn.fetch(_UP_TO, tenant_id, client_id, after, position, batch)
        for row in rows:
            client = apply(client, decode(row["body"], tenant_id=tenant_id, position=row["position"]))
        after, count = rows[-1]["position"] if rows else after, len(rows)
    return client
