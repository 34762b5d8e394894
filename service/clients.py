"""The handlers for clients."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from msgspec.structs import asdict
from ulid import ULID

from events.client import ClientSettings
from events.database import borrowed
from projections import clients as table
from projections.clients import Client
from service.bearer import ADMINISTRATORS, READERS
from service.commands import CloneClient, DeleteClient, RegisterClient, UpdateClient
from service.decisions import check, cloned_settings, needs_secret
from service.envelope import NO_STORE, Answer, Listing, answer, listing
from service.idempotency import ReceiptFor, key_of, once
from service.reading import Nothing, decode, decode_optional, expect_no_body
from service.refusals import (
    ClientExists,
    ClientNotFound,
    CredentialNeeded,
    KeyReused,
    MalformedClientId,
    MalformedKey,
    MalformedPrecondition,
    StillRunning,
    VersionMoved,
)
from service.requests import (
    DESK,
    READS,
    TIMEOUT_S,
    actor,
    asked,
    entity_tag,
    expected_version,
    load,
    mint,
    named,
    sealed,
)
from service.routes import CALLER, Route
from service.rules.validation import Violation, violations
from service.shapes import (
    ClonedClient,
    ClonePreview,
    CloneQuery,
    Item,
    ListQuery,
    Overrides,
    RegisteredClient,
    Registration,
    Update,
    preview,
    shown,
)


async def register(request: web.Request) -> web.Response:
    """
    POST / -> 201: the client, and its secret this once.

    The answer is the only one that ever shows the secret; the registry keeps a hash. A client whose methods use no
    secret gets none. Settings that break the rules are refused with every fault named in `violations`.
    """
    registration = await decode(request, Registration, _faults_of_the_rest)
    settings = _settings(registration)
    check(settings)

    async def make(receipt_for: ReceiptFor) -> web.Response:
        credential = await mint(request) if needs_secret(settings) else None
        ulid = str(ULID())

        def answered(client: Client) -> web.Response:
            headers = {**NO_STORE, **entity_tag(client)}
            data = shown(RegisteredClient, client, credential)
            return answer(data, message="The client was registered.", status=HTTPStatus.CREATED, headers=headers)

        return answered(
            await request.app[DESK].submit(
                RegisterClient(
                    tenant_id=request[CALLER].tenant_id,
                    actor=actor(request),
                    receipt=receipt_for(answered),
                    reads=f"app-{ulid.lower()}",
                    id=ulid,
                    settings=settings,
                    sealed=credential and sealed(credential),
                )
            )
        )

    return await once(request, key_of(request, registration), make)


def _settings(registration: Registration) -> ClientSettings:
    given = asdict(registration)
    # RFC 7591 section 2 has one default; a public client could not keep what that asks for
    if registration.client_auth_methods is None:
        given["client_auth_methods"] = ("client_secret_basic",) if registration.is_confidential else ("none",)
    return ClientSettings(**given)


def _faults_of_the_rest(found: Mapping[str, Any]) -> Iterator[Violation]:
    """What the rules say of the fields that could be read; the others stand at what is left out, and are not blamed."""
    settings = _settings(Registration(**{"name": "-", "redirect_uris": (), **found}))
    for violation in violations(settings):
        if violation.field.partition("[")[0].partition(".")[0] in found:
            yield violation


async def clone(request: web.Request) -> web.Response:
    """
    POST /{client_id}/clone -> 201: the copy, and its secret this once.

    The copy has the source's settings and status under new ids, with a secret of its own, shown in this answer and
    never again. What the body gives takes the place of the source's own; a null takes a setting away. Without a name of
    its own, the copy has the source's with ` (clone)` behind it, cut to 255 characters.

    A clone of a suspended client is suspended. Settings that today's rules would not let in are refused with every
    fault named in `violations`. The source is read and the clone is written as one step. With `dry_run`, the answer is
    what would be created, and what it would differ in; nothing is.
    """
    source_id, version = named(request), expected_version(request)
    overrides = await decode_optional(request, Overrides)
    key = key_of(request, overrides)
    if asked(request, CloneQuery).dry_run:
        source, settings = await _look_ahead(request, source_id, version, overrides, request.app[TIMEOUT_S])
        return answer(preview(source, settings, has_secret=needs_secret(settings)), message="Nothing was created.")

    async def make(receipt_for: ReceiptFor, *, mints: bool = False) -> web.Response:
        # so that no hash is made in vain; the turn reads the source again, under the lock
        _, settings = await _look_ahead(request, source_id, version, overrides, request.app[TIMEOUT_S] / 8)
        credential = await mint(request) if mints or needs_secret(settings) else None
        ulid, (changed, removed) = str(ULID()), overrides.split()

        def answered(client: Client) -> web.Response:
            headers = {**NO_STORE, **entity_tag(client)}
            data = shown(ClonedClient, client, credential)
            return answer(data, message="The client was cloned.", status=HTTPStatus.CREATED, headers=headers)

        command = CloneClient(
            tenant_id=request[CALLER].tenant_id,
            actor=actor(request),
            receipt=receipt_for(answered),
            reads=source_id,
            expected_version=version,
            id=ulid,
            client_id=f"app-{ulid.lower()}",
            sealed=credential and sealed(credential),
            overrides=changed,
            removed=removed,
        )
        try:
            return answered(await request.app[DESK].submit(command))
        except CredentialNeeded:  # the source changed its methods since that look
            return await make(receipt_for, mints=True)

    return await once(request, key, make)


async def _look_ahead(
    request: web.Request, source_id: str, version: int | None, overrides: Overrides, limit_s: float
) -> tuple[Client, ClientSettings]:
    """The source as it is now, and the settings that its clone would have."""
    source = await load(request, source_id, limit_s)
    if version not in (None, source.version):
        raise VersionMoved
    return source, cloned_settings(source.settings, *overrides.split())


async def show(request: web.Request) -> web.Response:
    """GET /{client_id} -> 200: the client."""
    client = await load(request, named(request), request.app[TIMEOUT_S])
    return answer(shown(Item, client), headers=entity_tag(client))


async def update(request: web.Request) -> web.Response:
    """
    PUT /{client_id} -> 200: the client as it is now.

    A field left out stays as it is; a null takes a setting away. An update that changes nothing leaves no trace.
    """
    client_id, version = named(request), expected_version(request)
    wanted = await decode(request, Update)
    changed, removed = wanted.split()
    client = await request.app[DESK].submit(
        UpdateClient(
            tenant_id=request[CALLER].tenant_id,
            actor=actor(request),
            reads=client_id,
            expected_version=version,
            changed=changed,
            removed=removed,
            status=wanted.status or None,
        )
    )
    return answer(shown(Item, client), message="The client was updated.", headers=entity_tag(client))


async def delete(request: web.Request) -> web.Response:
    """DELETE /{client_id} -> 204: the client is gone for everybody but auditors."""
    client_id, version = named(request), expected_version(request)
    await expect_no_body(request)
    await request.app[DESK].submit(
        DeleteClient(
            tenant_id=request[CALLER].tenant_id, actor=actor(request), reads=client_id, expected_version=version
        )
    )
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def index(request: web.Request) -> web.Response:
    """GET / -> 200: a page of the tenant's clients, newest first."""
    query = asked(request, ListQuery)
    async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
        page = await table.page(
            connection,
            request[CALLER].tenant_id,
            number=query.page,
            size=query.page_size,
            name=query.name or None,
            status=query.status or None,
            cloned_from=query.cloned_from or None,
        )
    items = [shown(Item, client) for client in page.clients]
    return listing(items, page=query.page, page_size=query.page_size, total=page.total)


