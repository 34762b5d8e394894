"""What no request could do: clients that an older version of the rules would have let in, and a log without defence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from ulid import ULID

from events import chain, log
from events.client import ClientRegistered, ClientSettings, IssuedSecret, Status
from events.log import Conn, Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, encode
from projections.clients import Client, apply, save
from tests.callers import EXAMPLE


async def plant(
    connection: Conn, tenant_id: str, *, status: Status = "active", deleted: bool = False, **changes: Any
) -> Client:
    """A client with the contract's example settings and *changes*, which nobody checked."""
    ulid, event_id = str(ULID()), str(ULID())
    settings = msgspec.convert({**EXAMPLE, **changes}, ClientSettings)
    private = "$argon2id$a-hash-of-nothing"
    async with connection.transaction():
        await log.open_heads(connection, [tenant_id])
        head = (await log.lock(connection, [tenant_id], wait=True))[tenant_id]
        record = Record(
            event_id=event_id,
            tenant_id=tenant_id,
            position=head.position + 1,
            schema_version=SCHEMA_VERSION,
            client_id=f"app-{ulid.lower()}",
            client_version=1,
            time=max(datetime.now(UTC), head.time),
            actor=Actor(subject="planter", role="system", request_id="planted"),
            data=ClientRegistered(
                id=ulid, status=status, settings=settings, secret=IssuedSecret(secret_id=event_id, last_four="abcd")
            ),
            sealed=chain.seal(private),
        )
        body = encode(record)
        digest = chain.link(head.digest, body)
        entry = Entry(tenant_id, record.position, event_id, digest, body, private)
        await log.append(connection, [entry], {tenant_id: Head(record.position, digest, record.time)})
        client = apply(None, record)
        if deleted:
            client = msgspec.structs.replace(client, deleted_at=record.time)
        await save(connection, [client])
    return client


_TRIGGERS = ("events_append_only", "events_unchanged", "events_only_erased")


@asynccontextmanager
async def defenceless(owner: Conn) -> AsyncIterator[None]:
    """Within this, the owner may do to records what is refused otherwise: a table that somebody has in hand."""
    for trigger in _TRIGGERS:
        await owner.execute(f"alter table events disable trigger {trigger}")
    try:
        yield
    finally:
        for trigger in _TRIGGERS:
            await owner.execute(f"alter table events enable always trigger {trigger}")


@asynccontextmanager
async def tampered(owner: Conn, tenant_id: str, *statements: str) -> AsyncIterator[None]:
    """Within this, *statements* were done to the tenant's records; then they are what they were, for other readers."""
    rows = await owner.fetch("select * from events where tenant_id = $1", tenant_id)
    async with defenceless(owner):
        for statement in statements:
            await owner.execute(statement, tenant_id)
    try:
        yield
    finally:
        async with defenceless(owner):
            await owner.execute("delete from events where tenant_id = $1", tenant_id)
            await owner.executemany("insert into events values ($1, $2, $3, $4, $5, $6)", [tuple(row) for row in rows])
