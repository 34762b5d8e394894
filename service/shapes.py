"""A client on the wire: the Structs of requests and answers, and how a client becomes one."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events.client import ClientSettings, SettingsChange, Status
from projections.clients import Client
from service import as_of, fields
from service.credentials import Credential
from service.envelope import Instant

T = TypeVar("T", bound=msgspec.Struct)


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A client to be registered. `jwks` is the text of a JWK Set; a null is the same as a field left out."""

    name: fields.Name
    redirect_uris: fields.RedirectUris
    scopes: fields.Scopes = ()
    grant_types: fields.GrantTypes = ("authorization_code",)
    # None: what it is then depends on whether the client is confidential
    client_auth_methods: fields.Methods | None = None
    cors_origins: fields.Origins = ()
    fapi_profile: fields.FapiProfile | None = None
    is_confidential: fields.Confidential = True
    jwks: fields.Jwks | None = None
    jwks_uri: fields.JwksUri | None = None
    logo_url: fields.LogoUrl | None = None
    website: fields.Website | None = None
    terms_url: fields.TermsUrl | None = None
    privacy_policy: fields.PrivacyPolicy | None = None


_NamePart = Annotated[
    str,
    Meta(
        max_length=255,
        pattern="^[^\\x00-\\x1f\\x7f]*$",
        description="Only clients with this in their name, in any letter case.",
    ),
]


# shown and not enforced: whoever parses it says what is wrong
_AsOf = Annotated[
    str,
    Meta(
        description="The client as it was after the record at this position of the tenant's log, or after the last "
        "record that is not later than this time (RFC 3339). Neither may lie ahead.",
        extra_json_schema={"pattern": as_of.PATTERN},
    ),
]


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """New values of some settings; what is left out stays as it is, and a null takes a setting away."""

    name: fields.Name | UnsetType = UNSET
    redirect_uris: fields.RedirectUris | UnsetType = UNSET
    scopes: fields.Scopes | UnsetType = UNSET
    grant_types: fields.GrantTypes | UnsetType = UNSET
    client_auth_methods: fields.Methods | UnsetType = UNSET
    cors_origins: fields.Origins | UnsetType = UNSET
    fapi_profile: fields.FapiProfile | UnsetType | None = UNSET
    is_confidential: fields.Confidential | UnsetType = UNSET
    jwks: fields.Jwks | UnsetType | None = UNSET
    jwks_uri: fields.JwksUri | UnsetType | None = UNSET
    logo_url: fields.LogoUrl | UnsetType | None = UNSET
    website: fields.Website | UnsetType | None = UNSET
    terms_url: fields.TermsUrl | UnsetType | None = UNSET
    privacy_policy: fields.PrivacyPolicy | UnsetType | None = UNSET

    def split(self) -> tuple[SettingsChange, tuple[str, ...]]:
        """The new values, and the names of the settings that are taken away."""
        given = {name: getattr(self, name) for name in SettingsChange.__struct_fields__}
        changed = {name: value for name, value in given.items() if value is not UNSET and value is not None}
        return SettingsChange(**changed), tuple(name for name, value in given.items() if value is None)


class Update(Overrides, frozen=True, kw_only=True):
    """New values of some settings, and the status; what is left out stays as it is, and a null takes a setting away."""

    status: Annotated[Status, Meta(description="A suspended or inactive client cannot authenticate.")] | UnsetType = (
        UNSET
    )


class ShowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """As it was when."""

    as_of: _AsOf | UnsetType = UNSET


class CloneQuery(msgspec.Struct, frozen=True, kw_only=True):
    """As it was when, and whether to clone it or only to say what a clone would be."""

    as_of: _AsOf | UnsetType = UNSET
    dry_run: Annotated[bool, Meta(description="Answer with what would be created, and create nothing.")] = False


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which clients, and which page of them."""

    page: Annotated[int, Meta(ge=1, le=1_000_000, description="From 1.")] = 1
    page_size: Annotated[int, Meta(ge=1, le=100, description="The most that one page may hold.")] = 20
    # not None: a query is text, and msgspec would take the text "null" for one
    name: _NamePart | UnsetType = UNSET
    status: Annotated[Status, Meta(description="Only clients of this status.")] | UnsetType = UNSET
    cloned_from: (
        Annotated[str, Meta(pattern=f"^{fields.CLIENT_ID}$", description="Only clones of the client with this id.")]
        | UnsetType
    ) = UNSET


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client just registered. `client_secret` is shown this once, and left out where no method uses one."""

    id: fields.Ulid
    client_id: fields.ClientId
    client_secret: fields.Secret | UnsetType = UNSET
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: fields.MethodsText
    cors_origins: tuple[str, ...]
    is_confidential: bool
    fapi_profile: str | UnsetType = UNSET
    jwks: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    logo_url: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    terms_url: str | UnsetType = UNSET
    privacy_policy: str | UnsetType = UNSET


class ClonedClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client just cloned. `client_secret` is shown this once, and left out where no method uses one."""

    id: fields.Ulid
    client_id: fields.ClientId
    client_secret: fields.Secret | UnsetType = UNSET
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    cors_origins: tuple[str, ...]
    client_auth_methods: fields.MethodsText
    fapi_profile: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A client, without any credential."""

    id: fields.Ulid
    client_id: fields.ClientId
    tenant_id: fields.TenantId
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: fields.MethodsText
    cors_origins: tuple[str, ...]
    is_confidential: bool
    fapi_profile: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    logo_url: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    terms_url: str | UnsetType = UNSET
    privacy_policy: str | UnsetType = UNSET
    secret_last_four: fields.LastFour | UnsetType = UNSET
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | UnsetType = UNSET
    version: fields.Version
    cloned_from: fields.SourceId | UnsetType = UNSET


class PreviewedClient(msgspec.Struct, frozen=True, kw_only=True):
    """What a clone would be."""

    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: fields.MethodsText
    cors_origins: tuple[str, ...]
    is_confidential: bool
    fapi_profile: str | UnsetType = UNSET
    jwks: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    logo_url: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    terms_url: str | UnsetType = UNSET
    privacy_policy: str | UnsetType = UNSET


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that the clone would have another value of than the source; a side without a value is left out."""

    field: str
    source: str | bool | tuple[str, ...] | UnsetType = UNSET
    clone: str | bool | tuple[str, ...] | UnsetType = UNSET


class ClonePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a clone of a client would be, and what it would differ in. Nothing was created."""

    source_id: fields.ClientId
    source_version: fields.Version
    has_secret: Annotated[bool, Meta(description="Whether the clone would get a secret.")]
    client: PreviewedClient
    differs: list[Difference]


def shown(kind: type[T], client: Client, credential: Credential | None = None) -> T:
    """*client* as the wire has it: what *kind* has a field for, and nothing that has no value."""
    known = {
        **settings_shown(client.settings),
        "id": client.id,
        "client_id": client.client_id,
        "tenant_id": client.tenant_id,
        "status": client.status,
        "version": client.version,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
        "deleted_at": client.deleted_at,
        "cloned_from": client.cloned_from,
        "secret_last_four": client.secrets[-1].last_four if client.secrets else None,
        # a credential that was made in vain, since the source changed meanwhile, is nobody's
        "client_secret": credential.secret if credential and client.secrets else None,
    }
    return kind(**{name: known[name] for name in kind.__struct_fields__ if known[name] is not None})


def settings_shown(settings: ClientSettings) -> dict[str, Any]:
    """*settings* as the wire has them; those without a value are None."""
    known = {name: getattr(settings, name) for name in ClientSettings.__struct_fields__}
    # an array in requests, a string that holds one in answers: odd, but fixed
    known["client_auth_methods"] = msgspec.json.encode(settings.client_auth_methods).decode()
    return known


def preview(source: Client, settings: ClientSettings, status: Status, *, has_secret: bool) -> ClonePreview:
    """What a clone of *source* with *settings* and *status* would be."""
    before, after = settings_shown(source.settings), settings_shown(settings)
    differs = [
        Difference(field=name, **_present(source=before[name], clone=after[name]))
        for name in after
        if before[name] != after[name]
    ]
    return ClonePreview(
        source_id=source.client_id,
        source_version=source.version,
        has_secret=has_secret,
        client=PreviewedClient(status=status, **_present(**after)),
        differs=differs,
    )


def _present(**values: Any) -> dict[str, Any]:  # noqa: ANN401 (settings are of several types)
    return {name: value for name, value in values.items() if value is not None}
