"""Where NATS is: its URL, taken apart, so that what is secret in it goes nowhere by accident."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from service.relay.publisher import CannotRelay

_PORT = 4222
_SCHEMES = ("nats", "tls")


@dataclass(frozen=True)
class Address:
    """A NATS server. `url` is without credentials; a user has a `password`, a `token` comes alone."""

    url: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether nothing may be said to this server in clear."""
        return self.url.startswith("tls:")

    @classmethod
    def of(cls, url: str) -> Self:
        """
        The server that *url* names: `nats://host`, or `tls://user:password@host:4222`, or `nats://token@host`.

        Raises:
            CannotRelay: it names none. The message does not quote it: what is wrong with it may be its password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORT
        except ValueError:
            raise _misnamed() from None
        if parts.scheme not in _SCHEMES or not parts.hostname or _has_more(parts):
            raise _misnamed()
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        server = f"{parts.scheme}://{host}:{port}"
        if parts.username is None:
            return cls(server)
        if parts.password is None:
            return cls(server, token=unquote(parts.username))
        return cls(server, user=unquote(parts.username), password=unquote(parts.password))


def _has_more(parts: SplitResult) -> bool:
    return bool(parts.path.strip("/") or parts.query or parts.fragment)


def _misnamed() -> CannotRelay:
    return CannotRelay(
        "the broker must be named by a URL such as nats://host:4222 or tls://user:password@host:4222 "
        "(what is special in a password is percent-encoded)"
    )
