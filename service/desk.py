"""
The write path. Commands wait in line; one turn takes all that wait and commits them in one transaction.

While a turn is in the database the next callers gather, so the busier it is, the larger the turns. Each tenant is in
one line at a time: the common one or, while its head is held by somebody else, one of its own. So whoever holds a
tenant up holds up nobody else.

What a crash leaves: every command that was answered is in the log, and those that were not are in it whole or not at
all.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence

import asyncpg

from events import log
from events.database import borrowed
from events.errors import DatabaseAway, OutcomeUnknown
from projections import clients
from projections.clients import Client
from service import receipts
from service.commands import Command
from service.refusals import RETRY_AFTER_S, LineFull
from service.tickets import Outcomes, Ticket, projected, receipt_keys, receipts_of
from service.turn import Turn

_logger = logging.getLogger(__name__)

PATIENCE_S = 0.1  # how long a turn waits for a head that somebody else holds; the pool's lock timeout
_ASIDE_LIMIT = 4  # heads that are waited for at once, a connection each
POOL_SIZE = _ASIDE_LIMIT + 2  # the common turn, and what is looked up after a lost COMMIT
_MOMENT_S = 0.02  # for which a turn may decide; the rest is for the next one
_ASK_AGAIN_S = 0.05  # between two questions to a database that is away


class Desk:
    """
    The one place where commands become events.

    Args:
        pool: connections of its own, so that readers cannot starve it.
        turn_limit: commands that one turn takes at most.
        line_limit: commands that may wait in all.
        timeout_s: a caller is answered within this, whatever the database does.
        ring: is told the tenants of each turn that is committed; it neither waits nor fails.
        seen: is told the clients that such a turn read and wrote; likewise.
        turned: is told of each turn how many commands it took, and how many seconds.
    """

    def __init__(  # noqa: PLR0913 (its limits, and who is told)
        self,
        pool: asyncpg.Pool,
        *,
        timeout_s: float,
        turn_limit: int = 256,
        line_limit: int = 4096,
        ring: Callable[[Iterable[str]], None] | None = None,
        seen: Callable[[Iterable[Client]], None] | None = None,
        turned: Callable[[int, float], None] | None = None,
    ) -> None:
        self._pool = pool
        self._ring = ring
        self._seen = seen
        self._turned = turned
        self._timeout_s = timeout_s
        self._turn_limit = turn_limit
        self._line_limit = line_limit
        self._waiting = 0
        self._common: list[Ticket] = []
        self._aside: dict[str, list[Ticket]] = {}
        self._aside_turns = asyncio.Semaphore(_ASIDE_LIMIT)
        self._clerks: set[asyncio.Task[None]] = set()
        self._common_clerk: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Commands that are not answered yet, those of the turns that run included."""
        return self._waiting

    async def submit(self, command: Command) -> Client:
        """
        Have *command* decided, appended and projected; returns the client as its projection row has it.

        Durable when it returns.

        Raises:
            Refused: by the rules, or because the line is full. Nothing was appended.
            DatabaseAway: the database did not answer in time. Nothing was appended.
            OutcomeUnknown: it went away during COMMIT and could not be asked since.
        """
        if self._waiting >= self._line_limit:
            raise LineFull(headers={"Retry-After": str(RETRY_AFTER_S)})
        ticket = Ticket(command, self._timeout_s)
        self._waiting += 1
        try:
            self._line_up(ticket)
            return await ticket.answer
        finally:
            ticket.leave()
            self._waiting -= 1

    async def close(self) -> None:
        """Answer all that wait; then no task of the desk is left."""
        while self._clerks:
            await asyncio.wait(self._clerks)

    def _line_up(self, ticket: Ticket) -> None:
        ticket.is_taken = False
        aside = self._aside.get(ticket.command.tenant_id)
        if aside is not None:
            aside.append(ticket)
            return
        self._common.append(ticket)
        if self._common_clerk is None or self._common_clerk.done():
            self._common_clerk = self._hire(self._serve_common())

    def _hire(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        clerk = asyncio.create_task(work)
        self._clerks.add(clerk)
        clerk.add_done_callback(self._clerks.discard)
        return clerk

    async def _serve_common(self) -> None:
        while tickets := self._next(self._common):
            for ticket in await self._turn(tickets, wait=False):
                self._step_aside(ticket)

    def _step_aside(self, ticket: Ticket) -> None:
        ticket.is_taken = False
        tenant_id = ticket.command.tenant_id
        if tenant_id not in self._aside:
            self._aside[tenant_id] = []
            self._hire(self._serve_aside(tenant_id))
        self._aside[tenant_id].append(ticket)

    async def _serve_aside(self, tenant_id: str) -> None:
        """
        One turn for a tenant whose head was held by somebody else, in the database's own queue for it.

        It waits there for a moment and not for good: so many heads may be held, and this place is for all of them.
        Those still waiting, and those who came meanwhile, go back to the common line.
        """
        held_up: list[Ticket] = []
        try:
            async with self._aside_turns:
                if tickets := self._next(self._aside[tenant_id]):
                    held_up = await self._turn(tickets, wait=True)
        finally:
            for ticket in [*held_up, *self._aside.pop(tenant_id)]:
                self._line_up(ticket)

    def _next(self, line: list[Ticket]) -> list[Ticket]:
        """
        Take the next turn's tickets off *line*.

        Those with too little time left are told so at once; a turn is as short as the time of its shortest.
        """
        tickets: list[Ticket] = []
        while line and not tickets:
            tickets, line[:] = line[: self._turn_limit], line[self._turn_limit :]
            for ticket in tickets:
                if ticket.left_s < self._timeout_s / 4:
                    ticket.fail(DatabaseAway())
                ticket.is_taken = True
            tickets = [ticket for ticket in tickets if not ticket.answer.done()]
        return tickets

    async def _turn(self, tickets: Sequence[Ticket], *, wait: bool) -> list[Ticket]:
        """One turn, every ticket answered but those it returns: their tenants' heads are held by somebody else."""
        began = time.perf_counter()
        try:
            return await self._taken(tickets, wait=wait)
        finally:
            if self._turned is not None:
                self._turned(len(tickets), time.perf_counter() - began)

    async def _taken(self, tickets: Sequence[Ticket], *, wait: bool) -> list[Ticket]:
        """As `_turn`: all tickets together, and each by itself if that fails."""
        try:
            return await self._attempt(tickets, wait=wait)
        except _HeldUp:
            return list(tickets)
        except Exception as error:
            _logger.warning("turn_failed", exc_info=error, extra={"commands": len(tickets)})
            tickets = await self._settle(error, tickets)
        held_up: list[Ticket] = []
        for ticket in tickets:
            try:
                held_up += await self._attempt([ticket], wait=wait)
            except _HeldUp:
                held_up.append(ticket)
            except Exception as error:  # noqa: BLE001 (it goes to the caller)
                for unanswered in await self._settle(error, [ticket]):
                    unanswered.fail(error.cause if isinstance(error, _InDoubt) else error)
        return held_up

    async def _attempt(self, tickets: Sequence[Ticket], *, wait: bool) -> list[Ticket]:
        """
        Decide, append, project and answer, in one transaction; returns the tickets whose heads somebody else holds.

        Raises:
            _HeldUp: a head was waited for in vain; nothing was appended.
            _InDoubt: the connection was lost at COMMIT.
            Exception: nothing was appended.
        """
        limit_s = min(ticket.left_s for ticket in tickets) / 2  # the other half is for finding out, and for another try
        tenants = sorted({ticket.command.tenant_id for ticket in tickets})
        outcomes: Outcomes = []
        committing = False
        try:
            async with borrowed(self._pool, limit_s) as connection, connection.transaction():
                heads = await log.lock(connection, tenants, wait=wait)
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
            if wait and isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise _HeldUp from error
            raise
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
        for ticket in ours[len(outcomes) :]:
            self._line_up(ticket)
        left = [ticket for ticket in tickets if ticket.command.tenant_id not in heads]
        return await self._begin(left) if left else []

    async def _begin(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """
        Give the tenants that have no head one, if a command of theirs would be accepted; their tickets line up again.

        Returns the other tickets: their tenants' heads are held by somebody else.
        """
        try:
            async with borrowed(self._pool, min(ticket.left_s for ticket in tickets) / 2) as connection:
                there = await log.positions(connection, {ticket.command.tenant_id for ticket in tickets})
                new = [ticket for ticket in tickets if ticket.command.tenant_id not in there]
                turn = Turn(
                    {ticket.command.tenant_id: log.beginning(ticket.command.tenant_id) for ticket in new}, {}, {}
                )
                accepted = []
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
            return [ticket for ticket in tickets if not ticket.answer.done()]
        for ticket in accepted:
            self._line_up(ticket)
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
