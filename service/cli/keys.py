"""The keys that signed heads are checked with."""

from pathlib import Path
from typing import Any

import msgspec

from events.errors import MitosisError
from service.config import Config
from service.jose import PublicKey
from service.signing import load_key


class NoKeys(MitosisError):
    """A file holds no keys. The message says which."""


def jwks(file: Path) -> list[dict[str, Any]]:
    """
    The keys in a JWK Set (RFC 7517).

    Raises:
        NoKeys
    """
    try:
        return [dict(jwk) for jwk in msgspec.json.decode(file.read_bytes())["keys"]]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise NoKeys(f"{file} is no JWK Set") from None


def own_key(config: Config) -> PublicKey:
    """The public half of the local signing key."""
    key = load_key(config.key_file)
    return PublicKey({**key.as_dict(private=False), "kid": key.thumbprint()})
