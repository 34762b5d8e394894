"""
Where named consumers are: a position a tenant, and which process may move it.

The processes of a consumer are its *members*. Each says every now and then that it is there; those that were seen of
late divide the tenants among themselves, each by the same rule, so that they need not talk. A tenant that changes
hands gets the next *epoch*, and a position is moved by compare-and-set in the newest epoch alone: who slept, or was cut
off, while another took over finds that it cannot.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

from events.errors import Fenced
from events.log import Conn

GONE_S = 4.0  # a member that was not seen for so long is gone


class Claim(NamedTuple):
    """A tenant in the hands of a member, in an epoch, at a position."""

    tenant_id: str
    epoch: int
    position: int


class Standing(NamedTuple):
    """How a consumer stands with a tenant. `place` is where the process is that holds it: host and process id."""

    consumer: str
    tenant_id: str
    position: int
    head: int
    place: str | None
    parked_at: datetime | None
    parked_because: str | None

    @property
    def lag(self) -> int:
        """Records that it has not dealt with yet."""
        return self.head - self.position


_SEEN = """
insert into members (consumer, member, place) values ($1, $2, $3)
on conflict (consumer, member) do update set seen_at = now()
"""
_FORGET = "delete from members where consumer = $1 and seen_at < now() - 10 * $2::float8 * interval '1 second'"
_PRESENT = "select member from members where consumer = $1 and seen_at > now() - $2::float8 * interval '1 second'"


async def present(conn: Conn, consumer: str, member: str, place: str) -> list[str]:
    """Say that *member* is there, and hear who is: it and others."""
    await conn.execute(_SEEN, consumer, member, place)
    await conn.execute(_FORGET, consumer, GONE_S)
    seen = {row["member"] for row in await conn.fetch(_PRESENT, consumer, GONE_S)}
    return [*(seen - {member}), member]  # whoever asks is there, however long the database took to say so


_LEAVE = "delete from members where consumer = $1 and member = $2"


async def leave(conn: Conn, consumer: str, member: str) -> None:
    """Say that *member* is gone: its tenants need not be waited for."""
    await conn.execute(_LEAVE, consumer, member)


_KEEP = """
update checkpoints
set member = null, updated_at = now()
where consumer = $1 and member = $2 and tenant_id <> all ($3::text[])
"""


async def keep(conn: Conn, consumer: str, member: str, kept: Collection[str]) -> None:
    """Give back all that the table says *member* holds but those *kept*: also what it does not know that it holds."""
    await conn.execute(_KEEP, consumer, member, list(kept))


def whose(tenant_id: str, members: Iterable[str]) -> str:
    """Whose *tenant_id* is, among *members*. Who comes or goes changes that for its own share only."""
    return max(members, key=lambda member: blake2b(f"{member}\0{tenant_id}".encode(), digest_size=8).digest())


_LAGGING = """
select heads.tenant_id, case when parked_at is null then coalesce(epoch, 0) end as epoch
from heads
left join checkpoints on checkpoints.tenant_id = heads.tenant_id and consumer = $1
where heads.position > coalesce(checkpoints.position, 0)
"""


async def lagging(conn: Conn, consumer: str) -> dict[str, int | None]:
    """The tenants that have news for *consumer*, with their epochs: 0 for one it never had, None for a parked one."""
    return {row["tenant_id"]: row["epoch"] for row in await conn.fetch(_LAGGING, consumer)}


_CLAIM = """
insert into checkpoints (tenant_id, consumer, epoch, member)
select wanted, $2, 1, $3 from unnest($1::text[]) as wanted
on conflict (tenant_id, consumer) do update
    set epoch = checkpoints.epoch + 1, member = excluded.member, updated_at = now()
    where checkpoints.parked_at is null
      and (checkpoints.member is null or checkpoints.member <> all ($4::text[]))
returning tenant_id, epoch, position
"""


async def claim(
    conn: Conn, tenants: Collection[str], consumer: str, member: str, present: Collection[str]
) -> list[Claim]:
    """Take those of *tenants* that none of the other *present* members holds."""
    others = [other for other in present if other != member]
    rows = await conn.fetch(_CLAIM, sorted(tenants), consumer, member, others)
    return [Claim(row["tenant_id"], row["epoch"], row["position"]) for row in rows]


_MOVE = """
update checkpoints
set position = $5, updated_at = now()
where tenant_id = $1 and consumer = $2 and epoch = $3 and position = $4 and parked_at is null
"""


async def move(conn: Conn, consumer: str, claim: Claim, position: int) -> Claim:
    """
    Move on to *position*. In the transaction of what was done with the records, both hold or neither.

    Raises:
        Fenced: the claim is not the newest, or the position is not where it was.
    """
    done = await conn.execute(_MOVE, claim.tenant_id, consumer, claim.epoch, claim.position, position)
    if done != "UPDATE 1":
        raise Fenced(f"{consumer} has lost tenant {claim.tenant_id} to another process")
    return claim._replace(position=position)


_PARK = """
update checkpoints
set parked_at = now(), parked_because = $4, member = null, updated_at = now()
where tenant_id = $1 and consumer = $2 and epoch = $3
"""


async def park(conn: Conn, consumer: str, claim: Claim, because: str) -> None:
    """Stop with a tenant until somebody resumes it. Nothing is skipped."""
    await conn.execute(_PARK, claim.tenant_id, consumer, claim.epoch, because)


_RESUME = """
update checkpoints
set parked_at = null, parked_because = null, updated_at = now()
where consumer = $1 and tenant_id = $2 and parked_at is not null
"""


async def resume(conn: Conn, consumer: str, tenant_id: str) -> bool:
    """Let a parked tenant go on where it stopped; whether it was parked."""
    return await conn.execute(_RESUME, consumer, tenant_id) == "UPDATE 1"


_RESET = """
update checkpoints
set position = least($3, coalesce((select heads.position from heads where heads.tenant_id = checkpoints.tenant_id), 0)),
    epoch = epoch + 1, member = null, parked_at = null, parked_because = null, updated_at = now()
where consumer = $1 and ($2::text is null or tenant_id = $2)
returning tenant_id, position
"""


async def reset(conn: Conn, consumer: str, tenant_id: str | None, position: int) -> Mapping[str, int]:
    """
    Set the position of a tenant, or of all (None), to *position* or the log's end, whichever is less.

    Whoever holds the tenant is fenced off. Returns the new positions.
    """
    rows = await conn.fetch(_RESET, consumer, tenant_id, position)
    return {row["tenant_id"]: row["position"] for row in rows}


_STANDINGS = """
select names.consumer, heads.tenant_id, coalesce(checkpoints.position, 0) as position, heads.position as head,
    members.place, parked_at, parked_because
from (select consumer from checkpoints union select consumer from members) as names
cross join heads
left join checkpoints on checkpoints.tenant_id = heads.tenant_id and checkpoints.consumer = names.consumer
left join members on members.consumer = names.consumer and members.member = checkpoints.member
    and seen_at > now() - $1::float8 * interval '1 second'
where heads.position > 0
order by names.consumer, heads.tenant_id
"""


async def standings(conn: Conn) -> list[Standing]:
    """How every consumer stands with every tenant that has records."""
    return [Standing(**row) for row in await conn.fetch(_STANDINGS, GONE_S)]
