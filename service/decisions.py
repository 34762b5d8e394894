"""What follows from a command: pure decisions, from a client's state and a command to events or a refusal."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import asdict, replace

from events.client import (
    ClientCloned,
    ClientDeactivated,
    ClientDeleted,
    ClientReactivated,
    ClientRegistered,
    ClientSettings,
    ClientSuspended,
    ClientUpdated,
    Event,
    IssuedSecret,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
    SettingsChange,
    Status,
    with_change,
)
from projections.clients import Client, Secret
from service.commands import (
    AddSecret,
    CloneClient,
    Command,
    DeactivateSecret,
    DeleteClient,
    DeleteSecret,
    EraseSealed,
    RegisterClient,
    RotateSecret,
    SealedSecret,
    UpdateClient,
)
from service.refusals import (
    ClientExists,
    ClientNotFound,
    CredentialNeeded,
    InvalidRequest,
    LastSecret,
    NoSecretUsed,
    SecretNotFound,
    TooManySecrets,
    VersionMoved,
)
from service.rules.validation import LONGEST_NAME, violations

CLONE_SUFFIX = " (clone)"
ACTIVE_LIMIT = 2  # active secrets of a client, besides one in its grace
LIST_LIMIT = 10  # secrets of a client that are remembered, the deactivated ones included

_RESTRICTION: tuple[Status, ...] = ("active", "inactive", "suspended")  # the later, the more restrictive
_STATUS_EVENTS: Mapping[Status, Event] = {
    "suspended": ClientSuspended(),
    "inactive": ClientDeactivated(),
    "active": ClientReactivated(),
}


class Decision(NamedTuple):
    """What follows from a command: events of one client, in order, and the private part of the first one's record."""

    client_id: str
    events: tuple[Event, ...]
    private: str | None = None


def decide(client: Client | None, command: Command, now: datetime) -> Decision:
    """
    What *command* leads to at *now*, given the *client* it reads (None where there never was one).

    Raises:
        Refusal: the rules refuse it; nothing follows.
        CredentialNeeded: it leads to a client with a secret and brought none.
    """
    if isinstance(command, RegisterClient):
        return _register(client, command)
    if isinstance(command, EraseSealed):
        return _erase(client, command)
    past = command.past if isinstance(command, CloneClient) else None
    if client is None or (client.deleted_at is not None and past is None):
        raise ClientNotFound
    if command.expected_version not in (None, client.version):
        raise VersionMoved
    match command:
        case CloneClient():
            return _clone(past or client, client, command)
        case UpdateClient():
            return Decision(client.client_id, _update(client, command))
        case DeleteClient():
            return Decision(client.client_id, (ClientDeleted(),))
        case _:
            return _on_secrets(client, command, now)


def _on_secrets(client: Client, command: Command, now: datetime) -> Decision:
    match command:
        case RotateSecret():
            return _rotate(client, command, now)
        case AddSecret():
            return _add(client, command, now)
        case DeactivateSecret(secret_id=secret_id):
            secret = _secret(client, secret_id)
            events = () if secret.status == "inactive" else (SecretDeactivated(secret_id=secret_id),)
            return Decision(client.client_id, events)
        case DeleteSecret(secret_id=secret_id):
            return _delete_secret(client, secret_id, now)
        case _:
            raise TypeError(type(command))


def clone_name(name: str) -> str:
    """The name of a clone: 255 characters at most; the source's part is cut, never the suffix."""
    return name[: LONGEST_NAME - len(CLONE_SUFFIX)] + CLONE_SUFFIX


def needs_secret(settings: ClientSettings) -> bool:
    """Whether any of the client's authentication methods uses a secret (RFC 7591 section 2)."""
    return not {"client_secret_basic", "client_secret_post"}.isdisjoint(settings.client_auth_methods)


def cloned_settings(source: ClientSettings, overrides: SettingsChange, removed: tuple[str, ...]) -> ClientSettings:
    """
    The settings of a clone of *source*.

    Raises:
        InvalidRequest: today's rules would not register them.
    """
    settings = with_change(source, overrides, removed)
    # before a name is cut: that must not hide that it was too long
    check(settings)
    return settings if overrides.name is not UNSET else replace(settings, name=clone_name(settings.name))


def cloned_status(source: Client, present: Client) -> Status:
    """
    The status of a clone of *source*, as the client was or is, given how it is at *present*: the more restrictive one.

    Neither a suspension nor a deletion since is got around by cloning what was before. A deleted client's clone is not
    in use until somebody makes it active, and suspended if the client was when it was deleted.
    """
    at_least: Status = "active" if present.deleted_at is None else "inactive"
    return max(source.status, present.status, at_least, key=_RESTRICTION.index)


def _register(client: Client | None, command: RegisterClient) -> Decision:
    if client is not None:
        raise ClientExists
    check(command.settings)
    secret, private = _issue(command.settings, command.sealed, command.event_id)
    event = ClientRegistered(id=command.id, status=command.status, settings=command.settings, secret=secret)
    return Decision(command.reads, (event,), private)


