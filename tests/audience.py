"""Who follows while it burns: consumers as processes that are killed, and readers of the stream that break off."""

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from aiohttp import ClientError, ClientSession

from events.consumer import BATCH
from service.bearer import Tokens
from service.naming import ALL
from tests.callers import Api
from tests.leaks import WITNESS
from tests.load import Door
from tests.streams import Seen, following

_BREATH_S = 0.05  # of a reader whose service is gone
_MOST = 80  # events until a reader breaks off
_SLOWNESS_S = 0.002  # the longest that a consumer is at a record: as one who tells somebody else
_PROGRAM = """
import asyncio, logging, os, random, sys, time
import asyncpg
from events.consumer import Consumer

async def main(url, name, path, slowness_s):
    logging.basicConfig(level=logging.INFO)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pool = asyncpg.create_pool(url, min_size=0, max_size=4, server_settings={"role": "mitosis_consumer"})
    async with pool, Consumer(pool, name) as consumer:
        async for entry in consumer:
            os.write(file, f"{time.monotonic_ns()} {entry.tenant_id} {entry.position}\\n".encode())
            await asyncio.sleep(random.random() * float(slowness_s))

asyncio.run(main(*sys.argv[1:]))
"""


class Handled(NamedTuple):
    """A record that a process was handed, and when (ns of the system's monotonic clock)."""

    time: int
    tenant_id: str
    position: int


