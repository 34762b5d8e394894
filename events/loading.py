"""
Whole records brought into the log from elsewhere, many at once, as they were written there.

Whoever does it holds the tenant's head, has verified them, and moves the head in the same transaction: before that
commits, nobody sees any of it.
"""

from collections.abc import Iterable

from events.log import Conn, Entry, Head

_COLUMNS = ("tenant_id", "position", "event_id", "digest", "body", "private")


async def load(conn: Conn, entries: Iterable[Entry]) -> None:
    """Append *entries* and leave the head where it is. With COPY: it takes half the time of an insert."""
    rows = (
        (entry.tenant_id, entry.position, entry.event_id, entry.digest, entry.body.decode(), entry.private)
        for entry in entries
    )
    await conn.copy_records_to_table("events", records=rows, columns=_COLUMNS)


_MOVE = "update heads set position = $2, digest = $3, time = $4, state = $5 where tenant_id = $1"


async def move(conn: Conn, tenant_id: str, head: Head) -> None:
    """Let the log of *tenant_id* end at *head*, and take changes or not as it says."""
    await conn.execute(_MOVE, tenant_id, head.position, head.digest, head.time, head.state)
