"""
private_key_jwt: a client proves who it is by a JWT that it signed (RFC 7523, OpenID Connect Core 1.0 section 9).

Everything but `spend` and `decoys` is pure. A JWT is first read as a claim that nobody proved (service.jose), to find
the client whose keys can prove it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

import msgspec
from joserfc.jwk import JWKRegistry
from msgspec import Meta

from events.log import Conn
from service import jose
from service.jose import ALGORITHMS, Header, NoToken, PublicKey, Token
from service.refusals import InvalidClient
from service.rules.jwks import RSA_BITS, Jwk

LONGEST_S = 3600  # from now to `exp`: for so long an id has to be remembered
SKEW_S = 60  # by which a client's clock may be ahead, or its assertion be older than the longest

# Whichever there are, unless a profile says less: FAPI 1.0 Advanced 8.6 and FAPI 2.0 Security Profile 5.4.1
PROFILED = {
    "fapi1_advanced": frozenset({"PS256", "ES256"}),
    "fapi2": frozenset({"PS256", "ES256", "Ed25519", "EdDSA"}),
}

_TYPES = frozenset({"", "jwt", "client-authentication+jwt"})


class Claims(msgspec.Struct, frozen=True):
    """The claims that count (RFC 7523 section 3); times in Unix seconds."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    jti: Annotated[str, Meta(min_length=1, max_length=255)]
    nbf: float | None = None
    iat: float | None = None


Assertion = Token[Claims]


def read(text: str) -> Assertion:
    """
    The assertion that *text* is.

    Raises:
        InvalidClient: it is no signed JWT in compact form, or lacks a claim that it needs.
    """
    try:
        return jose.read(text, Claims)
    except NoToken as error:
        raise InvalidClient(f"no assertion: {error}") from None


def registered(jwks: str) -> tuple[Jwk, ...]:
    """The keys of a JWK Set that was registered: its text was vetted then, if perhaps by older rules."""
    try:
        return tuple(key for key in msgspec.json.decode(jwks)["keys"] if isinstance(key, dict))
    except (msgspec.DecodeError, TypeError, KeyError):
        return ()


def check(assertion: Assertion, *, audiences: Iterable[str], now: datetime) -> None:
    """
    Whether *assertion* is one that some client could use at *now*, before any is looked for and anything is proven.

    Raises:
        InvalidClient: it is for somebody else, not valid now, valid for too long, or signed in a way that is accepted
            of nobody.
    """
    header, claims, time = assertion.header, assertion.claims, now.timestamp()
    heard = {claims.aud} if isinstance(claims.aud, str) else set(claims.aud)
    faults = {
        "algorithm not accepted": header.alg not in ALGORITHMS,
        "another type of JWT": header.media_type not in _TYPES,
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


def is_profiled(header: Header, fapi_profile: str | None) -> bool:
    """Whether the profile of a client accepts the algorithm that *header* names."""
    return header.alg in PROFILED.get(fapi_profile or "", ALGORITHMS)


def decoys() -> Mapping[str, Jwk]:
    """For each algorithm a public key that is nobody's, to try a signature with where there is no other."""
    made = {
        (kty, crv): JWKRegistry.generate_key(kty, crv or RSA_BITS[0], private=False).as_dict(private=False)
        for kty, crv in set(ALGORITHMS.values())
    }
    return {algorithm: made[kind] for algorithm, kind in ALGORITHMS.items()}


def unproven(assertion: Assertion, keys: Sequence[Jwk], decoys: Mapping[str, Jwk]) -> str | None:
    """
    Why *assertion* is not proven by the one of *keys* that fits; None if it is.

    That one is found by `kid`, or is the only one that can be meant (OIDC Core 10.1). Where none or several fit, one of
    *decoys* is tried in its place, for the same work, and whatever comes of it is not listened to.
    """
    header = assertion.header
    fitting = [key for key in map(PublicKey, keys) if key.fits(header)]
    is_one = len(fitting) == 1
    # made anew, as keys of clients are: importing it is part of the work
    tried = fitting[0] if is_one else PublicKey({**decoys[header.alg], "kid": header.kid})
    is_proven = tried.proves(assertion)
    if not is_one:
        return "several keys that fit" if fitting else "no key that fits"
    return None if is_proven else "wrong signature"


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
select $1, $2, $3, $4
where $5::boolean
on conflict (tenant_id, client_id, jti_digest) do nothing
returning true
"""


async def spend(conn: Conn, tenant_id: str, client_id: str, claims: Claims, *, is_proven: bool) -> bool:
    """
    Use the id of the client's assertion up: of any number of callers, in any process, one succeeds, and is told so.

    Where nothing was proven, the same statement uses nothing up.
    """
    digest = sha256(claims.jti.encode()).digest()
    expires_at = datetime.fromtimestamp(claims.exp, UTC)
    return bool(await conn.fetchval(_SPEND, tenant_id, client_id, digest, expires_at, is_proven))
