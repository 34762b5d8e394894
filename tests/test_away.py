"""A database that is away, stuck, held up by others, or gone at the worst moment."""

import asyncio
import os
import signal
import tempfile
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestServer
from ulid import ULID

from events import log
from events.database import borrowed
from events.errors import DatabaseAway
from service.app import build
from service.config import Config
from service.database import open_pool
from service.embedded import PORT, SOCKET
from service.routes import TOKENS
from tests.callers import EXAMPLE, Api, Reply
from tests.load import Answer, Load, ask, settle, sources
from tests.processes import Postgres, own_postgres

Trouble = Callable[[Postgres], AbstractAsyncContextManager[None]]

TIMEOUT_S = 1.0
GRACE_S = 0.5  # for a shared machine to deliver an answer that was given in time

CLIENTS = "/admin/oauth/clients/"


class Door:
    """A service in this process."""

    def __init__(self, server: TestServer, session: ClientSession) -> None:
        self.base = str(server.make_url("")).rstrip("/")
        self.session, self.tokens = session, server.app[TOKENS]

    def api(self, tenant_id: str) -> Api:
        return Api(self.session, self.base, self.tokens, {}).as_role("admin", tenant_id)

    async def tenants(self, count: int) -> dict[str, str]:
        """Tenants that never were, each with a client."""
        return await sources(self.session, self.tokens, self, [f"t-{ULID()}".lower() for _ in range(count)])

    def load(self, tenants: dict[str, str]) -> Load:
        return Load(self.session, self.tokens, [self], tenants, random=Random(0))

    async def clone(self, tenants: dict[str, str], tenant_id: str) -> Answer:
        return await ask(self.api(tenant_id), tenant_id, self, tenants[tenant_id])


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Door]:
    server = TestServer(build(config))
    async with server, ClientSession(connector=TCPConnector(limit=0)) as session:
        yield Door(server, session)


@pytest.fixture(scope="module")
async def own(binaries: Path | None) -> AsyncIterator[Postgres]:
    """A PostgreSQL that may be stopped."""
    async with own_postgres(binaries) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def impatient(own: Postgres, config: Config) -> Config:
    """A service that waits for that PostgreSQL no longer than a second."""
    url = own.running.url("mitosis_service")
    return msgspec.structs.replace(config, database_url=url, database_timeout_s=TIMEOUT_S)


@pytest.fixture(scope="module")
async def door(impatient: Config) -> AsyncIterator[Door]:
    async with serving(impatient) as door:
        yield door


