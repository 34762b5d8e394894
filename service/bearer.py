"""Who is calling: from a bearer token (RFC 6750) to a Caller."""

import json
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from service.refusals import InvalidToken, MalformedTenant, NotPermitted, OtherTenant, Unauthenticated

ISSUER = "mitosis"
CLAIM_LIMIT = 255  # characters
ADMINISTRATORS = frozenset({"admin", "super_admin"})
READERS = ADMINISTRATORS | {"auditor"}
ROLES = ("admin", "super_admin", "auditor", "service")

# Ed25519 is RFC 9864's name of what other libraries still sign as EdDSA
_ALGORITHMS = ["Ed25519", "EdDSA"]
TENANT_ID = r"[!-~]{1,128}"
_tenant_id = re.compile(TENANT_ID)


def is_tenant_id(text: str) -> bool:
    """Whether *text* can name a tenant: 1 to 128 printable ASCII characters without spaces."""
    return _tenant_id.fullmatch(text) is not None


class Caller(NamedTuple):
    """Who sends a request, and the tenant it acts in."""

    subject: str
    role: str
    tenant_id: str


class Claims(msgspec.Struct, frozen=True):
    """The claims that count. `aud` is one audience or several (RFC 7519 section 4.1.3)."""

    sub: str
    tenant_id: str
    role: str
    exp: float
    aud: str | list[str]
    iss: str
    nbf: float = 0


class Tokens:
    """
    Issues and reads the tokens of the local key.

    Args:
        key: an Ed25519 private key.
        audience: what `aud` must contain.
    """

    def __init__(self, key: OKPKey, audience: str) -> None:
        self._key = key
        self._audience = audience

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
        return jwt.encode(header, claims, self._key, algorithms=_ALGORITHMS)

    def claims(self, headers: Mapping[str, str]) -> Claims:
        """
        The claims of the token in the Authorization header.

        Raises:
            Unauthenticated: there is none.
            InvalidToken: it is not one of ours, not for us, not valid now, or its claims are not usable.
        """
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(headers={"WWW-Authenticate": 'Bearer realm="mitosis"'})
        claims = self._read(token.strip(" "))
        if claims is None:
            challenge = 'Bearer realm="mitosis", error="invalid_token", error_description="invalid or expired"'
            raise InvalidToken(headers={"WWW-Authenticate": challenge})
        return claims

    def _read(self, token: str) -> Claims | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                decoded = jwt.decode(token, self._key, algorithms=_ALGORITHMS)
            claims = msgspec.convert(decoded.claims, Claims)
        except (JoseError, ValueError, TypeError, RecursionError, json.JSONDecodeError):
            return None
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        now = datetime.now(UTC).timestamp()
        good = (
            claims.iss == ISSUER
            and self._audience in audiences
            and claims.nbf <= now < claims.exp
            and 0 < len(claims.sub) <= CLAIM_LIMIT
            and claims.sub.isprintable()
            and len(claims.role) <= CLAIM_LIMIT
            and is_tenant_id(claims.tenant_id)
        )
        return claims if good else None


def authorize(claims: Claims, roles: frozenset[str], tenant_id: str | None) -> Caller:
    """
    The caller, acting in *tenant_id* (what X-Tenant-ID names, None without it) or in its own tenant.

    Raises:
        NotPermitted: its role is none of *roles*; roles match exactly.
        OtherTenant: the tenant is another than its own, and it is no super_admin.
        MalformedTenant: *tenant_id* cannot be a tenant.
    """
    challenge = {"WWW-Authenticate": 'Bearer realm="mitosis", error="insufficient_scope"'}
    if claims.role not in roles:
        raise NotPermitted(headers=challenge)
    if tenant_id is None or tenant_id == claims.tenant_id:
        return Caller(claims.sub, claims.role, claims.tenant_id)
    if claims.role != "super_admin":
        raise OtherTenant(headers=challenge)
    if not is_tenant_id(tenant_id):
        raise MalformedTenant
    return Caller(claims.sub, claims.role, tenant_id)
