"""Commands in line at the desk, and what became of them."""

import asyncio
from collections.abc import Sequence

from events.errors import DatabaseAway, OutcomeUnknown
from projections.clients import Client
from service.commands import Command
from service.receipts import Receipt


class Ticket:
    """
    A command in line, and the promise of an answer at the deadline (in the loop's time) at the latest.

    `is_taken` while a turn has it: it may then have happened, and so it does not simply expire.
    """

    def __init__(self, command: Command, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.command = command
        self.answer: asyncio.Future[Client] = loop.create_future()
        self.deadline = loop.time() + limit_s
        self.is_taken = False
        self._expiry = loop.call_at(self.deadline, self._expire)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, not less than 0."""
        return max(self.deadline - asyncio.get_running_loop().time(), 0)

    def succeed(self, client: Client) -> None:
        """Answer with *client*, unless the caller was answered or left."""
        if not self.answer.done():
            self.answer.set_result(client)

    def fail(self, error: Exception) -> None:
        """Answer with *error*, unless the caller was answered or left."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def leave(self) -> None:
        """The caller has his answer: no deadline is left."""
        self._expiry.cancel()

    def _expire(self) -> None:
        self.fail(OutcomeUnknown() if self.is_taken else DatabaseAway())


Outcomes = list[tuple[Ticket, Client | Exception]]


def projected(outcomes: Outcomes, rows: list[Client]) -> Outcomes:
    """The outcomes with the clients as their rows have them."""
    found = {(row.tenant_id, row.client_id, row.version): row for row in rows}
    return [
        # a later command of the turn may have changed the client again: this caller's version then never was a row
        (ticket, outcome)
        if isinstance(outcome, Exception)
        else (ticket, found.get((outcome.tenant_id, outcome.client_id, outcome.version), outcome))
        for ticket, outcome in outcomes
    ]


def receipt_keys(tickets: Sequence[Ticket]) -> set[tuple[str, bytes]]:
    """What the receipts of the tickets' commands are found by: tenant and key digest."""
    return {
        (ticket.command.tenant_id, ticket.command.receipt.key_digest) for ticket in tickets if ticket.command.receipt
    }


def receipts_of(outcomes: Outcomes) -> list[tuple[str, Receipt, Client]]:
    """The receipts to keep: those of the commands that succeeded."""
    return [
        (ticket.command.tenant_id, ticket.command.receipt, outcome)
        for ticket, outcome in outcomes
        if ticket.command.receipt and isinstance(outcome, Client)
    ]
