"""Five hundred who follow, and one in ten who does not read: what they cost those who write, and what they keep."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector

from events import log
from service.bearer import Tokens
from tests.callers import Api
from tests.crowd import Reading, Report
from tests.processes import Service, deployed, own_postgres
from tests.transactions import append
from tests.waiting import until

TENANTS = [f"follow-{number}" for number in range(8)]
READERS, STALLED = 450, 50
RATE = 40  # clones a second, whatever the answers take
PHASE_S = 20
BEFORE = 400  # records of each tenant, for those who stall: more than all buffers on their way hold
WEBSITE = "https://example.com/" + "x" * 1880  # records are 3 KB long
GROWTH_KIB = (READERS + STALLED) * 128 + 16 * 1024  # a follower's buffers, and what the tenants' tails keep

pytestmark = pytest.mark.torture


class Phase(NamedTuple):
    """How long each answer took (s, from when the request was due), and what the service kept in memory then."""

    name: str
    latencies_s: list[float]
    memory_kib: int

    def __str__(self) -> str:
        return (
            f"{self.name:>20}: median {1000 * median(self.latencies_s):5.1f} ms, "
            f"p99 {1000 * quantiles(self.latencies_s, n=100)[-1]:6.1f} ms, {self.memory_kib / 1024:4.0f} MiB"
        )


async def test_five_hundred_readers(binaries: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Everyone who reads is told everything, who does not is cut off, and memory stays within its bound.

    How long writers wait, with them and without, is shown and not asserted: much of it is the machine's doing.
    """
    phases: list[Phase] = []
    async with (
        own_postgres(binaries) as postgres,
        deployed(postgres.running, 1) as deployment,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        (service,), tokens = deployment.services, deployment.tokens
        owner = await asyncpg.connect(postgres.running.url("postgres"))
        writers = Writers(session, tokens, service)
        await writers.begin(owner)
        await writers.clone("warming up", service)
        for cut_off in (STALLED, 2 * STALLED):
            phases.append(await writers.clone("without readers", service))
            async with crowded(service, tokens, owner) as crowd:
                phases.append(await writers.clone(f"with {READERS + STALLED} readers", service))
                report = await crowd.report(await log.positions(owner, TENANTS))
                await until(lambda cut_off=cut_off: cut_offs(service) == cut_off)  # type: ignore[misc]
            assert report == Report(complete=READERS, events=READERS * RATE * PHASE_S // len(TENANTS))
        phases.append(await writers.clone("after them", service))
        await owner.close()
    with capsys.disabled():
        print("", *phases, f"{2 * STALLED} cut off, {ratio(phases):.2f} times the median", sep="\n")  # noqa: T201
    assert max(phase.memory_kib for phase in phases) - phases[0].memory_kib < GROWTH_KIB


class Writers:
    """Callers who clone a client in each of TENANTS."""

    def __init__(self, session: ClientSession, tokens: Tokens, service: Service) -> None:
        self._apis = [Api(session, service.base, tokens, {}).as_role("admin", tenant) for tenant in TENANTS]
        self._sources: list[str] = []

    async def begin(self, owner: asyncpg.Connection) -> None:
        """The clients to clone, and BEFORE more."""
        self._sources = [(await api.register(website=WEBSITE))["client_id"] for api in self._apis]
        for tenant in TENANTS:
            async with owner.transaction():
                await append(owner, tenant, BEFORE, website=WEBSITE)

    async def clone(self, name: str, service: Service) -> Phase:
        """At a constant RATE, for PHASE_S."""
        clock = asyncio.get_running_loop().time
        started, clones = clock(), list[asyncio.Task[float]]()
        for number in range(RATE * PHASE_S):
            due = started + number / RATE
            await asyncio.sleep(due - clock())
            clones.append(asyncio.create_task(self._clone(number % len(TENANTS), due)))
        return Phase(name, await asyncio.gather(*clones), memory_kib(service))

    async def _clone(self, tenant: int, due: float) -> float:
        reply = await self._apis[tenant].clone(self._sources[tenant])
        assert reply.status == 201, reply.body
        return asyncio.get_running_loop().time() - due


class Crowd:
    """A process full of readers (see `tests.crowd`)."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def gather(self, readings: Sequence[Reading]) -> None:
        """Return when all are there."""
        assert await self._ask(readings) == b"there\n"

    async def report(self, heads: Mapping[str, int]) -> Report:
        """What they say once each was told everything up to *heads*."""
        return msgspec.json.decode(await self._ask(heads), type=Report)

    async def _ask(self, what: object) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(what) + b"\n")
        async with asyncio.timeout(120):
            return await self._process.stdout.readline()


@asynccontextmanager
async def crowded(service: Service, tokens: Tokens, owner: asyncpg.Connection) -> AsyncIterator[Crowd]:
    """READERS at the ends of the tenants' logs, and STALLED who begin at the beginning."""
    heads = await log.positions(owner, TENANTS)
    issued = {each: tokens.issue(subject="reader", tenant_id=each, role="auditor", ttl_s=600) for each in TENANTS}
    readings = []
    for number in range(READERS + STALLED):
        tenant, stalled = TENANTS[number % len(TENANTS)], number >= READERS
        readings.append(Reading(tenant, issued[tenant], 0 if stalled else heads[tenant], stalled))
    command = (sys.executable, "-m", "tests.crowd", *service.base.removeprefix("http://").split(":"))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parents[1])
    try:
        crowd = Crowd(process)
        await crowd.gather(readings)
        yield crowd
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def memory_kib(service: Service) -> int:
    """What the service's process has of the machine's memory."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def cut_offs(service: Service) -> int:
    """How many followers it has cut off."""
    return service.err.read_text().count('"follower_cut_off"')


def ratio(phases: Sequence[Phase]) -> float:
    """How much longer writers wait with readers than before."""
    without, those = ([one for phase in phases[start:4:2] for one in phase.latencies_s] for start in (0, 1))
    return median(those) / median(without)
