"""Nothing is missed and nothing is out of order, whoever writes how, and whoever dies when."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random, SystemRandom

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestServer

from events import log
from events.consumer import Consumer
from events.log import Entry
from service.app import build
from service.audit.verifying import verify
from service.config import Config
from service.embedded import Embedded
from service.naming import ALL
from service.routes import TOKENS
from tests.audience import Crew, Follower, judge
from tests.callers import Api
from tests.conftest import Served, own_database
from tests.fire import Fire
from tests.laws import check
from tests.load import sources
from tests.processes import Service, deployed, own_postgres
from tests.transactions import append
from tests.waiting import until

TENANTS = [f"fire-{number}" for number in range(20)]
FOLLOWED = [*TENANTS[:5], ALL]
CALLERS, RAW = 6, 6  # writers: at the doors of two services, and in transactions of their own
CONSUMERS, PROCESSES = 2, 3
_PATIENCE_S = 120  # for the last record to arrive

Act = Callable[[], Awaitable[None]]


@pytest.mark.parametrize(
    ("records", "kills"), [(1_500, 6), pytest.param(30_000, 60, marks=pytest.mark.torture)], ids=["short", "long"]
)
async def test_under_fire(
    binaries: Path | None, tmp_path: Path, records: int, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Twelve writers on twenty tenants, with all that goes wrong with writers, and whoever follows misses nothing.

    Named consumers are handed every record in each tenant's order, and one again only where a process died (see
    `tests.audience.judge`); the stream tells every record once, wherever its reader breaks off and whichever service
    dies. Chains verify, what was committed is in the log, what was rolled back is not, and every law holds.
    """
    seed = SystemRandom().getrandbits(32)
    random, total, started = Random(seed), Counter[str](), time.monotonic()
    try:
        async with own_postgres(binaries) as postgres, deployed(postgres.running, 2) as deployment:
            url, services = postgres.running.url("postgres"), deployment.services
            crews = [Crew(url, tmp_path, f"consumer-{number}") for number in range(CONSUMERS)]
            async with ClientSession(connector=TCPConnector(limit=0)) as session:
                tenants = await sources(session, deployment.tokens, services[0], TENANTS)
                followers = [Follower(session, deployment.tokens, services, name, random) for name in FOLLOWED]
                doors = [services[number % 2] for number in range(CALLERS)]
                fire = Fire(session, deployment.tokens, doors, url, tenants, raw=RAW, goal=records, random=random)
                async with reading(followers):
                    async with fire:
                        for moment, act in plan(fire, crews, services[1], records, kills, random):
                            await fire.reached(moment)
                            await act()
                    heads = await ends(url)
                    audience: list[Crew | Follower] = [*crews, *followers]
                    await until(lambda: all(one.has_all(heads) for one in audience), patience_s=_PATIENCE_S)
                for crew in crews:
                    await crew.end()
            total += fire.tally
            for crew in crews:
                total += judge(crew.lives, heads)
            for follower in followers:
                follower.judge(heads)
                total["streams"] += follower.streams
            total["records"] = await settle(url, heads, fire)
    except BaseException:
        print(f"\nseed {seed}, after {dict(total)}")  # noqa: T201 (pytest shows it with the failure)
        raise
    assert total["records"] >= records
    assert min(total[kind] for kind in ("404", "412", "rolled back", "slow", "connections lost", "lines cut")) > 0
    with capsys.disabled():
        if kills > 10:
            print(f"\n{dict(total)}, {time.monotonic() - started:.0f} s, seed {seed}")  # noqa: T201


@pytest.mark.parametrize("hold_s", [2, pytest.param(10, marks=pytest.mark.torture)])
async def test_a_transaction_held_open(
    postgres: Embedded, binaries: Path | None, config: Config, tenant: str, hold_s: float
) -> None:
    """
    Who holds a tenant's head delays that tenant alone, however long: everybody else's day goes on.

    Twenty other tenants' commands are carried out, and their followers and a consumer have the records, while the head
    is held. What the held tenant's caller asked for comes when it is let go, behind what the holder wrote.
    """
    clock = asyncio.get_running_loop().time
    held, others = f"{tenant}-held", [f"{tenant}-{number}" for number in range(20)]
    async with own_database(postgres, binaries) as name, AsyncExitStack() as stack:
        url = postgres.url("postgres", name)
        door = await stack.enter_async_context(served(config, postgres.url("mitosis_service", name)))
        clients = await sources(door.session, door.tokens, door, [held, *others])
        followers = [Follower(door.session, door.tokens, [door], each, Random(0)) for each in clients]
        consumed = await stack.enter_async_context(consuming(url))
        await stack.enter_async_context(reading(followers))
        heads = dict.fromkeys(clients, 1)

        def all_have_all() -> bool:
            return consumed == heads and all(follower.has_all(heads) for follower in followers)

        await until(all_have_all)
        holder = await asyncpg.connect(url)
        transaction = holder.transaction()
        await transaction.start()
        await append(holder, held, 3)
        waiting = asyncio.create_task(door.persist(held, clients[held]))
        until_s = clock() + hold_s
        while clock() < until_s:
            answers = await asyncio.gather(*(door.api(each).clone(clients[each]) for each in others))
            assert [answer.status for answer in answers] == [201] * len(others)
            heads |= {each: heads[each] + 1 for each in others}
            await until(all_have_all)
        assert not waiting.done()
        assert await ends(url) == heads

        await transaction.commit()
        await waiting
        heads[held] = 5
        await until(all_have_all)
        for follower in followers:
            follower.judge(heads)
        subjects = [record.actor.subject for record in await check(holder, held)]
        assert subjects == [f"admin@{held}", "writer", "writer", "writer", f"admin@{held}"]
        await holder.close()


