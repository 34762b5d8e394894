"""
Who follows the log over HTTP: so many at once, none for longer than its token, and none who does not read.

A follower costs a process one connection, what that connection buffers (64 KiB, and one piece that is being sent), and
its share of a `Tail`; and the kernel 128 KiB. That is all, whether it reads or not.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from service.audit.readers import Reader
from service.fairness import Places
from service.refusals import RETRY_AFTER_S, TooManyFollowers

STALL_S = 10.0  # so long what is sent may wait to be read
_UNSENT_BYTES = 64 * 1024  # that the kernel takes, and as much again for its own; left alone it takes megabytes
_AT_ONCE_BYTES = 32 * 1024  # are taken without a wait by a connection in which nothing waits

_logger = logging.getLogger(__name__)


class CutOff(Exception):
    """The follower does not read, or is gone. It may come back and go on from where it was."""


class Followers:
    """
    The places for followers.

    Args:
        limit: of them all, which tenants share.
    """

    def __init__(self, limit: int) -> None:
        self._places = Places(limit)
        self._following: dict[asyncio.Timeout, Reader] = {}

    def __len__(self) -> int:
        """How many there are at present."""
        return len(self._following)

    @property
    def lag(self) -> int:
        """How many records the one that is furthest behind is behind."""
        return max((reader.behind for reader in self._following.values()), default=0)

    @contextmanager
    def place(self, tenant_id: str) -> Iterator[None]:
        """
        A place for a follower whose token is of *tenant_id*.

        Raises:
            TooManyFollowers
        """
        if not self._places.take(tenant_id):
            raise TooManyFollowers(headers={"Retry-After": str(RETRY_AFTER_S)})
        try:
            yield
        finally:
            self._places.leave(tenant_id)

    @asynccontextmanager
    async def until(self, left_s: float, reader: Reader) -> AsyncIterator[None]:
        """Cut what *reader* follows short after *left_s*, or when all are sent home."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(loop.time() + left_s) as end:
                self._following[end] = reader
                try:
                    yield
                finally:
                    del self._following[end]
        except TimeoutError:
            pass

    def send_home(self) -> None:
        """The service stops: each stream ends now. Who follows goes on elsewhere."""
        now = asyncio.get_running_loop().time()
        for end in list(self._following):
            if not end.expired():  # else it is ending already, and cannot be told again
                end.reschedule(now)


def bound(request: web.Request) -> None:
    """See to it that the kernel does not take much for a follower who does not read."""
    if request.transport is not None:
        connected = request.transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)


async def send(request: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    """
    Send *chunk* to a follower who reads.

    Raises:
        CutOff: he did not read for STALL_S, or is gone.
    """
    transport = request.transport
    try:
        if transport is not None and not transport.get_write_buffer_size() and len(chunk) <= _AT_ONCE_BYTES:
            await response.write(chunk)
            return
        async with asyncio.timeout(STALL_S):
            await response.write(chunk)
    except TimeoutError:
        _logger.info("follower_cut_off", extra={"remote": request.remote})
        if request.transport is not None:
            request.transport.abort()  # what waits to be read goes too
        raise CutOff from None
    except ConnectionError:
        raise CutOff from None


def require_presence(request: web.Request) -> None:
    """
    Make sure that the follower is still there: his place is for somebody else.

    Raises:
        CutOff
    """
    if request.transport is None or request.transport.is_closing():
        raise CutOff
