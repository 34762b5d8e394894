"""
Who a client is: from what it presented at a token endpoint to the client, or to a refusal that tells nobody why.

Presenting a secret costs the same whatever is wrong with it: one statement and, unless it was right a moment ago, one
hash; a second one only where two of the client's secrets end in the same four characters.

So does an assertion that somebody could have signed: two statements and one signature, looked at before the client is.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import asyncpg

from events.database import borrowed
from projections import sealed
from projections.clients import Client, Secret
from service import fields
from service.authentication import assertions
from service.authentication.fetching import KeySets
from service.authentication.remembered import Remembered
from service.authentication.usage import Usage
from service.credentials import Hasher, is_well_formed
from service.refusals import InvalidClient, MovedAway, TakesNoChanges
from service.rules.jwks import Jwk

Method = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]

MOST_HASHES = 2  # that one request can cause, though a client may have three secrets

_client_id = re.compile(fields.CLIENT_ID)


class Authenticated(NamedTuple):
    """A client that proved to be itself, how it did, and with which of its secrets."""

    client: Client
    method: Method
    secret_id: str | None = None


class Authenticator:
    """
    Authenticates the clients of all tenants.

    Args:
        pool: where clients are read and assertions are used up. No connection is held while a hash or a fetch runs.
        timeout_s: for so long one request waits for the database, in all.
    """

    def __init__(  # noqa: PLR0913 (what it works with)
        self,
        pool: asyncpg.Pool,
        *,
        timeout_s: float,
        hasher: Hasher,
        usage: Usage,
        key_sets: KeySets,
        remembered: Remembered,
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._hasher = hasher
        self._usage = usage
        self._key_sets = key_sets
        self._remembered = remembered
        self._decoys = assertions.decoys()

    async def by_secret(self, tenant_id: str, method: Method, client_id: str, secret: str) -> Authenticated:
        """
        The client of this tenant and id, which presented *secret* by *method*.

        Raises:
            InvalidClient: it does not exist, may not be used, may not use this method, or the secret is none of its.
            TooManyHashes: too many are waiting to be checked.
            MovedAway, TakesNoChanges: the tenant is elsewhere now, or not here yet.
            DatabaseAway
        """
        last_four = secret[-4:] if is_well_formed(secret) else ""
        client, hashes = await self._load(tenant_id, _named(client_id), last_four)
        reason = _obstacle(client, method)
        candidates = _candidates(client, last_four)
        # where something else is in the way the price is the full one: it must not tell that the secret was right
        known = self._recall(tenant_id, client_id, candidates, secret) if reason is None else None
        match = known if known is not None else await self._match(tenant_id, candidates, hashes, secret)
        if client is None or reason is not None or match is None:
            raise InvalidClient(reason or "wrong secret")
        if known is None:
            self._remembered.add(tenant_id, client_id, match.secret_id, secret)
        self._usage.note(tenant_id, client_id, match.secret_id)
        return Authenticated(client, method, match.secret_id)

    async def by_assertion(
        self, tenant_id: str, text: str, *, audiences: Sequence[str], client_id: str | None
    ) -> Authenticated:
        """
        The client of this tenant that the JWT in *text* is from.

        What could be nobody's assertion is refused at once. For any other the work is the same whoever it is from, with
        one difference: the keys of a client that may be used, and publishes them, are fetched if they are not known.

        Args:
            tenant_id: whose clients are looked among.
            text: the assertion, in compact form.
            audiences: the names of whom it may be for; one is enough.
            client_id: who was said to send it, None where nothing was said.

        Raises:
            InvalidClient: as `by_secret`; or it proves nothing, or was used before.
            MovedAway, TakesNoChanges: as `by_secret`.
            DatabaseAway
        """
        method: Method = "private_key_jwt"
        assertion = assertions.read(text)
        claims = assertion.claims
        if client_id not in (None, claims.sub):
            raise InvalidClient("client_id is not sub")
        assertions.check(assertion, audiences=audiences, now=datetime.now(UTC))
        named, loop = _named(claims.sub), asyncio.get_running_loop()
        began = loop.time()
        client, _ = await self._load(tenant_id, named, "")
        # one limit for both statements; a fetch between them has its own
        left_s = self._timeout_s - (loop.time() - began)
        obstacle = _obstacle(client, method)
        if client is not None and not assertions.is_profiled(assertion.header, client.settings.fapi_profile):
            obstacle = obstacle or "algorithm not accepted"
        keys = await self._keys(client, assertion.header.kid, may_fetch=obstacle is None)
        unproven = assertions.unproven(assertion, keys, self._decoys)
        reason = obstacle or unproven
        async with borrowed(self._pool, left_s) as connection:
            is_first = await assertions.spend(connection, tenant_id, named, claims, is_proven=reason is None)
        if client is None or reason is not None or not is_first:
            raise InvalidClient(reason or "used before")
        return Authenticated(client, method)

    async def _load(self, tenant_id: str, named: str, last_four: str) -> tuple[Client | None, Mapping[str, str]]:
        """The client as it is now. Where the tenant is not, or is not yet, a secret may be good that was revoked."""
        async with borrowed(self._pool, self._timeout_s) as connection:
            found = await sealed.load(connection, tenant_id, named, last_four)
        if found.tenant_state == "moved":
            raise MovedAway(found.moved_to)
        if found.tenant_state == "arriving":
            raise TakesNoChanges
        return found.client, found.hashes

    async def _keys(self, client: Client | None, kid: str | None, *, may_fetch: bool) -> Sequence[Jwk]:
        """The keys of *client*, as far as they are known or may be fetched."""
        if client is None:
            return ()
        settings = client.settings
        if settings.jwks is not None:
            return assertions.registered(settings.jwks)
        if not settings.jwks_uri or not may_fetch:
            return ()
        return await self._key_sets.keys(client.tenant_id, settings.jwks_uri, kid)

    def _recall(self, tenant_id: str, client_id: str, candidates: Iterable[Secret], secret: str) -> Secret | None:
        """The one of *candidates* that *secret* was found to be a moment ago."""
        for candidate in candidates:
            if self._remembered.holds(tenant_id, client_id, candidate.secret_id, secret):
                return candidate
        return None

    async def _match(
        self, tenant_id: str, candidates: Sequence[Secret], hashes: Mapping[str, str], secret: str
    ) -> Secret | None:
        """The one of *candidates* that *secret* is; where there is none, None after the same work."""
        if not candidates:
            await self._hasher.verify(tenant_id, None, secret)
        for candidate in candidates:
            if await self._hasher.verify(tenant_id, hashes.get(candidate.secret_id), secret):
                return candidate
        return None


def _named(client_id: str) -> str:
    """*client_id*; for what cannot be one, an id that nobody has: the work is the same."""
    return client_id if _client_id.fullmatch(client_id) else ""


def _obstacle(client: Client | None, method: Method) -> str | None:
    """Why nobody is *client* by *method*, whatever is presented; None where nothing is in the way."""
    if client is None:
        return "unknown client"
    if client.deleted_at is not None:
        return "deleted client"
    if client.status != "active":
        return f"{client.status} client"
    return None if method in client.settings.client_auth_methods else "method not registered"


def _candidates(client: Client | None, last_four: str) -> list[Secret]:
    """Those of the client's secrets that one ending in *last_four* may be, the newest first."""
    if client is None:
        return []
    now = datetime.now(UTC)
    usable = [secret for secret in client.secrets if secret.is_usable(now) and secret.last_four == last_four]
    return usable[::-1][:MOST_HASHES]
