"""What must hold of a tenant after whatever was done to it."""

from events import chain, log
from events.log import Conn
from events.record import Record, decode
from projections.clients import Client, apply, load

_KEYS = "select tenant_id, client_id from clients where tenant_id = $1"


async def check(connection: Conn, tenant_id: str) -> list[Record]:
    """
    Assert that the log of *tenant_id* is whole and that its clients are the fold of it; returns its records.

    Positions run 1, 2, 3; each digest follows from the one before; the head is where they end; times never go back;
    what a record says of its place is true; the table holds what the events add up to, and nothing else.
    """
    digest, records, folded = chain.genesis(tenant_id), list[Record](), dict[tuple[str, str], Client]()
    async for entry in log.read(connection, tenant_id):
        digest = chain.link(digest, entry.body)
        assert entry.digest == digest, f"the chain breaks at {entry.position}"
        record = decode(entry.body)
        assert (record.tenant_id, record.position, record.event_id) == (tenant_id, len(records) + 1, entry.event_id)
        assert entry.position == record.position
        assert not records or records[-1].time <= record.time
        records.append(record)
        if record.client_id:
            key = (tenant_id, record.client_id)
            folded[key] = apply(folded.get(key), record)
    head = await log.head(connection, tenant_id)
    assert (head.position, head.digest) == (len(records), digest)
    assert len({record.event_id for record in records}) == len(records)
    keys = [(row["tenant_id"], row["client_id"]) for row in await connection.fetch(_KEYS, tenant_id)]
    assert await load(connection, keys) == folded
    return records
