"""The steps of a move, in their order, and what becomes of one that does not come to its end."""

import time
from typing import NamedTuple

from events import log
from events.database import is_away
from events.errors import MitosisError
from events.log import Conn, Head
from events.record import Actor
from events.tenant import TenantArrived, TenantMoved
from service import tenancy
from service.moving import belongings, cursors, records
from service.moving.belongings import Mark
from service.moving.journey import Journey, OtherLog, Stage, Unfinished, is_by_a_move, look
from service.moving.limits import cut_after, unbroken
from service.moving.records import Progress
from service.tenancy import NoSuchTenant, NotNow

SHORT_S = 0.25  # a round that brings what came meanwhile: then the tenant is frozen, for the next one
LONG_S = 2.0  # nobody is kept waiting for a round that takes longer
ROUNDS = 20  # of which none was shorter than those before
_SHORTER = 0.8  # of what it was, is shorter
LIMIT_S = 5.0  # for which the target may be silent while the tenant is frozen; the source for twice as long


class TooBusy(MitosisError):
    """The tenant is written to faster than it can be copied."""


class Moved(NamedTuple):
    """
    What a move came to: the last head that both sides have.

    `frozen_s` is for how many seconds no change was taken, if it was this run that froze the tenant and let it go on.
    """

    head: Head
    frozen_s: float | None = None


class Move:
    """One run of a move. It is the only one of its tenant (see `service.moving.journey.claim`)."""

    def __init__(self, journey: Journey, progress: Progress) -> None:
        self._journey = journey
        self._progress = progress
        self._first_mark: Mark | None = None

    async def run(self) -> Moved:
        """
        Move the tenant, or go on with a move of it.

        Interrupted before the last step, it lets the tenant go on at the source; after that, it finishes first.

        Raises:
            NoSuchTenant, NotNow, OtherLog: as `service.moving.journey.look`.
            LogDamaged: a record does not follow from the one before. The tenant was not frozen.
            TooBusy: callers write faster than records are copied. The tenant was not frozen.
            Unfinished: a database went away; the tenant takes changes nowhere until the move is gone on with.
        """
        journey = self._journey
        stage, frozen_s = await look(journey), None
        if stage is Stage.FROZEN:
            # callers shall not wait for what this one has to catch up with
            await unbroken(call_off(journey.source, journey.source_name, journey.tenant_id, journey.actor))
        if stage in {Stage.BEFORE, Stage.FROZEN}:
            await self._prepare()
            mark = await self._follow()
            began = time.monotonic()
            await self._let_go(mark)
            await unbroken(self._arrive())
            frozen_s = time.monotonic() - began
        elif stage is Stage.BETWEEN:
            await unbroken(self._arrive())
        await self._see_to_the_rest()
        return Moved(await log.head(journey.source, journey.tenant_id), frozen_s)

    async def _prepare(self) -> None:
        """
        Let the target take no changes.

        A tenant that comes back is marked as moved there, which does as well, and still leads callers to where it is.
        """
        tenant_id, target = self._journey.tenant_id, self._journey.target
        await log.open_heads(target, [tenant_id])
        async with tenancy.held(target, tenant_id) as head:
            if head.position == 0:
                await log.set_state(target, tenant_id, "arriving")
            elif head.state == "open":
                raise NotNow(f"tenant {tenant_id} began to be written in {self._journey.target_name}")
        await cursors.announce(self._journey)

    async def _follow(self) -> Mark:
        """Bring everything while callers go on, round after round, until a round takes no time to speak of."""
        mark, shortest_s, rounds = None, float("inf"), 0
        while rounds < ROUNDS:
            began = time.monotonic()
            source = await log.head(self._journey.source, self._journey.tenant_id)
            await records.bring(self._journey, source, self._progress)
            mark = await belongings.carry(self._journey, mark)
            self._first_mark = self._first_mark or mark
            took_s = time.monotonic() - began
            if took_s < SHORT_S or shortest_s * _SHORTER < took_s < LONG_S:
                return mark
            rounds = 0 if took_s < shortest_s * _SHORTER else rounds + 1
            shortest_s = min(shortest_s, took_s)
        raise TooBusy(f"tenant {self._journey.tenant_id} is written to faster than it can be copied")

    async def _let_go(self, mark: Mark) -> None:
        """From the freeze to the last step at the source, or back."""
        journey = self._journey
        try:
            with cut_after(LIMIT_S, journey.target), cut_after(2 * LIMIT_S, journey.source):
                reason = f"it moves to {journey.target_name}"
                source = await tenancy.freeze(journey.source, journey.tenant_id, reason, journey.actor)
                await records.bring(journey, source)
                await belongings.carry(journey, mark)
                await unbroken(self._leave())
        except BaseException:
            # whatever fails, and whoever interrupts this: callers should not pay for it
            await unbroken(call_off(journey.source, journey.source_name, journey.tenant_id, journey.actor))
            raise

    async def _leave(self) -> None:
        """The last step: with equal heads, the source says that the tenant lives elsewhere."""
        journey, tenant_id = self._journey, self._journey.tenant_id
        target = await log.head(journey.target, tenant_id)
        async with tenancy.held(journey.source, tenant_id) as head:
            if head.state != "frozen":
                raise NotNow(f"tenant {tenant_id} was thawed meanwhile")
            _require_equal(tenant_id, head, target)
            event = TenantMoved(to=journey.target_name, address=journey.address)
            await tenancy.happen(journey.source, tenant_id, head, event, journey.actor)
            await log.set_state(journey.source, tenant_id, "moved", journey.address)

    async def _arrive(self) -> None:
        """What is left when the source has let go: its last record, and that the target takes changes."""
        journey, tenant_id = self._journey, self._journey.tenant_id
        try:
            with cut_after(LIMIT_S, journey.target), cut_after(LIMIT_S, journey.source):
                source = await log.head(journey.source, tenant_id)
                await records.bring(journey, source)
                async with tenancy.held(journey.target, tenant_id) as head:
                    _require_equal(tenant_id, head, source)
                    event = TenantArrived(source=journey.source_name)
                    await tenancy.happen(journey.target, tenant_id, head, event, journey.actor)
                    await log.set_state(journey.target, tenant_id, "open")
        except Exception as error:
            where = f"it has left {journey.source_name} and does not take changes in {journey.target_name} yet"
            raise Unfinished(f"tenant {tenant_id} takes no changes: {where}") from error

    async def _see_to_the_rest(self) -> None:
        """What no caller waits for."""
        try:
            await cursors.hand_over(self._journey)
            await belongings.carry_rest(self._journey, self._first_mark)
        except Exception as error:
            name = self._journey.target_name
            raise Unfinished(f"tenant {self._journey.tenant_id} takes changes in {name}; its consumers wait") from error


