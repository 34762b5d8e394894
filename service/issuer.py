"""An issuer of tokens elsewhere: its keys, fetched and kept fresh, and what it calls the claims that count."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import ClientSession
from yarl import URL

from service.config import Config
from service.discovery import published
from service.fetch import open_session, reason
from service.jose import PublicKey, Token
from service.refusals import IssuerAway

FETCH_TIMEOUT_S = 5.0
FRESH_S = 600.0  # for so long keys are not fetched again, unless one is missing
AGAIN_S = 30.0  # for so long keys are not fetched again for a token, whatever is missing and whether or not they came
RETRY_S = 5.0  # for so long a failure is not tried again, and twice as long after each further one, up to AGAIN_S

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_issuer(config: Config) -> AsyncIterator["Issuer | None"]:
    """The issuer that *config* names, whose keys are kept fresh until the end; None where it names none."""
    if config.issuer is None and config.jwks_url is None:
        yield None
        return
    async with open_session(FETCH_TIMEOUT_S) as session:
        issuer = Issuer(
            session,
            name=config.issuer,
            jwks_url=config.jwks_url,
            tenant_claim=config.tenant_claim,
            role_claim=config.role_claim,
        )
        refreshing = asyncio.create_task(issuer.stay_fresh())
        try:
            yield issuer
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing
            await issuer.close()


class Issuer:
    """
    Whoever else signs tokens. One of `name` and `jwks_url` is needed.

    Args:
        session: what its keys are fetched with.
        name: what `iss` must be; None for any. Without `jwks_url`, the keys are where its discovery document says.
        jwks_url: where its keys are.
        tenant_claim: the claim that names the tenant: a name, or a path of names with dots between.
        role_claim: the claim that names the role, or several.
        clock: seconds that never go back.

    `keys` are those that are known; it is another tuple once they have changed.
    """

    def __init__(  # noqa: PLR0913 (what was configured)
        self,
        session: ClientSession,
        *,
        name: str | None,
        jwks_url: str | None,
        tenant_claim: str,
        role_claim: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.keys: tuple[PublicKey, ...] = ()
        self._session, self._jwks_url, self._clock = session, jwks_url, clock
        self._tenant_claim, self._role_claim = tenant_claim, role_claim
        self._asked, self._answered = -math.inf, False  # when keys were last asked for, and whether they came
        self._retry_s = 0.0  # for so long the last failure is not tried again
        self._renewing: asyncio.Task[None] | None = None

    def translated(self, claims: Mapping[str, Any], roles: tuple[str, ...]) -> dict[str, Any]:
        """
        *claims* with the tenant and the role under the names that they have here.

        Of a list of roles, the one that is among *roles* counts. Where there is none, or more than one, the role is
        empty, which permits nothing: a valid token of somebody with nothing to do here.
        """
        role = _claim(claims, self._role_claim)
        if isinstance(role, list):
            known = {entry for entry in role if entry in roles}
            role = known.pop() if len(known) == 1 else ""
        return {**claims, "tenant_id": _claim(claims, self._tenant_claim), "role": "" if role is None else role}

    async def signed(self, token: Token[Any]) -> bool:
        """
        Whether *token* was signed with one of the keys; they are fetched anew where it names another one.

        Raises:
            IssuerAway: none of the known keys is meant, and newer ones cannot be had.
        """
        meant = self._meant(token)
        # a failure counts too: whoever invents names must not knock more often at an issuer that is in trouble
        if not meant and (self._renewing is not None or self._clock() - self._asked >= AGAIN_S):
            await self.renew()
            meant = self._meant(token)
        if not meant and not self._answered:
            raise IssuerAway(headers={"Retry-After": str(math.ceil(max(1.0, self._due_s())))})
        # without a kid, only one can be meant (OpenID Connect Core section 10.1)
        return len(meant) == 1 and meant[0].proves(token)

    async def renew(self) -> None:
        """Fetch the keys, once for all who ask at the same time. Where that fails, those that are known stay."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
            self._renewing.add_done_callback(self._renewed)
        # who stops waiting stops nobody else
        await asyncio.shield(self._renewing)

    async def stay_fresh(self) -> None:
        """Renew the keys whenever they are due, for ever; failures sooner than any token can ask for it."""
        while True:
            if (wait_s := self._due_s()) > 0:
                # not longer: meanwhile they may be fetched for a token, and not come
                await asyncio.sleep(min(wait_s, RETRY_S))
            else:
                await self.renew()

    async def close(self) -> None:
        """End what is under way."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    def _due_s(self) -> float:
        """Seconds until the keys are to be renewed, whether or not anybody asks."""
        return self._asked + (FRESH_S if self._answered else self._retry_s) - self._clock()

    def _meant(self, token: Token[Any]) -> list[PublicKey]:
        return [key for key in self.keys if key.fits(token.header)]

    def _renewed(self, _: asyncio.Task[None]) -> None:
        self._renewing = None

    async def _renew(self) -> None:
        self._asked = self._clock()
        try:
            keys = await published(self._session, name=self.name, jwks_url=self._jwks_url)
        except Exception as error:  # noqa: BLE001 (whatever a stranger's answer leads to, known keys go on working)
            self._answered = False
            self._retry_s = min(max(RETRY_S, 2 * self._retry_s), AGAIN_S)
            _logger.warning("issuer_keys_not_fetched", extra={"host": self._host(), "reason": reason(error)})
            return
        self._answered, self._retry_s = True, 0.0
        if [key.jwk for key in keys] != [key.jwk for key in self.keys]:
            self.keys = keys
            _logger.info("issuer_keys_changed", extra={"host": self._host(), "keys": len(keys)})

    def _host(self) -> str | None:
        return URL(self._jwks_url or self.name or "").host


def _claim(claims: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 (a claim is any JSON)
    """The claim of this name; if there is none, the one that its dots lead to, None without one."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
