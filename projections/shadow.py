"""The shadow: a tenant's clients folded anew, in a table beside the live one, and where the two differ."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from events.log import Conn
from events.record import Record
from projections.clients import Client, Row, apply, row
from projections.differences import Pair
from projections.folding import is_about_client

_COMPARED = 500  # clients, by one statement

_decode = msgspec.json.Decoder(Client).decode

_CLEAR = "delete from clients_shadow where tenant_id = $1"


async def clear(conn: Conn, tenant_id: str) -> int:
    """Forget what was folded of *tenant_id*; returns how many clients that were."""
    return int((await conn.execute(_CLEAR, tenant_id)).removeprefix("DELETE "))


async def write(conn: Conn, clients: Sequence[Client]) -> None:
    """Add *clients*, none of which is there yet."""
    await conn.copy_records_to_table("clients_shadow", records=map(row, clients), columns=Row._fields)


_LOAD = "select state from clients_shadow where tenant_id = $1 and client_id = any($2::text[])"

_SAVE = """
insert into clients_shadow (tenant_id, client_id, state, name_folded)
select * from unnest($1::text[], $2::text[], $3::json[], $4::text[])
on conflict (tenant_id, client_id) do update set state = excluded.state, name_folded = excluded.name_folded
"""


async def fold(conn: Conn, tenant_id: str, records: Iterable[Record]) -> set[str]:
    """
    Apply further *records*, in the caller's transaction; returns the ids of the clients that they are about.

    Raises:
        OutOfOrder: one cannot follow the state before it.
    """
    records = [record for record in records if is_about_client(record)]
    touched = {record.client_id for record in records}
    if touched:
        found = [_decode(found["state"]) for found in await conn.fetch(_LOAD, tenant_id, list(touched))]
        clients = {client.client_id: client for client in found}
        for record in records:
            clients[record.client_id] = apply(clients.get(record.client_id), record)
        columns = zip(*map(row, clients.values()), strict=True)
        await conn.execute(_SAVE, *(list(column) for column in columns))
    return touched


class Stretch(NamedTuple):
    """Some clients in a row: the id of the last one, and the ids of those that differ in the two tables."""

    last: str
    differing: list[str]


# Looks up so many ids and no others, whatever the database believes of a table that was empty a moment ago: "limit 1"
# keeps it from joining the tables as a whole.
_ROWS = """
left join lateral (
    select state, name_folded from clients where tenant_id = $1 and client_id = wanted.client_id limit 1
) as live on true
left join lateral (
    select state, name_folded from clients_shadow where tenant_id = $1 and client_id = wanted.client_id limit 1
) as shadow on true
where (live.state::text, live.name_folded) is distinct from (shadow.state::text, shadow.name_folded)
"""
_NEXT = f"""
with wanted as materialized (
    select client_id
    from (
        (select client_id from clients where tenant_id = $1 and client_id > $2 order by client_id limit $3)
        union
        (select client_id from clients_shadow where tenant_id = $1 and client_id > $2 order by client_id limit $3)
    ) as either
    order by client_id
    limit $3
)
select (select max(client_id) from wanted) as last, array(select client_id from wanted {_ROWS}) as differing
"""  # noqa: S608 (constants)


async def stretch(conn: Conn, tenant_id: str, after: str) -> Stretch | None:
    """The next clients of either table behind the id *after*; None where no more follow."""
    (found,) = await conn.fetch(_NEXT, tenant_id, after, _COMPARED)
    return None if found["last"] is None else Stretch(found["last"], found["differing"])


_DIFFERING = f"""
select client_id, live.state, live.name_folded, shadow.state as shadow_state, shadow.name_folded as shadow_name
from unnest($2::text[]) as wanted (client_id) {_ROWS}
order by client_id
"""  # noqa: S608 (constants)


async def differing(conn: Conn, tenant_id: str, client_ids: Iterable[str]) -> list[Pair]:
    """Those of the clients that differ in the two tables."""
    return [
        Pair(
            found["client_id"],
            None if found["state"] is None else (found["state"], found["name_folded"]),
            None if found["shadow_state"] is None else (found["shadow_state"], found["shadow_name"]),
        )
        for found in await conn.fetch(_DIFFERING, tenant_id, list(client_ids))
    ]
