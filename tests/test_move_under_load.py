"""A tenant moves from one server to another under load, whatever is killed meanwhile, and everybody's word is kept."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from random import Random, SystemRandom
from typing import NamedTuple

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from events import log
from events.log import Head
from service.bearer import Tokens
from service.signing import load_key
from tests.callers import Api
from tests.leaks import WITNESS
from tests.movers import SHORT_S, Consuming, consuming, filled, have_moved
from tests.processes import MAIN, Postgres, Service, key_file, own_postgres
from tests.streams import Seen, following
from tests.traffic import Traffic, settle, told
from tests.waiting import until

SYSTEM = Path("/usr/lib/postgresql/15/bin")
STATUSES = {"mover": {0, -9}, "operator": {0, 130}, "source": {0, 1, 4}, "target": {0, 1, 4}}  # of a mover, by victim
MOMENTS = ("begun", "copying", "frozen", "moved", "arrived")  # of a move, as the two heads show it
_LOOK_S = 0.001
_JITTER_S = 0.03
_END_S = 300.0
_IS_THERE = "select exists (select from pg_stat_activity where application_name = 'mitosis tenant move')"


class Said(NamedTuple):
    """What a mover said, and its exit status, which is negative where it was killed."""

    status: int
    out: str
    err: str


class Mover:
    """`mitosis tenant move` as operators run it: a process of its own, which can be killed."""

    def __init__(self, source: str, target: str, address: str, home: Path) -> None:
        self._arguments = ("--address", address, "--json", "--resume")
        self._environment = {
            "PATH": os.defpath,
            "PYTHONFAULTHANDLER": "1",
            "MITOSIS_HOME": str(home),
            "MITOSIS_DATABASE_URL": source,
            "MITOSIS_TARGET_DATABASE_URL": target,
        }
        self._process: Process | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, tenant: str) -> None:
        command = (sys.executable, "-c", MAIN, "tenant", "move", tenant, *self._arguments)
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=PIPE, env=self._environment, cwd=Path(__file__).parents[1]
        )

    def send(self, number: int) -> None:
        """A signal, unless it has come to its end."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self) -> Said:
        """Wait for its end; whatever happened to it, it told nobody about its own code."""
        assert self._process is not None
        asked = asyncio.create_task(self._process.communicate())
        await asyncio.wait([asked], timeout=_END_S)
        is_stuck = not asked.done()
        if is_stuck:
            self.send(signal.SIGABRT)  # it says where it is
        out, err = (text.decode() for text in await asked)
        assert not is_stuck, err
        WITNESS.log("mitosis tenant move", out + err)
        assert "Traceback" not in err, err
        return Said(self._process.returncode or 0, out, err)


class Stage:
    """Two servers with a service each, and what moves a tenant from the one to the other."""

    def __init__(self, source: Postgres, target: Postgres, services: tuple[Service, Service], home: Path) -> None:
        self.source, self.target, self.here, self.there = source, target, *services
        self.tokens = Tokens(load_key(key_file(home)), "mitosis")
        urls = (source.running.url("postgres"), target.running.url("postgres"))
        self.mover = Mover(*urls, self.there.base, home)

    async def heads(self, tenant: str) -> tuple[Head, Head]:
        """Where the tenant's log ends at the source, and at the target."""
        source, target = [await asyncpg.connect(each.running.url("postgres")) for each in (self.source, self.target)]
        try:
            return await log.head(source, tenant), await log.head(target, tenant)
        finally:
            await source.close()
            await target.close()

    @asynccontextmanager
    async def consumers(self, name: str) -> AsyncIterator[tuple[Consuming, Consuming]]:
        """A consumer called *name* that runs at both servers."""
        urls = [server.running.url("postgres") for server in (self.source, self.target)]
        async with consuming(urls[0], name) as old, consuming(urls[1], name) as new:
            yield old, new


@pytest.fixture(scope="module")
async def stage(binaries: Path | None) -> AsyncIterator[Stage]:
    """Two servers with a service each: that of the tests, and one of another version where there is one."""
    other = None if binaries is not None else SYSTEM if (SYSTEM / "postgres").exists() else None
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = await stack.enter_async_context(own_postgres(binaries))
        target = await stack.enter_async_context(own_postgres(other))
        load_key(key_file(home))
        services = Service(source.running, home, "source"), Service(target.running, home, "target")
        for service in services:
            stack.push_async_callback(retire, service)
        await asyncio.gather(*(service.start() for service in services))
        yield Stage(source, target, services, home)