_CLIENTS = "/admin/oauth/clients/"
_CLIENT = "/admin/oauth/clients/{client_id}"
_NAMING = (MalformedClientId, ClientNotFound)
_CONDITION = (MalformedPrecondition, VersionMoved)
_ONCE = (MalformedKey, StillRunning, KeyReused)

ROUTES = [
    Route(
        "GET",
        _CLIENTS,
        index,
        "List the tenant's clients, newest first",
        {HTTPStatus.OK: Listing[Item]},
        READERS,
        query=ListQuery,
    ),
    Route(
        "POST",
        _CLIENTS,
        register,
        "Register a client",
        {HTTPStatus.CREATED: Answer[RegisteredClient]},
        ADMINISTRATORS,
        request=Registration,
        refusals=(ClientExists, *_ONCE),
        writes=True,
        mints=True,
    ),
    Route(
        "GET",
        _CLIENT,
        show,
        "Show a client",
        {HTTPStatus.OK: Answer[Item]},
        READERS,
        refusals=_NAMING,
    ),
    Route(
        "PUT",
        _CLIENT,
        update,
        "Update a client, suspend it or make it active again",
        {HTTPStatus.OK: Answer[Item]},
        ADMINISTRATORS,
        request=Update,
        refusals=(*_NAMING, *_CONDITION),
        writes=True,
    ),
    Route(
        "DELETE",
        _CLIENT,
        delete,
        "Delete a client",
        {HTTPStatus.NO_CONTENT: None},
        ADMINISTRATORS,
        request=Nothing,
        refusals=(*_NAMING, *_CONDITION),
        writes=True,
    ),
    Route(
        "POST",
        f"{_CLIENT}/clone",
        clone,
        "Clone a client, with credentials of its own",
        {HTTPStatus.CREATED: Answer[ClonedClient], HTTPStatus.OK: Answer[ClonePreview]},
        ADMINISTRATORS,
        query=CloneQuery,
        request=Overrides,
        refusals=(*_NAMING, *_CONDITION, *_ONCE),
        writes=True,
        mints=True,
    ),
]
