"""
Bearer tokens as JWS in compact form (RFC 7515, RFC 8725): what one says of itself, and whether a key signed it.

A token is read as a claim that nobody proved, to find the key that can prove it. Which algorithms are accepted is said
here and nowhere by a token, and each fits one type of key.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import DictKey, JWKRegistry, Key
from joserfc.jws import JWSRegistry
from msgspec import UNSET, UnsetType

from service.rules.jwks import BASE64URL

# with the type and the curve of their keys: no "none", no HMAC. EdDSA is what RFC 9864 calls Ed25519.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "PS256"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    **dict.fromkeys(("Ed25519", "EdDSA"), ("OKP", "Ed25519")),
}

_EDWARDS = ("Ed25519", "EdDSA")
_TYPES = frozenset({"jwt", "at+jwt"})  # an issuer signs more than that: logout tokens, client assertions
_MATERIAL = ("kty", "n", "e", "crv", "x", "y")


class NoToken(ValueError):
    """A text is no JWS of a kind that is accepted."""


class Header(msgspec.Struct, frozen=True):
    """What counts of a JOSE header."""

    alg: str
    kid: str | None = None
    typ: str = "JWT"
    crit: Any | UnsetType = UNSET


class Token(NamedTuple):
    """What a token says, as yet unproven; `signed` are the octets that `signature` is of."""

    header: Header
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read(text: str) -> Token:
    """
    The token that *text* is.

    Raises:
        NoToken: it is no JWS in compact form, of another type, or by an algorithm or with an extension that is not
            accepted.
    """
    try:
        signed, _, signature = text.rpartition(".")
        head, _, payload = signed.partition(".")
        header = msgspec.json.decode(_octets(head), type=Header)
        claims = msgspec.json.decode(_octets(payload), type=dict[str, Any])
        token = Token(header, claims, signed.encode("ascii"), _octets(signature))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise NoToken from None
    is_typed = header.typ.lower().removeprefix("application/") in _TYPES
    if header.alg not in ALGORITHMS or not is_typed or header.crit is not UNSET:
        raise NoToken
    return token


class PublicKey:
    """
    A key that tokens are verified with.

    Args:
        jwk: its public members; what it says of its use limits it to that (RFC 7517 section 4).

    Raises:
        JoseError, ValueError, TypeError, KeyError: it is no key.
    """

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        self.jwk = dict(jwk)
        # the material alone: what else a key says of itself is weighed here
        material = {name: jwk[name] for name in _MATERIAL if name in jwk}
        self._key: Key = JWKRegistry.import_key(cast("DictKey", material))

    def fits(self, header: Header) -> bool:
        """Whether *header* can mean this key: by its `kid`, where it has one, and by what the key is for."""
        jwk, algorithm = self.jwk, header.alg
        meant = jwk.get("alg", algorithm)
        operations = jwk.get("key_ops", ("verify",))
        return (
            header.kid in (None, jwk.get("kid"))
            and (jwk.get("kty"), jwk.get("crv")) == ALGORITHMS[algorithm]
            and jwk.get("use", "sig") == "sig"
            and isinstance(operations, list | tuple)
            and "verify" in operations
            and (meant == algorithm or (meant in _EDWARDS and algorithm in _EDWARDS))
        )

    def signed(self, token: Token) -> bool:
        """Whether *token* was signed with this key."""
        if not self.fits(token.header):
            return False
        try:
            # the algorithm is one of ours and fits the key; the library's own reading of headers adds nothing to that
            return JWSRegistry.algorithms[token.header.alg].verify(token.signed, token.signature, self._key)
        except (JoseError, ValueError):
            return False


def _octets(part: str) -> bytes:
    """
    The octets of a base64url *part* (RFC 7515 section 2).

    Raises:
        ValueError: it is none.
    """
    if not BASE64URL.issuperset(part):
        raise ValueError("not base64url")
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