async def retire(service: Service) -> None:
    assert await service.terminate() == 0, service.err.read_text()[-2000:]
    for text in (service.out, service.err):
        WITNESS.log(text.name, text.read_text())


async def moment(stage: Stage, tenant: str, name: str) -> None:
    """Wait until a move of *tenant* has come to the moment called *name*, or its mover to its end."""
    source = target = None
    try:
        source = await asyncpg.connect(stage.source.running.url("postgres"))
        target = await asyncpg.connect(stage.target.running.url("postgres"))
        until_s, is_there = time.monotonic() + _END_S, False
        while stage.mover.is_running and time.monotonic() < until_s:
            is_there = is_there or await source.fetchval(_IS_THERE)
            here, there = await log.head(source, tenant), await log.head(target, tenant)
            reached = {
                "begun": there.state == "arriving",
                "copying": there.position > 0,
                "frozen": here.state == "frozen",
                "moved": here.state == "moved",
                "arrived": there.state == "open" and there.position > 0,
            }
            if is_there and reached[name]:
                return
            await asyncio.sleep(_LOOK_S)
    finally:
        for connection in (source, target):
            if connection is not None:
                connection.terminate()


async def one_kill(stage: Stage, tenant: str, victim: str, name: str, random: Random) -> bool:
    """
    A move in which *victim* is killed soon after the moment called *name*; returns whether it was amid it.

    The operator is not killed: he presses Ctrl-C, has it ended otherwise, or loses his terminal.
    """
    was_frozen = (await stage.heads(tenant))[0].state == "frozen"
    await stage.mover.start(tenant)
    await moment(stage, tenant, name)
    await asyncio.sleep(random.uniform(0, _JITTER_S))
    was_amid = stage.mover.is_running
    if victim in {"mover", "operator"}:
        ending = random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        stage.mover.send(signal.SIGKILL if victim == "mover" else ending)
    elif was_amid:
        server = stage.source if victim == "source" else stage.target
        await server.kill()
        await server.start()
    said = await stage.mover.end()
    assert said.status in STATUSES[victim], said
    if victim == "operator":
        # he leaves nobody waiting who did not wait before
        here, there = await stage.heads(tenant)
        assert was_frozen or "open" in {here.state, there.state}, (said, here, there)
    return was_amid


async def to_the_end(stage: Stage, tenant: str) -> float | None:
    """Go on with the move until it is done; returns for how long the last run of it froze the tenant, if it did."""
    await stage.mover.start(tenant)
    said = await stage.mover.end()
    assert said.status == 0, (said, await stage.heads(tenant))
    frozen_s: float | None = json.loads(said.out)["frozen_s"]
    return frozen_s


async def read(api: Api, seen: list[Seen], head: int) -> None:
    """Follow what *api* may up to the record at *head*, behind what was *seen*."""
    async with following(api, last_id=seen[-1].id if seen else "0") as stream:
        while not seen or int(seen[-1].id) < head:
            one = await stream.next()
            assert one is not None
            seen.append(one)


async def proven(stage: Stage, tenant: str, traffic: Traffic) -> Counter[str]:
    """Hold both sides against what the callers were told; returns what they were told."""
    source, target = [await asyncpg.connect(each.running.url("postgres")) for each in (stage.source, stage.target)]
    records = await have_moved(source, target, tenant)
    asked = [record for record in records if record.actor.role != "system"]
    tally = await settle(target, asked, traffic.errands)
    tally["records"] = len(records)
    for connection in (source, target):
        await connection.close()
    return tally


