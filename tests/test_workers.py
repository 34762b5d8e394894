"""`mitosis serve` in several processes: they are one service, whoever of them dies."""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession, TCPConnector

from service.app import sessions
from service.config import Config, cores
from service.embedded import Embedded
from service.serving import CannotServe, sharing
from service.serving.sharing import Shares
from service.serving.workers import working
from tests.callers import Api
from tests.leaks import WITNESS
from tests.processes import Deployment, Service, deployed, is_alive, workers
from tests.test_serve import CHECKOUT, MITOSIS, environment, home, leftovers, pasted, run, serving, stopped_meanwhile
from tests.waiting import until

__all__ = ["home"]  # a fixture


@pytest.fixture
async def pair(postgres: Embedded) -> AsyncIterator[Deployment]:
    """A service of two workers, on the database that all tests share."""
    async with deployed(postgres, 1, MITOSIS_WORKERS="2") as deployment:
        yield deployment


@pytest.fixture
def service(pair: Deployment) -> Service:
    return pair.services[0]


@pytest.fixture
async def api(pair: Deployment, tenant: str) -> AsyncIterator[Api]:
    """A caller whose every request has a connection of its own."""
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:
        yield Api(session, pair.services[0].base, pair.tokens, {}).as_role("admin", tenant)


def connections(pid: int, port: int) -> int:
    """How many connections to *port* the process has accepted."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    accepted = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    links = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return sum(link.removeprefix("socket:[").rstrip("]") in accepted for link in links)


async def test_all_serve(service: Service, pair: Deployment, tenant: str) -> None:
    """What was registered through one worker is cloned through another; of the connections each has its share."""
    port = int(service.base.rpartition(":")[2])
    at_once = itertools.count(16, 4)

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        api = Api(session, service.base, pair.tokens, {}).as_role("admin", tenant)

        async def each_has_its_share() -> bool:
            # a worker that does not get a core in time leaves a connection to the other, so there may have to be more
            clients = await asyncio.gather(*(api.register() for _ in range(next(at_once))))
            clones = await asyncio.gather(*(api.clone(client["client_id"]) for client in clients))
            assert {clone.status for clone in clones} == {201}
            shares = [connections(pid, port) for pid in workers(service.process.pid)]
            assert len(shares) == 2
            return min(shares) >= 4

        await until(each_has_its_share)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_that_ends(service: Service, api: Api, end: signal.Signals) -> None:
    """It is said and the worker replaced; those who come meanwhile are served by the other."""
    client = await api.register()
    before = workers(service.process.pid)

    os.kill(before[0], end)
    await until(lambda: not is_alive(before[0]))

    async def replaced() -> bool:
        assert (await api.get(f"/admin/oauth/clients/{client['client_id']}")).status == 200
        return len(workers(service.process.pid)) == 2

    await until(replaced)
    assert before[1] in workers(service.process.pid)
    assert f"worker {before[0]} ended with status" in service.err.read_text()


async def test_all_workers_end(service: Service, api: Api) -> None:
    """Who comes when nobody is there waits for the next worker."""
    for pid in workers(service.process.pid):
        os.kill(pid, signal.SIGKILL)

    assert (await api.get("/admin/oauth/clients/")).status == 200


async def test_a_kill(service: Service) -> None:
    """No worker outlives the process that started it, however that ended."""
    before = workers(service.process.pid)

    await service.kill()

    assert len(before) == 2
    await until(lambda: not any(is_alive(pid) for pid in before))
    await service.start()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_flight_is_answered(home: Path, stop: signal.Signals) -> None:
    """A request that is being answered when the service is told to stop is answered; then nothing is left of it."""
    with serving(home, MITOSIS_WORKERS="2") as (process, printed):
        before = workers(process.pid)
        assert printed.count("Mitosis serves") == 1
        with urllib.request.urlopen(pasted(printed), timeout=10) as reply:
            assert reply.status == 201
        assert asyncio.run(stopped_meanwhile(process, home, pasted(printed), stop)) == 201
        assert process.wait(30) == 0
    assert len(before) == 2
    assert not any(is_alive(pid) for pid in before)
    assert leftovers(home) == []


def test_a_taken_port(home: Path) -> None:
    """A port that is taken is said in one line, as by one process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run(home, "serve", "--workers", "2", PORT=str(port))

    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith(f"mitosis: 127.0.0.1:{port} cannot be listened on: ")
    assert leftovers(home) == []


