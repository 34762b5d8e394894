"""The OpenAPI document's examples: the contract's own client, as it is registered, cloned and looked after."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import asdict

from service.authentication.handlers import AuthenticatedClient, Presented
from service.client_secrets import AddedSecret, NewSecret, RotatedSecret, SecretItem, Secrets
from service.envelope import Answer, Failure, Listing, Pagination
from service.health import Health
from service.refusals import MESSAGES, InvalidRequest
from service.rules.validation import Violation
from service.shapes import (
    ClonedClient,
    ClonePreview,
    Difference,
    Item,
    Overrides,
    PreviewedClient,
    RegisteredClient,
    Registration,
    Update,
)

CLIENT_ID = "app-demo"  # the one that `mitosis serve` plants
EVENT_ID = "01KJM2ZD40EXAMP1EEVENT0000"  # which is a secret's id too

_NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
_SOURCE = "01KJM2W0R0EXAMP1EC11ENT000"
_CLONE = "01KJM2ZD40EXAMP1EC10NE0000"
_SECRET = "secret_" + "EXAMPLE" * 7
_NAME = "My Application (clone)"

_asked: dict[str, Any] = {
    "name": "My Application",
    "redirect_uris": ("https://app.example.com/callback",),
    "scopes": ("openid", "profile", "email"),
    "grant_types": ("authorization_code", "refresh_token"),
    "client_auth_methods": ("client_secret_basic", "private_key_jwt"),
    "cors_origins": ("https://app.example.com",),
    "fapi_profile": "fapi1",
    "jwks_uri": "https://client.example.com/.well-known/jwks.json",
}
_told: dict[str, Any] = {
    **_asked,
    "status": "active",
    "client_auth_methods": '["client_secret_basic","private_key_jwt"]',
}
_item = Item(
    **{**_told, "name": _NAME},
    id=_CLONE,
    client_id=f"app-{_CLONE.lower()}",
    tenant_id="demo",
    is_confidential=True,
    secret_last_four=_SECRET[-4:],
    created_at=_NOW,
    updated_at=_NOW,
    version=1,
    cloned_from=CLIENT_ID,
)
_secret = SecretItem(secret_id=EVENT_ID, status="active", created_at=_NOW, updated_at=_NOW)
_retired = SecretItem(
    secret_id="01KJM2W0R0EXAMP1EEVENT0000",  # noqa: S106 (an id)
    status="retired",
    created_at=_NOW - timedelta(days=90),
    updated_at=_NOW,
    expires_at=_NOW + timedelta(hours=4),
)
_preview = ClonePreview(
    source_id=CLIENT_ID,
    source_version=1,
    has_secret=True,
    client=PreviewedClient(**{**_told, "name": _NAME}, is_confidential=True),
    differs=[Difference(field="name", source="My Application", clone=_NAME)],
)


def _answer(data: msgspec.Struct, message: str = "OK") -> msgspec.Struct:
    return Answer(message=message, timestamp=_NOW, data=data)


_EXAMPLES: Mapping[Any, msgspec.Struct] = {
    Registration: Registration(**_asked),
    Update: Update(status="suspended"),
    Overrides: Overrides(name="My Application for partners", scopes=("openid",)),
    NewSecret: NewSecret(description="for the new cluster"),
    Answer[RegisteredClient]: _answer(
        RegisteredClient(
            **_told, id=_SOURCE, client_id=f"app-{_SOURCE.lower()}", client_secret=_SECRET, is_confidential=True
        ),
        "The client was registered.",
    ),
    Answer[ClonedClient]: _answer(
        ClonedClient(**{**_told, "name": _NAME}, id=_CLONE, client_id=f"app-{_CLONE.lower()}", client_secret=_SECRET),
        "The client was cloned.",
    ),
    Answer[ClonePreview]: _answer(_preview, "Nothing was created."),
    Answer[Item]: _answer(_item),
    Presented: Presented(client_id=_item.client_id, client_secret=_SECRET),
    Answer[AuthenticatedClient]: _answer(
        AuthenticatedClient(**asdict(_item), auth_method="client_secret_post", secret_id=EVENT_ID),
        "The client was authenticated.",
    ),
    Listing[Item]: Listing(
        message="OK",
        timestamp=_NOW,
        items=[_item],
        total=1,
        pagination=Pagination(page=1, page_size=20, total=1, total_pages=1, has_next=False, has_prev=False),
    ),
    Answer[Secrets]: _answer(Secrets(secrets=[_retired, _secret])),
    Answer[SecretItem]: _answer(_secret),
    Answer[AddedSecret]: _answer(
        AddedSecret(secret_id=EVENT_ID, secret_value=_SECRET, status="active", created_at=_NOW),
        "The secret was added.",
    ),
    Answer[RotatedSecret]: _answer(
        RotatedSecret(client_id=CLIENT_ID, new_secret=_SECRET, rotated_at=_NOW), "The secret was rotated."
    ),
    Answer[Health]: _answer(Health("ok")),
}


def example(kind: Any) -> dict[str, Any] | None:  # noqa: ANN401 (a Struct, or one with its parameter)
    """What a body of *kind* may look like, without what has no value; None where nobody thought of one."""
    if kind not in _EXAMPLES:
        return None
    return {name: value for name, value in msgspec.to_builtins(_EXAMPLES[kind]).items() if value is not None}


def failure(code: int) -> dict[str, Any]:
    """A failure with *code*, as its body shows it."""
    shown = Failure(code=code, message=MESSAGES[code], timestamp=_NOW)
    if code == InvalidRequest.code:
        fault = Violation("redirect_uris[0]", "has a fragment (everything from '#' on)", "RFC 6749 3.1.2")
        shown = msgspec.structs.replace(shown, violations=[fault])
    return dict(msgspec.to_builtins(shown))
