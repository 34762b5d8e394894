"""A client beside the sealed hashes of its secrets: what authenticating it takes, in one statement."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from events.log import Conn, State
from projections.clients import Client

_decode = msgspec.json.Decoder(Client).decode


class Sealed(NamedTuple):
    """
    A client, deleted or not, None for one that never was; and hashes of its secrets, by secret id.

    `tenant_state` and `moved_to` are those of its tenant's head: the client may be elsewhere by now.
    """

    client: Client | None
    hashes: Mapping[str, str]
    tenant_state: State
    moved_to: str | None


_LOAD = """
select heads.state as tenant_state, moved_to, clients.state, event_id, private
from heads
left join clients on clients.tenant_id = heads.tenant_id and client_id = $2
left join lateral (
    select event_id, private
    from json_array_elements(clients.state -> 'secrets') as secret
    join events on events.tenant_id = clients.tenant_id and event_id = secret ->> 'secret_id'
    where secret ->> 'last_four' = $3
) as sealed on true
where heads.tenant_id = $1
"""


async def load(conn: Conn, tenant_id: str, client_id: str, last_four: str) -> Sealed:
    """
    The client, and the hashes of those of its secrets that end in *last_four*.

    The same statement for a client that never was (None) and for a secret that nobody has. A hash that was erased is
    missing.
    """
    rows = await conn.fetch(_LOAD, tenant_id, client_id, last_four)
    hashes = {row["event_id"]: row["private"] for row in rows if row["private"] is not None}
    if not rows:
        return Sealed(None, hashes, "open", None)
    first = rows[0]
    client = None if first["state"] is None else _decode(first["state"])
    return Sealed(client, hashes, first["tenant_state"], first["moved_to"])
