"""A client beside the sealed hashes of its secrets: what authenticating it takes, in one statement."""

import msgspec

from events.log import Conn
from projections.clients import Client

_decode = msgspec.json.Decoder(Client).decode

_LOAD = """
select state, event_id, private
from clients
left join lateral (
    select event_id, private
    from json_array_elements(state -> 'secrets') as secret
    join events on events.tenant_id = clients.tenant_id and event_id = secret ->> 'secret_id'
    where secret ->> 'last_four' = $3
) as sealed on true
where clients.tenant_id = $1 and client_id = $2
"""


async def load(conn: Conn, tenant_id: str, client_id: str, last_four: str) -> tuple[Client | None, dict[str, str]]:
    """
    The client, deleted or not, and the hashes of those of its secrets that end in *last_four*, by secret id.

    The same statement for a client that never was (None) and for a secret that nobody has. A hash that was erased is
    missing.
    """
    rows = await conn.fetch(_LOAD, tenant_id, client_id, last_four)
    hashes = {row["event_id"]: row["private"] for row in rows if row["private"] is not None}
    return (_decode(rows[0]["state"]) if rows else None), hashes
