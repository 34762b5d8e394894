"""The proof that `clients == fold(events)` in a tenant, in one snapshot and without a change."""

from collections.abc import AsyncIterator

from events import log
from events.log import Conn
from projections import folding
from projections.clients import row
from projections.differences import Content, Differences, Pair
from projections.folding import BATCH, Note
from projections.outcome import Outcome


async def check(conn: Conn, tenant_id: str, note: Note) -> Outcome:
    """
    How the live clients of *tenant_id* differ from what its events add up to.

    The service appends and projects in one transaction, so in any snapshot there must be no difference at all.

    Raises:
        LogDamaged: there is no telling what they add up to.
    """
    differences, clients, after = Differences(), 0, ""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        head = await log.head(conn, tenant_id)
        await folding.prove(conn, tenant_id, head, note)
        async for batch in folding.fold(conn, tenant_id, head.position, note):
            last = batch[-1].client_id
            folded: dict[str, Content] = {client.client_id: row(client)[2:] for client in batch}
            async for client_id, live in _live(conn, tenant_id, after, last):
                differences.add([Pair(client_id, live, folded.pop(client_id, None))])
            differences.add(Pair(client_id, None, content) for client_id, content in folded.items())
            clients, after = clients + len(batch), last
        async for client_id, live in _live(conn, tenant_id, after, None):
            differences.add([Pair(client_id, live, None)])
    return Outcome(
        tenant_id=tenant_id,
        position=head.position,
        clients=clients,
        differing=differences.total,
        differences=tuple(differences.listed),
    )


_LIVE = """
select client_id, state, name_folded
from clients
where tenant_id = $1 and client_id > $2
order by client_id
limit $3
"""
_LIVE_TO = _LIVE.replace("order by", "  and client_id <= $4\norder by")


async def _live(conn: Conn, tenant_id: str, after: str, last: str | None) -> AsyncIterator[tuple[str, Content]]:
    """The rows behind the id *after*, to the end or up to *last*; so many in memory at a time."""
    count = BATCH
    while count == BATCH:
        if last is None:
            rows = await conn.fetch(_LIVE, tenant_id, after, BATCH)
        else:
            rows = await conn.fetch(_LIVE_TO, tenant_id, after, BATCH, last)
        for found in rows:
            yield found["client_id"], (found["state"], found["name_folded"])
            after = found["client_id"]
        count = len(rows)
