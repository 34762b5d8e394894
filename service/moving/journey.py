"""What a move is about, and how far one has come: as the heads of both sides say."""

from enum import Enum
from typing import NamedTuple

from events import log
from events.errors import MitosisError
from events.log import Conn, Head
from events.record import Actor
from events.tenant import TenantFrozen, TenantMoved
from service import tenancy
from service.tenancy import NoSuchTenant, NotNow

ROLE = "mover"  # of the actor in the records of a move: a tenant that somebody else froze stays frozen
_WAITING = {"arriving", "moved"}  # states of a target that takes no changes until the tenant has come


class OtherLog(MitosisError):
    """The target has records of a tenant of that name that are not the source's."""


class Unfinished(MitosisError):
    """A move ended where the tenant takes changes nowhere, or its consumers wait: it has to be gone on with."""


class Occupied(MitosisError):
    """There is no moving from one of the databases to the other now: somebody else does, or the two are one."""


class Journey(NamedTuple):
    """
    A tenant's way, and who sends it: two sessions in the role mitosis_mover, and how people call what they lead to.

    `address` is where callers find the tenant then; they are told, if it is given.
    """

    tenant_id: str
    source: Conn
    target: Conn
    source_name: str
    target_name: str
    actor: Actor
    address: str | None = None


class Stage(Enum):
    """How far a move has come."""

    BEFORE = "the source takes changes"
    FROZEN = "the source was frozen by a move that did not come to its end"
    BETWEEN = "the source has let go, and the target does not take changes yet"
    DONE = "the target has the tenant"


_CLAIM = "select pg_try_advisory_lock(hashtextextended('mitosis move ' || $1, 0))"
_IDENTITY = "select system_identifier, current_database() from pg_control_system()"


async def claim(journey: Journey) -> None:
    """
    Be the only one who moves this tenant, from either database or to it, for as long as the sessions last.

    Raises:
        Occupied
    """
    if await journey.source.fetchrow(_IDENTITY) == await journey.target.fetchrow(_IDENTITY):
        raise Occupied(f"tenant {journey.tenant_id} cannot be moved to the database that it is in")
    for conn in (journey.source, journey.target):
        await claim_in(conn, journey.tenant_id)


async def claim_in(conn: Conn, tenant_id: str) -> None:
    """
    The same in one database alone, to call a move off.

    Raises:
        Occupied
    """
    if not await conn.fetchval(_CLAIM, tenant_id):
        raise Occupied(f"somebody else is moving tenant {tenant_id}")


async def look(journey: Journey) -> Stage:
    """
    How far the move has come. Changes nothing.

    Raises:
        NoSuchTenant: the source has none.
        NotNow: it is frozen there for another reason, is itself arriving there, has moved elsewhere, or takes changes
            at the target.
        OtherLog: the target's tenant of that name is another one.
    """
    tenant_id = journey.tenant_id
    source, target = await log.head(journey.source, tenant_id), await log.head(journey.target, tenant_id)
    if source.position == 0:
        raise NoSuchTenant(f"there is no tenant {tenant_id} in {journey.source_name}")
    if source.state == "arriving":
        raise NotNow(f"tenant {tenant_id} is itself arriving in {journey.source_name}")
    if source.state == "moved":
        return await _after(journey, source, target)
    if source.state == "frozen" and not await is_by_a_move(journey.source, tenant_id, source):
        raise NotNow(f"tenant {tenant_id} was frozen by somebody for another reason: thaw it first")
    if target.position and target.state not in _WAITING:
        raise NotNow(f"there is a tenant {tenant_id} already, and {target.state}, in {journey.target_name}")
    if target.digest != await log.digest_at(journey.source, tenant_id, target.position):
        raise OtherLog(f"{journey.target_name} has other records of a tenant {tenant_id}")
    return Stage.FROZEN if source.state == "frozen" else Stage.BEFORE


async def is_by_a_move(source: Conn, tenant_id: str, frozen: Head) -> bool:
    """Whether a tenant with this head was *frozen* to be moved, and not by an operator, who then thaws it."""
    last = await tenancy.last_record(source, tenant_id, frozen)
    return isinstance(last.data, TenantFrozen) and last.actor.role == ROLE


async def _after(journey: Journey, source: Head, target: Head) -> Stage:
    """
    How far a move is that the source has let go in.

    The target then has all the source's records, perhaps but for the last one: only so much was let go of. A target
    that has fewer is not where the tenant went.
    """
    tenant_id = journey.tenant_id
    if target.position >= source.position:
        if await log.digest_at(journey.target, tenant_id, source.position) != source.digest:
            raise OtherLog(f"{journey.target_name} has other records of a tenant {tenant_id}")
        if target.state not in _WAITING:
            return Stage.DONE
        if target.position > source.position:
            raise NotNow(f"tenant {tenant_id} has left {journey.target_name} again")
        return Stage.BETWEEN
    if target.position == source.position - 1 and target.state in _WAITING:
        if target.digest == await log.digest_at(journey.source, tenant_id, target.position):
            return Stage.BETWEEN
        raise OtherLog(f"{journey.target_name} has other records of a tenant {tenant_id}")
    last = await tenancy.last_record(journey.source, tenant_id, source)
    to = last.data.to if isinstance(last.data, TenantMoved) else "another database"
    raise NotNow(f"tenant {tenant_id} has moved to {to}")
