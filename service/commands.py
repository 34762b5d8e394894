"""
What can be asked of the registry.

A command names one client, whose state it is decided on; what follows from it is in `service.decisions`.
"""

from datetime import datetime

import msgspec
from ulid import ULID

from events.client import ClientSettings, SettingsChange, Status
from events.record import Actor
from projections.clients import Client
from service.receipts import Receipt


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
    `expected_version` is the version that the caller has seen (If-Match, RFC 9110 section 13.1.1), None for any.
    `receipt` is kept together with what the command leads to, so that its answer can be given again.
    """

    tenant_id: str
    actor: Actor
    reads: str
    event_id: str = msgspec.field(default_factory=lambda: str(ULID()))
    expected_version: int | None = None
    receipt: Receipt | None = None


class RegisterClient(Command, frozen=True, kw_only=True):
    """Register a client, with the id in `reads`."""

    id: str
    settings: ClientSettings
    sealed: SealedSecret | None
    status: Status = "active"


class CloneClient(Command, frozen=True, kw_only=True):
    """
    Copy the client in `reads` under a new id, with `overrides` in place of its own settings.

    `past` is that client as it was, where that is what is to be copied: it need not be read again under the lock, since
    it does not change any more.
    """

    id: str
    client_id: str
    sealed: SealedSecret | None
    overrides: SettingsChange = SettingsChange()
    removed: tuple[str, ...] = ()
    past: Client | None = None


class UpdateClient(Command, frozen=True, kw_only=True):
    """Give settings new values, take those in `removed` away, and set the status where one is given."""

    changed: SettingsChange = SettingsChange()
    removed: tuple[str, ...] = ()
    status: Status | None = None


class DeleteClient(Command, frozen=True, kw_only=True):
    """Delete a client."""


class RotateSecret(Command, frozen=True, kw_only=True):
    """
    Replace the oldest active secret by a new one; the old one works for `grace_s` seconds more.

    While an earlier rotation's secret is in its grace, the new one comes beside the active one instead.
    """

    sealed: SealedSecret
    grace_s: float


class AddSecret(Command, frozen=True, kw_only=True):
    """Give a client one more secret."""

    sealed: SealedSecret
    description: str | None = None
    expires_at: datetime | None = None


class DeactivateSecret(Command, frozen=True, kw_only=True):
    """Stop a secret from working."""

    secret_id: str


class DeleteSecret(Command, frozen=True, kw_only=True):
    """Stop a secret from working, and take it off the list."""

    secret_id: str


class EraseSealed(Command, frozen=True, kw_only=True):
    """Take the private parts of these events of a deleted client away."""

    event_ids: tuple[str, ...]
