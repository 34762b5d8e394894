"""
A record as an entry of a list: what happened, to what and by whom, with one sentence for people.

Pure. A sentence is made of what the event says of itself, of names of settings, ids and times: it quotes nothing that a
caller wrote, and no event holds a secret or a hash.
"""

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
from events.record import Record
from service import fields
from service.audit.stream import TYPES

if TYPE_CHECKING:
    Action = str
else:
    Action = Literal[TYPES]
Level = Literal["info", "warning"]
Module = Literal["clients", "secrets"]
Target = Literal["client", "secret"]

_SecretEvent = SecretAdded | SecretRotated | SecretDeactivated | SecretDeleted
# one that erases is about a client: it takes all of its secrets at once
ABOUT_SECRETS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(_SecretEvent))

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
    target_id: Annotated[str, Meta(description="The client's `client_id`, or the secret's id.")]
    target_type: Target
    tenant_id: fields.TenantId
    ip: Annotated[str, Meta(description="The address it came from.")] | UnsetType = UNSET
    timestamp: Annotated[int, Meta(description="Unix time in milliseconds.")]


class _Told(NamedTuple):
    """What an event comes to. `secret_id` is the secret that it happened to, None where it was the client."""

    level: Level
    module: Module
    message: str
    secret_id: str | None = None


def log_entry(record: Record) -> LogEntry:
    """*record* as an entry."""
    told = _told(record.data)
    return LogEntry(
        id=record.event_id,
        action=str(record.data.__struct_config__.tag),
        level=told.level,
        message=told.message,
        module=told.module,
        operator_id=record.actor.subject,
        operator_type=record.actor.role,
        target_id=told.secret_id or record.client_id,
        target_type="secret" if told.secret_id else "client",
        tenant_id=record.tenant_id,
        ip=record.actor.address or UNSET,
        timestamp=(record.time - _EPOCH) // _MILLISECOND,
    )


def _told(event: Event) -> _Told:  # noqa: C901, PLR0911 (an event, a line)
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
