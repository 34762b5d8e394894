"""The handlers for a client's secrets, and the Structs they speak."""

import unicodedata
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from events.database import borrowed
from projections.clients import Secret as Kept
from service import fields
from service.authentication import usage
from service.bearer import ADMINISTRATORS
from service.commands import AddSecret, DeactivateSecret, DeleteSecret, RotateSecret, SealedSecret
from service.credentials import Credential
from service.decisions import decide
from service.envelope import NO_STORE, Answer, Instant, answer
from service.reading import Nothing, decode_optional, expect_no_body
from service.refusals import (
    ClientNotFound,
    InvalidRequest,
    LastSecret,
    MalformedClientId,
    MalformedPrecondition,
    NoSecretUsed,
    SecretNotFound,
    TooManySecrets,
    VersionMoved,
)
from service.requests import (
    DESK,
    READS,
    TIMEOUT_S,
    actor,
    entity_tag,
    expected_version,
    load,
    looking_ahead,
    mint,
    named,
    sealed,
)
from service.routes import CALLER, Route
from service.rules.validation import Violation

GRACE_S = web.AppKey("grace_s", float)

_DESCRIPTION_LIMIT = 255  # characters
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)  # no time zone takes it out of what a datetime can be
_UNMADE = SealedSecret(hash="", last_four="")  # of a command that is looked at before its credential is made


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What a secret may be given: a note for people, and a time from which it does not work."""

    description: Annotated[str, Meta(extra_json_schema={"maxLength": _DESCRIPTION_LIMIT})] | None = None
    expires_at: Instant | None = None


class SecretItem(msgspec.Struct, frozen=True, kw_only=True):
    """A secret, without itself. `retired` was rotated and works until `expires_at`; `expired` is past that."""

    secret_id: fields.Ulid
    status: Literal["active", "retired", "inactive", "expired"]
    description: str | UnsetType = UNSET
    created_at: Instant
    updated_at: Instant
    expires_at: Instant | UnsetType = UNSET
    last_used_at: Instant | UnsetType = UNSET


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """A client's secrets, oldest first."""

    secrets: list[SecretItem]


class RotatedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The secret that is the client's from now on, shown this once."""

    client_id: fields.ClientId
    new_secret: fields.Secret
    rotated_at: Instant


class AddedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """One more secret of the client, shown this once."""

    secret_id: fields.Ulid
    secret_value: fields.Secret
    status: Literal["active"]
    created_at: Instant


async def rotate(request: web.Request) -> web.Response:
    """
    POST /{client_id}/rotate-secret -> 200: the new secret, this once.

    The oldest active secret works for the grace (4 hours, where nothing else is configured) and then no more. One
    secret at a time is in its grace, and it is kept: a rotation meanwhile adds a secret beside the active one, and is
    409 where two are active. To end a grace early, delete the retired secret.
    """
    client_id, version = named(request), expected_version(request)
    await expect_no_body(request)
    command = RotateSecret(
        tenant_id=request[CALLER].tenant_id,
        actor=actor(request),
        reads=client_id,
        expected_version=version,
        sealed=_UNMADE,
        grace_s=request.app[GRACE_S],
    )
    credential = await _mint_for(request, command)
    client = await request.app[DESK].submit(replace(command, sealed=sealed(credential)))
    data = RotatedSecret(client_id=client_id, new_secret=credential.secret, rotated_at=client.updated_at)
    return answer(data, message="The secret was rotated.", headers={**NO_STORE, **entity_tag(client)})


async def index(request: web.Request) -> web.Response:
    """GET /{client_id}/secrets -> 200: what is known of the client's secrets."""
    client = await load(request, named(request), request.app[TIMEOUT_S] / 2)
    async with borrowed(request.app[READS], request.app[TIMEOUT_S] / 2) as connection:
        used = await usage.read(connection, client.tenant_id, client.client_id)
    now = datetime.now(UTC)
    items = [_item(secret, now, used.get(secret.secret_id)) for secret in client.secrets]
    return answer(Secrets(secrets=items), headers=entity_tag(client))


async def add(request: web.Request) -> web.Response:
    """POST /{client_id}/secrets -> 201: one more secret, this once; 409 where two are active."""
    client_id, version = named(request), expected_version(request)
    wanted = _checked(await decode_optional(request, NewSecret))
    command = AddSecret(
        tenant_id=request[CALLER].tenant_id,
        actor=actor(request),
        reads=client_id,
        expected_version=version,
        sealed=_UNMADE,
        description=wanted.description,
        expires_at=wanted.expires_at and wanted.expires_at.astimezone(UTC),
    )
    credential = await _mint_for(request, command)
    client = await request.app[DESK].submit(replace(command, sealed=sealed(credential)))
    secret = client.secrets[-1]
    data = AddedSecret(
        secret_id=secret.secret_id, secret_value=credential.secret, status="active", created_at=secret.created_at
    )
    headers = {**NO_STORE, **entity_tag(client)}
    return answer(data, message="The secret was added.", status=HTTPStatus.CREATED, headers=headers)