class Life:
    """A consumer's process, from its start to its death."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.handled: list[Handled] = []
        self.killed_at: int | None = None
        self._out, self._err = home / f"{name}.out", home / f"{name}.err"
        self._read = 0
        self._process: Process | None = None

    async def start(self, url: str, consumer: str) -> None:
        """It begins, and is not waited for."""
        command = (sys.executable, "-c", _PROGRAM, url, consumer, self._out, str(_SLOWNESS_S))
        with self._err.open("ab") as err:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=DEVNULL, stderr=err, cwd=Path(__file__).parents[1]
            )

    async def kill(self) -> None:
        """SIGKILL: it has no chance to note anything."""
        assert self._process is not None
        assert self._process.returncode is None, self._err.read_text()[-2000:]
        self.killed_at = time.monotonic_ns()
        self._process.kill()
        await self._process.wait()
        self.look()
        WITNESS.log(self._err.name, self._err.read_text())

    def look(self) -> None:
        """Read what it has written since the last time."""
        if not self._out.exists():
            return
        with self._out.open("rb") as out:
            out.seek(self._read)
            lines = out.read()
        lines = lines[: lines.rfind(b"\n") + 1]  # it may be at the last one
        self._read += len(lines)
        for line in lines.decode().splitlines():
            when, tenant_id, position = line.split()
            self.handled.append(Handled(int(when), tenant_id, int(position)))


class Crew:
    """The processes of one consumer."""

    def __init__(self, url: str, home: Path, name: str) -> None:
        self.name = name
        self.lives: list[Life] = []
        self._url, self._home = url, home

    @property
    def running(self) -> list[Life]:
        """Those that were not killed."""
        return [life for life in self.lives if life.killed_at is None]

    async def start(self) -> None:
        """One more process."""
        life = Life(self._home, f"{self.name}-{len(self.lives)}")
        self.lives.append(life)
        await life.start(self._url, self.name)

    async def replace(self, random: Random) -> None:
        """Kill one, whatever it is at, and start another."""
        await random.choice(self.running).kill()
        await self.start()

    async def end(self) -> None:
        """Kill all."""
        for life in self.running:
            await life.kill()

    def has_all(self, heads: Mapping[str, int]) -> bool:
        """Whether every record up to *heads* was handled."""
        for life in self.running:
            life.look()
        handled = {(one.tenant_id, one.position) for life in self.lives for one in life.handled}
        return len(handled) >= sum(heads.values())


def judge(lives: Sequence[Life], heads: Mapping[str, int]) -> Counter[str]:
    """
    Hold what the processes of a consumer did against the log, whose tenants end at *heads*.

    - None missed: each record was handed to one of them.
    - None out of order: none was before the one in front of it had been, and what one process was handed of a tenant
      rises. Where it does not rise by one, the tenant was another's meanwhile, who was handed what is missing there.
    - What came again had been handed to a process that was killed before it came again, and was among the last BATCH
      records which that process was handed of the tenant: a position is noted after each BATCH at the latest, and what
      was noted never comes again. So a death costs BATCH repeats of a tenant at most, of those tenants that the dead
      process was at work on, and nothing but a death costs any.

    Returns how many there were, and how many came again.
    """
    for life in lives:
        last = dict[str, int]()
        for one in life.handled:
            assert one.position > last.get(one.tenant_id, 0), f"{life.name} was handed {one} after {last}"
            last[one.tenant_id] = one.position
    owed = {life.name: _last(life) for life in lives}
    reached, holders, tally = Counter[str](), defaultdict[tuple[str, int], list[Life]](list), Counter[str]()
    everything = ((one, life) for life in lives for one in life.handled)
    for one, holder in sorted(everything, key=lambda pair: pair[0].time):
        assert one.position <= reached[one.tenant_id] + 1, f"{holder.name} was handed {one} too early"
        reached[one.tenant_id] = max(reached[one.tenant_id], one.position)
        before = holders[one.tenant_id, one.position]
        for dead in before:
            assert dead.killed_at is not None, f"{one} came to {holder.name} again, and {dead.name} lives"
            assert dead.killed_at < one.time, f"{one} came to {holder.name} again before {dead.name} died"
            assert one.position > owed[dead.name][one.tenant_id] - BATCH, (
                f"{one} came to {holder.name} again, after all"
            )
        tally["again" if before else "once"] += 1
        before.append(holder)
    assert reached == Counter(heads)
    return tally


def _last(life: Life) -> dict[str, int]:
    return {one.tenant_id: one.position for one in life.handled}


class Follower:
    """
    Reads the stream of a tenant, or of ALL, at random *doors*, and breaks off at random, to go on where it was.

    `positions` are what it was told, by the source that each event names.
    """

    def __init__(
        self, session: ClientSession, tokens: Tokens, doors: Sequence[Door], tenant_id: str, random: Random
    ) -> None:
        self.tenant_id = tenant_id
        self.positions = defaultdict[str, list[int]](list)
        self.streams = 0
        self._api = Api(session, "", tokens, {})
        self._doors, self._random = doors, random
        self._last_id: str | None = None

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            root = self._api.as_role("super_admin", "root")
            root.base = self._random.choice(self._doors).base
            try:
                async with following(root, last_id=self._last_id, tenant_id=self.tenant_id) as stream:
                    self.streams += 1
                    for _ in range(self._random.randint(1, _MOST)):
                        seen = await stream.next()
                        if seen is None:
                            break
                        self._take(seen)
            except ClientError:
                await asyncio.sleep(_BREATH_S)

    def has_all(self, heads: Mapping[str, int]) -> bool:
        """Whether it was told all there is, of what it follows."""
        return sum(map(len, self.positions.values())) >= sum(self._ours(heads).values())

    def judge(self, heads: Mapping[str, int]) -> None:
        """Every record came once, in its order: no gap and no repeat, wherever it broke off."""
        for tenant_id, head in self._ours(heads).items():
            assert self.positions[f"/tenants/{tenant_id}"] == list(range(1, head + 1)), tenant_id

    def _ours(self, heads: Mapping[str, int]) -> Mapping[str, int]:
        return heads if self.tenant_id == ALL else {self.tenant_id: heads[self.tenant_id]}

    def _take(self, seen: Seen) -> None:
        event = seen.event
        self.positions[event["source"]].append(event["data"]["position"])
        self._last_id = seen.id
