"""Places that tenants share: one tenant, with however many callers, leaves some to the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Places:
    """
    Places that are taken at once, or not at all.

    Args:
        limit: of them all. A tenant may take no more places than are left free: one alone gets half of them, and
            however many it takes, others find some.
        least: a tenant may have this many, as long as any is left.
    """

    def __init__(self, limit: int, *, least: int = 1) -> None:
        self._limit = limit
        self._least = least
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def take(self, tenant_id: str) -> bool:
        """Take a place for *tenant_id*; False if it may not have one more."""
        left = self._limit - self._taken.total()
        if left <= 0 or self._taken[tenant_id] >= max(left, self._least):
            return False
        self._taken[tenant_id] += 1
        return True

    def leave(self, tenant_id: str) -> None:
        """Give a place back."""
        self._taken[tenant_id] -= 1
        if not self._taken[tenant_id]:
            del self._taken[tenant_id]


class QueuedPlaces:
    """
    Places that are waited for, in the order in which they were asked for.

    Args:
        limit: of them all.
        share: of one tenant. Who waits for his own tenant's place is in nobody else's way.
    """

    def __init__(self, limit: int, *, share: int) -> None:
        self._all = asyncio.Semaphore(limit)
        self._share = share
        # a tenant's own is there for as long as somebody has, or waits for, a place in it
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, tenant_id: str, *, wait_s: float) -> AsyncIterator[None]:
        """
        A place for *tenant_id*.

        Raises:
            TimeoutError: there was none within *wait_s*.
        """
        own = self._own.get(tenant_id)
        if own is None:
            own = self._own[tenant_id] = asyncio.Semaphore(self._share)
        places = (own, self._all)
        held = list[asyncio.Semaphore]()
        try:
            async with asyncio.timeout(wait_s):
                for semaphore in places:
                    await semaphore.acquire()
                    held.append(semaphore)
            yield
        finally:
            for semaphore in held:
                semaphore.release()
