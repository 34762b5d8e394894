"""The OpenAPI document's examples: the contract's own client, as it is registered, cloned and shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from service.envelope import Answer, Failure, Listing, Pagination
from service.health import Health
from service.refusals import MESSAGES, InvalidRequest
from service.shapes import ClonedClient, Item, RegisteredClient, Registration
from service.validation import Violation

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CLIENT_ID = "app-demo"  # the one that `mitosis serve` plants
EVENT_ID = "01KJM2ZD40EXAMP1EEVENT0000"  # which is a secret's id too

_CLONE = "01KJM2ZD40EXAMP1EC10NE0000"
_SOURCE = "01KJM2W0R0EXAMP1EC11ENT000"
_SECRET = "secret_" + "EXAMPLE" * 7
_METHODS = '["client_secret_basic","private_key_jwt"]'

_registration = Registration(
    name="My Application",
    redirect_uris=("https://app.example.com/callback",),
    scopes=("openid", "profile", "email"),
    grant_types=("authorization_code", "refresh_token"),
    client_auth_methods=("client_secret_basic", "private_key_jwt"),
    cors_origins=("https://app.example.com",),
    fapi_profile="fapi1",
    jwks_uri="https://client.example.com/.well-known/jwks.json",
)
_registered = RegisteredClient(
    id=_SOURCE,
    client_id=f"app-{_SOURCE.lower()}",
    client_secret=_SECRET,
    name=_registration.name,
    status="active",
    redirect_uris=_registration.redirect_uris,
    scopes=_registration.scopes,
    grant_types=_registration.grant_types,
    client_auth_methods=_METHODS,
    cors_origins=_registration.cors_origins,
    is_confidential=True,
    fapi_profile="fapi1",
    jwks_uri="https://client.example.com/.well-known/jwks.json",
)
_cloned = ClonedClient(
    id=_CLONE,
    client_id=f"app-{_CLONE.lower()}",
    client_secret=_SECRET,
    name="My Application (clone)",
    status="active",
    redirect_uris=_registration.redirect_uris,
    scopes=_registration.scopes,
    grant_types=_registration.grant_types,
    cors_origins=_registration.cors_origins,
    client_auth_methods=_METHODS,
    fapi_profile="fapi1",
    jwks_uri="https://client.example.com/.well-known/jwks.json",
)
_item = Item(
    id=_CLONE,
    client_id=f"app-{_CLONE.lower()}",
    tenant_id="demo",
    name="My Application (clone)",
    status="active",
    redirect_uris=_registration.redirect_uris,
    scopes=_registration.scopes,
    grant_types=_registration.grant_types,
    client_auth_methods=_METHODS,
    cors_origins=_registration.cors_origins,
    is_confidential=True,
    fapi_profile="fapi1",
    jwks_uri="https://client.example.com/.well-known/jwks.json",
    secret_last_four=_SECRET[-4:],
    created_at=NOW,
    updated_at=NOW,
    version=1,
    cloned_from=CLIENT_ID,
)


def _answer(data: msgspec.Struct, message: str = "OK") -> msgspec.Struct:
    return Answer(message=message, timestamp=NOW, data=data)


_EXAMPLES: Mapping[Any, msgspec.Struct] = {
    Registration: _registration,
    Answer[RegisteredClient]: _answer(_registered, "The client was registered."),
    Answer[ClonedClient]: _answer(_cloned, "The client was cloned."),
    Answer[Item]: _answer(_item),
    Listing[Item]: Listing(
        message="OK",
        timestamp=NOW,
        items=[_item],
        total=1,
        pagination=Pagination(page=1, page_size=20, total=1, total_pages=1, has_next=False, has_prev=False),
    ),
    Answer[Health]: _answer(Health("ok")),
}
_FAULT = Violation("redirect_uris[0]", "has a fragment (everything from '#' on)", "RFC 6749 3.1.2")


def example(kind: Any) -> dict[str, Any] | None:  # noqa: ANN401 (a Struct, or one with its parameter)
    """What a body of *kind* may look like, without what has no value; None where nobody thought of one."""
    if kind not in _EXAMPLES:
        return None
    return {name: value for name, value in msgspec.to_builtins(_EXAMPLES[kind]).items() if value is not None}


def failure(code: int) -> dict[str, Any]:
    """A failure with *code*, as its body shows it."""
    shown = Failure(code=code, message=MESSAGES[code], timestamp=NOW)
    if code == InvalidRequest.code:
        shown = msgspec.structs.replace(shown, violations=[_FAULT])
    return dict(msgspec.to_builtins(shown))
