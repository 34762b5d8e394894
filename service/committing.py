"""
Turns in the database: each is decided, appended and projected in one transaction, and its tickets are answered.

What a crash leaves: every command that was answered is in the log, and those that were not are in it whole or not at
all.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import asyncpg

from events import log
from events.database import borrowed
from events.errors import DatabaseAway, OutcomeUnknown
from events.log import Head
from projections import clients
from projections.clients import Client
from service import receipts
from service.commands import Command
from service.tickets import Outcomes, Ticket, projected, receipt_keys, receipts_of
from service.turn import Turn

_MOMENT_S = 0.02  # for which a turn may decide; the rest is for the next one
_ASK_AGAIN_S = 0.05  # between two questions to a database that is away

_logger = logging.getLogger(__name__)

Latecomers = Callable[[Mapping[str, Head], float], list[Ticket]]
"""Those who came while heads were waited for: given the heads, and how much time (s) the turn has left."""


class Committer:
    """
    Commits turns.

    Args:
        pool: connections of its own, so that readers cannot starve it.
        together_s: how long a turn waits for all its heads, where it waits for several.
        again: is given the tickets that have to have another turn.
        ring: is told the tenants of each turn that is committed; it neither waits nor fails.
        seen: is told the clients that such a turn read and wrote; likewise.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        together_s: float,
        again: Callable[[Ticket], None],
        ring: Callable[[Iterable[str]], None] | None = None,
        seen: Callable[[Iterable[Client]], None] | None = None,
    ) -> None:
        self._pool = pool
        self._together_s = together_s
        self._again = again
        self._ring = ring
        self._seen = seen

    async def commit(self, tickets: list[Ticket], latecomers: Latecomers | None = None) -> list[Ticket]:
        """
        Commit what *tickets* are for, all together, and each by itself if that fails.

        Every ticket is answered but those that are returned: their tenants' heads are held by somebody else. Without
        *latecomers* no head is waited for; with them all are, and *tickets* grow by those whom they give.
        """
        try:
            return await self._attempt(tickets, latecomers)
        except _HeldUp:
            return tickets
        except Exception as error:
            _logger.warning("turn_failed", exc_info=error, extra={"commands": len(tickets)})
            left = await self._settle(error, tickets)
        held_up: list[Ticket] = []
        for ticket in left:
            try:
                held_up += await self._attempt([ticket], latecomers and _nobody)
            except _HeldUp:
                held_up.append(ticket)
            except Exception as error:  # noqa: BLE001 (it goes to the caller)
                for unanswered in await self._settle(error, [ticket]):
                    unanswered.fail(error.cause if isinstance(error, _InDoubt) else error)
        return held_up

    async def _attempt(self, tickets: list[Ticket], latecomers: Latecomers | None) -> list[Ticket]:
        """
        Decide, append, project and answer, in one transaction; returns the tickets whose heads somebody else holds.

        Raises:
            _HeldUp: a head was waited for in vain; nothing was appended.
            _InDoubt: the connection was lost at COMMIT.
            Exception: nothing was appended.
        """
        clock = asyncio.get_running_loop().time
        limit_s = min(ticket.left_s for ticket in tickets) / 2  # the other half is for finding out, and for another try
        until = clock() + limit_s
        tenants = sorted({ticket.command.tenant_id for ticket in tickets})
        outcomes: Outcomes = []
        locking = committing = False
        try:
            async with borrowed(self._pool, limit_s) as connection, connection.transaction():
                locking = True
                # the server's limit is for each head: of one, it is enough
                waits_for_several = len(tenants) > 1 and latecomers is not None
                together_s = min(self._together_s, limit_s / 2) if waits_for_several else None
                heads = await log.lock(connection, tenants, wait=latecomers is not None, limit_s=together_s)
                locking = False
                if latecomers is not None:
                    tickets += latecomers(heads, until - clock())
                ours = [ticket for ticket in tickets if ticket.command.tenant_id in heads]
                reads = {(ticket.command.tenant_id, ticket.command.reads) for ticket in ours}
                known = await clients.load(connection, reads)
                turn = Turn(heads, known, await receipts.load(connection, receipt_keys(ours)))
                outcomes = _decided(turn, ours)
                if turn.entries:
                    await log.append(connection, turn.entries, turn.heads)
                    rows = await clients.save(connection, list(turn.changed.values()))
                    outcomes = projected(outcomes, rows)
                    await receipts.save(connection, receipts_of(outcomes))
                    committing = True
        except Exception as error:
            if committing:
                raise _InDoubt(outcomes, error) from error
            if locking and isinstance(error.__cause__, asyncpg.LockNotAvailableError | TimeoutError):
                raise _HeldUp from error
            raise
        self._tell(turn, known, outcomes)
        for ticket in ours[len(outcomes) :]:
            self._again(ticket)
        left = [ticket for ticket in tickets if ticket.command.tenant_id not in heads]
        return await self._begin(left) if left else []

    def _tell(self, turn: Turn, known: Mapping[tuple[str, str], Client], outcomes: Outcomes) -> None:
        if turn.heads and self._ring is not None:
            self._ring(turn.heads)
        if self._seen is not None:
            self._seen(known.values())
            self._seen(turn.changed.values())
        for ticket, outcome in outcomes:
            if isinstance(outcome, Exception):
                ticket.fail(outcome)
            else:
                ticket.succeed(outcome)

    async def _begin(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """
        Give the tenants that have no head one, if a command of theirs would be accepted, and have them another turn.

        Returns the other tickets: their tenants' heads are held by somebody else. Where heads cannot be had, those whom
        they are for are told so, and not tried again: a database without room would be asked for ever.
        """
        accepted: list[Ticket] = []
        try:
            async with borrowed(self._pool, min(ticket.left_s for ticket in tickets) / 2) as connection:
                there = await log.positions(connection, {ticket.command.tenant_id for ticket in tickets})
                new = [ticket for ticket in tickets if ticket.command.tenant_id not in there]
                turn = Turn(
                    {ticket.command.tenant_id: log.beginning(ticket.command.tenant_id) for ticket in new}, {}, {}
                )
                for ticket in new:
                    outcome = _outcome(turn, ticket.command)
                    if isinstance(outcome, Exception):
                        ticket.fail(outcome)
                    else:
                        accepted.append(ticket)
                if accepted:
                    await log.open_heads(connection, sorted({ticket.command.tenant_id for ticket in accepted}))
        except Exception as error:
            _logger.warning("heads_not_opened", exc_info=error, extra={"commands": len(tickets)})
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):  # somebody is about to bring one in
                for ticket in accepted:
                    ticket.fail(error)
            return [ticket for ticket in tickets if not ticket.answer.done()]
        for ticket in accepted:
            self._again(ticket)
        return [ticket for ticket in tickets if ticket.command.tenant_id in there]

    async def _settle(self, error: Exception, tickets: Sequence[Ticket]) -> list[Ticket]:
        """
        After a turn that failed: answer all that happened, and return those that certainly did not.

        After a lost COMMIT the log itself is asked, under the heads' locks: the lost transaction held these, so
        whoever has them knows that it is over.
        """
        if not isinstance(error, _InDoubt):
            return list(tickets)
        written = {ticket: outcome for ticket, outcome in error.outcomes if isinstance(outcome, Client)}
        try:
            found = await self._find(list(written))
        except Exception as unknown:
            _logger.warning("outcome_unknown", exc_info=unknown, extra={"commands": len(written)})
            for ticket in written:
                ticket.fail(OutcomeUnknown())
        else:
            for ticket, client in written.items():
                if ticket.command.event_id in found:
                    ticket.succeed(client)
        return [ticket for ticket in tickets if not ticket.answer.done()]

    async def _find(self, tickets: Sequence[Ticket]) -> set[str]:
        """Those of the tickets' event ids that are in the log, now and for good."""
        tenants = sorted({ticket.command.tenant_id for ticket in tickets})
        wanted = [(ticket.command.tenant_id, ticket.command.event_id) for ticket in tickets]
        while True:
            left_s = min(ticket.left_s for ticket in tickets)
            try:
                async with borrowed(self._pool, left_s) as connection, connection.transaction():
                    await log.lock(connection, tenants, wait=True)
                    return await log.find(connection, wanted)
            except DatabaseAway:
                if left_s < 2 * _ASK_AGAIN_S:
                    raise
            await asyncio.sleep(_ASK_AGAIN_S)


class _HeldUp(Exception):
    """A head was waited for in vain."""


class _InDoubt(Exception):
    """The connection was lost at COMMIT: the outcomes hold if the transaction does."""

    def __init__(self, outcomes: Outcomes, cause: Exception) -> None:
        super().__init__("the connection was lost at COMMIT")
        self.outcomes = outcomes
        self.cause = cause


def _decided(turn: Turn, tickets: Sequence[Ticket]) -> Outcomes:
    """What the first of *tickets* lead to: all that can be decided in a moment, since nobody else runs meanwhile."""
    clock = asyncio.get_running_loop().time
    until, outcomes = clock() + _MOMENT_S, Outcomes()
    for ticket in tickets:
        outcomes.append((ticket, _outcome(turn, ticket.command)))
        if clock() > until:
            break
    return outcomes


def _outcome(turn: Turn, command: Command) -> Client | Exception:
    """What *command* leads to; an error is its caller's alone, and the turn goes on."""
    try:
        return turn.take(command)
    except Exception as error:  # noqa: BLE001 (it goes to the caller)
        return error


def _nobody(_heads: Mapping[str, Head], _left_s: float) -> list[Ticket]:
    """Who joins a turn that is one ticket's alone."""
    return []
