"""
Key sets that clients publish: `jwks_uri`, fetched without being led into the network that this process runs in.

Whoever registers a client chooses the URL, so it is a stranger's. The address is checked where a socket is made for it,
after the name was resolved and whoever resolved it: between that check and the connection no name is looked up again.
"""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from ssl import SSLContext
from typing import NamedTuple

import msgspec
from aiohttp import AddrInfoType, ClientError, TCPConnector
from aiohttp.abc import AbstractResolver
from yarl import URL

from service.fairness import QueuedPlaces
from service.fetch import NotFetched, fetch, open_session, reason
from service.rules.jwks import LONGEST_SET, Jwk, jwks_faults
from service.rules.uris import is_public_address, key_set_faults

TIMEOUT_S = 3.0  # of one fetch, from looking the name up to the last byte
FRESH_S = 300.0  # for so long a set is not fetched again, unless it lacks a key
AGAIN_S = 30.0  # for so long a set is not fetched again whatever it lacks, and a failure not tried again
LIMIT = 256  # sets that are kept
AT_ONCE = 20  # fetches
SHARE = 5  # of them, for one tenant: whose hosts are slow keeps no other from his
WAIT_S = 3.0  # for one's turn

Key = tuple[str, str]
"""A tenant and a URL: what one tenant asks for, and when, is in no other's way."""

_logger = logging.getLogger(__name__)


class NotPublic(NotFetched, OSError):
    """A name led to an address that is not public."""


class _Kept(NamedTuple):
    """What is known of a URL: its keys as of `fetched`, and when they were last asked for (in the clock's seconds)."""

    keys: tuple[Jwk, ...]
    fetched: float
    asked: float

    def serves(self, kid: str | None, now: float) -> bool:
        has = kid is None or any(key.get("kid") == kid for key in self.keys)
        return now - self.asked < AGAIN_S or (now - self.fetched < FRESH_S and has)


class KeySets:
    """
    Fetches key sets and keeps them for a while. Made inside a running loop.

    Args:
        is_allowed: which addresses may be connected to. Another than the default is for tests.
        resolver: looks names up; the system's where none is given.
        ssl: what certificates are checked against; True for the system's authorities.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        is_allowed: Callable[[IPv4Address | IPv6Address], bool] = is_public_address,
        resolver: AbstractResolver | None = None,
        ssl: SSLContext | bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def connectable(info: AddrInfoType) -> socket.socket:
            family, kind, protocol, _, address = info
            if not is_allowed(ip_address(address[0])):
                raise NotPublic("an address that is not public")
            return socket.socket(family, kind, protocol)

        # no connection is used twice: each is checked when it is made
        connector = TCPConnector(
            socket_factory=connectable,
            resolver=resolver,
            ssl=ssl,
            limit=AT_ONCE,
            force_close=True,
            use_dns_cache=False,
        )
        self._session = open_session(TIMEOUT_S, connector)
        self._clock = clock
        self._places = QueuedPlaces(AT_ONCE, share=SHARE)
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._under_way: dict[Key, asyncio.Task[_Kept | None]] = {}

    async def keys(self, tenant_id: str, url: str, kid: str | None) -> tuple[Jwk, ...]:
        """
        The keys at *url*, none where they could not be had; fetched again if there is none with this *kid*.

        All who ask for a tenant while its fetch is under way share it.
        """
        key = (tenant_id, url)
        kept = self._kept.get(key)
        if kept is None or not kept.serves(kid, self._clock()):
            task = self._under_way.get(key)
            if task is None:
                task = self._under_way[key] = asyncio.create_task(self._in_turn(key))
                task.add_done_callback(lambda _: self._under_way.pop(key, None))
            renewed = await asyncio.shield(task)
            return () if renewed is None else renewed.keys
        self._kept.move_to_end(key)
        return kept.keys

    async def close(self) -> None:
        """End what is under way, and all connections."""
        for task in list(self._under_way.values()):
            task.cancel()
        await self._session.close()

    async def _in_turn(self, key: Key) -> _Kept | None:
        """The set, fetched in the tenant's turn. Where it does not come, nothing is known: None, which is not kept."""
        tenant_id, url = key
        try:
            async with self._places.place(tenant_id, wait_s=WAIT_S):
                return await self._renew(key)
        except TimeoutError:
            _logger.warning("key_set_not_fetched", extra={"host": _host(url), "reason": "too many fetches"})
            return None

    async def _renew(self, key: Key) -> _Kept:
        """Fetch the set, and keep it. Where that fails an older one stays for as long as it would have."""
        _, url = key
        now = self._clock()
        try:
            kept = _Kept(await self._fetch(url), now, now)
        except (NotFetched, ClientError, OSError, TimeoutError, ValueError) as error:
            # the host alone: the rest of a URL may hold what its owner keeps to itself
            _logger.warning("key_set_not_fetched", extra={"host": _host(url), "reason": reason(error)})
            before = self._kept.get(key)
            is_fresh = before is not None and now - before.fetched < FRESH_S
            kept = before._replace(asked=now) if before and is_fresh else _Kept((), now - FRESH_S, now)
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > LIMIT:
            self._kept.popitem(last=False)
        return kept

    async def _fetch(self, url: str) -> tuple[Jwk, ...]:
        """
        The keys at *url*, vetted like registered ones.

        Raises:
            NotFetched, ClientError, OSError, TimeoutError, ValueError: they could not be had.
        """
        if any(key_set_faults(url)):
            raise NotFetched("a URL that would not be registered")
        text = (await fetch(self._session, url, LONGEST_SET)).decode()
        # importing keys takes a while, and how many there are was not our choice
        if await asyncio.to_thread(lambda: any(jwks_faults(text))):
            raise NotFetched("no JWK Set that would be registered")
        return tuple(msgspec.json.decode(text)["keys"])


def _host(url: str) -> str | None:
    try:
        return URL(url).host
    except ValueError:
        return None
