"""The handlers for clients."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web
from msgspec.structs import asdict
from ulid import ULID

from events.client import ClientSettings, Status
from events.database import borrowed
from events.errors import Refused
from projections import listing as table
from projections.clients import Client
from service.as_of import Moment
from service.bearer import ADMINISTRATORS, READERS
from service.commands import CloneClient, DeleteClient, RegisterClient, UpdateClient
from service.decisions import check, cloned_settings, cloned_status, needs_secret
from service.envelope import NO_STORE, Answer, Listing, answer, listing
from service.idempotency import ReceiptFor, key_of, once
from service.reading import Nothing, decode, decode_optional, expect_no_body
from service.refusals import (
    ClientExists,
    ClientNotFound,
    CredentialNeeded,
    InvalidRequest,
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
    RECENT,
    TIMEOUT_S,
    actor,
    asked,
    entity_tag,
    expected_version,
    load,
    load_past,
    looking_ahead,
    mint,
    moment,
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
    ShowQuery,
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


class _Wish(NamedTuple):
    """What is to be cloned: which client, at which version or as it was when, and what in place of its settings."""

    source_id: str
    version: int | None
    when: Moment | None
    overrides: Overrides


async def clone(request: web.Request) -> web.Response:
    """
    POST /{client_id}/clone -> 201: the copy, and its secret this once.

    The copy has the source's settings and status under new ids, with a secret of its own, shown in this answer and
    never again. What the body gives takes the place of the source's own; a null takes a setting away. Without a name of
    its own, the copy has the source's with ` (clone)` behind it, cut to 255 characters.

    A clone of a suspended client is suspended. Settings that today's rules would not let in are refused with every
    fault named in `violations`. The source is read and the clone is written as one step. With `dry_run`, the answer is
    what would be created, and what it would differ in; nothing is.

    With `as_of`, the copy is of the client as it was then, under today's rules and with a new secret, also where the
    client was deleted since. It has the more restrictive status of then and now: it is suspended if the client is, and
    `inactive` at least if the client was deleted. `If-Match` does not go with it: what was does not change.
    """
    source_id, query = named(request), asked(request, CloneQuery)
    when = moment(query.as_of)
    if when is not None and "If-Match" in request.headers:
        # is it the version of then that is meant, which nothing can change, or that of now, which is not copied?
        fault = "does not go with as_of: what was does not change"
        raise InvalidRequest(violations=(Violation("If-Match", fault, "the OpenAPI document"),))
    version, overrides = expected_version(request), await decode_optional(request, Overrides)
    key, wish = key_of(request, overrides, when), _Wish(source_id, version, when, overrides)
    if query.dry_run:
        source, status, settings = await _look_ahead(request, wish, request.app[TIMEOUT_S])
        would = preview(source, settings, status, has_secret=needs_secret(settings))
        return answer(would, message="Nothing was created.")

    async def make(receipt_for: ReceiptFor, *, mints: bool = False) -> web.Response:
        # so that no hash is made in vain; the turn reads the source again, under the lock
        source, _, settings = _glance(request, wish) or await _look_ahead(request, wish, request.app[TIMEOUT_S] / 8)
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
            past=None if when is None else source,
        )
        try:
            return answered(await request.app[DESK].submit(command))
        except CredentialNeeded:  # the source changed its methods since that look
            return await make(receipt_for, mints=True)

    return await once(request, key, make)


_Ahead = tuple[Client, Status, ClientSettings]
"""A source as it is to be copied, and the status and the settings that its clone would have."""


def _glance(request: web.Request, wish: _Wish) -> _Ahead | None:
    """What to expect, if the source was seen lately; None where that would be refused, as what was seen may be old."""
    source = request.app[RECENT].find(request[CALLER].tenant_id, wish.source_id)
    if source is None or source.deleted_at is not None or wish.when is not None:
        return None
    with suppress(Refused):
        return _expected(source, source, wish)
    return None


async def _look_ahead(request: web.Request, wish: _Wish, limit_s: float) -> _Ahead:
    """What will come of the wish, as far as can be known before the turn."""
    async with looking_ahead(request):
        if wish.when is None:
            source = await load(request, wish.source_id, limit_s)
            return _expected(source, source, wish)
        return _expected(*await load_past(request, wish.source_id, wish.when, limit_s), wish)


def _expected(source: Client, present: Client, wish: _Wish) -> _Ahead:
    if wish.when is None and wish.version not in (None, source.version):
        raise VersionMoved
    return source, cloned_status(source, present), cloned_settings(source.settings, *wish.overrides.split())


async def show(request: web.Request) -> web.Response:
    """
    GET /{client_id} -> 200: the client, or what it was.

    With `as_of`, it is the client as it was then, also where it was deleted since. The `ETag` is always that of the
    version shown: a change with it in `If-Match` is refused once the client has moved on, so nobody who looks at what
    was overwrites what is.
    """
    client_id, when = named(request), moment(asked(request, ShowQuery).as_of)
    if when is None:
        client = await load(request, client_id, request.app[TIMEOUT_S])
    else:
        client, _ = await load_past(request, client_id, when, request.app[TIMEOUT_S])
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
        query=ShowQuery,
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
