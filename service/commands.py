"""
What can be asked of the registry, and what follows: pure decisions.

A command names one client, whose state it is decided on. What it decides is an event of that client or of a new one.
"""

from typing import NamedTuple

import msgspec
from ulid import ULID

from events.client import ClientCloned, ClientRegistered, ClientSettings, Event, IssuedSecret, Status
from events.record import Actor
from projections.clients import Client
from service.refusals import ClientExists, ClientNotFound, CredentialNeeded, InvalidRequest
from service.validation import violations

NAME_LIMIT = 255  # characters
CLONE_SUFFIX = " (clone)"


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What a command carries of a fresh credential: its hash, for the private part, and its last four characters."""

    hash: str
    last_four: str

    def __repr__(self) -> str:
        """Nothing: a hash has no place in a log."""
        return "SealedSecret(...)"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something asked for in a tenant. `reads` is the id of the client it is decided on.

    `event_id` is chosen before the command joins the line: a command that is tried twice still happens once.
    """

    tenant_id: str
    actor: Actor
    reads: str
    event_id: str = msgspec.field(default_factory=lambda: str(ULID()))


class RegisterClient(Command, frozen=True, kw_only=True):
    """Register a client, with the id in `reads`."""

    id: str
    settings: ClientSettings
    sealed: SealedSecret | None
    status: Status = "active"


class CloneClient(Command, frozen=True, kw_only=True):
    """Copy the client in `reads` under a new id."""

    id: str
    client_id: str
    sealed: SealedSecret | None


class Decision(NamedTuple):
    """What follows from a command: an event of one client, and the private part of its record."""

    client_id: str
    event: Event
    private: str | None


def decide(client: Client | None, command: Command) -> Decision:
    """
    What *command* leads to, given the *client* it reads (None where there never was one).

    Raises:
        ClientNotFound, ClientExists, InvalidRequest: the rules refuse it; nothing follows.
        CredentialNeeded: it leads to a client with a secret and brought none.
    """
    match command:
        case RegisterClient():
            return _register(client, command)
        case CloneClient():
            return _clone(client, command)
        case _:
            raise TypeError(type(command))


def _register(client: Client | None, command: RegisterClient) -> Decision:
    if client is not None:
        raise ClientExists
    _check(command.settings)
    secret, private = _issue(command.settings, command.sealed, command.event_id)
    event = ClientRegistered(id=command.id, status=command.status, settings=command.settings, secret=secret)
    return Decision(command.reads, event, private)


def _clone(source: Client | None, command: CloneClient) -> Decision:
    if source is None or source.deleted_at is not None:
        raise ClientNotFound
    # the source's own settings first: a name that was cut must not hide that it was too long
    _check(source.settings)
    settings = msgspec.structs.replace(source.settings, name=clone_name(source.settings.name))
    secret, private = _issue(settings, command.sealed, command.event_id)
    event = ClientCloned(
        id=command.id,
        source_id=source.client_id,
        source_version=source.version,
        status=source.status,
        settings=settings,
        secret=secret,
    )
    return Decision(command.client_id, event, private)


def clone_name(name: str) -> str:
    """The name of a clone: 255 characters at most; the source's part is cut, never the suffix."""
    return name[: NAME_LIMIT - len(CLONE_SUFFIX)] + CLONE_SUFFIX


def needs_secret(settings: ClientSettings) -> bool:
    """Whether any of the client's authentication methods uses a secret (RFC 7591 section 2)."""
    return not {"client_secret_basic", "client_secret_post"}.isdisjoint(settings.client_auth_methods)


def _check(settings: ClientSettings) -> None:
    if found := violations(settings):
        raise InvalidRequest(violations=found)


def _issue(
    settings: ClientSettings, sealed: SealedSecret | None, event_id: str
) -> tuple[IssuedSecret | None, str | None]:
    if not needs_secret(settings):
        return None, None
    if sealed is None:
        raise CredentialNeeded
    return IssuedSecret(secret_id=event_id, last_four=sealed.last_four), sealed.hash
