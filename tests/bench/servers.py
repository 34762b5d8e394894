"""A PostgreSQL and services for the measurements, as processes of their own."""

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from service import embedded, schema
from service.bearer import Tokens
from service.embedded import Embedded
from service.signing import load_key

ROOT = Path(__file__).parents[2]
CHEAP = {"MITOSIS_ARGON2_MEMORY_KIB": "8", "MITOSIS_ARGON2_TIME_COST": "1"}  # a hash that costs next to nothing
SERVE = ("-c", "from service.cli import main; raise SystemExit(main())", "serve")
_GREETING = b"Mitosis serves http://"
_START_S = 60


class Cluster:
    """A PostgreSQL of the bench's own, with the schema in it; `home` is a folder that goes with it."""

    def __init__(self, home: Path, server: Embedded) -> None:
        self.home, self._server = home, server
        self.largest_mib = 0.0  # of the services that were measured, at their ends
        self.tokens = Tokens(load_key(home / "signing-key.pem"), "mitosis")

    def url(self, user: str = "postgres", database: str = embedded.DATABASE) -> str:
        """The DSN of one of its databases."""
        return self._server.url(user, database)

    async def create(self, database: str) -> str:
        """The DSN of a new database with the schema, for the owner."""
        owner = await asyncpg.connect(self.url())
        await owner.execute(f"create database {database}")
        await owner.close()
        owner = await asyncpg.connect(self.url(database=database))
        await schema.apply(owner)
        await owner.close()
        return self.url(database=database)

    def environment(self, database: str = embedded.DATABASE) -> dict[str, str]:
        """Of a `mitosis` command on this PostgreSQL."""
        return {
            "PATH": "/usr/bin:/bin",
            "MITOSIS_HOME": str(self.home),
            "MITOSIS_DATABASE_URL": self.url("mitosis_service", database),
            "MITOSIS_OWNER_DATABASE_URL": self.url(database=database),
        }


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """A new one; nothing is left of it in the end."""
    with tempfile.TemporaryDirectory() as home:
        server = await asyncio.to_thread(embedded.start, Path(home))
        try:
            owner = await asyncpg.connect(server.url("postgres"))
            await schema.apply(owner)
            await owner.execute("alter role mitosis_service login")
            await owner.close()
            yield Cluster(Path(home), server)
        finally:
            await asyncio.to_thread(server.stop)


class Service:
    """Where a service can be reached, and its processes."""

    def __init__(self, host: str, port: int, pid: int) -> None:
        self.host, self.port, self._pid = host, port, pid

    def memory_mib(self) -> float:
        """What the largest of its processes has of the machine's memory."""
        return max(_resident_kib(pid) for pid in [self._pid, *_children(self._pid)]) / 1024


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


@asynccontextmanager
async def serving(cluster: Cluster, *command: str, **settings: str) -> AsyncIterator[Service]:
    """`mitosis serve` with *settings*, or another *command* of Python that serves and greets like it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *(command or SERVE), "--port", "0"),
        stdout=PIPE,
        stderr=DEVNULL,
        env={**cluster.environment(), **settings},
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            said = await process.stdout.readline()
        if not said.startswith(_GREETING):
            raise RuntimeError(f"the service does not start: {said!r}")
        host, _, port = said.removeprefix(_GREETING).split()[0].decode().rpartition(":")
        yield Service(host, int(port), process.pid)
    finally:
        if process.returncode is None:
            if not command:
                cluster.largest_mib = max(cluster.largest_mib, Service("", 0, process.pid).memory_mib())
            process.terminate()
        await process.communicate()
