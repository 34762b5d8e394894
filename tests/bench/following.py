"""Followers: how long after its commit a record is with those who read the stream."""

import asyncio
import re
from collections.abc import Callable

import asyncpg
import msgspec

from events import log
from events.doorbell import CHANNEL
from tests.bench.report import Row
from tests.bench.servers import CHEAP, Cluster, serving
from tests.bench.wire import Load
from tests.transactions import append
from tests.waiting import until

READERS = 100
RATE, AT_ONCE = 500, 10  # records a second, and in one transaction
_TENANT = "followed"
_EVENT = re.compile(rb"id: (\d+)\nevent: ")
_LONGEST = 40  # bytes of what the pattern finds
_MOST_P50_MS, _MOST_P99_MS = 10, 50


class _Reader(asyncio.Protocol):
    """Notes how long each record took, by when it was committed."""

    def __init__(self, committed: dict[int, float], load: Load) -> None:
        self.position = 0
        self._committed, self._load, self._left = committed, load, b""
        self._clock = asyncio.get_running_loop().time

    def data_received(self, data: bytes) -> None:
        now, end, data = self._clock(), 0, self._left + data
        for found in _EVENT.finditer(data):
            end, self.position = found.end(), int(found[1])
            # one that is here before the writer hears that it is committed took no time
            self._load.latencies_s.append(max(now - self._committed.get(self.position, now), 0))
        self._left = data[max(end, len(data) - _LONGEST) :]


async def measure(cluster: Cluster, seconds: float, tell: Callable[[str], None]) -> list[Row]:
    """Of one tenant that all of them follow, written to by another process than the one they follow it in."""
    tell(f"{READERS} readers")
    committed, load = dict[int, float](), Load(seconds)
    loop, owner = asyncio.get_running_loop(), await asyncpg.connect(cluster.url())
    await log.open_heads(owner, [_TENANT])
    token = cluster.tokens.issue(subject="reader", tenant_id=_TENANT, role="auditor", ttl_s=3600)
    asked = (
        f"GET /admin/audit/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}"
    )
    async with serving(cluster, **CHEAP) as service:
        readers, transports = list[_Reader](), list[asyncio.Transport]()
        for _ in range(READERS):
            transport, reader = await loop.create_connection(
                lambda: _Reader(committed, load), service.host, service.port
            )
            transport.write(f"{asked}\r\n\r\n".encode())
            transports.append(transport)
            readers.append(reader)
        position, began = 0, loop.time()
        while position < RATE * seconds:
            await asyncio.sleep(began + position / RATE - loop.time())
            async with owner.transaction():
                await append(owner, _TENANT, AT_ONCE)
            committed |= dict.fromkeys(range(position + 1, position + AT_ONCE + 1), loop.time())
            position += AT_ONCE
            await owner.execute("select pg_notify($1, $2)", CHANNEL, msgspec.json.encode([_TENANT]).decode())
        await until(lambda: all(reader.position >= position for reader in readers))
        for transport in transports:
            transport.abort()
        memory = service.memory_mib()
    await owner.close()
    return [
        Row(
            f"from commit to reader, {RATE} records a second, {READERS} readers",
            f"p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms; {memory:.0f} MiB",
            target=f"p50 at most {_MOST_P50_MS} ms, p99 at most {_MOST_P99_MS} ms",
            is_met=load.p50_ms <= _MOST_P50_MS and load.p99_ms <= _MOST_P99_MS,
        )
    ]
