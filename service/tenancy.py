"""What is done to a tenant as a whole: each act is a record in its log, in the transaction that does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from ulid import ULID

from events import chain, excerpts, log
from events.errors import MitosisError
from events.log import Conn, Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, encode
from events.tenant import AnyTenantEvent, TenantFrozen, TenantThawed


class NoSuchTenant(MitosisError):
    """There is no such tenant, or nothing ever happened in it."""


class NotNow(MitosisError):
    """The tenant is in no state in which that can be done. The message says in which it is."""


@asynccontextmanager
async def held(conn: Conn, tenant_id: str) -> AsyncIterator[Head]:
    """
    A transaction that holds the tenant's head.

    Raises:
        NoSuchTenant
    """
    async with conn.transaction():
        head = (await log.lock(conn, [tenant_id], wait=True)).get(tenant_id)
        if head is None:
            raise NoSuchTenant(f"there is no tenant {tenant_id}")
        yield head


async def happen(conn: Conn, tenant_id: str, head: Head, event: AnyTenantEvent, actor: Actor) -> Head:
    """Append what happened to the tenant. The caller's transaction holds its *head*."""
    record = Record(
        event_id=str(ULID()),
        tenant_id=tenant_id,
        position=head.position + 1,
        schema_version=SCHEMA_VERSION,
        time=max(datetime.now(UTC), head.time),
        actor=actor,
        data=event,
    )
    body = encode(record)
    after = head._replace(position=record.position, digest=chain.link(head.digest, body), time=record.time)
    entry = Entry(tenant_id, record.position, record.event_id, after.digest, body)
    await log.append(conn, [entry], {tenant_id: after})
    return after


async def freeze(conn: Conn, tenant_id: str, reason: str | None, actor: Actor) -> Head:
    """
    Let the tenant take no changes until it is thawed. It can still be read.

    Raises:
        NoSuchTenant
        NotNow: it is frozen, arriving or gone.
    """
    async with held(conn, tenant_id) as head:
        if head.state != "open":
            raise NotNow(f"tenant {tenant_id} is {head.state}")
        after = await happen(conn, tenant_id, head, TenantFrozen(reason=reason), actor)
        await log.set_state(conn, tenant_id, "frozen")
    return after._replace(state="frozen")


async def thaw(conn: Conn, tenant_id: str, actor: Actor) -> Head:
    """
    Let a frozen tenant take changes again.

    Raises:
        NoSuchTenant
        NotNow: it is not frozen.
    """
    async with held(conn, tenant_id) as head:
        if head.state != "frozen":
            raise NotNow(f"tenant {tenant_id} is {head.state}")
        await log.set_state(conn, tenant_id, "open")
        after = await happen(conn, tenant_id, head, TenantThawed(), actor)
    return after._replace(state="open", moved_to=None)


async def last_record(conn: Conn, tenant_id: str, head: Head) -> Record:
    """
    The record at *head*. As long as a tenant is frozen, or has moved, it is the one that says so and why.

    Raises:
        RecordMissing
    """
    (entry,) = await excerpts.between(conn, tenant_id, head.position, head.position)
    return entry.record
