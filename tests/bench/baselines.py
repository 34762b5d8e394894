"""What the parts cost by themselves: a hash, and a row that is committed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import asyncpg
from argon2 import PasswordHasher

from service.config import Config
from tests.bench.servers import Cluster
from tests.bench.wire import Load

_DEFAULT = Config()
_BODY = "x" * 1000  # about as long as a record


async def hashing(seconds: float) -> Load:
    """As many threads as there are cores, each of which hashes all the time."""
    argon2 = PasswordHasher(
        time_cost=_DEFAULT.argon2_time_cost,
        memory_cost=_DEFAULT.argon2_memory_kib,
        parallelism=_DEFAULT.argon2_parallelism,
    )
    began = time.perf_counter()

    def work() -> list[float]:
        took_s = []
        while (asked := time.perf_counter()) < began + seconds:
            argon2.hash(_BODY[:56])
            took_s.append(time.perf_counter() - asked)
        return took_s

    loop, cores = asyncio.get_running_loop(), len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as threads:
        found = await asyncio.gather(*(loop.run_in_executor(threads, work) for _ in range(cores)))
    return Load(time.perf_counter() - began, [one for took_s in found for one in took_s])


@asynccontextmanager
async def inserting(cluster: Cluster, rate: float) -> AsyncIterator[Callable[[float], Awaitable[Load]]]:
    """What inserts and commits a row, *rate* times a second for so many seconds."""
    connection = await asyncpg.connect(cluster.url())
    await connection.execute("create table if not exists bare (id bigint generated always as identity, body text)")

    async def work(seconds: float) -> Load:
        clock, load = asyncio.get_running_loop().time, Load(seconds)
        began = clock()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(began + number / rate - clock())
            asked = clock()
            await connection.execute("insert into bare (body) values ($1)", _BODY)
            load.latencies_s.append(clock() - asked)
        return load

    yield work
    await connection.close()
