"""
Signed heads: what a tenant's log was at a time, in the service's own words.

A head is a JWS in compact form (RFC 7515) of the tenant, the position and the digest. Who keeps it can show later that
newer records were cut off, or older ones rewritten: a log that is the same still passes through it. Its `typ` is its
own, so that it is nowhere mistaken for a token.
"""

import warnings
from collections.abc import Iterable
from datetime import datetime

import msgspec
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from events.errors import MitosisError
from events.log import Head
from events.verification.fault import KeptHead
from service import jose
from service.jose import NoToken, PublicKey

TYPE = "mitosis-head+jws"
_ALGORITHM = "EdDSA"  # and not RFC 9864's Ed25519: more libraries know it, and auditors use what they have


class NoHead(MitosisError):
    """A text is no signed head, or nobody who is known has signed it. The message says which."""


class HeadClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a signed head says: `digest` in hexadecimal, and the `time` of the record at `position`."""

    tenant_id: str
    position: int
    digest: str
    time: datetime


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key (RFC 8037 section 2)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str = "sig"


class JwkSet(msgspec.Struct, frozen=True, kw_only=True):
    """A JWK Set (RFC 7517 section 5)."""

    keys: list[Jwk]


_encode = msgspec.json.Encoder().encode


class HeadSigner:
    """Signs heads with the service's key, and tells its public half."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key

    def sign(self, tenant_id: str, head: Head) -> str:
        """The signed head of *tenant_id*."""
        claims = HeadClaims(tenant_id=tenant_id, position=head.position, digest=head.digest.hex(), time=head.time)
        header = {"alg": _ALGORITHM, "kid": self._key.thumbprint(), "typ": TYPE}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the algorithm's name
            return jws.serialize_compact(header, _encode(claims), self._key, algorithms=[_ALGORITHM])

    def keys(self) -> JwkSet:
        """What heads can be checked with."""
        public = self._key.as_dict(private=False)
        key = Jwk(kty=str(public["kty"]), crv=str(public["crv"]), x=str(public["x"]), kid=self._key.thumbprint())
        return JwkSet(keys=[key])


def read(text: str, keys: Iterable[PublicKey], *, source: str) -> tuple[str, KeptHead]:
    """
    The tenant and the head that *text* says, once one of *keys* has proven it. *source* is where it was kept.

    Raises:
        NoHead
    """
    try:
        token = jose.read(text.strip(), HeadClaims)
        digest = bytes.fromhex(token.claims.digest)
    except (NoToken, ValueError):
        raise NoHead(f"{source} is no signed head") from None
    if token.header.typ != TYPE or len(digest) != 32 or token.claims.position < 0:  # noqa: PLR2004 (bytes of SHA-256)
        raise NoHead(f"{source} is no signed head")
    if token.header.alg not in ("EdDSA", "Ed25519") or not any(key.proves(token) for key in keys):
        raise NoHead(f"{source} is signed with no key that is known")
    return token.claims.tenant_id, KeptHead(token.claims.position, digest, source)
