"""On the real programs: those of the wheel, and PostgreSQL 15 where it is installed."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service import embedded
from service.embedded import Embedded, EmbeddedUnavailable
from service.home import HomeHeld, hold

POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")

OWNER = """
import pathlib, signal, sys
from service import embedded
from service.home import hold

with hold(pathlib.Path(sys.argv[1])) as home:
    print("held", flush=True)
    server = embedded.start(home, binaries=pathlib.Path(sys.argv[2]))
    print(server.pid, flush=True)
    signal.pause()
"""


class Place:
    """A home, and the programs that run on it."""

    def __init__(self, home: Path, binaries: Path | None) -> None:
        self.home = home
        self.binaries = binaries

    @contextmanager
    def running(self, **settings: str) -> Iterator[Embedded]:
        """Its server, stopped in the end."""
        server = embedded.start(self.home, binaries=self.binaries, settings=settings)
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def owner(self) -> Iterator[subprocess.Popen[str]]:
        """Another process that holds the home and runs its server, until it is killed."""
        command = [sys.executable, "-c", OWNER, str(self.home), str(self.binaries or embedded.bundled())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
            assert read(process) == "held"
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module", params=[None, POSTGRESQL_15], ids=["wheel", "15"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param and not request.param.exists():
        pytest.skip(f"no {request.param}")
    with tempfile.TemporaryDirectory() as home:
        yield Place(Path(home), request.param)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not pytest's own: each pytest that root starts closes their common root again, to a running PostgreSQL too."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    return Place(tmp_path, None)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files, with a path that leaves room for a socket's."""
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@asynccontextmanager
async def connected(server: Embedded) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server.url("postgres"), timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def kept(server: Embedded, number: int) -> list[int]:
    """The numbers that the database keeps, *number* among them from now on."""
    async with connected(server) as connection:
        await connection.execute("create table if not exists kept (number int)")
        await connection.execute("insert into kept values ($1)", number)
        return [row["number"] for row in await connection.fetch("select number from kept order by 1")]


async def processes(server: Embedded) -> set[int]:
    """The postmaster, its auxiliary processes, and an open connection's backend."""
    async with connected(server) as connection:
        return {server.pid, *(row["pid"] for row in await connection.fetch("select pid from pg_stat_activity"))}


def entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


@contextmanager
def foreigner(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's account that is not PostgreSQL."""
    account = (place.home / "postgres").stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "60"], user=account) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_first_start(place: Place) -> None:
    """A first start makes the database, durable, and no other account reaches its socket."""
    with place.running() as server:
        async with connected(server) as connection:
            names = ["fsync", "synchronous_commit", "listen_addresses", "timezone", "server_encoding", "jit"]
            shown = [await connection.fetchval("select current_setting($1)", name) for name in names]
            assert await connection.fetchval("select current_database()") == "mitosis"
            assert await connection.fetchval("select datcollate from pg_database where datname = 'mitosis'") == "C"

        assert shown == ["on", "on", "", "UTC", "UTF8", "off"]
        for directory in ("postgres", "run"):
            assert stat.S_IMODE((place.home / directory).stat().st_mode) == 0o700
        assert stat.S_IMODE((place.home / "postgres.log").stat().st_mode) == 0o600


async def test_restart(place: Place) -> None:
    """What was written before a stop is there after the next start; settings are those of each start."""
    with place.running() as server:
        before = await kept(server, 1)
    with place.running(fsync="off", max_connections="17") as server:
        assert await kept(server, 2) == [*before, 2]
        async with connected(server) as connection:
            assert await connection.fetchval("show max_connections") == "17"


async def test_stop(place: Place) -> None:
    """Stopping ends every process, twice is as good as once, and an open connection does not delay it."""
    with place.running() as server:
        async with connected(server) as connection:
            pids = await processes(server)
            server.stop()
            connection.terminate()
            assert len(pids) > 5
            assert not any(map(alive, pids))
            server.stop()


async def test_kill(place: Place) -> None:
    """A kill leaves no process; the next start recovers what was committed, and is not the first one's to stop."""
    with place.running() as server:
        before = await kept(server, 3)
        pids = await processes(server)
        server.kill()
        assert not any(map(alive, pids))

    with place.running() as successor:
        server.stop()
        assert await kept(successor, 4) == [*before, 4]


async def test_postmaster_killed(place: Place) -> None:
    """Backends that outlive their postmaster do not keep the next one from starting."""
    with place.running() as server:
        os.kill(server.pid, signal.SIGKILL)
        with place.running() as successor:
            assert 5 in await kept(successor, 5)


async def test_owner_killed(place: Place) -> None:
    """A server that outlives its service is shut down by the next start; the home is free once its holder is dead."""
    with place.owner() as owner:
        leftover = int(read(owner))
        owner.kill()
        owner.wait()

        assert alive(leftover)
        with hold(place.home), place.running() as server:
            assert not alive(leftover)
            assert 6 in await kept(server, 6)


