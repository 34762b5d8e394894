"""
JWS in compact form (RFC 7515, RFC 8725): what one says of itself, and whether a key signed it.

A token is read as a claim that nobody proved, to find the key that can prove it. Which algorithms and types of tokens
are accepted is for whoever reads one to say, and never for the token.
"""

import warnings
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import DictKey, JWKRegistry, Key
from msgspec import UNSET, UnsetType

# Each algorithm with the type and the curve of its keys. Asymmetric ones only: no HMAC, no "none" (RFC 8725 sections
# 3.1 and 3.2). EdDSA is RFC 8037's name of what RFC 9864 calls Ed25519.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    **dict.fromkeys(("Ed25519", "EdDSA"), ("OKP", "Ed25519")),
}

_EDWARDS = ("Ed25519", "EdDSA")
_MATERIAL = ("kty", "n", "e", "crv", "x", "y")

T = TypeVar("T")


class NoToken(ValueError):
    """A text is no JWS that can be read. The message says why, and nothing of what it holds."""


class Header(msgspec.Struct, frozen=True):
    """What counts of a JOSE header."""

    alg: str
    kid: str | None = None
    typ: str = "JWT"
    crit: Any | UnsetType = UNSET

    @property
    def media_type(self) -> str:
        """`typ` in lower case, without the prefix that may be left out (RFC 7515 section 4.1.9)."""
        return self.typ.lower().removeprefix("application/")


class Token(NamedTuple, Generic[T]):
    """A JWS as it came, and what it says of itself. Nothing of it is proven."""

    text: str
    header: Header
    payload: bytes
    claims: T

    def __repr__(self) -> str:
        """Nothing: who reads a token in a log could be faster than its owner."""
        return "Token(...)"


def read(text: str, kind: type[T]) -> Token[T]:
    """
    The token that *text* is, with its claims as a *kind*.

    Raises:
        NoToken: it is no JWS in compact form, its claims are others, or it has an extension that must be understood.
    """
    try:
        found = jws.extract_compact(text.encode("ascii"), registry=_Registry())
        header = msgspec.convert(found.headers(), Header)
        claims = msgspec.json.decode(found.payload, type=kind)
    except (JoseError, ValueError, TypeError, RecursionError, msgspec.MsgspecError):
        raise NoToken("not readable") from None
    # not even one that the library understands (RFC 7515 section 4.1.11)
    if header.crit is not UNSET:
        raise NoToken("critical header")
    return Token(text, header, found.payload, claims)


class PublicKey:
    """
    A key that tokens are proven with. Importing it takes about a millisecond, and is put off until it has to be.

    Args:
        jwk: its public members; what it says of its use limits it to that (RFC 7517 section 4).
    """

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        self.jwk = dict(jwk)

    def fits(self, header: Header) -> bool:
        """Whether *header* can mean this key: by its `kid`, where it has one, and by what the key is for."""
        jwk, algorithm = self.jwk, header.alg
        meant = jwk.get("alg", algorithm)
        operations = jwk.get("key_ops", ("verify",))
        return (
            header.kid in (None, jwk.get("kid"))
            and (jwk.get("kty"), jwk.get("crv")) == ALGORITHMS.get(algorithm)
            and jwk.get("use", "sig") == "sig"
            and isinstance(operations, list | tuple)
            and "verify" in operations
            and (meant == algorithm or (meant in _EDWARDS and algorithm in _EDWARDS))
        )

    def proves(self, token: Token[Any]) -> bool:
        """Whether *token* was signed with this key, by the algorithm that its header was read to name."""
        if not self.fits(token.header):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA
                proven = jws.deserialize_compact(token.text, self._key, registry=_Registry([token.header.alg]))
        except (JoseError, ValueError, TypeError, KeyError):
            return False
        return proven.payload == token.payload

    @cached_property
    def _key(self) -> Key:
        # the material alone: what else a key says of itself is weighed in `fits`
        material = {name: self.jwk[name] for name in _MATERIAL if name in self.jwk}
        return JWKRegistry.import_key(cast("DictKey", material))


class _Registry(jws.JWSRegistry):
    """The library's checks, for signatures of the longest keys that service.rules.jwks lets in (16,384 bits)."""

    max_header_length = 8192  # no line of an HTTP header is longer
    max_signature_length = 2731

    def __init__(self, algorithms: Collection[str] = tuple(ALGORITHMS)) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)
