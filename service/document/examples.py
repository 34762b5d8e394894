"""The OpenAPI document's examples: the contract's own client, as it is registered, cloned and looked after."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import asdict

from events.chain import genesis
from service.audit.entries import LogEntry
from service.audit.heads import Jwk, JwkSet
from service.audit.proof import HashChain, SignedHead, VerificationRequest, VerificationResult
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

TENANT_ID = "demo"
CLIENT_ID = "app-demo"  # the one that `mitosis serve` plants
EVENT_ID = "01KJM2ZD40EXAMP1EEVENT0000"  # which is a secret's id too

_NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
_SOURCE = "01KJM2W0R0EXAMP1EC11ENT000"
_CLONE = "01KJM2ZD40EXAMP1EC10NE0000"
_DIGEST = sha256(b"an example").hexdigest()
_KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
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
    tenant_id=TENANT_ID,
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


_entry = LogEntry(
    id=EVENT_ID,
    action="ClientCloned",
    level="info",
    message=f"The client was cloned from {CLIENT_ID}.",
    module="clients",
    operator_id="admin@example.com",
    operator_type="admin",
    target_id=_item.client_id,
    target_type="client",
    tenant_id=TENANT_ID,
    ip="192.0.2.17",
    timestamp=int(_NOW.timestamp() * 1000),
)


def _answer(data: msgspec.Struct, message: str = "OK") -> msgspec.Struct:
    return Answer(message=message, timestamp=_NOW, data=data)


def _listing(item: msgspec.Struct) -> msgspec.Struct:
    pagination = Pagination(page=1, page_size=20, total=1, total_pages=1, has_next=False, has_prev=False)
    return Listing(message="OK", timestamp=_NOW, items=[item], total=1, pagination=pagination)


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
    Listing[Item]: _listing(_item),
    Listing[LogEntry]: _listing(_entry),
    Answer[Secrets]: _answer(Secrets(secrets=[_retired, _secret])),
    Answer[SecretItem]: _answer(_secret),
    Answer[AddedSecret]: _answer(
        AddedSecret(secret_id=EVENT_ID, secret_value=_SECRET, status="active", created_at=_NOW),
        "The secret was added.",
    ),
    Answer[RotatedSecret]: _answer(
        RotatedSecret(client_id=CLIENT_ID, new_secret=_SECRET, rotated_at=_NOW), "The secret was rotated."
    ),
    Answer[SignedHead]: _answer(
        SignedHead(
            tenant_id=TENANT_ID, position=42, digest=_DIGEST, time=_NOW, head="eyJhbGciOi...fQ.eyJkaWdl...In0.q1Zs...Dw"
        )
    ),
    Answer[HashChain]: _answer(
        HashChain(
            tenant_id=TENANT_ID,
            log_count=42,
            start_hash=genesis(TENANT_ID).hex(),
            end_hash=_DIGEST,
            is_valid=True,
            verified_at=_NOW,
        )
    ),
    VerificationRequest: VerificationRequest(tenant_id=TENANT_ID),
    Answer[VerificationResult]: _answer(
        VerificationResult(
            valid=False,
            checked_count=42,
            first_hash=sha256(b"first").hexdigest(),
            last_hash=_DIGEST,
            broken_at=17,
            message="The record at position 17 was altered: its body does not give its digest.",
        )
    ),
    JwkSet: JwkSet(keys=[Jwk(kty="OKP", crv="Ed25519", x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid=_KID)]),
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