async def test_foreign_pid(place: Place) -> None:
    """A process that was given the pid of a dead postmaster is left alone, and PostgreSQL starts all the same."""
    with place.running() as server:
        record = place.home / "postgres" / "postmaster.pid"
        lines = record.read_text().splitlines(keepends=True)
        server.kill()
        with foreigner(place) as foreign:
            record.write_text("".join([f"{foreign.pid}\n", *lines[1:]]))
            with place.running() as successor:
                assert 7 in await kept(successor, 7)
            assert foreign.poll() is None


async def test_empty_pid_file(place: Place) -> None:
    """A postmaster that died before it wrote its pid does not keep the next one from starting."""
    with place.running() as server:
        server.kill()
        (place.home / "postgres" / "postmaster.pid").write_text("")
        with place.running() as successor:
            assert 8 in await kept(successor, 8)


async def test_log_tells_no_values(place: Place) -> None:
    """Neither rows nor parameters nor statements reach the log."""
    secret = uuid.uuid4().hex
    with place.running() as server:
        async with connected(server) as connection:
            await connection.execute("create temporary table once (value text primary key)")
            await connection.execute("insert into once values ($1)", secret)
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute("insert into once values ($1)", secret)
            with pytest.raises(asyncpg.InvalidTextRepresentationError):
                await connection.execute(f"select '{secret}-'::uuid")
    told = (place.home / "postgres.log").read_text()
    assert "ready to accept connections" in told
    assert not any(word in told for word in (secret, "DETAIL", "STATEMENT", "CONTEXT"))


def test_log_is_bounded(place: Place) -> None:
    """A log of over 10 MiB begins anew."""
    log = place.home / "postgres.log"
    os.truncate(log, embedded.LOG_LIMIT_BYTES + 1)
    with place.running():
        assert log.stat().st_size < 10_000


def test_reason_of_failure(place: Place) -> None:
    """A server that does not start is said with its last words, and nothing is left running."""
    with pytest.raises(EmbeddedUnavailable, match=r"did not start on .*shared_buffers"):
        embedded.start(place.home, binaries=place.binaries, settings={"shared_buffers": "much"})
    assert not (place.home / "postgres" / "postmaster.pid").exists()


def test_no_programs(tmp_path: Path) -> None:
    """A directory without PostgreSQL is named."""
    with pytest.raises(EmbeddedUnavailable, match=f"there is no PostgreSQL in {tmp_path}"):
        embedded.start(tmp_path, binaries=tmp_path)


def test_initdb_fails(tmp_path: Path) -> None:
    """The reason of initdb is passed on, and a failed attempt leaves nothing behind."""
    (tmp_path / "bin").mkdir()
    for program in ("initdb", "postgres"):
        (tmp_path / "bin" / program).write_text("#!/bin/sh\necho no space left\nexit 1\n")
        (tmp_path / "bin" / program).chmod(0o755)
    with pytest.raises(EmbeddedUnavailable, match="initdb failed: no space left"):
        embedded.start(tmp_path, binaries=tmp_path / "bin")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize("stage", ["global", "base/5"])
async def test_killed_in_initdb(fresh: Place, stage: str) -> None:
    """A first start that is killed on the way is made up for by the second."""
    with fresh.owner() as owner:
        while not list(fresh.home.glob(f"postgres.new-*/{stage}")):
            assert owner.poll() is None
        owner.kill()
        owner.wait()
        assert not (fresh.home / "postgres").exists()

        with fresh.running() as server:
            assert await kept(server, 1) == [1]


async def test_long_path(tmp_path: Path, short: Path) -> None:
    """A home too deep for a socket has it in a private directory, which goes with the server, or with its successor."""
    place = Place(tmp_path / ("deep, " * 20), None)
    place.home.mkdir()
    with place.owner() as owner:
        read(owner)
        owner.kill()
        owner.wait()
        (left,) = entries(short)
        with place.running() as server:
            assert await kept(server, 1) == [1]
            (sockets,) = entries(short)
            assert sockets != left
            assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not entries(short)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root opens anything")
async def test_root_opens_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under root the way to the data may be walked, not read, and what was opened is said once."""
    outer = tmp_path / "outer"
    outer.mkdir(mode=0o700)
    with hold(outer / "home") as home:
        for _ in range(2):
            embedded.start(home).stop()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (outer, home)] == [0o701] * 2
    assert sum(str(home) in line for line in caplog.messages) == 1


def test_held_by_another(fresh: Place) -> None:
    """Whoever finds a home held is told by whom; afterwards it is free."""
    with fresh.owner() as owner, pytest.raises(HomeHeld) as told, hold(fresh.home):
        pass
    assert str(told.value) == f"{fresh.home} is in use by process {owner.pid}"
    with hold(fresh.home), pytest.raises(HomeHeld, match=f"process {os.getpid()}$"), hold(fresh.home):
        pass


def test_home_is_private(tmp_path: Path) -> None:
    """A home that is made is its owner's alone; one that exists keeps its mode."""
    with hold(tmp_path / "made") as made:
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o750)
    with hold(made):
        assert stat.S_IMODE(made.stat().st_mode) == 0o750
