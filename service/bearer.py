"""Who is calling: from a bearer token (RFC 6750) to a Caller."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from joserfc import jwt
from joserfc.jwk import OKPKey

from service import jose
from service.issuer import Issuer
from service.jose import Header, NoToken, PublicKey
from service.naming import is_tenant_id
from service.refusals import InvalidToken, MalformedTenant, NotPermitted, OtherTenant, Unauthenticated

ISSUER = "mitosis"
CLAIM_LIMIT = 255  # characters
ADMINISTRATORS = frozenset({"admin", "super_admin"})
READERS = ADMINISTRATORS | {"auditor"}
ROLES = ("admin", "super_admin", "auditor", "service")

SKEW_S = 60  # by which an issuer's clock may be ahead
PROVEN_LIMIT = 10_000  # tokens
ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA"})
TYPES = frozenset({"jwt", "at+jwt"})  # an issuer signs more than that: logout tokens, client assertions
_INSUFFICIENT = {"WWW-Authenticate": 'Bearer realm="mitosis", error="insufficient_scope"'}  # RFC 6750 section 3.1


class Caller(NamedTuple):
    """Who sends a request, the tenant it acts in, and until when its token is good (Unix seconds)."""

    subject: str
    role: str
    tenant_id: str
    expires_at: float


class Claims(msgspec.Struct, frozen=True):
    """The claims that count. `aud` is one audience or several (RFC 7519 section 4.1.3)."""

    sub: str
    tenant_id: str
    role: str
    exp: float
    aud: str | list[str]
    nbf: float = 0


class Tokens:
    """
    Issues tokens with the local key; reads those, and an issuer's.

    Which of the two a token is from is what its `iss` says, and then nobody else's key can prove it.

    Args:
        key: an Ed25519 private key.
        audience: what `aud` must contain.
        issuer: whose tokens are good besides.
    """

    def __init__(self, key: OKPKey, audience: str, issuer: Issuer | None = None) -> None:
        self._key = key
        self._public = PublicKey({**key.as_dict(private=False), "kid": key.thumbprint()})
        self._audience = audience
        self._issuer = issuer
        self._proven: OrderedDict[bytes, Claims] = OrderedDict()
        self._proven_with = issuer and issuer.keys

    def issue(self, *, subject: str, tenant_id: str, role: str, ttl_s: float) -> str:
        """A token for *subject* that is good for *ttl_s* seconds from now."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": self._audience,
            "sub": subject,
            "tenant_id": tenant_id,
            "role": role,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=ttl_s)).timestamp()),
        }
        header = {"alg": "Ed25519", "typ": "JWT", "kid": self._key.thumbprint()}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])

    async def claims(self, headers: Mapping[str, str]) -> Claims:
        """
        The claims of the token in the Authorization header.

        Raises:
            Unauthenticated: there is none.
            InvalidToken: it is from nobody we know, not for us, not valid now, or its claims are not usable.
            IssuerAway: it seems to be from the issuer, whose keys cannot be had.
        """
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(headers={"WWW-Authenticate": 'Bearer realm="mitosis"'})
        claims = await self._remembered(token.strip(" "))
        if claims is None or not _is_valid_now(claims):
            challenge = 'Bearer realm="mitosis", error="invalid_token", error_description="invalid or expired"'
            raise InvalidToken(headers={"WWW-Authenticate": challenge})
        return claims

    async def _remembered(self, text: str) -> Claims | None:
        """As `_read`. A token that was proven is not proven again: that costs more than all the rest."""
        digest = sha256(text.encode(errors="surrogateescape")).digest()
        claims = self._known().get(digest)
        if claims is None:
            claims = await self._read(text)
            # no key can change between the proof and this: nothing is awaited
            if claims is not None:
                known = self._known()
                known[digest] = claims
                if len(known) > PROVEN_LIMIT:
                    known.popitem(last=False)
        return claims

    def _known(self) -> OrderedDict[bytes, Claims]:
        """The tokens that were proven with today's keys, by the SHA-256 of each."""
        if self._issuer is not None and self._issuer.keys is not self._proven_with:
            self._proven_with = self._issuer.keys
            self._proven.clear()
        return self._proven

    async def _read(self, text: str) -> Claims | None:
        """The claims of a token that is proven, for us and valid now; its key is looked for last."""
        try:
            token = jose.read(text, dict[str, Any])
        except NoToken:
            return None
        if not _is_accepted(token.header):
            return None
        if token.claims.get("iss") == ISSUER:
            claims = self._usable(token.claims)
            return claims if claims is not None and self._public.proves(token) else None
        issuer = self._issuer
        if issuer is None or issuer.name not in (None, token.claims.get("iss")):
            return None
        claims = self._usable(issuer.translated(token.claims, ROLES), skew_s=SKEW_S)
        return claims if claims is not None and await issuer.signed(token) else None

    def _usable(self, given: Mapping[str, Any], *, skew_s: float = 0) -> Claims | None:
        try:
            claims = msgspec.convert(given, Claims)
        except (msgspec.ValidationError, ValueError):
            return None
        claims = msgspec.structs.replace(claims, nbf=claims.nbf - skew_s)
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        good = (
            self._audience in audiences
            and _is_valid_now(claims)
            and 0 < len(claims.sub) <= CLAIM_LIMIT
            and claims.sub.isprintable()
            and len(claims.role) <= CLAIM_LIMIT
            and is_tenant_id(claims.tenant_id)
        )
        return claims if good else None


def _is_accepted(header: Header) -> bool:
    return header.alg in ALGORITHMS and header.media_type in TYPES


def _is_valid_now(claims: Claims) -> bool:
    return claims.nbf <= datetime.now(UTC).timestamp() < claims.exp


def authorize(claims: Claims, roles: frozenset[str], tenant_id: str | None) -> Caller:
    """
    The caller, acting in *tenant_id* (what X-Tenant-ID names, None without it) or in its own tenant.

    Raises:
        NotPermitted: its role is none of *roles*; roles match exactly.
        OtherTenant: the tenant is another than its own, and it is no super_admin.
        MalformedTenant: *tenant_id* cannot be a tenant.
    """
    if claims.role not in roles:
        raise NotPermitted(headers=_INSUFFICIENT)
    if tenant_id is None or tenant_id == claims.tenant_id:
        return Caller(claims.sub, claims.role, claims.tenant_id, claims.exp)
    if claims.role != "super_admin":
        raise OtherTenant(headers=_INSUFFICIENT)
    if not is_tenant_id(tenant_id):
        raise MalformedTenant
    return Caller(claims.sub, claims.role, tenant_id, claims.exp)


def reach(caller: Caller, tenant_id: str) -> str:
    """
    *tenant_id*, where *caller* may look into it: its own tenant or, for a super_admin, any.

    Raises:
        OtherTenant
    """
    if tenant_id != caller.tenant_id and caller.role != "super_admin":
        raise OtherTenant(headers=_INSUFFICIENT)
    return tenant_id
