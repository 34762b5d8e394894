"""
Erasing what is left of a deleted client's secrets: their sealed hashes, the private parts of its records.

It is an act like any other, with an event and an actor, in the transaction that takes the private parts away. It runs
in a role of its own, which need not read what it erases, and which the database lets do nothing but this.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from events import log
from events.log import Conn
from events.record import Actor
from projections import clients
from service.commands import EraseSealed
from service.turn import Turn

CLIENTS_AT_ONCE = 50  # for so many a tenant's head is held
_IDS_OF_AN_EVENT = 500


class Sealed(NamedTuple):
    """A deleted client that was not erased, and the ids of its records that have a private part, if any."""

    client_id: str
    event_ids: list[str]


_SEALED = """
select client_id, array(
    select event_id
    from events
    where events.tenant_id = clients.tenant_id
      and body ->> 'client_id' = clients.client_id
      and body ->> 'sealed' is not null
    order by position
) as event_ids
from clients
where tenant_id = $1 and client_id > $2 and is_deleted and state ->> 'erased_at' is null
order by client_id
limit $3
"""


async def sealed(conn: Conn, tenant_id: str, *, after: str = "", limit: int = CLIENTS_AT_ONCE) -> list[Sealed]:
    """The first *limit* deleted clients of *tenant_id* behind the one with the id *after* that were not erased."""
    rows = await conn.fetch(_SEALED, tenant_id, after, limit)
    return [Sealed(row["client_id"], row["event_ids"]) for row in rows]


async def erase(conn: Conn, tenant_id: str, doomed: Sequence[Sealed], actor: Actor) -> list[Sealed]:
    """
    Erase the clients in *doomed*, in one transaction; returns those that nobody else had erased meanwhile.

    Whatever interrupts it, they are erased whole or not at all.
    """
    async with conn.transaction():
        heads = await log.lock(conn, [tenant_id], wait=True)
        known = await clients.load(conn, [(tenant_id, one.client_id) for one in doomed])
        # a deleted client gets no more records, but for this one
        left = [one for one in doomed if one.event_ids and known[tenant_id, one.client_id].erased_at is None]
        turn = Turn(heads, known, {})
        for one in left:
            for event_ids in _portions(one.event_ids):
                turn.take(EraseSealed(tenant_id=tenant_id, actor=actor, reads=one.client_id, event_ids=event_ids))
            await log.erase(conn, tenant_id, one.event_ids)
        if left:
            await log.append(conn, turn.entries, turn.heads)
            await clients.save(conn, list(turn.changed.values()))
    return left


def _portions(event_ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(event_ids), _IDS_OF_AN_EVENT):
        yield tuple(event_ids[start : start + _IDS_OF_AN_EVENT])
