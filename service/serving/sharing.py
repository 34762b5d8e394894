"""
How workers share the connections: whoever has the fewest takes the next one.

All of them wait on the same socket, and left to themselves the first to wake would take all that come together, and
keep them for as long as they are kept alive: one would work and the others watch.
"""

import asyncio
import logging
import mmap
import os
import socket
import sys

from aiohttp import web

_STEP_BACK_S = 0.001  # for each connection that somebody has fewer
_LONGEST_STEP = 10  # such connections: who has fewer may be busy or dead, and then the next one accepts all the same
_NO_MORE_S = 1.0  # until it is tried again, when there are no descriptors left
_NOBODY = 2**32 - 1

_logger = logging.getLogger(__name__)


class Shares:
    """How many connections each worker has, in memory that all of them see; *descriptor* is what they inherit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._counts = memoryview(mmap.mmap(descriptor, 0)).cast("I")

    @classmethod
    def of(cls, workers: int) -> "Shares":
        """Those of so many workers, none of which is there yet."""
        descriptor = os.memfd_create("mitosis-shares")
        os.write(descriptor, _NOBODY.to_bytes(4, sys.byteorder) * workers)
        return cls(descriptor)

    def join(self, number: int) -> None:
        """That worker is about to accept. The others step back for it, though it may not have been woken yet."""
        self._counts[number] = 0

    def leave(self, number: int) -> None:
        """That worker is gone: nobody steps back for it."""
        self._counts[number] = _NOBODY

    async def accept(self, listened_on: socket.socket, number: int, server: web.Server) -> None:
        """Be worker *number*, who joined: take connections from *listened_on* to *server* until cancelled; close it."""
        with listened_on:
            listened_on.setblocking(False)
            try:
                while True:
                    try:
                        await self._accept_one(listened_on, number, server)
                    except Exception:  # whatever it was, who comes next is to be served
                        _logger.exception("cannot_accept")
                        await asyncio.sleep(_NO_MORE_S)
            finally:
                self.leave(number)

    async def _accept_one(self, listened_on: socket.socket, number: int, server: web.Server) -> None:
        await _readable(listened_on)
        self._counts[number] = len(server.connections)
        if more := self._counts[number] - min(self._counts):
            await asyncio.sleep(_STEP_BACK_S * min(more, _LONGEST_STEP))
        await _take(listened_on, server)


async def _take(listened_on: socket.socket, server: web.Server) -> None:
    try:
        connection, _ = listened_on.accept()
    except (BlockingIOError, ConnectionError):
        return  # another one took it, or it is gone
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)
    except BaseException:
        connection.close()
        raise


async def _readable(listened_on: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(listened_on, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(listened_on)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
