"""
Following the log: a tenant's, or that of all of them.

Who follows has a position and asks for what comes after it. What it gets are records in their order without a gap, read
from the log; it is never told anything by the doorbell alone. Without a doorbell it still looks every POLL_S.

All who follow one tenant in a process share a `Tail`: new records are read and put into their form once, and the newest
are kept within a bound. Who is further behind than that reads from the database, a bounded piece at a time. So a reader
costs the same memory however slow it is.

Nobody who writes waits for those who read: telling them takes half of the process's time at most, and what comes
meanwhile is told together; and the more of them are far behind, the longer each waits for its next piece.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple

import asyncpg

from events import cloudevent, log
from events.database import borrowed
from events.doorbell import Doorbell
from events.errors import CursorAhead, LogDamaged
from events.log import Entry

POLL_S = 1.0
PIECE = 100  # records that are read at once for one follower
_PIECE_BYTES = 64 * 1024  # of what is handed to a follower at once, if it is more than one record
_KEPT_BYTES = 256 * 1024  # of a tail
_KEPT_IN_ALL_BYTES = 32 * 1024 * 1024
_TAILS_AT_ONCE = 100  # tenants whose news one statement reads
_TENANTS_AT_ONCE, _OF_EACH = 10, 20  # for a follower of all
_WOKEN_AT_ONCE = 5  # followers, before others have their turn
_STRETCH_S = 0.005  # of telling followers; then it rests for as long as that took
_BEHIND_S = 0.005  # between two pieces for those who are far behind, all of them together

_logger = logging.getLogger(__name__)


class Told(NamedTuple):
    """A record as followers are told it: a CloudEvent (see `events.cloudevent`)."""

    tenant_id: str
    position: int
    type: str
    event: bytes


def told(entry: Entry) -> Told:
    """*entry* in the form for followers."""
    kind, event = cloudevent.encode(entry)
    return Told(entry.tenant_id, entry.position, kind, event)


class Tail:
    """The end of a tenant's log, shared by all who follow it in this process. Made by `Feed.tail`."""

    def __init__(self, feed: "Feed", tenant_id: str, last: int) -> None:
        self.tenant_id = tenant_id
        self.last = last
        self.followers = 0
        self.piece = PIECE  # records that make a piece, if they are as large as those of late
        self._feed = feed
        self._recent: deque[Told] = deque()
        self._size = 0
        self._damage: LogDamaged | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    async def after(self, position: int, *, wait_s: float) -> Sequence[Told]:
        """
        The next records after *position*, nothing if there are none within *wait_s*.

        Raises:
            DatabaseAway: they could not be read now; ask again.
            LogDamaged: the log has a gap here.
        """
        if position >= self.last and self._damage is None:
            await self._news(wait_s)
        if self._damage is not None:
            raise self._damage
        if position >= self.last:
            return ()
        oldest = self._recent[0].position if self._recent else self.last + 1
        if position + 1 < oldest:
            return await self._feed.catch_up(self.tenant_id, position)
        return _piece(islice(self._recent, position + 1 - oldest, None))

    @property
    def is_damaged(self) -> bool:
        """Whether the log goes on behind `last` in a way that cannot be."""
        return self._damage is not None

    async def _news(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        news = loop.create_future()
        in_vain = loop.call_later(wait_s, _tell, news)  # a timeout would cost twice as much, of every follower
        self._waiting.add(news)
        try:
            await news
        finally:
            in_vain.cancel()
            self._waiting.discard(news)

    def extend(self, entries: Sequence[Entry], kept_bytes: int) -> None:
        """Add what was read after `last`; keep the newest, of *kept_bytes* at most."""
        try:
            news = list(_sound(self.last, entries))
        except LogDamaged as damage:
            self._damage = damage
            return
        self._recent.extend(news)
        self._size += sum(len(one.event) for one in news)
        while self._size > kept_bytes:
            self._size -= len(self._recent.popleft().event)
        self.last = news[-1].position

    async def wake(self) -> None:
        """Tell those who wait, some at a time: a thousand of them must not hold up everybody else."""
        waiting, self._waiting = self._waiting, set()
        for number, news in enumerate(waiting, 1):
            _tell(news)
            if number % _WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)