@asynccontextmanager
async def owner_of(own: Postgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner, for less long than the server runs."""
    connection = await asyncpg.connect(own.running.url("postgres"))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def frozen(own: Postgres) -> AsyncIterator[None]:
    """Every process of the server stands still: connections stay, and nobody answers."""
    stopped: set[int] = set()
    try:
        while new := set(own.family()) - stopped:
            for pid in new:
                os.kill(pid, signal.SIGSTOP)
            stopped |= new
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def stopped(own: Postgres) -> AsyncIterator[None]:
    """The server is stopped, and started again."""
    await own.stop()
    try:
        yield
    finally:
        await own.start()


async def timed(request: Awaitable[Reply]) -> tuple[Reply, float]:
    """The answer and the seconds it took."""
    began = asyncio.get_running_loop().time()
    return await request, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("trouble", [frozen, stopped])
async def test_away(own: Postgres, door: Door, trouble: Trouble) -> None:
    """
    While the database is stuck or stopped, every request is told so in time; afterwards all is well by itself.

    The process lives all the while, and what it said was not changed was not changed.
    """
    tenants = await door.tenants(4)
    tenant, client_id = next(iter(tenants.items()))
    api = door.api(tenant)
    requests = [
        ("GET", "/readyz", {}),
        ("GET", CLIENTS, {}),
        ("GET", CLIENTS + client_id, {}),
        ("POST", f"{CLIENTS}{client_id}/clone", {}),
        ("POST", CLIENTS, {"json": EXAMPLE}),
    ]

    async with door.load(tenants) as load:
        await load.more(50)
        async with trouble(own):
            replies = await asyncio.gather(*(timed(api.send(method, path, **body)) for method, path, body in requests))
            lively, took_s = await timed(api.get("/healthz"))
            await load.more(50)
        await load.recovered()
        back = await asyncio.gather(*(api.send(method, path, **body) for method, path, body in requests))

    for (method, path, _), (reply, elapsed_s) in zip(requests, replies, strict=True):
        assert reply.status == 503, (method, path, reply.body)
        assert reply.headers["Retry-After"]
        assert elapsed_s < TIMEOUT_S + GRACE_S, (method, path)
    assert lively.status == 200
    assert took_s < GRACE_S
    assert [reply.status for reply in back] == [200, 200, 200, 201, 201]
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    assert max(answer.elapsed_s for answer in load.answers) < TIMEOUT_S + GRACE_S
    async with owner_of(own) as owner:
        tally = await settle(owner, tenants, load.answers, others=True)
    assert tally["nothing changed"] > 0


async def test_held_tenant(own: Postgres, door: Door) -> None:
    """Whoever holds one tenant's head delays that tenant alone, and only for as long as he holds it."""
    tenants = await door.tenants(5)
    held, *free = tenants

    async with owner_of(own) as owner:
        async with owner.transaction():
            await log.lock(owner, [held], wait=True)
            delayed = [asyncio.create_task(door.clone(tenants, held)) for _ in range(4)]
            answers = await asyncio.gather(*(door.clone(tenants, tenant) for tenant in free * 4))
            assert not any(task.done() for task in delayed)
        answers += await asyncio.gather(*delayed)

        assert [answer.status for answer in answers] == [201] * 20
        assert max(answer.elapsed_s for answer in answers[:16]) < TIMEOUT_S / 2
        await settle(owner, tenants, answers)


_IS_WAITING = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"


@pytest.mark.parametrize("ninth", ["known", "new", "shared"])
async def test_many_held_tenants(own: Postgres, door: Door, ninth: Literal["known", "new", "shared"]) -> None:
    """Eight held tenants stop no ninth: be it new, or be its head held for a moment by another service's turn."""
    tenants = await door.tenants(10)
    *held, free, tenth = tenants
    if ninth == "new":
        tenants[free := f"{free}-new"] = ""

    async with owner_of(own) as owner, owner_of(own) as service:
        async with owner.transaction():
            await log.lock(owner, held, wait=True)
            delayed = [asyncio.create_task(door.clone(tenants, tenant)) for tenant in held]
            while not await owner.fetchval(_IS_WAITING):
                pass
            async with service.transaction():
                await log.lock(service, [free] if ninth == "shared" else [], wait=True)
                asked = asyncio.create_task(ask(door.api(free), free, door, tenants[free] or None))
                answers = [await door.clone(tenants, tenth) for _ in range(3)]
            answers.append(await asked)
            assert not any(task.done() for task in delayed)
        later = await asyncio.gather(*delayed)

        assert [answer.status for answer in [*answers, *later]] == [201] * 12
        assert max(answer.elapsed_s for answer in answers) < TIMEOUT_S / 2
        await settle(owner, tenants, [*answers, *later])


async def test_held_too_long(own: Postgres, door: Door) -> None:
    """A head that is held for longer than a caller waits: he is told in time that nothing was changed, and so it is."""
    tenants = await door.tenants(1)
    (held,) = tenants

    async with owner_of(own) as owner:
        async with owner.transaction():
            await log.lock(owner, [held], wait=True)
            answers = await asyncio.gather(*(door.clone(tenants, held) for _ in range(3)))
        answers.append(await door.clone(tenants, held))

        assert [(answer.status, answer.code) for answer in answers] == [(503, 503001)] * 3 + [(201, 0)]
        assert max(answer.elapsed_s for answer in answers) < TIMEOUT_S + GRACE_S
        await settle(owner, tenants, answers)


_TERMINATE = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'mitosis'"


async def test_terminated_connections(own: Postgres, door: Door) -> None:
    """An operator who ends the service's sessions amid its work makes no request crash."""
    tenants, random, terminated = await door.tenants(4), Random(1), 0
    reads: list[int] = []

    async def read() -> None:
        while not over.is_set():
            reads.append((await door.api(random.choice(list(tenants))).get(CLIENTS)).status)

    async with owner_of(own) as owner:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as readers, door.load(tenants) as load:
            for _ in range(4):
                readers.create_task(read())
            for _ in range(20):
                await load.more(random.randrange(1, 20))
                terminated += await owner.fetchval(_TERMINATE)
            await load.recovered()
            over.set()

        assert terminated > 20
        assert set(reads) <= {200, 503}
        await settle(owner, tenants, load.answers)


class Plan(msgspec.Struct, frozen=True):
    """What becomes of a COMMIT: whether PostgreSQL gets it, and what comes afterwards."""

    delivered: bool
    then: Literal["cut", "silence", "gone"]


class Proxy:
    """
    Between a service and PostgreSQL, one message of the protocol after the other.

    https://www.postgresql.org/docs/current/protocol-message-formats.html
    """

    def __init__(self, upstream: Path) -> None:
        self.plan: Plan | None = None
        self.is_gone = False
        self.committed = 0
        self._upstream = upstream

    async def serve(self, client: StreamReader, back: StreamWriter) -> None:
        """One connection, to its end."""
        if self.is_gone:
            self._cut(back)
            return
        server, forth = await asyncio.open_unix_connection(str(self._upstream))
        is_muted, is_committed = asyncio.Event(), asyncio.Event()

        async def answer() -> None:
            with suppress(IncompleteReadError, ConnectionError):
                while True:
                    message = await _message(server)
                    if not is_muted.is_set():
                        back.write(message)
                    elif message.startswith(b"Z"):  # ready for the next: COMMIT is over
                        is_committed.set()
            self._cut(back)

        answers = asyncio.create_task(answer())
        with suppress(IncompleteReadError, ConnectionError):
            forth.write(await _message(client, kind=0))
            while not is_muted.is_set():
                message = await _message(client)
                plan = self._plan_for(message)
                if plan is None:
                    forth.write(message)
                    continue
                is_muted.set()
                if plan.delivered:
                    forth.write(message)
                    await is_committed.wait()
                    self.committed += 1
                if plan.then == "silence":
                    await client.read()
        self._cut(back, forth)
        await answers

    def _plan_for(self, message: bytes) -> Plan | None:
        """The plan, if this is the COMMIT that it is for."""
        if self.plan is None or not (message.startswith(b"Q") and message[5:].startswith(b"COMMIT")):
            return None
        plan, self.plan = self.plan, None
        self.is_gone = plan.then == "gone"
        return plan

    @staticmethod
    def _cut(*connections: StreamWriter) -> None:
        for connection in connections:
            connection.transport.abort()


async def _message(stream: StreamReader, kind: int = 1) -> bytes:
    """A message: its type (*kind* bytes; a startup packet has none), its length and its body."""
    head = await stream.readexactly(kind + 4)
    return head + await stream.readexactly(int.from_bytes(head[kind:]) - 4)


@asynccontextmanager
async def proxied(own: Postgres, config: Config) -> AsyncIterator[tuple[Proxy, Door]]:
    """A service whose every word to PostgreSQL goes through a proxy."""
    async with AsyncExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory())
        proxy = Proxy(own.home / "run" / SOCKET)
        server = await asyncio.start_unix_server(proxy.serve, f"{sockets}/{SOCKET}")
        stack.callback(server.close)
        url = f"postgresql://mitosis_service@/mitosis?host={sockets}&port={PORT}"
        yield proxy, await stack.enter_async_context(serving(msgspec.structs.replace(config, database_url=url)))


