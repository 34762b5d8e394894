"""
What can happen to a client, and what a client's settings are.

Every event spells out all it changes, so that replay never has to look at another client. No event has a field that
could hold a secret or a hash of one: those are a record's private part (see `events.record`).
"""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

Status = Literal["active", "suspended", "inactive"]


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A client's configuration: RFC 7591 section 2 under the names of the wire contract.

    Arrays are always written; a setting without a value is left out. `jwks` is the text of a JWK Set as it was
    registered.
    """

    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: tuple[str, ...]
    cors_origins: tuple[str, ...]
    is_confidential: bool
    fapi_profile: str | None = None
    jwks: str | None = None
    jwks_uri: str | None = None
    logo_url: str | None = None
    website: str | None = None
    terms_url: str | None = None
    privacy_policy: str | None = None


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """New values of some settings; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    redirect_uris: tuple[str, ...] | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    grant_types: tuple[str, ...] | UnsetType = UNSET
    client_auth_methods: tuple[str, ...] | UnsetType = UNSET
    cors_origins: tuple[str, ...] | UnsetType = UNSET
    is_confidential: bool | UnsetType = UNSET
    fapi_profile: str | UnsetType = UNSET
    jwks: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    logo_url: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    terms_url: str | UnsetType = UNSET
    privacy_policy: str | UnsetType = UNSET


def with_change(settings: ClientSettings, changed: SettingsChange, removed: tuple[str, ...]) -> ClientSettings:
    """*settings* with new values, and without those that are *removed*."""
    values = {name: value for name, value in asdict(changed).items() if value is not UNSET}
    return replace(settings, **values, **dict.fromkeys(removed))


class IssuedSecret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What may be known of a secret: never the secret, never its hash.

    `secret_id` is the id of the event that issued it, so the sealed hash is found by the log's own index.
    """

    secret_id: str
    last_four: str
    description: str | None = None
    expires_at: datetime | None = None


class ClientEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened to one client. The tag is written, so a class may be renamed and its tag never."""


class ClientRegistered(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientRegistered"):
    """A client was registered. `id` is its ULID; `secret` is absent where no method would use one."""

    id: str
    status: Status
    settings: ClientSettings
    secret: IssuedSecret | None = None


class ClientCloned(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientCloned"):
    """A client was copied from another of its tenant, as that was at `source_version`."""

    id: str
    source_id: str
    source_version: int
    status: Status
    settings: ClientSettings
    secret: IssuedSecret | None = None


class ClientUpdated(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientUpdated"):
    """Settings were given new values, or (`removed`) have none any more."""

    changed: SettingsChange
    removed: tuple[str, ...] = ()


class ClientSuspended(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientSuspended"):
    """A client may not be used until it is reactivated."""


class ClientDeactivated(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientDeactivated"):
    """A client is not in use: its status became `inactive`."""


class ClientReactivated(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientReactivated"):
    """A client that was suspended or inactive is active again."""


class ClientDeleted(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="ClientDeleted"):
    """A client is gone for everybody but auditors; its id is never used again."""


class SecretAdded(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="SecretAdded"):
    """A client got one more secret. `dropped` are ids of secrets that could not be used any more and left the list."""

    secret: IssuedSecret
    dropped: tuple[str, ...] = ()


class SecretRotated(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="SecretRotated"):
    """
    A client got a new secret in place of the one in `retired`, which keeps working until `retired_until`.

    Where none is retired, since there was none or an earlier rotation's is still in its grace, it has neither.
    `dropped` are ids of secrets that could not be used any more and left the list.
    """

    secret: IssuedSecret
    retired: str | None = None
    retired_until: datetime | None = None
    dropped: tuple[str, ...] = ()


class SecretDeactivated(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="SecretDeactivated"):
    """A secret does not work any more; it stays in the list."""

    secret_id: str


class SecretDeleted(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="SecretDeleted"):
    """A secret does not work any more, and left the list."""

    secret_id: str


class SecretsErased(ClientEvent, frozen=True, kw_only=True, omit_defaults=True, tag="SecretsErased"):
    """
    The sealed hashes of a deleted client's secrets are gone: the private parts of the records with `event_ids`.

    What their bodies say of them, and so the chain, stays as it was.
    """

    event_ids: tuple[str, ...]


Event = (
    ClientRegistered
    | ClientCloned
    | ClientUpdated
    | ClientSuspended
    | ClientDeactivated
    | ClientReactivated
    | ClientDeleted
    | SecretAdded
    | SecretRotated
    | SecretDeactivated
    | SecretDeleted
    | SecretsErased
)