class Feed:
    """
    What is new in the log, for all who follow it in this process.

    Args:
        pool: connections of its own, so that followers take none from anybody.
        timeout_s: the longest that a follower waits for the database.
        poll_s: between two looks into the log without having heard the bell.
    """

    def __init__(self, pool: asyncpg.Pool, doorbell: Doorbell, *, timeout_s: float, poll_s: float = POLL_S) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._tails: dict[str, Tail] = {}
        self._due: dict[str, None] = {}  # in the order in which they became so: none is always behind others
        self._rung = asyncio.Event()
        self._anything = asyncio.Event()
        self._behind: Counter[str] = Counter()
        self.rings = 0

    async def run(self) -> None:
        """Read what is new until cancelled. A database that is away is asked again."""
        clock = asyncio.get_running_loop().time
        next_look = clock()
        with self._doorbell.heard_by(self._hear):
            while True:
                try:
                    if clock() >= next_look:
                        next_look = clock() + self._poll_s
                        await self._look()
                    await self._read_due()
                except Exception as error:
                    _logger.warning("feed_interrupted", exc_info=error)
                    await asyncio.sleep(POLL_S / 2)
                    continue
                await self._rest(next_look - clock())

    @asynccontextmanager
    async def tail(self, tenant_id: str, position: int) -> AsyncIterator[Tail]:
        """
        Follow *tenant_id*, beginning after *position*.

        Raises:
            CursorAhead: the log ends before *position*.
            DatabaseAway
        """
        tail = self._tails.get(tenant_id)
        if tail is None or position > tail.last:
            async with borrowed(self._pool, self._timeout_s) as connection:
                last = (await log.positions(connection, [tenant_id])).get(tenant_id, 0)
            if position > last:
                raise CursorAhead(f"the log ends at position {last}")
            tail = self._tails.setdefault(tenant_id, Tail(self, tenant_id, last))
        tail.followers += 1
        try:
            yield tail
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[tenant_id]

    async def read(self, tenant_id: str, position: int) -> Sequence[Told]:
        """
        Some of the records after *position*, from the log itself.

        Raises:
            DatabaseAway, LogDamaged
        """
        tail = self._tails.get(tenant_id)
        async with borrowed(self._pool, self._timeout_s) as connection:
            entries = await log.news(connection, {tenant_id: position}, limit=tail.piece if tail else PIECE)
        piece = _piece(_sound(position, entries.get(tenant_id, [])))
        if piece and tail:
            tail.piece = min(_PIECE_BYTES * len(piece) // sum(len(one.event) for one in piece) + 1, PIECE)
        return piece

    async def catch_up(self, tenant_id: str, position: int) -> Sequence[Told]:
        """
        As `read`, for a follower who is far behind. The more there are, the longer each waits; tenants share the turns.

        Raises:
            DatabaseAway, LogDamaged
        """
        self._behind[tenant_id] += 1
        try:
            await asyncio.sleep(self._behind[tenant_id] * len(self._behind) * _BEHIND_S)
            return await self.read(tenant_id, position)
        finally:
            self._behind[tenant_id] -= 1
            if not self._behind[tenant_id]:
                del self._behind[tenant_id]

    async def read_all(self, cursor: Mapping[str, int], since: str) -> Sequence[Told]:
        """
        Some of the records after *cursor*, of any tenant, in the tenants' order behind *since*.

        A tenant whose log is damaged keeps nobody from the others' records.

        Raises:
            DatabaseAway
            LogDamaged: there is news of such tenants alone.
        """
        async with borrowed(self._pool, self._timeout_s) as connection:
            found = await log.news_of_all(connection, cursor, since=since, tenants=_TENANTS_AT_ONCE, limit=_OF_EACH)
        news, damages = list[Told](), list[LogDamaged]()
        for tenant_id, entries in found.items():
            try:
                news += _sound(cursor.get(tenant_id, 0), entries)
            except LogDamaged as damage:
                damages.append(damage)
        if damages and not news:
            raise damages[0]
        return _piece(news)

    async def positions(self, *, limit: int) -> dict[str, int]:
        """
        Where the logs of all tenants end, those of *limit* tenants at most.

        Raises:
            DatabaseAway
        """
        async with borrowed(self._pool, self._timeout_s) as connection:
            return await log.all_positions(connection, limit=limit)

    async def anything(self, rings: int, *, wait_s: float) -> None:
        """
        Return when something may be new in any tenant since `rings` was *rings*, or after *wait_s*.

        That is at every look, at the latest.
        """
        if self.rings != rings:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._anything.wait()
        except TimeoutError:
            pass

    def _hear(self, tenants: Collection[str] | None) -> None:
        self._due |= dict.fromkeys(self._tails if tenants is None else self._tails.keys() & set(tenants))
        self._announce()

    def _announce(self) -> None:
        self.rings += 1
        self._rung.set()
        self._anything.set()
        self._anything.clear()

    async def _look(self) -> None:
        """The poll: whose log is longer than what was read of it?"""
        self._announce()
        if self._tails:
            async with borrowed(self._pool, self._timeout_s) as connection:
                positions = await log.positions(connection, self._tails)
            self._due |= {
                tenant_id: None
                for tenant_id, position in positions.items()
                if tenant_id in self._tails and position > self._tails[tenant_id].last
            }

    async def _read_due(self) -> None:
        """
        One piece of the news of those who are due. Not until none is: on a busy day that never comes.

        Telling the followers takes half of the time at most. The other half is for those who write; what comes
        meanwhile is told together.
        """
        tails = self._next()
        if not tails:
            return
        async with borrowed(self._pool, self._timeout_s) as connection:
            found = await log.news(connection, {tail.tenant_id: tail.last for tail in tails}, limit=PIECE)
        kept_bytes = min(_KEPT_BYTES, _KEPT_IN_ALL_BYTES // max(len(self._tails), 1))
        clock = asyncio.get_running_loop().time
        began = clock()
        for tail in tails:
            entries = found.get(tail.tenant_id)
            if not entries:
                continue
            tail.extend(entries, kept_bytes)
            if len(entries) == PIECE and not tail.is_damaged:
                self._due[tail.tenant_id] = None
            await tail.wake()
            if (took_s := clock() - began) >= _STRETCH_S:
                await asyncio.sleep(min(took_s, POLL_S))
                began = clock()
        await asyncio.sleep(min(clock() - began, POLL_S))

    def _next(self) -> list[Tail]:
        """Tails that are due; they are so no more."""
        due = [tenant_id for tenant_id in self._due if tenant_id in self._tails]
        self._due = dict.fromkeys(due[_TAILS_AT_ONCE:])
        return [self._tails[tenant_id] for tenant_id in due[:_TAILS_AT_ONCE]]

    async def _rest(self, look_s: float) -> None:
        """Until the bell rings or the next look is due, if nobody is due."""
        if self._due.keys() & self._tails.keys():
            return
        self._rung.clear()
        try:
            async with asyncio.timeout(max(look_s, 0)):
                await self._rung.wait()
        except TimeoutError:
            pass


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _sound(after: int, entries: Iterable[Entry]) -> Iterator[Told]:
    """
    *entries* as followers are told them, up to where they do not go on from position *after* without a gap.

    Raises:
        LogDamaged: that is at once.
    """
    for number, entry in enumerate(entries):
        try:
            log.require_next(after + number, entry)
            news = told(entry)
        except LogDamaged:
            if number:
                return
            raise
        yield news


def _piece(news: Iterable[Told]) -> list[Told]:
    """The first of *news*, as much as is handed over at once."""
    taken, size = list[Told](), 0
    for one in news:
        size += len(one.event)
        if taken and size > _PIECE_BYTES:
            break
        taken.append(one)
    return taken