class Door:
    """A service in this process."""

    def __init__(self, server: TestServer, session: ClientSession) -> None:
        self.base = str(server.make_url("")).rstrip("/")
        self.session, self.tokens = session, server.app[TOKENS]

    def api(self, tenant_id: str) -> Api:
        return Api(self.session, self.base, self.tokens, {}).as_role("admin", tenant_id)

    async def persist(self, tenant_id: str, source: str) -> None:
        """Clone *source*, however often it takes."""
        while (reply := await self.api(tenant_id).clone(source)).status != 201:
            assert (reply.status, reply.body["code"]) == (503, 503001)


@asynccontextmanager
async def served(config: Config, url: str) -> AsyncIterator[Door]:
    """A service on the database *url*."""
    server = Served(build(msgspec.structs.replace(config, database_url=url)))
    async with server, ClientSession(connector=TCPConnector(limit=0)) as session:
        yield Door(server, session)


@asynccontextmanager
async def consuming(url: str) -> AsyncIterator[dict[str, int]]:
    """Where a consumer is: the last position of each tenant that it was handed, one after the other."""
    reached: dict[str, int] = {}

    async def handle(entry: Entry) -> None:
        assert entry.position == reached.get(entry.tenant_id, 0) + 1
        reached[entry.tenant_id] = entry.position

    role = {"role": "mitosis_consumer"}
    async with asyncpg.create_pool(url, min_size=0, max_size=4, server_settings=role) as pool:
        task = asyncio.create_task(Consumer(pool, "everything").run(handle))
        yield reached
        task.cancel()
        await asyncio.wait([task])


def plan(  # noqa: PLR0917
    fire: Fire, crews: Sequence[Crew], service: Service, records: int, kills: int, random: Random
) -> list[tuple[int, Act]]:
    """
    What is done when: after how many records.

    One process of each consumer is there from the beginning, the others come in the first third. Then anyone is killed
    at any moment, and replaced; so is the *service*; and all lines of the doorbell are cut.
    """

    async def kill_consumer() -> None:
        await random.choice(crews).replace(random)

    async def kill_service() -> None:
        await service.kill()
        await service.start()

    planned: list[tuple[int, Act]] = [(0, crew.start) for crew in crews]
    early, late = records // 3, range(records // 3, records)
    planned += [(random.randrange(early), crew.start) for crew in crews for _ in range(PROCESSES - 1)]
    planned += [(random.choice(late), kill_consumer) for _ in range(kills)]
    planned += [(random.choice(late), kill_service) for _ in range(kills // 6)]
    planned += [(random.choice(late), fire.cut_lines) for _ in range(kills // 3)]
    return sorted(planned, key=lambda one: one[0])


@asynccontextmanager
async def reading(followers: Sequence[Follower]) -> AsyncIterator[None]:
    """Within this, *followers* follow; one that fails ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follower.follow()) for follower in followers]
        yield
        for task in tasks:
            task.cancel()


async def ends(url: str) -> dict[str, int]:
    """Where the tenants' logs end."""
    owner = await asyncpg.connect(url)
    try:
        return await log.all_positions(owner, limit=2 * len(TENANTS))
    finally:
        await owner.close()


async def settle(url: str, heads: Mapping[str, int], fire: Fire) -> int:
    """The log is what the writers were told that it is, and every law of every tenant holds; returns its length."""
    owner = await asyncpg.connect(url)
    try:
        found = [record for tenant_id in TENANTS for record in await check(owner, tenant_id)]
        verdicts = [await verify(owner, tenant_id) for tenant_id in TENANTS]
    finally:
        await owner.close()
    assert [verdict.faults for verdict in verdicts if not verdict.is_whole] == []
    assert {verdict.tenant_id: verdict.count for verdict in verdicts} == heads
    ids = {record.event_id for record in found}
    assert fire.kept <= ids
    assert not fire.undone & ids
    return len(found)
