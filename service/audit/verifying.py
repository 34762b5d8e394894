"""Verifying a tenant's log in the database: every record, the head, and the private parts, in one snapshot."""

from collections.abc import AsyncIterator, Iterable

import msgspec

from events import log
from events.client import SecretsErased
from events.errors import LogDamaged
from events.log import Conn
from events.record import decode
from events.verification.fault import LISTED, Fault, KeptHead, Verdict
from events.verification.verifier import Verification

_BATCH = 500  # records; between two of them others have their turn
_BEFORE_ALL = -(2**63)  # positions begin at 1, unless somebody has seen to it that they do not
_RANGE = 20_000  # positions that one statement looks through

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
    verification, erased, last = Verification(tenant_id, kept), set[str](), 0
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        head = await log.head(conn, tenant_id)
        async for entry in log.read(conn, tenant_id, after=_BEFORE_ALL, batch=_BATCH):
            verification.take(entry)
            erased |= _erased(entry.body)
            last = entry.position
        verdict = verification.end(head)
        faults, withheld = list[Fault](), 0
        async for fault in _unsealed(conn, tenant_id, last, erased):
            if fault is None:
                withheld += 1
            else:
                faults.append(fault)
    verdict = msgspec.structs.replace(verdict, withheld=withheld)
    if not faults:
        return verdict
    told = sorted((*verdict.faults, *faults), key=lambda fault: fault.position)
    unlisted = verdict.unlisted + max(len(told) - LISTED, 0)
    return msgspec.structs.replace(verdict, faults=tuple(told[:LISTED]), unlisted=unlisted)


async def _unsealed(conn: Conn, tenant_id: str, last: int, erased: set[str]) -> AsyncIterator[Fault | None]:
    """What is wrong with a private part that is not what its record commits to; None for one that never came."""
    for start in range(0, last, _RANGE):
        for row in await conn.fetch(_SEALED_OTHERWISE, tenant_id, start, start + _RANGE):
            position = row["position"]
            if not row["is_gone"]:
                yield Fault("altered", position, f"The private part of the record at position {position} was altered.")
            elif row["event_id"] not in erased:
                message = (
                    f"The private part of the record at position {position} is gone, and no record says it was erased."
                )
                yield None if row["is_withheld"] else Fault("removed", position, message)


def _erased(body: bytes) -> set[str]:
    if b'"SecretsErased"' not in body:  # no need to decode the others
        return set()
    try:
        data = decode(body).data
    except LogDamaged:
        return set()
    return set(data.event_ids) if isinstance(data, SecretsErased) else set()
