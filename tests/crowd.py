"""
Readers of the stream by the hundred, in a process of their own, each as cheap as a socket is.

    python -m tests.crowd HOST PORT

It is told on standard input, a JSON a line, who reads (`Reading`s), and says "there" when all of them have an answer;
then where each tenant's log ends, and says how many were told every record up to there, once and in order.
"""

import asyncio
import re
import socket
import sys

import msgspec

from tests.waiting import until

_EVENT = re.compile(rb"id: (\d+)\nevent: ")
_LONGEST = 40  # bytes of what the pattern finds
_TINY_BYTES = 4096
_LINE_LIMIT = 16 * 1024 * 1024


class Reading(msgspec.Struct):
    """Who reads what, after which position. One that is `stalled` asks and never reads."""

    tenant_id: str
    token: str
    after: int
    stalled: bool


class Report(msgspec.Struct):
    """How many readers were told everything, and of how many events all of them were told."""

    complete: int
    events: int


class Reader(asyncio.Protocol):
    """One who reads: where he is, and whether each event was the next one."""

    def __init__(self, position: int) -> None:
        self.there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.position, self.events, self.is_right = position, 0, True
        self._left = b""

    def data_received(self, data: bytes) -> None:
        """Chunks end where events do, so that what comes between two of them is in no one's way."""
        if not self.there.done():
            self.is_right = data.startswith(b"HTTP/1.1 200 ")
            self.there.set_result(None)
        data, end = self._left + data, 0
        for found in _EVENT.finditer(data):
            end, position = found.end(), int(found[1])
            self.is_right = self.is_right and position == self.position + 1
            self.position = position
            self.events += 1
        self._left = data[max(end, len(data) - _LONGEST) :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the protocol's)
        """Nobody should be cut off who reads."""
        self.is_right = False
        if not self.there.done():
            self.there.set_result(None)


def request(reading: Reading) -> bytes:
    """What is asked."""
    return (
        f"GET /admin/audit/stream?after={reading.after} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {reading.token}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()


async def stall(address: tuple[str, int], reading: Reading) -> socket.socket:
    """Ask, with hardly any room for an answer."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY_BYTES)
    stalled.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stalled, address)
    await loop.sock_sendall(stalled, request(reading))
    return stalled


async def read(address: tuple[str, int], reading: Reading) -> Reader:
    """Ask, and read whatever comes."""
    transport, reader = await asyncio.get_running_loop().create_connection(lambda: Reader(reading.after), *address)
    transport.write(request(reading))
    await reader.there
    return reader


async def main(host: str, port: str) -> None:
    """See the module."""
    told = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    readings = msgspec.json.decode(await told.readline(), type=list[Reading])
    address = (host, int(port))
    readers = [(one.tenant_id, await read(address, one)) for one in readings if not one.stalled]
    stalled = [await stall(address, one) for one in readings if one.stalled]
    say(b"there")
    goals = msgspec.json.decode(await told.readline(), type=dict[str, int])
    await until(
        lambda: not any(reader.is_right and reader.position < goals[tenant_id] for tenant_id, reader in readers)
    )
    complete = sum(reader.is_right and reader.position == goals[tenant_id] for tenant_id, reader in readers)
    say(msgspec.json.encode(Report(complete, sum(reader.events for _, reader in readers))))
    await told.readline()
    for one in stalled:
        one.close()


def say(line: bytes) -> None:
    """To whoever started this."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
