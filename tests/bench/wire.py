"""
Callers over real HTTP that cost little themselves: requests are bytes made before, and of an answer the head is read.

A closed loop has so many callers, each of whom asks again when it is answered: it says how much can be done. An open
loop asks at a rate, whatever the answers take: it says how long somebody waits, from when the request was due.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Self

import msgspec

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One that is kept open, with one request at a time."""

    def __init__(self) -> None:
        self.is_closed = False
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._length = -1

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """A new one."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._length < 0:
            end = self._data.find(_END)
            if end < 0:
                return
            self._length = end + len(_END) + _content_length(self._data[:end])
        if len(self._data) >= self._length and self._answer is not None and not self._answer.done():
            self._answer.set_result(self._data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("no answer"))

    async def ask(self, request: bytes) -> bytes:
        """The answer, with its head."""
        assert self._transport is not None
        self._answer, self._data, self._length = asyncio.get_running_loop().create_future(), b"", -1
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Nobody asks any more."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH)), 0)


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """The bytes of a request; *body* is sent as JSON, unless it is None."""
    content = b"" if body is None else msgspec.json.encode(body)
    kind = "" if body is None else "Content-Type: application/json\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{kind}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def status(answer: bytes) -> int:
    """The status of an answer."""
    return int(answer[9:12])


def data(answer: bytes) -> Mapping[str, str]:
    """What an answer of the API has in `data`."""
    found: Mapping[str, str] = msgspec.json.decode(answer.partition(_END)[2])["data"]
    return found


@dataclass
class Load:
    """How long each answer took (s), and in how long a time all of them came."""

    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.took_s

    @property
    def p50_ms(self) -> float:
        """Half of the answers were faster."""
        return 1000 * median(self.latencies_s)

    @property
    def p99_ms(self) -> float:
        """99 of a hundred answers were faster."""
        return 1000 * quantiles(self.latencies_s, n=100, method="inclusive")[-1]

    def __add__(self, other: "Load") -> "Load":
        return Load(self.took_s + other.took_s, self.latencies_s + other.latencies_s)


Make = Callable[[int], bytes]


class Callers:
    """So many connections to one address."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._address, self._count = (host, port), count
        self._stack = AsyncExitStack()
        self._free: asyncio.Queue[Connection] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            self._free.put_nowait(await self._open())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> Connection:
        connection = await Connection.open(*self._address)
        self._stack.callback(connection.close)
        return connection

    async def one(self, request: bytes) -> bytes:
        """The answer to one request."""
        connection = await self._free.get()
        try:
            if connection.is_closed:  # by the other side, after a long pause
                connection = await self._open()
            return await connection.ask(request)
        finally:
            self._free.put_nowait(connection)

    async def closed(self, make: Make, seconds: float, *, expect: int) -> Load:
        """
        Everybody asks what *make* makes of a running number, for so many seconds, and again when it is answered.

        Raises:
            RuntimeError: an answer has not the status that is to be expected.
        """
        clock, load, number = asyncio.get_running_loop().time, Load(), 0
        began = clock()

        async def call() -> None:
            nonlocal number
            while (asked := clock()) < began + seconds:
                number += 1
                _require(await self.one(make(number)), expect)
                load.latencies_s.append(clock() - asked)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(call())
        load.took_s = clock() - began
        return load

    async def opened(self, make: Make, rate: float, seconds: float, *, expect: int) -> Load:
        """
        So many requests a second, whatever the answers take.

        Raises:
            RuntimeError: an answer has not the status that is to be expected.
        """
        clock, load = asyncio.get_running_loop().time, Load(seconds)
        began = clock()

        async def call(number: int, due: float) -> None:
            _require(await self.one(make(number)), expect)
            load.latencies_s.append(clock() - due)

        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(due - clock())
                group.create_task(call(number, due))
        return load


def _require(answer: bytes, expected: int) -> None:
    if status(answer) != expected:
        raise RuntimeError(f"an answer that should not be: {answer[:500]!r}")


def together(loads: Sequence[Load]) -> Load:
    """All of them as one."""
    return sum(loads, Load())
