"""
The doorbell: who follows the log is told that there is news, and of which tenants, once it is committed.

It is no more than that. What is told may be lost, come late or twice: whoever hears it reads the log, and looks into
the log every now and then without having heard anything. So a line that is dead costs time and never a record.

Inside this process the bell is heard at once. To others it goes as NOTIFY, after the commit and outside of its
transaction, on a connection that does nothing else; while one NOTIFY is on its way, the next tenants gather.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

import asyncpg
import msgspec

from events.log import Conn

CHANNEL = "mitosis_news"
_PAYLOAD_LIMIT = 7900  # bytes; PostgreSQL takes 7,999
_GATHERED_LIMIT = 10_000  # tenants; whoever is not told looks by himself
_SOUND_S = 10.0  # after so long without a word the line is tried
_MEND_S = 0.5  # between two tries to get a line

_logger = logging.getLogger(__name__)

Listener = Callable[[Collection[str] | None], None]


class Doorbell:
    """
    Rings for tenants, and tells its listeners who was rung for.

    Args:
        pool: one connection of it is kept as the line.
        timeout_s: whatever the line does not answer within this, it is dead.
    """

    def __init__(self, pool: asyncpg.Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._listeners: set[Listener] = set()
        self._gathered: set[str] = set()
        self._rung = asyncio.Event()

    def ring(self, tenants: Iterable[str]) -> None:
        """There is news of *tenants*: it is committed. Never waits, never fails."""
        rung = set(tenants)
        if len(self._gathered) < _GATHERED_LIMIT:
            self._gathered |= rung
        self._rung.set()
        self._tell(rung)

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Tell *listener* the tenants of each ring, or None where it may have missed some."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Keep a line until cancelled. One that is lost is mended, and missed rings are made up for."""
        while True:
            try:
                await self._hold()
            except Exception as error:
                _logger.warning("doorbell_line_lost", exc_info=error)
            self._gathered.clear()
            await asyncio.sleep(_MEND_S)

    async def _hold(self) -> None:
        async with self._pool.acquire(timeout=self._timeout_s) as line:
            try:
                line.add_termination_listener(self._wake)
                await self._answered(line, line.add_listener(CHANNEL, self._hear))
                self._tell(None)
                while not line.is_closed():
                    await self._pass_on(line)
            finally:
                # given back, it would go on listening; one that is lost is the pool's already, which the driver says by
                # an error that would take the place of a cancellation
                with suppress(asyncpg.InterfaceError):
                    line.terminate()

    async def _pass_on(self, line: Conn) -> None:
        """The next NOTIFY, or a sign of life when there was none for long."""
        try:
            async with asyncio.timeout(_SOUND_S):
                await self._rung.wait()
        except TimeoutError:
            await self._answered(line, line.execute("select"))
            return
        self._rung.clear()
        rung, self._gathered = self._gathered, set()
        for payload in _payloads(rung):
            await self._answered(line, line.execute("select pg_notify($1, $2)", CHANNEL, payload))

    async def _answered(self, line: Conn, question: "asyncio.Future[None] | object") -> None:
        cut = asyncio.get_running_loop().call_later(self._timeout_s, line.terminate)
        try:
            await question  # type: ignore[misc]  # a coroutine of the driver's
        finally:
            cut.cancel()

    def _wake(self, _line: object) -> None:
        self._rung.set()

    def _hear(self, line: Conn, pid: int, _channel: str, payload: object) -> None:
        if pid == line.get_server_pid():
            return  # our own, and told already
        try:
            tenants = msgspec.json.decode(str(payload), type=list[str])
        except msgspec.MsgspecError:
            self._tell(None)  # anybody may use the channel
        else:
            self._tell(tenants)

    def _tell(self, tenants: Collection[str] | None) -> None:
        for listener in list(self._listeners):
            listener(tenants)


def _payloads(tenants: Iterable[str]) -> Iterator[str]:
    """*tenants* as JSON arrays that each fit into one NOTIFY."""
    part: list[str] = []
    size = 2
    for tenant in tenants:
        length = len(msgspec.json.encode(tenant)) + 1
        if part and size + length > _PAYLOAD_LIMIT:
            yield msgspec.json.encode(part).decode()
            part, size = [], 2
        part.append(tenant)
        size += length
    if part:
        yield msgspec.json.encode(part).decode()
