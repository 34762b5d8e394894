"""
Copying a tenant: its records once more, as another tenant's, in a chain of their own.

The first record says where it came from and how it was rewritten. The others keep their times, actors and client ids
(see `service.rewriting`). Secrets are left behind unless they are asked for; the copies are then to be given new ones.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace
from ulid import ULID

from events import chain, log
from events.log import Conn, Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, encode
from events.tenant import TenantCopied
from projections import clients
from projections.clients import Client
from service.decisions import needs_secret
from service.rewriting import Rules
from service.tenancy import NoSuchTenant, NotNow

BATCH = 500  # records

Progress = Callable[[int, int], None]  # records read, records in all


class Copied(NamedTuple):
    """What became of it: the copy's head, and which of its clients need a secret and have none."""

    head: Head
    without_secret: list[str]


class Copy:
    """
    Copies *source* in one transaction of *conn*, in the role mitosis_mover: it is there whole, or not at all.

    Args:
        only_active: leave out the clients that are not active now.
    """

    def __init__(self, conn: Conn, source: str, rules: Rules, actor: Actor, *, only_active: bool) -> None:
        self._conn = conn
        self._source = source
        self._rules = rules
        self._actor = actor
        self._only_active = only_active
        self._head = log.beginning(rules.target)

    async def make(self, progress: Progress, *, dry_run: bool = False) -> Copied:
        """
        Make the copy or, with *dry_run*, find out what it would be.

        Raises:
            NoSuchTenant: there is nothing to copy.
            NotNow: there is a tenant of the new name.
        """
        attempt = self._conn.transaction(isolation="repeatable_read")
        await attempt.start()
        try:
            await self._copy(progress)
            copied = Copied(self._head, await _without_secret(self._conn, self._rules.target))
        except BaseException:
            await attempt.rollback()
            raise
        await (attempt.rollback() if dry_run else attempt.commit())
        return copied

    async def _copy(self, progress: Progress) -> None:
        target, source = self._rules.target, await log.head(self._conn, self._source)
        if not source.position:
            raise NoSuchTenant(f"there is no tenant {self._source}")
        await log.open_heads(self._conn, [target])
        held = (await log.lock(self._conn, [target], wait=True)).get(target)
        if held is None or held.position or held.state != "open":
            raise NotNow(f"there is a tenant {target} already")
        after = 0
        while entries := await log.whole(self._conn, self._source, after, limit=BATCH):
            if not after:
                await self._append([self._origin(source, entries[0].record)], [None])
            left_out = await self._left_out(entries)
            await self._append_copies([entry for entry in entries if entry.record.client_id not in left_out])
            after = entries[-1].position
            progress(after, source.position)

    def _origin(self, source: Head, first: Record) -> Record:
        return Record(
            event_id=str(ULID()),
            tenant_id=self._rules.target,
            position=1,
            schema_version=SCHEMA_VERSION,
            time=first.time,
            actor=self._actor,
            data=TenantCopied(
                source_tenant=self._source,
                source_position=source.position,
                source_digest=source.digest.hex(),
                copied_at=datetime.now(UTC),
                rewrites=self._rules.rewrites,
                only_active=self._only_active,
                with_secrets=self._rules.with_secrets,
            ),
        )

    async def _left_out(self, entries: Iterable[Entry]) -> set[str]:
        """Those of the clients of *entries* that are not active now, where only such are copied."""
        if not self._only_active:
            return set()
        keys = {(self._source, entry.record.client_id) for entry in entries if entry.record.client_id}
        found = await clients.load(self._conn, keys)
        return {client.client_id for client in found.values() if client.deleted_at or client.status != "active"}

    async def _append_copies(self, entries: Iterable[Entry]) -> None:
        """Append what becomes of *entries*, and bring the clients up to date with it."""
        target, states = self._rules.target, dict[tuple[str, str], Client]()
        records, private = list[Record](), list[str | None]()
        originals = [(entry.record, entry.private) for entry in entries]
        states |= await clients.load(self._conn, {(target, record.client_id) for record, _ in originals})
        for original, part in originals:
            if not original.client_id:
                continue  # what happened to the source as a whole did not happen to the copy
            data = self._rules.event(original.data)
            if data is None:
                continue
            key = (target, original.client_id)
            state = states.get(key)
            record = replace(
                original,
                event_id=self._rules.event_id(original.event_id),
                tenant_id=target,
                position=self._head.position + len(records) + 1,
                client_version=state.version + 1 if state else 1,
                data=data,
                sealed=original.sealed if self._rules.with_secrets else None,
            )
            states[key] = clients.apply(state, record)
            records.append(record)
            private.append(part if self._rules.with_secrets else None)
        await self._append(records, private)
        await clients.save(self._conn, list(states.values()))

    async def _append(self, records: Sequence[Record], private: Sequence[str | None]) -> None:
        entries, digest = list[Entry](), self._head.digest
        for record, part in zip(records, private, strict=True):
            body = encode(record)
            digest = chain.link(digest, body)
            entries.append(Entry(record.tenant_id, record.position, record.event_id, digest, body, part))
        if records:
            self._head = Head(records[-1].position, digest, records[-1].time)
            await log.append(self._conn, entries, {self._rules.target: self._head})


async def _without_secret(conn: Conn, tenant_id: str) -> list[str]:
    """The clients of *tenant_id* that authenticate with a secret, and have none."""
    return [
        client.client_id
        async for client in clients.walk(conn, tenant_id)
        if needs_secret(client.settings) and not client.secrets
    ]