def _require_equal(tenant_id: str, one: Head, other: Head) -> None:
    """The proof that nothing is missing, and nothing is too much."""
    if (one.position, one.digest) != (other.position, other.digest):
        raise OtherLog(f"the heads of tenant {tenant_id} differ at position {one.position}")


async def call_off(source: Conn, source_name: str, tenant_id: str, actor: Actor) -> bool:
    """
    Call a move off that did not come to its last step: let the tenant go on at the source. Returns whether it did.

    Raises:
        NoSuchTenant
        NotNow: the tenant has moved.
        Unfinished: the source cannot be asked.
    """
    try:
        with cut_after(LIMIT_S, source):
            head = await log.head(source, tenant_id)
            is_ours = head.state == "frozen" and await is_by_a_move(source, tenant_id, head)
            if is_ours:
                await tenancy.thaw(source, tenant_id, actor)
    except Exception as error:
        if not is_away(error):
            raise
        lost = f"{source_name} went away, where it is still frozen or has moved"
        raise Unfinished(f"tenant {tenant_id} takes no changes: {lost}") from error
    if head.position == 0:
        raise NoSuchTenant(f"there is no tenant {tenant_id} in {source_name}")
    if head.state == "moved":
        raise NotNow(f"tenant {tenant_id} has moved: that cannot be called off, only gone on with")
    return is_ours
