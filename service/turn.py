"""One turn of the desk: what a single transaction decides, appends and answers. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from events import chain
from events.log import Entry, Head
from events.record import SCHEMA_VERSION, Record, encode
from projections.clients import Client, apply
from service.commands import Command, decide

Key = tuple[str, str]


class Turn:
    """
    Decides commands in the order they come, each on what those before it decided.

    `entries`, `heads` and `changed` are what the transaction has to write. A command that is refused, or that fails,
    leaves no trace in them.
    """

    def __init__(self, heads: Mapping[str, Head], clients: Mapping[Key, Client]) -> None:
        self.entries: list[Entry] = []
        self.heads: dict[str, Head] = {}
        self.changed: dict[Key, Client] = {}
        self._locked = heads
        self._clients = clients

    def take(self, command: Command) -> Client:
        """
        Decide *command* and note what has to be written; returns the client it leads to.

        Raises:
            Refused: the rules refuse it.
        """
        tenant_id = command.tenant_id
        decision = decide(self._client((tenant_id, command.reads)), command)
        key = (tenant_id, decision.client_id)
        before = self._client(key)
        head = self.heads.get(tenant_id) or self._locked[tenant_id]
        record = Record(
            event_id=command.event_id,
            tenant_id=tenant_id,
            position=head.position + 1,
            schema_version=SCHEMA_VERSION,
            client_id=decision.client_id,
            client_version=before.version + 1 if before else 1,
            # clocks differ between processes and are set back; a tenant's log is in the order of its times all the same
            time=max(datetime.now(UTC), head.time),
            actor=command.actor,
            data=decision.event,
            sealed=decision.private and chain.seal(decision.private),
        )
        after = apply(before, record)
        body = encode(record)
        digest = chain.link(head.digest, body)
        # all that can fail is behind us: from here on the command has happened
        self.entries.append(Entry(tenant_id, record.position, record.event_id, digest, body, decision.private))
        self.heads[tenant_id] = Head(record.position, digest, record.time)
        self.changed[key] = after
        return after

    def _client(self, key: Key) -> Client | None:
        return self.changed.get(key) or self._clients.get(key)
