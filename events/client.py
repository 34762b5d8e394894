"""
What can happen to a client, and what a client's settings are.

Every event spells out all it changes, so that replay never has to look at another client. No event has a field that
could hold a secret or a hash of one: those are a record's private part (see `events.record`).
"""

from datetime import datetime
from typing import Literal

import msgspec

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


Event = ClientRegistered | ClientCloned
