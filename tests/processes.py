"""`mitosis serve` and its PostgreSQL as operators run them: processes of their own, which can be killed."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from service import embedded
from service.bearer import Tokens
from service.embedded import Embedded
from service.signing import load_key
from tests.conftest import prepare
from tests.leaks import WITNESS

MAIN = "from service.cli import main; raise SystemExit(main())"
_COMMAND = (sys.executable, "-c", MAIN, "serve", "--port", "0")
_GREETING = b"Mitosis serves "
_START_S = 30
_STOP_S = 40


class Postgres:
    """A server of the test's own: it may be stopped or killed, and started again on the same home."""

    def __init__(self, home: Path, binaries: Path | None) -> None:
        self.home, self.binaries = home, binaries
        self.server: Embedded | None = None

    @property
    def running(self) -> Embedded:
        assert self.server is not None
        return self.server

    async def start(self) -> None:
        self.server = await asyncio.to_thread(embedded.start, self.home, binaries=self.binaries)

    async def stop(self) -> None:
        await asyncio.to_thread(self.running.stop)

    async def kill(self) -> None:
        """SIGKILL for every process of it."""
        await asyncio.to_thread(self.running.kill)

    def family(self) -> list[int]:
        """The postmaster and its children, the postmaster first."""
        return [self.running.pid, *children(self.running.pid)]


def children(parent: int) -> list[int]:
    """The processes that *parent* has started, and that have not ended."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _parent(pid) == parent]


def is_alive(pid: int) -> bool:
    """Whether *pid* has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def workers(serve: int) -> list[int]:
    """The workers of the process *serve*."""
    return [pid for pid in children(serve) if is_alive(pid) and b"serving.worker" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


@asynccontextmanager
async def own_postgres(binaries: Path | None) -> AsyncIterator[Postgres]:
    """A PostgreSQL with the schema; in the end it is looked through for secrets."""
    with tempfile.TemporaryDirectory() as home:
        postgres = Postgres(Path(home), binaries)
        await postgres.start()
        try:
            await prepare(postgres.running)
            yield postgres
            await asyncio.to_thread(WITNESS.dump, postgres.running, binaries=binaries)
        finally:
            await postgres.stop()
            WITNESS.log("postgres.log", (postgres.home / "postgres.log").read_text())


class Service:
    """
    A `mitosis serve` process on *postgres*.

    Services with one *home* share its signing key. What they write is in `<name>.out` and `<name>.err` there. It is one
    process, which can be killed, unless *settings* say otherwise.
    """

    def __init__(self, server: Embedded, home: Path, name: str, **settings: str) -> None:
        self.out, self.err = home / f"{name}.out", home / f"{name}.err"
        self.base = ""
        self._process: Process | None = None
        self._environment = {
            "PATH": os.defpath,
            "MITOSIS_HOME": str(home),
            "MITOSIS_SIGNING_KEY_FILE": str(key_file(home)),
            "MITOSIS_DATABASE_URL": server.url("mitosis_service"),
            "MITOSIS_OWNER_DATABASE_URL": server.url("postgres"),
            "MITOSIS_WORKERS": "1",
            "MITOSIS_ARGON2_MEMORY_KIB": "512",
            "MITOSIS_ARGON2_TIME_COST": "1",
            **settings,
        }

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it and wait until it says where it serves."""
        with self.err.open("ab") as err:
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdout=PIPE, stderr=err, env=self._environment, cwd=Path(__file__).parents[1]
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = await self.process.stdout.readline()
        self._say(line)
        assert line.startswith(_GREETING), self.err.read_text()
        self.base = line.removeprefix(_GREETING).split()[0].decode()

    async def kill(self) -> None:
        """SIGKILL: it has no chance to say anything."""
        self.process.kill()
        await self._end()

    async def terminate(self) -> int:
        """SIGTERM: it answers what is in flight; returns its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self._end()

    async def _end(self) -> int:
        assert self.process.stdout is not None
        async with asyncio.timeout(_STOP_S):
            self._say(await self.process.stdout.read())
            return await self.process.wait()

    def _say(self, said: bytes) -> None:
        with self.out.open("ab") as out:
            out.write(said)


def key_file(home: Path) -> Path:
    """The signing key that all services of *home* share."""
    return home / "signing-key.pem"


class Deployment:
    """Some services on one database, and the tokens that they accept."""

    def __init__(self, services: list[Service], tokens: Tokens) -> None:
        self.services, self.tokens = services, tokens


@asynccontextmanager
async def deployed(server: Embedded, count: int, **settings: str) -> AsyncIterator[Deployment]:
    """*count* services on *server*; in the end they are stopped and what they wrote is looked through for secrets."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = [Service(server, home, f"service-{number}", **settings) for number in range(count)]
        tokens = Tokens(load_key(key_file(home)), "mitosis")
        for service in services:
            stack.push_async_callback(_retire, service)
        await asyncio.gather(*(service.start() for service in services))
        yield Deployment(services, tokens)


async def _retire(service: Service) -> None:
    status = await service.terminate()
    for log in (service.out, service.err):
        WITNESS.log(log.name, log.read_text())
    assert status == 0, service.err.read_text()[-2000:]
