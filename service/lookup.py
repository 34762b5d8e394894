"""
Clients by their ids, for all who ask: those who ask while a statement is on its way share the next one.

What a statement costs, on both sides, is the same for one client and for many. Whoever asks gets what was committed
when he did: his statement begins after that.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import asyncpg

from events.database import borrowed
from events.errors import DatabaseAway
from projections import clients
from projections.clients import Client

_AT_ONCE = 2  # statements, so that one that is slow does not hold up everybody
_TOGETHER = 100  # clients that one statement reads

Key = tuple[str, str]


class _Asking(NamedTuple):
    """Who waits for a client, until when (in the loop's seconds)."""

    key: Key
    answer: "asyncio.Future[Client | None]"
    until: float


class Lookup:
    """
    Reads clients by tenant and id.

    Args:
        pool: at most _AT_ONCE of its connections are used.
        timeout_s: of one statement, the wait for its connection included; it ends when nobody waits for it any more.
    """

    def __init__(self, pool: asyncpg.Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._waiting: list[_Asking] = []
        self._readers: set[asyncio.Task[None]] = set()

    async def find(self, tenant_id: str, client_id: str, *, limit_s: float) -> Client | None:
        """
        The client, deleted or not; None for one that never was.

        Raises:
            DatabaseAway: the database did not answer within *limit_s*.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Client | None] = loop.create_future()
        self._waiting.append(_Asking((tenant_id, client_id), answer, loop.time() + limit_s))
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
            asking = [one for one in asking if not one.answer.done()]
            try:
                found = await self._load(asking)
            except DatabaseAway as error:
                for one in asking:
                    _fail(one.answer, error)
            except Exception as error:  # noqa: BLE001 (it goes to those who asked)
                await self._read_each(asking, error)
            else:
                for one in asking:
                    if not one.answer.done():
                        one.answer.set_result(found.get(one.key))

    async def _read_each(self, asking: list[_Asking], cause: Exception) -> None:
        """What could not be read together, one by one: a row that nobody can read is in nobody else's way."""
        by_key = defaultdict[Key, list[_Asking]](list)
        for one in asking:
            by_key[one.key].append(one)
        for key, waiting in by_key.items():
            found: Client | None = None
            failed: Exception | None = cause
            if len(by_key) > 1:
                try:
                    found, failed = (await self._load(waiting)).get(key), None
                except Exception as error:  # noqa: BLE001 (it goes to those who asked for this one)
                    failed = error
            for one in waiting:
                if failed is None and not one.answer.done():
                    one.answer.set_result(found)
                elif failed is not None:
                    _fail(one.answer, failed)

    async def _load(self, asking: Sequence[_Asking]) -> dict[Key, Client]:
        waiting = [one.until for one in asking if not one.answer.done()]
        if not waiting:
            return {}
        left_s = max(waiting) - asyncio.get_running_loop().time()
        if left_s <= 0:  # nothing was asked, so nothing is known: least of all that there is no such client
            raise DatabaseAway
        async with borrowed(self._pool, min(left_s, self._timeout_s)) as connection:
            return await clients.load(connection, {one.key for one in asking})


def _fail(answer: asyncio.Future[Client | None], cause: Exception | None = None) -> None:
    if answer.done():
        return
    # one for each: whoever raises it writes his own place into it
    error = DatabaseAway() if cause is None or isinstance(cause, DatabaseAway) else copy(cause)
    error.__cause__ = cause
    answer.set_exception(error)
