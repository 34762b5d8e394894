"""Credentials made ahead: each is handed out once, none is made while somebody waits for a hash, and none is kept."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import argon2
import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from service.ahead import Ahead
from service.app import build
from service.config import Config
from service.credentials import Hasher
from service.refusals import TooManyHashes
from service.requests import AHEAD, HASHER
from service.routes import TOKENS
from tests.callers import Api
from tests.test_authenticate import authenticate, post, secret_client
from tests.waiting import until


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    hasher = Hasher(time_cost=1, memory_kib=512, parallelism=1, threads=2, line_limit=2)
    yield hasher
    hasher.close()


@asynccontextmanager
async def running(hasher: Hasher, limit: int) -> AsyncIterator[Ahead]:
    """A store that is filled."""
    ahead = Ahead(hasher, limit=limit)
    filling = asyncio.create_task(ahead.run())
    try:
        yield ahead
    finally:
        filling.cancel()
        await asyncio.wait([filling])


@pytest.fixture
def made(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets that *hasher* hashed; the service that all tests share makes some ahead too."""
    hashed, real = list[str](), argon2.PasswordHasher.hash

    def noted(self: argon2.PasswordHasher, secret: str) -> str:
        if self is hasher._argon2:  # noqa: SLF001 (nothing else tells them apart)
            hashed.append(secret)
        return real(self, secret)

    monkeypatch.setattr(argon2.PasswordHasher, "hash", noted)
    return hashed


async def test_bounded(hasher: Hasher, made: list[str]) -> None:
    """So many are made as may be ready, and then no more until one is taken."""
    async with running(hasher, 5) as ahead:
        await until(lambda: ahead.ready == 5)
        hashes = len(made)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(made) == hashes == 5

        await ahead.mint("t")
        await until(lambda: ahead.ready == 5)
        assert len(made) == 6


async def test_once(hasher: Hasher) -> None:
    """No two get the same, however many ask and whoever gives up; each secret is that of its hash."""
    async with running(hasher, 8) as ahead:
        taken = list[tuple[str, str]]()
        for number in range(60):
            asked = asyncio.create_task(ahead.mint("t"))
            await asyncio.sleep(0)
            if number % 7 == 0:
                asked.cancel()
            try:
                credential = await asked
            except (asyncio.CancelledError, TooManyHashes):
                continue
            taken.append((credential.secret, credential.hash))
    assert len({secret for secret, _ in taken}) == len(taken) > 50
    assert all(argon2.PasswordHasher().verify(sealed, secret) for secret, sealed in taken)


async def test_gives_way(hasher: Hasher, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """None is begun while a hash runs or waits, and none makes the line for others shorter."""
    go_on, real = threading.Event(), argon2.PasswordHasher.verify

    def held(self: argon2.PasswordHasher, sealed: str, secret: str) -> bool:
        go_on.wait(30)
        return real(self, sealed, secret)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", held)
    checking = [asyncio.create_task(hasher.verify(tenant, None, "secret")) for tenant in "ttuv"]
    await asyncio.sleep(0)
    async with running(hasher, 3) as ahead:
        for _ in range(100):
            await asyncio.sleep(0)
        assert (ahead.ready, made) == (0, [])
        with pytest.raises(TooManyHashes):
            await ahead.mint("t")

        go_on.set()
        await asyncio.gather(*checking)
        await until(lambda: ahead.ready == 3)


async def test_none(hasher: Hasher, made: list[str]) -> None:
    """Where none may be ready, each is made when it is asked for."""
    async with running(hasher, 0) as ahead:
        await ahead.mint("t")
        assert (ahead.ready, len(made)) == (0, 1)


@pytest.mark.parametrize("error", [argon2.exceptions.HashingError, RuntimeError("can't start new thread")])
async def test_without_memory(
    error: Any, hasher: Hasher, made: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hash that cannot be made is tried again, and keeps nobody else from the line."""
    monkeypatch.setattr("service.ahead._AGAIN_S", 0.01)
    hashing = argon2.PasswordHasher.hash

    def failing(_self: argon2.PasswordHasher, _secret: str) -> str:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(argon2.PasswordHasher, "hash", failing)
        async with running(hasher, 2) as ahead:
            await until(lambda: caplog.messages.count("not_minted_ahead") > 2)
            broken.setattr(argon2.PasswordHasher, "hash", hashing)
            await until(lambda: ahead.ready == 2)
    assert len(made) == 2


async def test_other_parameters(hasher: Hasher) -> None:
    """Each hasher has a store of its own: what one made is not handed out for another with other parameters."""
    stronger = Hasher(time_cost=2, memory_kib=513, parallelism=1, threads=1, line_limit=2)
    async with running(hasher, 2) as weak, running(stronger, 2) as strong:
        await until(lambda: weak.ready == strong.ready == 2)
        assert "m=512,t=1" in (await weak.mint("t")).hash
        assert "m=513,t=2" in (await strong.mint("t")).hash
    stronger.close()


async def test_cheap_hashes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is made ahead where nobody would wait for a hash."""
    begun, real = list[Hasher](), Hasher.mint_when_idle

    def noted(hasher: Hasher) -> Any:
        begun.append(hasher)
        return real(hasher)

    monkeypatch.setattr(Hasher, "mint_when_idle", noted)
    server = TestServer(build(msgspec.structs.replace(config, argon2_memory_kib=8)))
    async with server:
        ahead = server.app[AHEAD]
        assert (await ahead.mint("t")).secret
        for _ in range(100):
            await asyncio.sleep(0)
        assert server.app[HASHER] not in begun


async def test_dropped(config: Config) -> None:
    """When the service stops, in the middle of one, none is ready any more and no thread is left."""
    before = set(threading.enumerate())
    own = msgspec.structs.replace(config, credentials_ready=10_000)
    server = TestServer(build(own))
    async with server:
        ahead = server.app[AHEAD]
        await until(lambda: ahead.ready > 10)
        assert repr(await ahead.mint("t")) == "Credential(...)"
    assert ahead.ready == 0
    assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("argon2")]


async def test_over_http(config: Config, tenant: str) -> None:
    """Clones at once, many more than are ready, all get a secret of their own, which is good."""
    own = msgspec.structs.replace(config, credentials_ready=16)
    server = TestServer(build(own))
    async with server, ClientSession() as session:
        api = Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {}).as_role("admin", tenant)
        source = (await secret_client(api))["client_id"]
        await until(lambda: server.app[AHEAD].ready == 16)
        clones = [reply.data for reply in await asyncio.gather(*(api.clone(source) for _ in range(100)))]
        assert len({clone["client_secret"] for clone in clones}) == 100
        for clone in clones[::10]:
            presented = post(clone["client_id"], clone["client_secret"])
            assert (await authenticate(api, tenant, presented)).status == 200
