"""What the tests run on: a real PostgreSQL, a real HTTP server, and tenants that never were."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from hypothesis import settings
from ulid import ULID

from service import embedded, schema
from service.app import build
from service.config import Config
from service.embedded import Embedded
from service.routes import TOKENS
from service.runner import Runner
from tests.callers import Api
from tests.commands import mitosis as mitosis  # noqa: PLC0414 (a fixture)
from tests.leaks import WITNESS

# a shell has what it runs in the background ignore Ctrl-C, and the commands under test would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
# how long something takes is no law, on a machine that others use too
settings.register_profile("mitosis", deadline=None)
settings.load_profile("mitosis")


@pytest.fixture(scope="session", autouse=True)
def no_leak() -> Iterator[None]:
    """
    After all tests: no secret that was ever minted, and no hash, is anywhere but where it belongs.

    That is in the one answer that handed it out, and in the log's private column. Looked through are all answers, the
    logs of this process, and what each server and each `mitosis serve` process of the tests left behind.
    """
    with WITNESS.listening():
        yield
    assert WITNESS.verdict() == []


@pytest.fixture(scope="session")
def binaries() -> Path | None:
    """The PostgreSQL to test with: MITOSIS_TEST_POSTGRES names a bin directory, the wheel's own otherwise."""
    named = os.environ.get("MITOSIS_TEST_POSTGRES")
    return Path(named) if named else None


@pytest.fixture(scope="session")
def postgres(binaries: Path | None) -> Iterator[Embedded]:
    """
    A server for the whole session; who kills one starts one of its own.

    Not in pytest's own directory: as root, each session that starts closes its parent to the server's account.
    """
    with tempfile.TemporaryDirectory() as home:
        server = embedded.start(Path(home), binaries=binaries)
        asyncio.run(prepare(server))
        yield server
        WITNESS.dump(server, binaries=binaries)
        server.stop()
        WITNESS.log("postgres.log", Path(home, "postgres.log").read_text())


async def prepare(server: Embedded) -> None:
    """Apply the schema, as `mitosis serve` does."""
    owner = await asyncpg.connect(server.url("postgres"))
    await schema.apply(owner)
    await owner.execute("alter role mitosis_service login")
    await owner.close()


@asynccontextmanager
async def own_database(postgres: Embedded, binaries: Path | None) -> AsyncIterator[str]:
    """The name of a database of the test's own on *postgres*; in the end it is looked through for secrets."""
    name = f"own_{ULID()}".lower()
    owner = await asyncpg.connect(postgres.url("postgres"))
    try:
        await owner.execute(f"create database {name}")
        own = await asyncpg.connect(postgres.url("postgres", name))
        await schema.apply(own)
        await own.close()
        yield name
        await asyncio.to_thread(WITNESS.dump, postgres, name, binaries=binaries)
    finally:
        await owner.execute(f"drop database if exists {name} with (force)")
        await owner.close()


@pytest.fixture(scope="session")
def config(postgres: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The service's configuration, with a hash that costs little: its strength is not what these tests are about."""
    return Config(
        home=tmp_path_factory.mktemp("home"),
        database_url=postgres.url("mitosis_service"),
        base_path="/api/v1",
        workers=1,
        argon2_memory_kib=512,  # as it is with the default, in a thread
        argon2_time_cost=1,
    )


class Served(TestServer):
    """The application, run as `mitosis serve` runs it."""

    async def _make_runner(self, **kwargs: Any) -> Runner:
        return Runner(self.app, **kwargs)


@pytest.fixture(scope="session")
async def server(config: Config) -> AsyncIterator[TestServer]:
    """The HTTP server that all tests share; each has tenants of its own."""
    server = Served(build(config))
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
async def alone(config: Config, postgres: Embedded, binaries: Path | None, tenant: str) -> AsyncIterator[Api]:
    """A service on a database of its own, whose tenants are those of the test: for who follows all of them."""
    async with own_database(postgres, binaries) as name:
        own = msgspec.structs.replace(config, database_url=postgres.url("mitosis_service", name))
        server = Served(build(own))
        await server.start_server()
        async with ClientSession() as session:
            api = Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {})
            yield api.as_role("admin", tenant)
        await server.close()


@pytest.fixture
async def alone_owner(alone: Api, postgres: Embedded) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner of that database, which is the newest."""
    newest = "select datname from pg_database where datname like 'own_%' order by oid desc limit 1"
    connection = await asyncpg.connect(postgres.url("postgres"))
    name = await connection.fetchval(newest)
    await connection.close()
    connection = await asyncpg.connect(postgres.url("postgres", name))
    yield connection
    await connection.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that never was."""
    return f"t-{ULID()}".lower()


@pytest.fixture
async def api(server: TestServer, tenant: str) -> AsyncIterator[Api]:
    """The shared service, called by an administrator of the test's own tenant."""
    async with ClientSession() as session:
        yield Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {}).as_role("admin", tenant)


@pytest.fixture
async def owner(postgres: Embedded) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner of the database."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    yield connection
    await connection.close()
