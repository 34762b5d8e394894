"""The handlers for clients, and the Structs they speak."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, TypeVar, cast

import asyncpg
import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType
from ulid import ULID

from events.client import ClientSettings, Status
from events.record import Actor
from projections import clients as table
from projections.clients import Client
from service.bearer import ADMINISTRATORS, READERS
from service.commands import CloneClient, RegisterClient, SealedSecret, needs_secret
from service.credentials import Credential, Hasher
from service.database import borrowed
from service.desk import Desk
from service.envelope import NO_STORE, Answer, Listing, answer, listing
from service.reading import decode, expect_no_body
from service.refusals import ClientNotFound, CredentialNeeded, MalformedClientId
from service.routes import CALLER, QUERY, REQUEST_ID, Route

DESK = web.AppKey("desk", Desk)
HASHER = web.AppKey("hasher", Hasher)
READS = web.AppKey("reads", asyncpg.Pool)
TIMEOUT_S = web.AppKey("timeout_s", float)

T = TypeVar("T", bound=msgspec.Struct)

CLIENT_ID = r"app-[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?"
_client_id = re.compile(CLIENT_ID)

# What the rules want is shown in the document and checked in one place, by service.validation.
_Name = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]
_Url = Annotated[str, Meta(extra_json_schema={"format": "uri", "maxLength": 2048})]


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A client to be registered. `jwks` is the text of a JWK Set; a null is the same as a field left out."""

    name: _Name
    redirect_uris: tuple[_Url, ...]
    scopes: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ("authorization_code",)
    client_auth_methods: tuple[str, ...] = ("client_secret_basic",)
    cors_origins: tuple[str, ...] = ()
    fapi_profile: str | None = None
    is_confidential: bool = True
    jwks: str | None = None
    jwks_uri: _Url | None = None
    logo_url: _Url | None = None
    website: _Url | None = None
    terms_url: _Url | None = None
    privacy_policy: _Url | None = None


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which clients, and which page of them."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Meta(ge=1, le=100)] = 20
    name: Annotated[str, Meta(max_length=255, pattern="^[^\\x00-\\x1f\\x7f]*$")] | None = None
    status: Status | None = None


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client just registered. `client_secret` is shown this once, and left out where no method uses one."""

    id: str
    client_id: str
    client_secret: str | UnsetType = UNSET
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: str
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

    id: str
    client_id: str
    client_secret: str | UnsetType = UNSET
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    cors_origins: tuple[str, ...]
    client_auth_methods: str
    fapi_profile: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A client, without any credential."""

    id: str
    client_id: str
    tenant_id: str
    name: str
    status: Status
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]
    client_auth_methods: str
    cors_origins: tuple[str, ...]
    is_confidential: bool
    fapi_profile: str | UnsetType = UNSET
    jwks_uri: str | UnsetType = UNSET
    logo_url: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    terms_url: str | UnsetType = UNSET
    privacy_policy: str | UnsetType = UNSET
    secret_last_four: str | UnsetType = UNSET
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | UnsetType = UNSET
    version: int
    cloned_from: str | UnsetType = UNSET


async def register(request: web.Request) -> web.Response:
    """POST / -> 201: the client, and its secret this once."""
    registration = await decode(request, Registration)
    settings = ClientSettings(**msgspec.structs.asdict(registration))
    credential = await _mint(request) if needs_secret(settings) else None
    ulid = str(ULID())
    caller = request[CALLER]
    client = await request.app[DESK].submit(
        RegisterClient(
            tenant_id=caller.tenant_id,
            actor=_actor(request),
            reads=f"app-{ulid.lower()}",
            id=ulid,
            settings=settings,
            sealed=_sealed(credential),
        )
    )
    return _created(_shown(RegisteredClient, client, credential), "The client was registered.")


