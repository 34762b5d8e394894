"""
What becomes of a record in a copy of its tenant. Pure.

URLs that begin as a rewrite says begin otherwise, at whole hosts and paths alone. Event ids are new, and so are those
of secrets, which are events' ids: each follows from the old one and the new tenant, so that what belongs together
still does.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, TypeVar

from msgspec import UNSET
from msgspec.structs import replace
from ulid import ULID

from events.client import (
    ClientCloned,
    ClientRegistered,
    ClientSettings,
    ClientUpdated,
    IssuedSecret,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
    SettingsChange,
)
from events.record import Happening
from events.tenant import Rewrite

_BEHIND = ("", "/", "?", "#")  # what may follow what is rewritten, or it is another host or path
_LISTS = ("redirect_uris", "cors_origins")
_URLS = ("jwks_uri", "logo_url", "website", "terms_url", "privacy_policy")

S = TypeVar("S", ClientSettings, SettingsChange)


class Rules(NamedTuple):
    """How a tenant is copied."""

    target: str
    rewrites: tuple[Rewrite, ...] = ()
    with_secrets: bool = False

    def event_id(self, old: str) -> str:
        """The id, in the copy, of the event with the id *old*: of the same time, and as random."""
        random = sha256(f"{self.target}\0{old}".encode()).digest()[:10]
        return str(ULID(ULID.from_str(old).bytes[:6] + random))

    def event(self, event: Happening) -> Happening | None:
        """*event* in the copy; None where it is only about secrets, and these are left behind."""
        match event:
            case ClientRegistered(settings=settings, secret=secret) | ClientCloned(settings=settings, secret=secret):
                return replace(event, settings=self._rewritten(settings), secret=self._secret(secret))
            case ClientUpdated(changed=changed):
                return replace(event, changed=self._rewritten(changed))
            case SecretAdded() | SecretRotated() | SecretDeactivated() | SecretDeleted() | SecretsErased():
                return self._about_secrets(event) if self.with_secrets else None
            case _:
                return event

    def _about_secrets(
        self, event: SecretAdded | SecretRotated | SecretDeactivated | SecretDeleted | SecretsErased
    ) -> Happening:
        match event:
            case SecretAdded(secret=secret, dropped=dropped):
                return replace(event, secret=self._issued(secret), dropped=self._ids(dropped))
            case SecretRotated(secret=secret, retired=retired, dropped=dropped):
                kept = retired and self.event_id(retired)
                return replace(event, secret=self._issued(secret), retired=kept, dropped=self._ids(dropped))
            case SecretDeactivated(secret_id=secret_id) | SecretDeleted(secret_id=secret_id):
                return replace(event, secret_id=self.event_id(secret_id))
            case SecretsErased(event_ids=event_ids):
                return replace(event, event_ids=self._ids(event_ids))

    def _secret(self, secret: IssuedSecret | None) -> IssuedSecret | None:
        return self._issued(secret) if secret is not None and self.with_secrets else None

    def _issued(self, secret: IssuedSecret) -> IssuedSecret:
        return replace(secret, secret_id=self.event_id(secret.secret_id))

    def _ids(self, old: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.event_id(one) for one in old)

    def _rewritten(self, settings: S) -> S:
        changes: dict[str, object] = {}
        for name in _LISTS:
            if (urls := getattr(settings, name)) is not UNSET:
                changes[name] = tuple(self.url(url) for url in urls)
        for name in _URLS:
            if (url := getattr(settings, name)) is not UNSET and url is not None:
                changes[name] = self.url(url)
        return replace(settings, **changes)

    def url(self, url: str) -> str:
        """*url* by the first rewrite that it begins as."""
        for rewrite in self.rewrites:
            if url.startswith(rewrite.old) and url[len(rewrite.old) :][:1] in _BEHIND:
                return rewrite.new + url[len(rewrite.old) :]
        return url
