"""`mitosis relay` as operators run it: a process of its own, on a database of the test's own."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import asyncpg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from events import checkpoints, cloudevent, log
from events.checkpoints import Standing
from events.log import Entry
from tests.brokers import stored
from tests.leaks import HASH, WITNESS
from tests.planting import plant

MAIN = "from service.cli import main; raise SystemExit(main())"
_CHECKOUT = Path(__file__).parents[1]
_PATIENCE_S = 30


class Database:
    """A database whose records are those of one test alone, and how the relay stands with them."""

    def __init__(self, url: str, owner: asyncpg.Connection) -> None:
        self.url, self.owner = url, owner
        self.tenants: set[str] = set()

    async def write(self, *tenants: str, count: int = 1, **changes: Any) -> None:
        """*count* records in each of *tenants*."""
        self.tenants |= set(tenants)
        for _ in range(count):
            for tenant in tenants:
                await plant(self.owner, tenant, **changes)

    @asynccontextmanager
    async def written_to(self, *tenants: str) -> AsyncIterator[None]:
        """Records in *tenants* all the time."""
        stop, connection = asyncio.Event(), await asyncpg.connect(self.url)

        async def write() -> None:
            while not stop.is_set():
                for tenant in tenants:
                    await plant(connection, tenant)

        writing = asyncio.create_task(write())
        try:
            yield
        finally:
            stop.set()
            await writing
            await connection.close()

    async def entries(self, tenant: str) -> list[Entry]:
        return [entry async for entry in log.read(self.owner, tenant)]

    async def standings(self) -> dict[str, Standing]:
        """How the relay stands, by tenant."""
        return {one.tenant_id: one for one in await checkpoints.standings(self.owner)}

    async def is_done(self) -> bool:
        found = await self.standings()
        return found.keys() >= self.tenants and all(one.lag == 0 for one in found.values())

    async def parked(self) -> dict[str, str]:
        """Why, by tenant."""
        found = (await self.standings()).values()
        return {one.tenant_id: one.parked_because for one in found if one.parked_because is not None}

    async def forget_the_dead(self) -> None:
        """As some seconds without a sign of life do."""
        await self.owner.execute("delete from members")


async def started(url: str, database_url: str, *arguments: str, stderr: int | BinaryIO, main: str = MAIN) -> Process:
    """A relay. A certificate that lies beside its log is one that it trusts."""
    environment = {"PATH": os.defpath, "MITOSIS_DATABASE_URL": database_url}
    if not isinstance(stderr, int) and (certificate := Path(stderr.name).with_name("cert.pem")).exists():
        environment["SSL_CERT_FILE"] = str(certificate)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", main, "relay", url, *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=stderr,
        env=environment,
        cwd=_CHECKOUT,
    )


async def refused(url: str, database_url: str, *arguments: str, main: str = MAIN) -> str:
    """What a relay says that does not start."""
    process = await started(url, database_url, *arguments, stderr=PIPE, main=main)
    out, err = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    assert (out, process.returncode) == (b"", 1), err
    return err.decode()


class Relay:
    """A relay that can be killed and started again. Its log is `relay.err` in *directory*."""

    def __init__(self, url: str, database: Database, directory: Path, *arguments: str) -> None:
        self.greeting = ""
        self._err = directory / "relay.err"
        self._start = (url, database.url, *arguments)
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it says that it relays."""
        with self._err.open("ab") as err:
            self._process = await started(*self._start, stderr=err)
        assert self._process.stdout is not None
        self.greeting = (await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE_S)).decode()
        assert self.greeting.startswith("Mitosis relays "), self.logged

    async def end(self, number: signal.Signals) -> int:
        """End it by a signal; returns its exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), _PATIENCE_S)

    @property
    def logged(self) -> str:
        """Its log."""
        return self._err.read_text()

    def has_logged(self, text: str) -> bool:
        return text in self.logged


@asynccontextmanager
async def relaying(url: str, database: Database, directory: Path, *arguments: str) -> AsyncIterator[Relay]:
    """A relay that runs; in the end it is stopped, and what it wrote is looked through for secrets."""
    relay = Relay(url, database, directory, *arguments)
    await relay.start()
    try:
        yield relay
        assert await relay.end(signal.SIGTERM) == 0, relay.logged
    finally:
        await relay.end(signal.SIGKILL)
        WITNESS.log("relay", relay.greeting + relay.logged)


async def assert_complete(database: Database, jetstream: JetStreamContext) -> list[RawStreamMsg]:
    """The stream has what the log has: each record once, in its tenant's order, and nothing that is private."""
    messages = await stored(jetstream)
    found: dict[str, list[Entry]] = {tenant: [] for tenant in database.tenants}
    for message in messages:
        entry = cloudevent.decode(message.data or b"")
        found[entry.tenant_id].append(entry)
        told = f"{message.subject} {message.headers} {message.data!r}"
        assert HASH not in told
        WITNESS.log("a message", told)
    for tenant in database.tenants:
        entries = await database.entries(tenant)
        assert [entry.position for entry in found[tenant]] == [entry.position for entry in entries], tenant
        assert found[tenant] == entries
    return messages


async def has(jetstream: JetStreamContext, count: int) -> bool:
    """Whether the stream has *count* messages."""
    return (await jetstream.stream_info("MITOSIS")).state.messages >= count
