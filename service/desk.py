"""
The write path. Commands wait in line; one turn takes all that wait and commits them in one transaction.

While a turn is in the database the next callers gather, so the busier it is, the larger the turns. There are three
kinds of lines, so that whoever holds a tenant up holds up nobody else for more than a moment:

- The common one. Its turns wait for no head; whose head is held by somebody else is passed over.
- The one of the contended tenants, which were passed over and have had commands in quick succession since. Mostly it
  is another process's turn that has their heads, and is about to end: these turns wait for all of them together.
- A tenant's own, if that was in vain. Each of these waits for one head, for as long as it takes.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial

import asyncpg

from events.errors import DatabaseAway
from events.log import Head
from projections.clients import Client
from service.commands import Command
from service.committing import Committer
from service.refusals import RETRY_AFTER_S, LineFull
from service.tickets import Ticket

PATIENCE_S = 0.1  # how long a turn waits for a head that somebody else holds; the pool's lock timeout
_TOGETHER_S = 0.2  # and for all its heads
_CONTENDED_S = 0.02  # for which a tenant counts as contended after its last turn as one
_ASIDE_LIMIT = 4  # heads that are waited for one by one at once, a connection each
POOL_SIZE = _ASIDE_LIMIT + 3  # the common turn, the contended one, and what is looked up after a lost COMMIT


class Desk:
    """
    The one place where commands become events.

    Args:
        pool: connections of its own, so that readers cannot starve it.
        turn_limit: commands that one turn takes at most.
        line_limit: commands that may wait in all.
        together_s: how long a turn waits for all heads that others hold, where it waits for several.
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
        together_s: float = _TOGETHER_S,
        ring: Callable[[Iterable[str]], None] | None = None,
        seen: Callable[[Iterable[Client]], None] | None = None,
        turned: Callable[[int, float], None] | None = None,
    ) -> None:
        self._committer = Committer(pool, together_s=together_s, again=self._line_up, ring=ring, seen=seen)
        self._turned = turned
        self._timeout_s = timeout_s
        self._turn_limit = turn_limit
        self._line_limit = line_limit
        self._waiting = 0
        self._common, self._contended = _Line(self._serve_common), _Line(self._serve_contended)
        self._aside = dict[str, _Line]()
        self._contended_until = dict[str, float]()  # tenants, and the loop's time
        self._aside_turns = asyncio.Semaphore(_ASIDE_LIMIT)
        self._clerks = set[asyncio.Task[None]]()

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
        tenant_id = ticket.command.tenant_id
        if tenant_id in self._aside:
            self._join(self._aside[tenant_id], ticket)
        elif self._contended_until.get(tenant_id, 0) > asyncio.get_running_loop().time():
            self._join(self._contended, ticket)
        else:
            self._join(self._common, ticket)

    def _join(self, line: "_Line", ticket: Ticket) -> None:
        ticket.is_taken = False
        line.tickets.append(ticket)
        if line.clerk is None or line.clerk.done():
            line.clerk = asyncio.create_task(line.serve(line))
            self._clerks.add(line.clerk)
            line.clerk.add_done_callback(self._clerks.discard)

    async def _serve_common(self, line: "_Line") -> None:
        while tickets := self._next(line):
            held_up = await self._turn(tickets)
            self._note_contended(held_up)
            for ticket in held_up:
                self._line_up(ticket)

    async def _serve_contended(self, line: "_Line") -> None:
        while tickets := self._next(line):
            held_up = await self._turn(tickets, line)
            self._note_contended(tickets)
            for ticket in held_up:
                self._join(self._aside.setdefault(ticket.command.tenant_id, _Line(self._serve_aside)), ticket)
            if held_up:  # those who came for the same tenants follow them
                left, line.tickets = line.tickets, []
                for ticket in left:
                    self._line_up(ticket)

    def _note_contended(self, tickets: Iterable[Ticket]) -> None:
        now = asyncio.get_running_loop().time()
        self._contended_until = {tenant: until for tenant, until in self._contended_until.items() if until > now}
        self._contended_until |= {ticket.command.tenant_id: now + _CONTENDED_S for ticket in tickets}

    async def _serve_aside(self, line: "_Line") -> None:
        """
        Wait in the database's own queue for the one head that all in *line* are for, until that was had.

        It waits there for a moment at a time: so many heads may be held, and these places are for all of them.
        """
        tenant_id = line.tickets[0].command.tenant_id
        try:
            held_up = line.tickets
            while held_up:
                async with self._aside_turns:
                    tickets = self._next(line)
                    held_up = await self._turn(tickets, line) if tickets else []
                for ticket in held_up:
                    ticket.is_taken = False
                line.tickets[:0] = held_up
        finally:
            del self._aside[tenant_id]
            for ticket in line.tickets:
                self._line_up(ticket)

    def _next(self, line: "_Line") -> list[Ticket]:
        """
        Take the next turn's tickets off *line*.

        Those with too little time left are told so at once; a turn is as short as the time of its shortest.
        """
        tickets: list[Ticket] = []
        while line.tickets and not tickets:
            tickets, line.tickets = line.tickets[: self._turn_limit], line.tickets[self._turn_limit :]
            for ticket in tickets:
                if ticket.left_s < self._timeout_s / 4:
                    ticket.fail(DatabaseAway())
                ticket.is_taken = True
            tickets = [ticket for ticket in tickets if not ticket.answer.done()]
        return tickets

    def _latecomers(self, line: "_Line", among: int, heads: Mapping[str, Head], left_s: float) -> list[Ticket]:
        """
        Take off *line* those for the same tenants, who came while the turn of *among* tickets waited for its *heads*.

        They have the time that is left for the turn, and as much again.
        """
        taken = [ticket for ticket in line.tickets if ticket.command.tenant_id in heads and ticket.left_s >= 2 * left_s]
        del taken[max(self._turn_limit - among, 0) :]
        for ticket in taken:
            ticket.is_taken = True
        line.tickets = [ticket for ticket in line.tickets if not ticket.is_taken]
        return [ticket for ticket in taken if not ticket.answer.done()]

    async def _turn(self, tickets: list[Ticket], line: "_Line | None" = None) -> list[Ticket]:
        """
        One turn, every ticket answered but those it returns: their tenants' heads are held by somebody else.

        With *line* it waits for all heads, and *tickets* grow by those who come to that line meanwhile.
        """
        began = time.perf_counter()
        latecomers = None if line is None else partial(self._latecomers, line, len(tickets))
        try:
            return await self._committer.commit(tickets, latecomers)
        finally:
            if self._turned is not None:
                self._turned(len(tickets), time.perf_counter() - began)


class _Line:
    """Tickets in the order they came, and the clerk who serves them as long as there are any."""

    def __init__(self, serve: Callable[["_Line"], Coroutine[None, None, None]]) -> None:
        self.serve = serve
        self.tickets: list[Ticket] = []
        self.clerk: asyncio.Task[None] | None = None