@pytest.mark.parametrize("load_s", [3.0, pytest.param(30.0, marks=pytest.mark.torture)])
async def test_under_load(stage: Stage, load_s: float, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Under load, followed by callers, readers and a consumer, a tenant moves and takes no changes for less than a second.

    No acknowledged write is lost and none is doubled, heads are equal, and readers and consumers with their old cursors
    go on at the target without a gap or a repeat.
    """
    seed, tenant = SystemRandom().getrandbits(32), f"moving-for-{load_s:.0f}-s"
    seen: list[Seen] = []
    async with ClientSession(connector=TCPConnector(limit=0)) as session, stage.consumers("billing") as (old, new):
        async with Traffic(session, stage.tokens, stage.here.base, tenant, Random(seed)) as traffic:
            await asyncio.sleep(load_s / 2)
            frozen_s = await to_the_end(stage, tenant)
            await asyncio.sleep(load_s / 2)
            assert traffic.address == stage.there.base
            await traffic.more(20)
        tally = await proven(stage, tenant, traffic)
        await until(lambda: new.positions(tenant)[-1:] == [tally["records"]])
        for service, last in ((stage.here, old.positions(tenant)[-1]), (stage.there, tally["records"])):
            await read(Api(session, service.base, stage.tokens, {}).as_role("auditor", tenant), seen, last)

    everything = list(range(1, tally["records"] + 1))
    assert [*old.positions(tenant), *new.positions(tenant)] == everything
    assert [int(one.id) for one in seen] == everything
    assert tally["421001"] > 0
    assert frozen_s is not None
    assert frozen_s < (1 if load_s > 3 else SHORT_S)
    if load_s > 3:
        with capsys.disabled():
            print(f"\nfrozen for {frozen_s * 1000:.0f} ms, {told(tally)}, seed {seed}")  # noqa: T201


@pytest.mark.torture
async def test_of_any_size(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """However much a tenant has, it takes no changes for less than a second; and all of it comes along."""
    tenant, count = "large", 100_000
    source, target = [await asyncpg.connect(each.running.url("postgres")) for each in (stage.source, stage.target)]
    await filled(source, tenant, count)
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async with Traffic(session, stage.tokens, stage.here.base, tenant, Random(1)) as traffic:
            await traffic.more(20)
            begun = time.monotonic()
            frozen_s = await to_the_end(stage, tenant)
            took_s = time.monotonic() - begun
            await traffic.until(lambda: traffic.address == stage.there.base)
            await traffic.more(20)
        await proven(stage, tenant, traffic)
    for table in ("receipts", "assertions", "secret_usage"):
        found = [
            await owner.fetchval(f"select count(*) from {table} where tenant_id = $1", tenant)
            for owner in (source, target)
        ]
        assert found[1] >= found[0] >= count, table
    await source.close()
    await target.close()
    assert frozen_s is not None
    assert frozen_s < 1
    with capsys.disabled():
        print(f"\n{count:,} records in {took_s:.0f} s, frozen for {frozen_s * 1000:.0f} ms")  # noqa: T201


@pytest.mark.parametrize("kills", [2, pytest.param(24, marks=pytest.mark.torture)])
async def test_kills(stage: Stage, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is killed when, the mover or either server, the move is gone on with, and everybody's word is kept."""
    seed, begun = SystemRandom().getrandbits(32), time.monotonic()
    random, total, number = Random(seed), Counter[str](), 0
    try:
        async with ClientSession(connector=TCPConnector(limit=0)) as session:
            while total["kills"] < kills:
                tenant, number = f"moving-{kills}-{number}", number + 1
                total += await one_tenant(stage, session, tenant, min(kills - total["kills"], 4), random)
    except BaseException:
        print(f"\nseed {seed}, after {told(total)}")  # noqa: T201 (pytest shows it with the failure)
        raise
    if kills > 2:
        with capsys.disabled():
            print(f"\n{told(total)}, {time.monotonic() - begun:.0f} s, seed {seed}")  # noqa: T201


async def one_tenant(stage: Stage, session: ClientSession, tenant: str, kills: int, random: Random) -> Counter[str]:
    """A tenant that is moved under load with some *kills*, none at an earlier moment than the one before."""
    total: Counter[str] = Counter()
    async with stage.consumers("billing") as (old, new):
        async with Traffic(session, stage.tokens, stage.here.base, tenant, random) as traffic:
            await traffic.more(20)
            for index in sorted(random.choices(range(len(MOMENTS)), k=kills)):
                victim = random.choice(("mover", "operator", "source", "target"))
                if await one_kill(stage, tenant, victim, MOMENTS[index], random):
                    total["kills"] += 1
                    total[f"kills of the {victim}, {MOMENTS[index]}"] += 1
            await to_the_end(stage, tenant)
            await traffic.until(lambda: traffic.address == stage.there.base)
            await traffic.more(20)
        total += await proven(stage, tenant, traffic)
        records = total["records"]
        await until(lambda: new.positions(tenant)[-1:] == [records])
    # at least once, in order: a consumer whose server was killed may be handed again what it could not note
    for positions in (old.positions(tenant), new.positions(tenant)):
        assert all(after <= before + 1 for before, after in pairwise(positions)), positions
    assert new.positions(tenant)[0] <= old.positions(tenant)[-1] + 1
    assert {*old.positions(tenant), *new.positions(tenant)} == set(range(1, records + 1))
    return total
