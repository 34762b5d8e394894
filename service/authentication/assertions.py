"""
private_key_jwt: a client proves who it is by a JWT that it signed (RFC 7523, OpenID Connect Core 1.0 section 9).

Everything but `spend` is pure. A JWT is first read as a claim that nobody proved, to find the client whose keys can
prove it.
"""

import warnings
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, NamedTuple, cast

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import DictKey, JWKRegistry
from msgspec import UNSET, Meta, UnsetType

from events.log import Conn
from service.refusals import InvalidClient
from service.rules.jwks import Jwk

LONGEST_S = 3600  # from now to `exp`: for so long an id has to be remembered
SKEW_S = 60  # by which a client's clock may be ahead, or its assertion be older than the longest

# Each algorithm with the keys it fits. Asymmetric ones only: no HMAC, no "none" (RFC 8725 sections 3.1 and 3.2). EdDSA
# is RFC 8037's name of what RFC 9864 calls Ed25519.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    **dict.fromkeys(("Ed25519", "EdDSA"), ("OKP", "Ed25519")),
}
# FAPI 1.0 Advanced 8.6 and FAPI 2.0 Security Profile 5.4.1
PROFILED = {
    "fapi1_advanced": frozenset({"PS256", "ES256"}),
    "fapi2": frozenset({"PS256", "ES256", "Ed25519", "EdDSA"}),
}

_TYPES = frozenset({"", "jwt", "client-authentication+jwt"})
_EDWARDS = ("Ed25519", "EdDSA")
_MATERIAL = ("kty", "n", "e", "crv", "x", "y")


class Header(msgspec.Struct, frozen=True):
    """What counts of a JOSE header. An extension that must be understood (`crit`) is not."""

    alg: str
    kid: str | None = None
    typ: str = ""
    crit: Any | UnsetType = UNSET


class Claims(msgspec.Struct, frozen=True):
    """The claims that count (RFC 7523 section 3); times in Unix seconds."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    jti: Annotated[str, Meta(min_length=1, max_length=255)]
    nbf: float | None = None
    iat: float | None = None


class Assertion(NamedTuple):
    """A JWT as it came, and what it says of itself. Nothing of it is proven."""

    text: str
    header: Header
    payload: bytes
    claims: Claims

    def __repr__(self) -> str:
        """Nothing: who reads an assertion in a log could be faster than its client."""
        return "Assertion(...)"


def read(text: str) -> Assertion:
    """
    The assertion that *text* is.

    Raises:
        InvalidClient: it is no signed JWT in compact form, or lacks a claim that it needs.
    """
    try:
        header, payload, _ = (_octets(part) for part in text.split("."))
        return Assertion(
            text, msgspec.json.decode(header, type=Header), payload, msgspec.json.decode(payload, type=Claims)
        )
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise InvalidClient("no assertion") from None


def registered(jwks: str) -> tuple[Jwk, ...]:
    """The keys of a JWK Set that was registered: its text was vetted then, if perhaps by older rules."""
    try:
        return tuple(key for key in msgspec.json.decode(jwks)["keys"] if isinstance(key, dict))
    except (msgspec.DecodeError, TypeError, KeyError):
        return ()


def check(assertion: Assertion, *, audiences: Iterable[str], fapi_profile: str | None, now: datetime) -> None:
    """
    Whether *assertion* is one that its client may use at *now*, before anything is proven.

    Raises:
        InvalidClient: it is for somebody else, not valid now, valid for too long, or signed in a way that is not
            accepted.
    """
    header, claims, time = assertion.header, assertion.claims, now.timestamp()
    heard = {claims.aud} if isinstance(claims.aud, str) else set(claims.aud)
    faults = {
        "algorithm not accepted": header.alg not in PROFILED.get(fapi_profile or "", ALGORITHMS),
        "critical header": header.crit is not UNSET,
        "another type of JWT": header.typ.lower().removeprefix("application/") not in _TYPES,
        "iss is not sub": claims.iss != claims.sub,
        "another audience": heard.isdisjoint(audiences),
        "expired": claims.exp <= time,
        "valid for too long": claims.exp > time + LONGEST_S + SKEW_S,
        "not valid yet": claims.nbf is not None and claims.nbf > time + SKEW_S,
        "issued in the future": claims.iat is not None and claims.iat > time + SKEW_S,
        "issued too long ago": claims.iat is not None and claims.iat < time - LONGEST_S - SKEW_S,
    }
    for reason, is_so in faults.items():
        if is_so:
            raise InvalidClient(reason)


def prove(assertion: Assertion, keys: Sequence[Jwk]) -> None:
    """
    Check the signature with the one of *keys* that fits: by `kid`, or the only one that can be meant (OIDC Core 10.1).

    Raises:
        InvalidClient: none or several fit, or the signature is not that key's.
    """
    header = assertion.header
    fitting = [key for key in keys if _fits(key, header.alg) and header.kid in (None, key.get("kid"))]
    if len(fitting) != 1:
        raise InvalidClient("several keys that fit" if fitting else "no key that fits")
    # the material alone: what else a key says of itself was weighed above
    material = {name: fitting[0][name] for name in _MATERIAL if name in fitting[0]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA
            key = JWKRegistry.import_key(cast("DictKey", material))
            proven = jws.deserialize_compact(assertion.text, key, registry=_Registry([header.alg]))
    except (JoseError, ValueError, TypeError, KeyError):
        raise InvalidClient("wrong signature") from None
    if proven.payload != assertion.payload:
        raise InvalidClient("wrong payload")


# what expired long ago goes as new ones come; the margin is for clocks that disagree
_SPEND = """
with swept as (
    delete from assertions
    where tenant_id = $1 and (client_id, jti_digest) in (
        select client_id, jti_digest
        from assertions
        where tenant_id = $1 and expires_at < now() - interval '10 minutes'
        order by expires_at
        limit 100
        for update skip locked
    )
)
insert into assertions (tenant_id, client_id, jti_digest, expires_at)
values ($1, $2, $3, $4)
on conflict (tenant_id, client_id, jti_digest) do nothing
returning true
"""


async def spend(conn: Conn, tenant_id: str, claims: Claims) -> None:
    """
    Use the assertion's id up: of any number of callers, in any process, one succeeds.

    Raises:
        InvalidClient: it was used before.
    """
    digest = sha256(claims.jti.encode()).digest()
    expires_at = datetime.fromtimestamp(claims.exp, UTC)
    if not await conn.fetchval(_SPEND, tenant_id, claims.sub, digest, expires_at):
        raise InvalidClient("used before")


class _Registry(jws.JWSRegistry):
    """The library's checks, for signatures of the longest keys that service.rules.jwks lets in (16,384 bits)."""

    max_header_length = 4096
    max_signature_length = 2731

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)


def _fits(key: Jwk, algorithm: str) -> bool:
    """Whether *key* is meant for signatures of *algorithm*: by type and curve, `use`, `key_ops` and `alg`."""
    meant = key.get("alg", algorithm)
    return (
        (key.get("kty"), key.get("crv")) == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and "verify" in key.get("key_ops", ("verify",))
        and (meant == algorithm or (meant in _EDWARDS and algorithm in _EDWARDS))
    )


def _octets(part: str) -> bytes:
    """
    The octets of a base64url *part* (RFC 7515 section 2).

    Raises:
        ValueError: it is none.
    """
    if not part.isascii() or not part.replace("-", "A").replace("_", "A").isalnum():
        raise ValueError("not base64url")
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
