"""
A record as an entry of a list: what happened, to what and by whom, with one sentence for people.

Pure. A sentence is made of what the event says of itself, of names of settings, ids and times: it quotes nothing that a
caller wrote, and no event holds a secret or a hash.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events.client import (
    ClientCloned,
    ClientDeactivated,
    ClientDeleted,
    ClientReactivated,
    ClientRegistered,
    ClientSuspended,
    ClientUpdated,
    Event,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
)
from events.record import Happening, Record
from events.tenant import AnyTenantEvent, TenantArrived, TenantCopied, TenantFrozen, TenantMoved, TenantThawed
from service import fields
from service.audit.stream import TYPES

if TYPE_CHECKING:
    Action = str
else:
    Action = Literal[TYPES]
Level = Literal["info", "warning"]
Module = Literal["clients", "secrets", "tenants"]
Target = Literal["client", "secret", "tenant"]


def _tags(kinds: object) -> frozenset[str]:
    return frozenset(str(kind.__struct_config__.tag) for kind in get_args(kinds))


# one that erases is about a client: it takes all of its secrets at once
_OF_SECRETS = _tags(SecretAdded | SecretRotated | SecretDeactivated | SecretDeleted)
OF_TARGET: Mapping[Target, frozenset[str]] = {
    "client": _tags(Event) - _OF_SECRETS,
    "secret": _OF_SECRETS,
    "tenant": _tags(AnyTenantEvent),
}

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, to what, and who did it. Only what succeeded is recorded."""

    id: Annotated[str, Meta(description="The event's id, a ULID.", extra_json_schema={"pattern": fields.ULID})]
    action: Annotated[Action, Meta(description="The type of the event, as the stream has it.")]
    level: Annotated[Level, Meta(description="`warning` where something was taken away.")]
    message: Annotated[str, Meta(description="The event in a sentence.")]
    module: Module
    status: Literal["success"] = "success"
    operator_id: Annotated[str, Meta(description="Whose token it was.")]
    operator_type: Annotated[str, Meta(description="That token's role.")]
    target_id: Annotated[str, Meta(description="The client's `client_id`, the secret's id, or the tenant.")]
    target_type: Target
    tenant_id: fields.TenantId
    ip: Annotated[str, Meta(description="The address it came from.")] | UnsetType = UNSET
    timestamp: Annotated[int, Meta(description="Unix time in milliseconds.")]


class _Told(NamedTuple):
    """What an event comes to. `secret_id` is the secret that it happened to, None where it was no secret."""

    level: Level
    module: Module
    message: str
    secret_id: str | None = None


def log_entry(record: Record) -> LogEntry:
    """*record* as an entry."""
    told = _told(record.data)
    target: Target = "secret" if told.secret_id else "client" if record.client_id else "tenant"
    return LogEntry(
        id=record.event_id,
        action=str(record.data.__struct_config__.tag),
        level=told.level,
        message=told.message,
        module=told.module,
        operator_id=record.actor.subject,
        operator_type=record.actor.role,
        target_id=told.secret_id or record.client_id or record.tenant_id,
        target_type=target,
        tenant_id=record.tenant_id,
        ip=record.actor.address or UNSET,
        timestamp=(record.time - _EPOCH) // _MILLISECOND,
    )


def _told(event: Happening) -> _Told:  # noqa: C901, PLR0911, PLR0912 (an event, a line)
    match event:
        case ClientRegistered():
            return _Told("info", "clients", "The client was registered.")
        case ClientCloned(source_id=source_id):
            return _Told("info", "clients", f"The client was cloned from {source_id}.")
        case ClientUpdated():
            return _Told("info", "clients", _of_update(event))
        case ClientSuspended():
            return _Told("warning", "clients", "The client was suspended.")
        case ClientDeactivated():
            return _Told("warning", "clients", "The client was deactivated.")
        case ClientReactivated():
            return _Told("info", "clients", "The client was reactivated.")
        case ClientDeleted():
            return _Told("warning", "clients", "The client was deleted.")
        case SecretAdded(secret=secret):
            return _Told("info", "secrets", _of_addition(event), secret.secret_id)
        case SecretRotated(secret=secret):
            return _Told("info", "secrets", _of_rotation(event), secret.secret_id)
        case SecretDeactivated(secret_id=secret_id):
            return _Told("warning", "secrets", "The secret was deactivated.", secret_id)
        case SecretDeleted(secret_id=secret_id):
            return _Told("warning", "secrets", "The secret was deleted.", secret_id)
        case SecretsErased():
            return _Told("warning", "secrets", _of_erasure(event))
        case TenantFrozen():
            return _Told("warning", "tenants", "The tenant was frozen: it takes no changes.")
        case TenantThawed():
            return _Told("info", "tenants", "The tenant was thawed: it takes changes again.")
        case TenantMoved():
            return _Told("warning", "tenants", "The tenant has moved to another service.")
        case TenantArrived():
            return _Told("info", "tenants", "The tenant arrived from another service.")
        case TenantCopied(source_tenant=source_tenant, source_position=position):
            return _Told("info", "tenants", f"The tenant was copied from {source_tenant} at position {position}.")


def _of_update(event: ClientUpdated) -> str:
    changed = [name for name in event.changed.__struct_fields__ if getattr(event.changed, name) is not UNSET]
    parts = [
        f"{verb}: {', '.join(names)}" for verb, names in (("changed", changed), ("removed", event.removed)) if names
    ]
    return f"Settings were {'; '.join(parts)}."


def _of_addition(event: SecretAdded) -> str:
    until = event.secret.expires_at
    return f"The secret was added; it works until {_shown(until)}." if until else "The secret was added."


def _of_rotation(event: SecretRotated) -> str:
    until = event.retired_until
    if until is None:
        return "The secret was rotated; no old one was retired."
    # it may have had an end of its own before, and may be deactivated meanwhile
    return f"The secret was rotated; the old one works until {_shown(until)} at the latest."


def _of_erasure(event: SecretsErased) -> str:
    match len(event.event_ids):
        case 1:
            return "The sealed hash of 1 secret was erased."
        case count:
            return f"The sealed hashes of {count} secrets were erased."


def _shown(time: datetime) -> str:
    return str(msgspec.to_builtins(time))
