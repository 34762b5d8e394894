"""The current clients: what a client's events add up to, and the table that holds it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from events.client import (
    ClientCloned,
    ClientDeactivated,
    ClientDeleted,
    ClientReactivated,
    ClientRegistered,
    ClientSettings,
    ClientSuspended,
    ClientUpdated,
    IssuedSecret,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
    Status,
    with_change,
)
from events.errors import OutOfOrder
from events.log import Conn
from events.record import Record


class Secret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is known of one of a client's secrets. `secret_id` finds its sealed hash in the log.

    A `retired` secret was rotated: it works until `expires_at`, which is the end of its grace. A fold has no clock, so
    whether a secret works now is asked with `is_usable`.
    """

    secret_id: str
    last_four: str
    status: Literal["active", "retired", "inactive"]
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    expires_at: datetime | None = None

    def is_usable(self, now: datetime) -> bool:
        """Whether a client may authenticate with it at *now*."""
        return self.status != "inactive" and (self.expires_at is None or now < self.expires_at)


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client as its events left it. `version` counts them."""

    tenant_id: str
    client_id: str
    id: str
    version: int
    status: Status
    settings: ClientSettings
    created_at: datetime
    updated_at: datetime
    secrets: tuple[Secret, ...] = ()
    cloned_from: str | None = None
    deleted_at: datetime | None = None
    erased_at: datetime | None = None


def apply(client: Client | None, record: Record) -> Client:
    """
    The client after *record*.

    Pure, and the only place that knows what an event means: the desk and every replay call it.

    Raises:
        OutOfOrder: *record* cannot follow this state, so the log is damaged.
    """
    if client is None and record.client_version == 1:
        match record.data:
            case ClientRegistered() | ClientCloned() as event:
                return _begin(record, event)
    elif client is not None and record.client_version == client.version + 1:
        changed = _change(client, record) if client.deleted_at is None else _change_deleted(client, record)
        if changed is not None:
            return replace(changed, version=record.client_version, updated_at=record.time)
    raise OutOfOrder(
        f"position {record.position} of tenant {record.tenant_id}: {type(record.data).__name__} as version "
        f"{record.client_version} of {record.client_id} cannot follow version {client.version if client else 0}",
        record.position,
    )


def _begin(record: Record, event: ClientRegistered | ClientCloned) -> Client:
    return Client(
        tenant_id=record.tenant_id,
        client_id=record.client_id,
        id=event.id,
        version=1,
        status=event.status,
        settings=event.settings,
        created_at=record.time,
        updated_at=record.time,
        secrets=(_issued(event.secret, record.time),) if event.secret else (),
        cloned_from=event.source_id if isinstance(event, ClientCloned) else None,
    )


def _change(client: Client, record: Record) -> Client | None:  # noqa: PLR0911 (an event, a line)
    """*client* with what the event changes; None where the event cannot happen to a client that is there."""
    match record.data:
        case ClientUpdated(changed=changed, removed=removed):
            return replace(client, settings=with_change(client.settings, changed, removed))
        case ClientSuspended():
            return replace(client, status="suspended")
        case ClientDeactivated():
            return replace(client, status="inactive")
        case ClientReactivated():
            return replace(client, status="active")
        case ClientDeleted():
            return replace(client, deleted_at=record.time)
        case SecretAdded(secret=issued, dropped=dropped):
            kept = _without(client, dropped)
            return replace(client, secrets=(*kept, _issued(issued, record.time)))
        case SecretRotated(secret=issued, retired=retired, retired_until=until, dropped=dropped):
            kept = tuple(
                replace(secret, status="retired", updated_at=record.time, expires_at=_earlier(secret.expires_at, until))
                if secret.secret_id == retired
                else secret
                for secret in _without(client, dropped)
            )
            return replace(client, secrets=(*kept, _issued(issued, record.time)))
        case SecretDeactivated(secret_id=secret_id):
            kept = tuple(
                replace(secret, status="inactive", updated_at=record.time) if secret.secret_id == secret_id else secret
                for secret in client.secrets
            )
            return replace(client, secrets=kept)
        case SecretDeleted(secret_id=secret_id):
            return replace(client, secrets=_without(client, (secret_id,)))
        case _:
            return None


def _change_deleted(client: Client, record: Record) -> Client | None:
    """*client*, which was deleted, with what the event changes; None where nothing like it can happen any more."""
    return replace(client, erased_at=record.time) if isinstance(record.data, SecretsErased) else None


def _without(client: Client, secret_ids: tuple[str, ...]) -> tuple[Secret, ...]:
    return tuple(secret for secret in client.secrets if secret.secret_id not in secret_ids)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one and other else one or other


def _issued(issued: IssuedSecret, time: datetime) -> Secret:
    return Secret(
        secret_id=issued.secret_id,
        last_four=issued.last_four,
        status="active",
        created_at=time,
        updated_at=time,
        description=issued.description,
        expires_at=issued.expires_at,
    )


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Client).decode

_LOAD = """
select state
from clients
join unnest($1::text[], $2::text[]) as wanted (tenant_id, client_id) using (tenant_id, client_id)
"""


async def load(conn: Conn, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Client]:
    """The clients of the (tenant, client id) pairs, deleted ones included; those that never were are missing."""
    wanted = list(keys)
    if not wanted:
        return {}
    tenants, ids = zip(*wanted, strict=True)
    clients = [_decode(row["state"]) for row in await conn.fetch(_LOAD, tenants, ids)]
    return {(client.tenant_id, client.client_id): client for client in clients}


class Row(NamedTuple):
    """A client as the table has it, but for the columns that PostgreSQL reads out of the state."""

    tenant_id: str
    client_id: str
    state: str
    name_folded: str


def row(client: Client) -> Row:
    """The row of *client*."""
    return Row(client.tenant_id, client.client_id, _encode(client).decode(), client.settings.name.casefold())


_SAVE = """
insert into clients (tenant_id, client_id, state, name_folded)
select * from unnest($1::text[], $2::text[], $3::json[], $4::text[])
on conflict (tenant_id, client_id) do update set state = excluded.state, name_folded = excluded.name_folded
returning state
"""


async def save(conn: Conn, clients: Sequence[Client]) -> list[Client]:
    """Write the rows of *clients*, each client once, and read them back as the table now has them."""
    rows = [row(client) for client in clients]
    saved = await conn.fetch(
        _SAVE,
        [row.tenant_id for row in rows],
        [row.client_id for row in rows],
        [row.state for row in rows],
        [row.name_folded for row in rows],
    )
    return [_decode(row["state"]) for row in saved]


_WALK = """
select client_id, state
from clients
where tenant_id = $1 and client_id > $2 and not is_deleted
order by client_id
limit $3
"""


async def walk(conn: Conn, tenant_id: str, *, batch: int = 500) -> AsyncIterator[Client]:
    """The tenant's clients that are not deleted, in the order of their ids, *batch* in memory at a time."""
    after = ""
    while rows := await conn.fetch(_WALK, tenant_id, after, batch):
        for row in rows:
            yield _decode(row["state"])
        after = rows[-1]["client_id"]