async def test_a_worker_that_cannot_start(home: Path) -> None:
    """A worker that ends before it serves makes the command fail in one line, and nothing is left."""
    process = await asyncio.create_subprocess_exec(
        *(*MITOSIS, "serve"),
        env=environment(home, MITOSIS_WORKERS="2"),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await until(lambda: len(workers(process.pid)) == 2)
    started = workers(process.pid)

    os.kill(started[0], signal.SIGKILL)
    out, err = await process.communicate()

    said = [line for line in err.decode().splitlines() if not line.startswith("{")]
    WITNESS.log("serve", err.decode())
    assert (process.returncode, out) == (1, b"")
    assert said == [f"mitosis: worker {started[0]} ended with status -9"]
    assert not any(is_alive(pid) for pid in started)
    assert leftovers(home) == []


@pytest.mark.parametrize("count", ["1", "2"])
async def test_stopped_while_it_starts(home: Path, count: str) -> None:
    """Whoever stops it before it serves is heeded at once: nothing is said of serving, and nothing is left."""
    process = await asyncio.create_subprocess_exec(
        *(*MITOSIS, "serve"),
        env=environment(home, MITOSIS_WORKERS=count),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await until(lambda: (home / "postgres.log").exists() and b"ready to accept" in (home / "postgres.log").read_bytes())
    if count == "2":
        await until(lambda: len(workers(process.pid)) == 2)

    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()

    WITNESS.log("serve", err.decode())
    assert out == b""
    assert [line for line in err.decode().splitlines() if not line.startswith("{")] == []
    assert process.returncode in (0, 130)  # before the loop takes the signals over they interrupt
    assert leftovers(home) == []


async def test_a_worker_that_talks_nonsense(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose words are none is ended, and is not alive unnoticed; the service says what it is about."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr("service.serving.workers._MAIN", "import os; os.write(0, b'nonsense\\n'); os.read(0, 9**7)")
        with pytest.raises(CannotServe, match="DecodeError"):
            async with working(msgspec.structs.replace(config, workers=2), [listening]):
                raise AssertionError


async def test_accepting_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one connection, the next is taken."""
    monkeypatch.setattr(sharing, "_NO_MORE_S", 0.0)
    taken, failures = asyncio.Event(), iter([OSError("too many files"), RuntimeError("no idea")])

    async def take(_listened_on: socket.socket, _server: Any) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        taken.set()

    monkeypatch.setattr(sharing, "_take", take)
    server: Any = SimpleNamespace(connections=[])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = asyncio.create_task(Shares.of(1).accept(listening, 0, server))
        with socket.create_connection(listening.getsockname()):
            await asyncio.wait_for(taken.wait(), 10)
        accepting.cancel()
        await asyncio.wait([accepting])


async def test_whoever_has_more_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workers, the one that has connections leaves the next to the one without, though that is not awake yet."""
    monkeypatch.setattr(sharing, "_STEP_BACK_S", 30.0)
    shares, took, done = Shares.of(2), list[Any](), asyncio.Event()

    async def take(listened_on: socket.socket, server: Any) -> None:
        connection, _ = listened_on.accept()
        connection.close()
        took.append(server)
        done.set()

    monkeypatch.setattr(sharing, "_take", take)
    busy: Any = SimpleNamespace(connections=[1, 2])
    idle: Any = SimpleNamespace(connections=[])
    shares.join(0)
    shares.join(1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        at = [asyncio.create_task(shares.accept(listening.dup(), 0, busy))]
        with socket.create_connection(listening.getsockname()):
            await until(lambda: shares._counts[0] == len(busy.connections))  # noqa: SLF001 (it was woken)
            at.append(asyncio.create_task(shares.accept(listening.dup(), 1, idle)))
            await asyncio.wait_for(done.wait(), 10)
        for task in at:
            task.cancel()
        await asyncio.wait(at)

    assert took == [idle]


def test_mistakes(home: Path) -> None:
    """A number of workers that cannot be is refused in one line."""
    for arguments, settings in ((["--workers", "0"], {}), ([], {"MITOSIS_WORKERS": "many"})):
        refused = run(home, "serve", *arguments, **settings)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "from 1 to 256" in refused.stderr


def test_the_shares_of_the_machine() -> None:
    """One worker for each core, unless it is said; they divide the cores, and each has a thread for hashes at least."""
    assert Config().workers == cores() == len(os.sched_getaffinity(0))
    assert Config(workers=1).hash_threads == cores()
    assert Config(workers=cores()).hash_threads == Config(workers=256).hash_threads == 1


async def _max_connections(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("show max_connections"))
    finally:
        await connection.close()


def test_enough_connections(home: Path) -> None:
    """The embedded PostgreSQL has connections for the pools of all workers, and for others besides."""
    config = Config(workers=2, pool_size=60)
    with serving(home, MITOSIS_WORKERS="2", MITOSIS_POOL_SIZE="60"):
        most = asyncio.run(_max_connections(f"postgresql://postgres@/mitosis?host={home}/run&port=5432"))
    assert most > sessions(config) == 2 * (60 + 12)


async def test_too_few_connections(postgres: Embedded) -> None:
    """Of an external one that has fewer it is said in the log; it serves all the same."""
    async with deployed(postgres, 1, MITOSIS_POOL_SIZE="1000") as deployment:
        (service,) = deployment.services
        assert '"too_few_connections"' in service.err.read_text()
