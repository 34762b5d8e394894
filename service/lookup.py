"""
Clients by their ids, for all who ask: those who ask while a statement is on its way share the next one.

What a statement costs, on both sides, is the same for one client and for many. Whoever asks gets what was committed
when he did: his statement begins after that.
"""

import asyncio
from collections.abc import Sequence

import asyncpg

from events.database import borrowed
from events.errors import DatabaseAway
from projections import clients
from projections.clients import Client

_AT_ONCE = 2  # statements, so that one that is slow does not hold up everybody
_TOGETHER = 100  # clients that one statement reads

Key = tuple[str, str]


class Lookup:
    """
    Reads clients by tenant and id.

    Args:
        pool: at most _AT_ONCE of its connections are used.
        timeout_s: of one statement, the wait for its connection included.
    """

    def __init__(self, pool: asyncpg.Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._waiting: list[tuple[Key, asyncio.Future[Client | None]]] = []
        self._readers: set[asyncio.Task[None]] = set()

    async def find(self, tenant_id: str, client_id: str, *, limit_s: float) -> Client | None:
        """
        The client, deleted or not; None for one that never was.

        Raises:
            DatabaseAway: the database did not answer within *limit_s*.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Client | None] = loop.create_future()
        self._waiting.append(((tenant_id, client_id), answer))
        if sum(not reader.done() for reader in self._readers) < _AT_ONCE:  # one that has ended may not be out yet
            reader = loop.create_task(self._read())
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        too_late = loop.call_later(limit_s, _fail, answer)
        try:
            return await answer
        finally:
            too_late.cancel()

    async def close(self) -> None:
        """Answer all that wait; then no task is left."""
        while self._readers:
            await asyncio.wait(self._readers)

    async def _read(self) -> None:
        while self._waiting:
            asking, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            asking = [(key, answer) for key, answer in asking if not answer.done()]
            try:
                found = await self._load([key for key, _ in asking])
            except DatabaseAway as error:
                for _, answer in asking:
                    _fail(answer, error)
            except Exception as error:  # noqa: BLE001 (it goes to those who asked)
                for _, answer in asking:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for key, answer in asking:
                    if not answer.done():
                        answer.set_result(found.get(key))

    async def _load(self, keys: Sequence[Key]) -> dict[Key, Client]:
        if not keys:
            return {}
        async with borrowed(self._pool, self._timeout_s) as connection:
            return await clients.load(connection, set(keys))


def _fail(answer: asyncio.Future[Client | None], cause: DatabaseAway | None = None) -> None:
    if not answer.done():
        away = DatabaseAway()  # one for each: whoever raises it writes his own place into it
        away.__cause__ = cause
        answer.set_exception(away)
