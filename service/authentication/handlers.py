"""The handler for authorization servers that keep their clients here, and the Structs it speaks."""

import binascii
import logging
from base64 import b64decode
from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote_plus

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from service import fields
from service.authentication.authenticator import Authenticated, Authenticator, Method
from service.envelope import Answer, answer
from service.reading import decode_optional
from service.refusals import InvalidClient, InvalidRequest, MovedAway, TakesNoChanges, TooManyHashes
from service.routes import CALLER, REQUEST_ID, Route
from service.rules.validation import Violation
from service.shapes import Item, shown

AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
SERVICES = frozenset({"service"})
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 section 2.2

_logger = logging.getLogger(__name__)


def _about(description: str) -> Meta:
    return Meta(description=description)


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a client presented at a token endpoint, as it came there, in exactly one of three forms.

    `authorization` (client_secret_basic), `client_id` and `client_secret` (client_secret_post), or
    `client_assertion_type` and `client_assertion` (private_key_jwt). A null is the same as a field left out.
    """

    authorization: Annotated[str, _about("The value of its Authorization header: `Basic ...`.")] | None = None
    client_id: Annotated[str, _about("Beside an assertion optional, and then the same as its `sub`.")] | None = None
    client_secret: str | None = None
    client_assertion_type: Annotated[str, Meta(extra_json_schema={"enum": [JWT_BEARER]})] | None = None
    client_assertion: Annotated[str, _about("A JWT that the client signed, in compact form.")] | None = None
    audience: (
        Annotated[
            str | list[str],
            _about("What the assertion's `aud` may name: the authorization server's issuer, its token endpoint."),
        ]
        | None
    ) = None


class AuthenticatedClient(Item, frozen=True, kw_only=True):
    """The client that was authenticated, how, and with which of its secrets."""

    auth_method: Method
    secret_id: fields.Ulid | UnsetType = UNSET


async def authenticate(request: web.Request) -> web.Response:
    """
    POST /internal/oauth/clients/authenticate -> 200: the client that presented this.

    For authorization servers that keep their clients here: they pass on what reached their token endpoint. Whatever
    keeps a client from being authenticated is answered alike, with 401003: that it does not exist, is suspended or
    deleted, may not use this method, or that what it presented is wrong, expired or was used before.

    A client is one of the token's tenant. One that has moved is 421, and one that is on its way here 503: whether a
    secret is still good is known where the tenant takes changes. An assertion is good once, and for an hour at most.
    """
    presented = await decode_optional(request, Presented)
    _check(presented)
    try:
        authenticated = await _authenticated(request, presented)
    except InvalidClient as refusal:
        _logger.info(
            "client_refused",
            extra={
                "tenant": request[CALLER].tenant_id,
                "reason": refusal.reason,
                "request_id": request[REQUEST_ID],
            },
        )
        raise
    item = msgspec.structs.asdict(shown(Item, authenticated.client))
    secret_id = authenticated.secret_id or UNSET
    data = AuthenticatedClient(**item, auth_method=authenticated.method, secret_id=secret_id)
    return answer(data, message="The client was authenticated.")


async def _authenticated(request: web.Request, presented: Presented) -> Authenticated:
    authenticator, tenant_id = request.app[AUTHENTICATOR], request[CALLER].tenant_id
    if presented.client_assertion is not None:
        audience = presented.audience or []
        return await authenticator.by_assertion(
            tenant_id,
            presented.client_assertion,
            audiences=[audience] if isinstance(audience, str) else audience,
            client_id=presented.client_id,
        )
    if presented.authorization is not None:
        return await authenticator.by_secret(tenant_id, "client_secret_basic", *basic(presented.authorization))
    client_id, secret = presented.client_id or "", presented.client_secret or ""
    return await authenticator.by_secret(tenant_id, "client_secret_post", client_id, secret)


def basic(header: str) -> tuple[str, str]:
    """
    The client id and the secret in a Basic Authorization header, both empty where it is none.

    Both parts are form-urlencoded before they are joined (RFC 6749 section 2.3.1), then the whole is in Base64 (RFC
    7617 section 2).
    """
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client_id, _, secret = b64decode(credentials.strip(" "), validate=True).decode().partition(":")
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        return "", ""


_ASSERTION = ("client_assertion_type", "client_assertion", "audience")
# each form by the field that tells it, with what it needs
_FORMS = {
    "authorization": ("authorization",),
    "client_assertion": _ASSERTION,
    "client_assertion_type": _ASSERTION,
    "client_secret": ("client_id", "client_secret"),
}
_BESIDE = {"authorization": ("audience",), "client_secret": ("audience",)}


def _check(presented: Presented) -> None:
    """
    Whether it is in exactly one form, and complete. That it is right is for the authenticator.

    Raises:
        InvalidRequest
    """
    given = [name for name in presented.__struct_fields__ if getattr(presented, name) is not None]
    told = next((name for name in _FORMS if name in given), None)
    if told is None:
        missing = "is required, or client_id and client_secret, or client_assertion_type and client_assertion"
        raise InvalidRequest(violations=(Violation("authorization", missing, "RFC 6749 2.3"),))
    needed = _FORMS[told]
    together = "is not given together with {}: a client authenticates in one way".format
    faults = [
        *(Violation(name, f"is required with {told}", "RFC 7521 4.2") for name in needed if name not in given),
        *(
            Violation(name, together(told), "RFC 6749 2.3")
            for name in given
            if name not in (*needed, *_BESIDE.get(told, ("client_id",)))
        ),
    ]
    if presented.client_assertion_type not in (None, JWT_BEARER):
        faults.append(Violation("client_assertion_type", f"is not {JWT_BEARER}", "RFC 7523 2.2"))
    if presented.audience is not None and not all([presented.audience, *presented.audience]):
        faults.append(Violation("audience", "is empty, or holds an empty name", "RFC 7523 3"))
    if faults:
        raise InvalidRequest(violations=tuple(faults))


ROUTES = [
    Route(
        "POST",
        "/internal/oauth/clients/authenticate",
        authenticate,
        "Authenticate a client for an authorization server",
        {HTTPStatus.OK: Answer[AuthenticatedClient]},
        SERVICES,
        request=Presented,
        refusals=(InvalidClient, MovedAway, TakesNoChanges, TooManyHashes),
    ),
]
