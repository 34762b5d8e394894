"""What one process of a consumer holds: its share of the tenants, each with a claim (see `events.checkpoints`)."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Collection

import asyncpg

from events import checkpoints
from events.database import borrowed
from events.errors import DatabaseAway

_LONGEST_REASON = 500  # characters of an error
_RETRY_S = 0.5  # between two questions to a database that is away

_logger = logging.getLogger(__name__)


class Share:
    """The tenants of one process of *consumer*. `claims` are those that it holds now."""

    def __init__(self, pool: asyncpg.Pool, consumer: str, *, timeout_s: float) -> None:
        self.claims: dict[str, checkpoints.Claim] = {}
        self._pool = pool
        self._consumer = consumer
        self._timeout_s = timeout_s
        self._member = secrets.token_hex(8)
        self._members = [self._member]
        self._parked: set[str] = set()

    def has(self, tenant_id: str) -> bool:
        """Whether *tenant_id* is ours and not parked, as far as we know who else is there."""
        return tenant_id not in self._parked and checkpoints.whose(tenant_id, self._members) == self._member

    async def divide(self, busy: Collection[str]) -> set[str]:
        """
        Say that we are there, take what has become ours, and give back what is others' now, unless it is *busy*.

        Returns those of ours that have news.

        Raises:
            DatabaseAway
        """
        place = f"{socket.gethostname()}:{os.getpid()}"
        async with borrowed(self._pool, self._timeout_s) as connection:
            self._members = await checkpoints.present(connection, self._consumer, self._member, place)
            lagging = await checkpoints.lagging(connection, self._consumer)
            self._parked = {tenant_id for tenant_id, epoch in lagging.items() if epoch is None}
            ours = {tenant_id for tenant_id in lagging if self.has(tenant_id)}
            for tenant_id in ours & self.claims.keys() - busy:
                if self.claims[tenant_id].epoch != lagging[tenant_id]:
                    del self.claims[tenant_id]  # it was reset, or somebody else had it meanwhile
            if new := ours - self.claims.keys():
                taken = await checkpoints.claim(connection, new, self._consumer, self._member, self._members)
                self.claims |= {claim.tenant_id: claim for claim in taken}
            gone = {tenant_id for tenant_id in self.claims.keys() - busy if not self.has(tenant_id)}
            # a claim whose answer was lost, or that was dropped, is in the table alone, and would keep others out
            await checkpoints.keep(connection, self._consumer, self._member, self.claims.keys() - gone)
            for tenant_id in gone:
                del self.claims[tenant_id]
        return ours & self.claims.keys()

    async def move(self, tenant_id: str, position: int) -> None:
        """
        Note that all up to *position* is done. A database that is away is told when it is back: it is done once.

        Raises:
            Fenced: the tenant is somebody else's by now, or this was noted although the database did not say so.
            DatabaseAway: this task shall end before the database is back.
        """
        while True:
            try:
                async with borrowed(self._pool, self._timeout_s) as connection:
                    claim = await checkpoints.move(connection, self._consumer, self.claims[tenant_id], position)
                break
            except DatabaseAway as away:
                if is_cancelled():
                    raise
                _logger.warning("not_noted", exc_info=away, extra={"consumer": self._consumer, "tenant": tenant_id})
            await asyncio.sleep(_RETRY_S)
        self.claims[tenant_id] = claim

    async def park(self, tenant_id: str, error: BaseException) -> None:
        """Stop with a tenant, with what went wrong."""
        reason = f"{type(error).__name__}: {error}".replace("\0", "")[:_LONGEST_REASON]
        claim = self.claims.pop(tenant_id)
        try:
            async with borrowed(self._pool, self._timeout_s) as connection:
                await checkpoints.park(connection, self._consumer, claim, reason)
        except DatabaseAway as away:
            # it is taken again, fails again, and is parked then
            _logger.warning("not_parked", exc_info=away, extra={"consumer": self._consumer, "tenant": tenant_id})

    async def leave(self) -> None:
        """Say that we are gone, so that nobody waits for us."""
        self.claims.clear()
        try:
            async with borrowed(self._pool, self._timeout_s) as connection:
                await checkpoints.leave(connection, self._consumer, self._member)
        except DatabaseAway as away:
            _logger.warning("left_unheard", exc_info=away, extra={"consumer": self._consumer})


def is_cancelled() -> bool:
    """Whether this task shall end. Where its connection is lost too, the driver's error may be all that it hears."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
