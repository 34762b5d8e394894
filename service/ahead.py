"""Credentials made ahead, while nobody needs a hash: who clones a client then waits for the commit alone."""

import asyncio
import logging
from collections import deque

from service.credentials import Credential, Hasher

_REST_S = 0.03  # after one was taken, for whoever took it
_AGAIN_S = 1.0  # after a hash that could not be made

_logger = logging.getLogger(__name__)


class Ahead:
    """
    Mints credentials, and keeps some ready.

    Each is handed out once, whatever becomes of whoever it was for. They are in this process's memory and nowhere else,
    and were made with *hasher*, whose parameters never change.

    Args:
        hasher: makes them.
        limit: how many are ready at most; 0 is none.
    """

    def __init__(self, hasher: Hasher, *, limit: int) -> None:
        self._hasher = hasher
        self._limit = limit
        self._ready = deque[Credential]()
        self._taken = asyncio.Event()

    @property
    def ready(self) -> int:
        """How many are ready."""
        return len(self._ready)

    async def mint(self, tenant_id: str) -> Credential:
        """
        A new credential for a client of *tenant_id*: one that is ready, or one that is made now.

        Raises:
            TooManyHashes: none is ready, and the line for a hash is full.
        """
        if not self._ready:
            return await self._hasher.mint(tenant_id)
        self._taken.set()
        return self._ready.popleft()

    async def run(self) -> None:
        """Make as many as may be ready, and new ones for those that are taken, until cancelled. None is ready then."""
        try:
            while True:
                self._taken.clear()
                while len(self._ready) < self._limit:
                    await self._make()
                await self._taken.wait()
                await asyncio.sleep(_REST_S)
        finally:
            self._ready.clear()

    async def _make(self) -> None:
        try:
            self._ready.append(await self._hasher.mint_when_idle())
        except Exception as error:  # no memory for it, or no thread; who needs one is told so himself
            _logger.warning("not_minted_ahead", exc_info=error)
            await asyncio.sleep(_AGAIN_S)