async def clone(request: web.Request) -> web.Response:
    """POST /{client_id}/clone -> 201: the copy, and its secret this once."""
    source_id = _named(request)
    await expect_no_body(request)
    # a look ahead, so that no hash is made for a client that is not there; the turn reads it again under the lock
    source = await _load(request, source_id)
    credential = await _mint(request) if needs_secret(source.settings) else None
    try:
        client = await _submit_clone(request, source_id, credential)
    except CredentialNeeded:  # the source changed its methods since that look
        credential = await _mint(request)
        client = await _submit_clone(request, source_id, credential)
    return _created(_shown(ClonedClient, client, credential), "The client was cloned.")


async def show(request: web.Request) -> web.Response:
    """GET /{client_id} -> 200: the client."""
    return answer(_shown(Item, await _load(request, _named(request))))


async def index(request: web.Request) -> web.Response:
    """GET / -> 200: a page of the tenant's clients, newest first."""
    query = cast("ListQuery", request[QUERY])
    async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
        page = await table.page(
            connection,
            request[CALLER].tenant_id,
            number=query.page,
            size=query.page_size,
            name=query.name,
            status=query.status,
        )
    items = [_shown(Item, client) for client in page.clients]
    return listing(items, page=query.page, page_size=query.page_size, total=page.total)


ROUTES = [
    Route(
        "GET",
        "/admin/oauth/clients/",
        index,
        "List the tenant's clients, newest first",
        {HTTPStatus.OK: Listing[Item]},
        READERS,
        query=ListQuery,
    ),
    Route(
        "POST",
        "/admin/oauth/clients/",
        register,
        "Register a client",
        {HTTPStatus.CREATED: Answer[RegisteredClient]},
        ADMINISTRATORS,
        request=Registration,
    ),
    Route(
        "GET",
        "/admin/oauth/clients/{client_id}",
        show,
        "Show a client",
        {HTTPStatus.OK: Answer[Item]},
        READERS,
        refusals=(MalformedClientId, ClientNotFound),
    ),
    Route(
        "POST",
        "/admin/oauth/clients/{client_id}/clone",
        clone,
        "Clone a client, with credentials of its own",
        {HTTPStatus.CREATED: Answer[ClonedClient]},
        ADMINISTRATORS,
        refusals=(MalformedClientId, ClientNotFound),
    ),
]


def _named(request: web.Request) -> str:
    """The client id in the path, which is not known to exist."""
    client_id = request.match_info["client_id"]
    if _client_id.fullmatch(client_id) is None:
        raise MalformedClientId
    return client_id


async def _load(request: web.Request, client_id: str) -> Client:
    key = (request[CALLER].tenant_id, client_id)
    async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
        client = (await table.load(connection, [key])).get(key)
    if client is None or client.deleted_at is not None:
        raise ClientNotFound
    return client


async def _submit_clone(request: web.Request, source_id: str, credential: Credential | None) -> Client:
    ulid = str(ULID())
    return await request.app[DESK].submit(
        CloneClient(
            tenant_id=request[CALLER].tenant_id,
            actor=_actor(request),
            reads=source_id,
            id=ulid,
            client_id=f"app-{ulid.lower()}",
            sealed=_sealed(credential),
        )
    )


async def _mint(request: web.Request) -> Credential:
    return await request.app[HASHER].mint()


def _sealed(credential: Credential | None) -> SealedSecret | None:
    return credential and SealedSecret(hash=credential.hash, last_four=credential.last_four)


def _actor(request: web.Request) -> Actor:
    caller = request[CALLER]
    return Actor(
        subject=caller.subject, role=caller.role, request_id=request[REQUEST_ID], address=request.remote or None
    )


def _created(data: msgspec.Struct, message: str) -> web.Response:
    return answer(data, message=message, status=HTTPStatus.CREATED, headers=NO_STORE)


def _shown(kind: type[T], client: Client, credential: Credential | None = None) -> T:
    """*client* as the wire has it: what *kind* has a field for, and nothing that has no value."""
    settings = client.settings
    known = {
        **{name: getattr(settings, name) for name in ClientSettings.__struct_fields__},
        # an array in requests, a string that holds one in answers: odd, but fixed
        "client_auth_methods": msgspec.json.encode(settings.client_auth_methods).decode(),
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
        "client_secret": credential and credential.secret,
    }
    return kind(**{name: known[name] for name in kind.__struct_fields__ if known[name] is not None})