@pytest.mark.parametrize(
    "plan",
    [Plan(delivered=True, then="cut"), Plan(delivered=False, then="cut"), Plan(delivered=True, then="silence")],
    ids=["its answer lost", "lost itself", "never answered"],
)
async def test_lost_commit(own: Postgres, impatient: Config, plan: Plan) -> None:
    """A COMMIT that gets no answer: the desk finds out, and each caller has his client, once."""
    async with proxied(own, impatient) as (proxy, door), owner_of(own) as owner:
        tenants = await door.tenants(2)

        proxy.plan = plan
        answers = await asyncio.gather(*(door.clone(tenants, tenant) for tenant in [*tenants] * 3))

        assert proxy.committed == plan.delivered
        assert [answer.status for answer in answers] == [201] * 6
        assert max(answer.elapsed_s for answer in answers) < TIMEOUT_S + GRACE_S
        await settle(owner, tenants, answers)


@pytest.mark.parametrize("delivered", [True, False], ids=["and done", "and not done"])
async def test_unknown_outcome(own: Postgres, impatient: Config, delivered: bool) -> None:
    """A COMMIT after which the database stays away: its caller is told in time that nobody knows."""
    async with proxied(own, impatient) as (proxy, door), owner_of(own) as owner:
        tenants = await door.tenants(1)

        proxy.plan = Plan(delivered=delivered, then="gone")
        answer = await door.clone(tenants, *tenants)

        assert (answer.status, answer.code) == (503, 503002)
        assert answer.retry_after
        assert answer.elapsed_s < TIMEOUT_S + GRACE_S
        assert (await settle(owner, tenants, [answer]))["unknown or broken that happened"] == delivered
        proxy.is_gone = False
        again = await door.clone(tenants, *tenants)
        assert again.status == 201


async def test_cut_between_two_steps(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may be cut at any moment, between preparing a statement and running it too: the database is away."""
    step = "_get_statement"  # of the driver's; there is no other way to that very moment
    prepare = getattr(asyncpg.Connection, step)

    async def prepare_and_lose(connection: asyncpg.Connection, *args: Any, **kwargs: Any) -> Any:
        statement = await prepare(connection, *args, **kwargs)
        connection.terminate()
        return statement

    async with open_pool(own.running.url("mitosis_service"), size=1, timeout_s=TIMEOUT_S) as pool:
        async with borrowed(pool, TIMEOUT_S) as connection:
            assert await connection.fetchval("select 1") == 1
        monkeypatch.setattr(asyncpg.Connection, step, prepare_and_lose)
        with pytest.raises(DatabaseAway):
            async with borrowed(pool, TIMEOUT_S) as connection:
                await connection.fetchval("select 2")