async def deactivate(request: web.Request) -> web.Response:
    """PUT /{client_id}/secrets/{secret_id}/deactivate -> 200: the secret, which does not work any more."""
    client_id, secret_id = named(request), request.match_info["secret_id"]
    version = expected_version(request)
    await expect_no_body(request)
    client = await request.app[DESK].submit(
        DeactivateSecret(
            tenant_id=request[CALLER].tenant_id,
            actor=actor(request),
            reads=client_id,
            expected_version=version,
            secret_id=secret_id,
        )
    )
    secret = next(secret for secret in client.secrets if secret.secret_id == secret_id)
    async with borrowed(request.app[READS], request.app[TIMEOUT_S] / 4) as connection:
        used = await usage.read(connection, client.tenant_id, client_id)
    return answer(
        _item(secret, client.updated_at, used.get(secret_id)),
        message="The secret was deactivated.",
        headers=entity_tag(client),
    )


async def delete(request: web.Request) -> web.Response:
    """DELETE /{client_id}/secrets/{secret_id} -> 204; 400 for the last one that works."""
    client_id, secret_id = named(request), request.match_info["secret_id"]
    version = expected_version(request)
    await expect_no_body(request)
    await request.app[DESK].submit(
        DeleteSecret(
            tenant_id=request[CALLER].tenant_id,
            actor=actor(request),
            reads=client_id,
            expected_version=version,
            secret_id=secret_id,
        )
    )
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _mint_for(request: web.Request, command: RotateSecret | AddSecret) -> Credential:
    """A credential for *command*, unless it would be refused: then no hash is made. The turn decides it again."""
    async with looking_ahead(request):
        client = await load(request, command.reads, request.app[TIMEOUT_S] / 4)
        decide(client, command, datetime.now(UTC))
    return await mint(request)


def _item(secret: Kept, now: datetime, used: datetime | None = None) -> SecretItem:
    past = secret.status != "inactive" and not secret.is_usable(now)
    return SecretItem(
        secret_id=secret.secret_id,
        status="expired" if past else secret.status,
        description=UNSET if secret.description is None else secret.description,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
        expires_at=secret.expires_at or UNSET,
        last_used_at=used or UNSET,
    )


def _checked(wanted: NewSecret) -> NewSecret:
    faults = []
    if wanted.description is not None:
        if len(wanted.description) > _DESCRIPTION_LIMIT:
            faults.append(("description", f"is longer than {_DESCRIPTION_LIMIT} characters"))
        if any(unicodedata.category(letter) == "Cc" for letter in wanted.description):
            faults.append(("description", "holds a control character"))
    if wanted.expires_at is not None:
        if wanted.expires_at.tzinfo is None:
            faults.append(("expires_at", "has no time zone"))
        elif wanted.expires_at <= datetime.now(UTC):
            faults.append(("expires_at", "is in the past"))
        elif wanted.expires_at > _LATEST:
            faults.append(("expires_at", "is after the year 9998"))
    if faults:
        raise InvalidRequest(
            violations=tuple(Violation(field, message, "contract: secrets") for field, message in faults)
        )
    return wanted


_CLIENT = "/admin/oauth/clients/{client_id}"
_NAMING = (MalformedClientId, ClientNotFound)
_CONDITION = (MalformedPrecondition, VersionMoved)

ROUTES = [
    Route(
        "POST",
        f"{_CLIENT}/rotate-secret",
        rotate,
        "Rotate a client's secret",
        {HTTPStatus.OK: Answer[RotatedSecret]},
        ADMINISTRATORS,
        request=Nothing,
        refusals=(*_NAMING, NoSecretUsed, TooManySecrets, *_CONDITION),
        writes=True,
        mints=True,
    ),
    Route(
        "GET",
        f"{_CLIENT}/secrets",
        index,
        "List a client's secrets, without the secrets themselves",
        {HTTPStatus.OK: Answer[Secrets]},
        ADMINISTRATORS,
        refusals=_NAMING,
    ),
    Route(
        "POST",
        f"{_CLIENT}/secrets",
        add,
        "Give a client one more secret",
        {HTTPStatus.CREATED: Answer[AddedSecret]},
        ADMINISTRATORS,
        request=NewSecret,
        refusals=(*_NAMING, NoSecretUsed, TooManySecrets, *_CONDITION),
        writes=True,
        mints=True,
    ),
    Route(
        "PUT",
        f"{_CLIENT}/secrets/{{secret_id}}/deactivate",
        deactivate,
        "Stop a secret from working",
        {HTTPStatus.OK: Answer[SecretItem]},
        ADMINISTRATORS,
        request=Nothing,
        refusals=(*_NAMING, SecretNotFound, *_CONDITION),
        writes=True,
    ),
    Route(
        "DELETE",
        f"{_CLIENT}/secrets/{{secret_id}}",
        delete,
        "Delete a secret",
        {HTTPStatus.NO_CONTENT: None},
        ADMINISTRATORS,
        request=Nothing,
        refusals=(*_NAMING, SecretNotFound, LastSecret, *_CONDITION),
        writes=True,
    ),
]
