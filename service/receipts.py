"""
Receipts: what was answered to a request with an Idempotency-Key, kept so that its retry gets the same answer.

A receipt is written in the transaction of the events it is about: there is one where they are, and none where not.
What it holds can be read with the caller's key alone (see `service.idempotency`).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from events.errors import MitosisError
from events.log import Conn
from projections.clients import Client


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a command brings so that its answer is kept.

    `key_digest` (32 bytes) is what the key is found by, `request_digest` (32 bytes) what was asked; `seal` makes the
    answer's sealed bytes of the client that the command led to.
    """

    key_digest: bytes
    request_digest: bytes
    expires_at: datetime
    seal: Callable[[Client], bytes]

    def __repr__(self) -> str:
        """Nothing: `seal` knows the key."""
        return "Receipt(...)"


class ReceiptExists(MitosisError):
    """Two commands of one turn have an Idempotency-Key in common."""


class Kept(NamedTuple):
    """A receipt as it is kept."""

    request_digest: bytes
    answer: bytes


_LOAD = """
select tenant_id, key_digest, request_digest, answer
from receipts
join unnest($1::text[], $2::bytea[]) as wanted (tenant_id, key_digest) using (tenant_id, key_digest)
where expires_at > now()
"""


async def load(conn: Conn, keys: Iterable[tuple[str, bytes]]) -> dict[tuple[str, bytes], Kept]:
    """Those of the (tenant, key digest) pairs that there are receipts for."""
    wanted = list(keys)
    if not wanted:
        return {}
    tenants, digests = zip(*wanted, strict=True)
    rows = await conn.fetch(_LOAD, tenants, digests)
    return {(row["tenant_id"], row["key_digest"]): Kept(row["request_digest"], row["answer"]) for row in rows}


# an expired receipt makes room
_SAVE = """
insert into receipts (tenant_id, key_digest, request_digest, answer, expires_at)
select * from unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::timestamptz[])
on conflict (tenant_id, key_digest) do update
set request_digest = excluded.request_digest, answer = excluded.answer, expires_at = excluded.expires_at
where receipts.expires_at <= now()
"""


async def save(conn: Conn, made: Sequence[tuple[str, Receipt, Client]]) -> None:
    """
    Keep the receipts, each with its tenant and the client that its answer is about.

    Raises:
        ReceiptExists: there is one that holds. It was looked for under the head's lock, so two commands of one turn
            have a key in common; the turn must not go on.
    """
    if not made:
        return
    status = await conn.execute(
        _SAVE,
        [tenant_id for tenant_id, _, _ in made],
        [receipt.key_digest for _, receipt, _ in made],
        [receipt.request_digest for _, receipt, _ in made],
        [receipt.seal(client) for _, receipt, client in made],
        [receipt.expires_at for _, receipt, _ in made],
    )
    if int(status.rpartition(" ")[2]) != len(made):
        raise ReceiptExists


# a batch at a time, and none that somebody else is sweeping: a sweep holds up nobody
_SWEEP = """
delete from receipts
where (tenant_id, key_digest) in (
    select tenant_id, key_digest from receipts where expires_at <= now() limit 1000 for update skip locked
)
"""


async def sweep(conn: Conn) -> int:
    """Delete some of the expired receipts; returns how many."""
    return int((await conn.execute(_SWEEP)).rpartition(" ")[2])
