"""Who goes through the records: of one tenant, or of all of them, from a place that has an id."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from events.errors import CursorAhead
from events.feed import Feed, Tail, Told
from service.audit import cursor
from service.naming import ALL

_TENANTS_LIMIT = 5000  # more than a cursor holds
_BEGINNING = ("", "0")
_REST_S = 0.05  # between two pieces for a follower of all tenants


class CursorOverflow(Exception):
    """There are more tenants than the id can name."""


class Reader(Protocol):
    """Goes through records in order. What it read is read again until it was `passed`."""

    @property
    def id(self) -> str:
        """
        The place behind the last record that was passed.

        Raises:
            CursorOverflow
        """
        ...

    @property
    def behind(self) -> int:
        """How many records behind that place this process knows of."""
        ...

    async def next(self) -> Sequence[Told]:
        """
        Some of the records behind that place, as the log has them now; nothing where it ends.

        Raises:
            DatabaseAway, LogDamaged
        """
        ...

    async def wait(self, wait_s: float) -> Sequence[Told]:
        """As `next`, but nothing is the answer only after *wait_s*."""
        ...

    def passed(self, one: Told) -> None:
        """*one* was dealt with."""
        ...


class OneTenant:
    """Reads a tenant's log. The id is the position."""

    def __init__(self, feed: Feed, tail: Tail, position: int) -> None:
        self._feed = feed
        self._tail = tail
        self._position = position

    @property
    def id(self) -> str:
        """The position of the last record."""
        return str(self._position)

    @property
    def behind(self) -> int:
        """As many as the tail is longer."""
        return max(self._tail.last - self._position, 0)

    async def next(self) -> Sequence[Told]:
        """From the log itself: a tail may be a moment behind it."""
        return await self._feed.read(self._tail.tenant_id, self._position)

    async def wait(self, wait_s: float) -> Sequence[Told]:
        """What all who follow this tenant share."""
        return await self._tail.after(self._position, wait_s=wait_s)

    def passed(self, one: Told) -> None:
        """Go on from *one*."""
        self._position = one.position


class AllTenants:
    """Reads the logs of all tenants, each in its order. The id is a cursor (see `service.audit.cursor`)."""

    def __init__(self, feed: Feed, positions: dict[str, int], since: str) -> None:
        self._feed = feed
        self._positions = positions
        self._since = since

    @property
    def id(self) -> str:
        """The positions in all tenants."""
        packed = cursor.pack(self._positions, self._since)
        if len(packed) > cursor.LONGEST:
            raise CursorOverflow
        return packed

    @property
    def behind(self) -> int:
        """None: where all logs end nobody here knows."""
        return 0

    async def next(self) -> Sequence[Told]:
        """Of the next tenants that have some."""
        return await self._feed.read_all(self._positions, self._since)

    async def wait(self, wait_s: float) -> Sequence[Told]:
        """Of the next tenants that have some."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        await asyncio.sleep(_REST_S)
        while True:
            rings = self._feed.rings
            found = await self.next()
            left_s = until - loop.time()
            if found or left_s <= 0:
                return found
            await self._feed.anything(rings, wait_s=left_s)

    def passed(self, one: Told) -> None:
        """Go on from *one*."""
        self._positions[one.tenant_id] = one.position
        self._since = one.tenant_id


@asynccontextmanager
async def reading(feed: Feed, tenant_id: str, after: str) -> AsyncIterator[Reader]:
    """
    A reader of *tenant_id*, or of ALL, that begins behind the id *after*; empty or 0 is the beginning.

    Raises:
        ValueError: *after* is no such id.
        CursorAhead: the log ends before it.
        CursorOverflow, DatabaseAway
    """
    if tenant_id == ALL:
        positions, since = ({}, "") if after in _BEGINNING else cursor.unpack(after)
        reached = await feed.positions(limit=_TENANTS_LIMIT)
        if len(cursor.pack(reached | positions, since)) > cursor.LONGEST:
            raise CursorOverflow
        if any(position > reached.get(tenant, 0) for tenant, position in positions.items()):
            raise CursorAhead
        yield AllTenants(feed, positions, since)
        return
    position = position_of(after)
    async with feed.tail(tenant_id, position) as tail:
        yield OneTenant(feed, tail, position)


def position_of(text: str) -> int:
    """
    The position that *text* says, 0 where it is empty.

    Raises:
        ValueError: it says none.
    """
    if text and not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 (digits of a bigint)
        raise ValueError("no position")
    return int(text or 0)