def _erase(client: Client | None, command: EraseSealed) -> Decision:
    if client is None or client.deleted_at is None:
        raise ClientNotFound  # of a client that is there, the hashes are in use
    return Decision(client.client_id, (SecretsErased(event_ids=command.event_ids),))


def _clone(source: Client, present: Client, command: CloneClient) -> Decision:
    settings = cloned_settings(source.settings, command.overrides, command.removed)
    secret, private = _issue(settings, command.sealed, command.event_id)
    event = ClientCloned(
        id=command.id,
        source_id=source.client_id,
        source_version=source.version,
        status=cloned_status(source, present),
        settings=settings,
        secret=secret,
    )
    return Decision(command.client_id, (event,), private)


def _update(client: Client, command: UpdateClient) -> tuple[Event, ...]:
    events: list[Event] = []
    before, after = client.settings, with_change(client.settings, command.changed, command.removed)
    if after != before:
        check(after)
        old, new = asdict(before), asdict(after)
        differing = {name: new[name] for name in new if new[name] != old[name]}
        changed = SettingsChange(**{name: value for name, value in differing.items() if value is not None})
        removed = tuple(name for name, value in differing.items() if value is None)
        events.append(ClientUpdated(changed=changed, removed=removed))
    if command.status not in (None, client.status):
        events.append(_STATUS_EVENTS[command.status])
    return tuple(events)


def _rotate(client: Client, command: RotateSecret, now: datetime) -> Decision:
    if not needs_secret(client.settings):
        raise NoSecretUsed
    usable = [secret for secret in client.secrets if secret.is_usable(now)]
    active = [secret for secret in usable if secret.status == "active"]
    retired = active[0].secret_id if active else None
    if any(secret.status == "retired" for secret in usable):
        # One grace at a time, and it is kept: who rotates meanwhile gets a secret beside the active one, which somebody
        # may have been handed a moment ago. Nobody's secret stops before the time that he was told.
        if len(active) >= ACTIVE_LIMIT:
            raise TooManySecrets
        retired = None
    event = SecretRotated(
        secret=_sealed_as(command.event_id, command.sealed),
        retired=retired,
        retired_until=now + timedelta(seconds=command.grace_s) if retired else None,
        dropped=_droppable(client, now),
    )
    return Decision(client.client_id, (event,), command.sealed.hash)


def _add(client: Client, command: AddSecret, now: datetime) -> Decision:
    if not needs_secret(client.settings):
        raise NoSecretUsed
    active = [secret for secret in client.secrets if secret.status == "active" and secret.is_usable(now)]
    if len(active) >= ACTIVE_LIMIT:
        raise TooManySecrets
    secret = replace(
        _sealed_as(command.event_id, command.sealed), description=command.description, expires_at=command.expires_at
    )
    return Decision(
        client.client_id, (SecretAdded(secret=secret, dropped=_droppable(client, now)),), command.sealed.hash
    )


def _delete_secret(client: Client, secret_id: str, now: datetime) -> Decision:
    doomed = _secret(client, secret_id)
    others = [secret for secret in client.secrets if secret is not doomed]
    works = [secret for secret in others if secret.status == "active" and secret.is_usable(now)]
    if not others or (doomed.status == "active" and doomed.is_usable(now) and not works):
        raise LastSecret
    return Decision(client.client_id, (SecretDeleted(secret_id=secret_id),))


def _droppable(client: Client, now: datetime) -> tuple[str, ...]:
    """Ids of the secrets past their time, and of the oldest inactive ones where the list is long."""
    past = [secret for secret in client.secrets if secret.status != "inactive" and not secret.is_usable(now)]
    inactive = [secret for secret in client.secrets if secret.status == "inactive"]
    surplus = max(len(client.secrets) - len(past) - LIST_LIMIT + 1, 0)
    return tuple(secret.secret_id for secret in (*past, *inactive[:surplus]))


def _secret(client: Client, secret_id: str) -> Secret:
    for secret in client.secrets:
        if secret.secret_id == secret_id:
            return secret
    raise SecretNotFound


def check(settings: ClientSettings) -> None:
    """
    Refuse settings that break the rules.

    Raises:
        InvalidRequest: with all that is wrong with them.
    """
    if found := violations(settings):
        raise InvalidRequest(violations=found)


def _issue(
    settings: ClientSettings, sealed: SealedSecret | None, event_id: str
) -> tuple[IssuedSecret | None, str | None]:
    if not needs_secret(settings):
        return None, None
    if sealed is None:
        raise CredentialNeeded
    return _sealed_as(event_id, sealed), sealed.hash


def _sealed_as(event_id: str, sealed: SealedSecret) -> IssuedSecret:
    return IssuedSecret(secret_id=event_id, last_four=sealed.last_four)
