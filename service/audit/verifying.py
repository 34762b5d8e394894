"""Verifying a tenant's log in the database: every record, the head, and the private parts, in one snapshot."""

from collections.abc import Iterable

import msgspec

from events import log
from events.client import SecretsErased
from events.errors import LogDamaged
from events.log import Conn
from events.record import decode
from events.verification.fault import LISTED, Fault, KeptHead, Verdict
from events.verification.verifier import Verification

_BATCH = 100  # records, of up to 64 KiB; between two batches others have their turn
_BEFORE_ALL = -(2**63)  # positions begin at 1, unless somebody has seen to it that they do not
_RANGE = 20_000  # records that one statement looks through

_SEALED_OTHERWISE = """
select position, event_id, private is null as is_gone, exists (
    select from withheld where withheld.tenant_id = events.tenant_id and withheld.event_id = events.event_id
) as is_withheld
from events
where tenant_id = $1
  and position > $2 and position <= $3
  and (body ->> 'sealed') is distinct from encode(sha256(convert_to(private, 'UTF8')), 'hex')
order by position
"""


async def verify(conn: Conn, tenant_id: str, kept: Iterable[KeptHead] = ()) -> Verdict:
    """
    What there is to say of the log of *tenant_id*, which must pass through the *kept* heads.

    The private parts stay in the database: it is asked where one is not what its record commits to.
    """
    verification, erased, faults = Verification(tenant_id, kept), set[str](), list[Fault]()
    gone = list[tuple[int, str, bool]]()  # private parts that are not there, until it is known which were erased
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        head = await log.head(conn, tenant_id)
        count, looked, last = 0, _BEFORE_ALL, _BEFORE_ALL
        async for entry in log.read(conn, tenant_id, after=_BEFORE_ALL, batch=_BATCH):
            verification.take(entry)
            erased |= _erased(entry.body)
            count, last = count + 1, entry.position
            if count % _RANGE == 0:
                faults += await _unsealed(conn, tenant_id, looked, last, gone)
                looked = last
        faults += await _unsealed(conn, tenant_id, looked, last, gone)
        verdict = verification.end(head)
    missing = [(position, is_withheld) for position, event_id, is_withheld in gone if event_id not in erased]
    faults += [
        Fault(
            "removed",
            position,
            f"The private part of the record at position {position} is gone, and no record says it was erased.",
        )
        for position, is_withheld in missing
        if not is_withheld
    ]
    verdict = msgspec.structs.replace(verdict, withheld=sum(is_withheld for _, is_withheld in missing))
    if not faults:
        return verdict
    told = sorted((*verdict.faults, *faults), key=lambda fault: fault.position)
    unlisted = verdict.unlisted + max(len(told) - LISTED, 0)
    return msgspec.structs.replace(verdict, faults=tuple(told[:LISTED]), unlisted=unlisted)


async def _unsealed(
    conn: Conn, tenant_id: str, after: int, last: int, gone: list[tuple[int, str, bool]]
) -> list[Fault]:
    """Private parts between two positions that are not what their records commit to; what is *gone* is noted."""
    faults = list[Fault]()
    for row in await conn.fetch(_SEALED_OTHERWISE, tenant_id, after, last):
        position = row["position"]
        if row["is_gone"]:
            gone.append((position, row["event_id"], row["is_withheld"]))
        else:
            faults.append(
                Fault("altered", position, f"The private part of the record at position {position} was altered.")
            )
    return faults


def _erased(body: bytes) -> set[str]:
    if b'"SecretsErased"' not in body:  # no need to decode the others
        return set()
    try:
        data = decode(body).data
    except LogDamaged:
        return set()
    return set(data.event_ids) if isinstance(data, SecretsErased) else set()
