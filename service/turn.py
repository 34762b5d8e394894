"""One turn of the desk: what a single transaction decides, appends and answers. No I/O, but a clock and new ids."""

from collections.abc import Mapping
from datetime import UTC, datetime

from ulid import ULID

from events import chain
from events.errors import OutOfOrder
from events.log import Entry, Head
from events.record import SCHEMA_VERSION, Record, encode
from projections.clients import Client, apply
from service.commands import Command
from service.decisions import decide
from service.receipts import Kept
from service.refusals import HappenedBefore, MovedAway, TakesNoChanges

Key = tuple[str, str]


class Turn:
    """
    Decides commands in the order they come, each on what those before it decided.

    `entries`, `heads` and `changed` are what the transaction has to write. A command that is refused, or that fails,
    leaves no trace in them.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        clients: Mapping[Key, Client],
        receipts: Mapping[tuple[str, bytes], Kept],
    ) -> None:
        self.entries: list[Entry] = []
        self.heads: dict[str, Head] = {}
        self.changed: dict[Key, Client] = {}
        self._locked = heads
        self._clients = clients
        self._receipts = receipts

    def take(self, command: Command) -> Client:
        """
        Decide *command* and note what has to be written; returns the client it leads to.

        Raises:
            Refused: the rules refuse it, or the tenant takes no changes here.
            HappenedBefore: there is a receipt of it.
        """
        tenant_id = command.tenant_id
        if command.receipt and (kept := self._receipts.get((tenant_id, command.receipt.key_digest))):
            raise HappenedBefore(kept)
        head = self.heads.get(tenant_id) or self._locked[tenant_id]
        if head.state == "moved":
            raise MovedAway(head.moved_to)
        if head.state != "open":
            raise TakesNoChanges
        # clocks differ between processes and are set back; a tenant's log is in the order of its times all the same
        now = max(datetime.now(UTC), head.time)
        decision = decide(self._client((tenant_id, command.reads)), command, now)
        key = (tenant_id, decision.client_id)
        client = self._client(key)
        entries: list[Entry] = []
        for event in decision.events:
            first = not entries
            private = decision.private if first else None
            record = Record(
                event_id=command.event_id if first else str(ULID()),
                tenant_id=tenant_id,
                position=head.position + 1,
                schema_version=SCHEMA_VERSION,
                client_id=decision.client_id,
                client_version=client.version + 1 if client else 1,
                time=now,
                actor=command.actor,
                data=event,
                sealed=private and chain.seal(private),
            )
            client = apply(client, record)
            body = encode(record)
            head = Head(record.position, chain.link(head.digest, body), now)
            entries.append(Entry(tenant_id, record.position, record.event_id, head.digest, body, private))
        if client is None:
            raise OutOfOrder(f"{decision.client_id} came of nothing")
        # all that can fail is behind us: from here on the command has happened
        if entries:
            self.entries += entries
            self.heads[tenant_id] = head
            self.changed[key] = client
        return client

    def _client(self, key: Key) -> Client | None:
        return self.changed.get(key) or self._clients.get(key)
