"""Credentials: their form, what it costs to make them, and that they are shown once and nowhere else."""

import asyncio
import logging
import os
import re
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import argon2
import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from service.app import build
from service.commands import SealedSecret
from service.config import Config
from service.credentials import Credential, Hasher, is_well_formed, new_secret
from service.embedded import Embedded
from service.logs import JsonLines
from service.refusals import TooManyHashes
from service.requests import HASHER
from service.routes import TOKENS
from tests.callers import EXAMPLE, Api
from tests.leaks import Witness
from tests.processes import deployed

# ----------------------------------------------------------------------------------------------------------------- form

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def number(digits: str) -> int:
    """What base62 digits say."""
    value = 0
    for digit in digits:
        value = value * 62 + BASE62.index(digit)
    return value


def test_form() -> None:
    """A secret is `secret_`, 43 base62 digits that hold 256 bits, and 6 of the CRC32 over all before them."""
    for _ in range(1000):
        secret = new_secret()

        assert re.fullmatch(r"secret_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", secret)
        assert number(secret[7:50]) < 2**256
        assert number(secret[50:]) == zlib.crc32(secret[:50].encode())
        assert is_well_formed(secret)


def test_unique() -> None:
    """No secret comes twice, and no digit of one is always the same."""
    secrets = {new_secret() for _ in range(10_000)}

    assert len(secrets) == 10_000
    assert all(len({secret[at] for secret in secrets}) > 8 for at in range(7, 56) if at != 50)


@given(st.integers(0, 55), st.sampled_from(BASE62))
def test_checksum(at: int, digit: str) -> None:
    """One wrong character is noticed, wherever it is."""
    secret = new_secret()
    mistyped = secret[:at] + digit + secret[at + 1 :]

    assert is_well_formed(mistyped) == (mistyped == secret)
    assert not is_well_formed(secret[:-1])
    assert not is_well_formed(secret + digit)


# -------------------------------------------------------------------------------------------------------------- hashing


class Hashing:
    """argon2 that waits to be let go on, and counts how many threads are in it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.at_once = self.most_at_once = 0
        self._count = threading.Lock()

    def hash(self, _hasher: argon2.PasswordHasher, _secret: str) -> str:
        with self._count:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        self.entered.release()
        assert self.go_on.wait(30)
        with self._count:
            self.at_once -= 1
        return "$argon2id$a-hash-of-nothing"

    async def in_work(self, count: int) -> None:
        """Wait until *count* more hashes are in work."""
        for _ in range(count):
            assert await asyncio.to_thread(self.entered.acquire, timeout=30)


@pytest.fixture
def hashing(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    """All hashes but those of the service that all tests share, which makes some ahead."""
    hashing, real = Hashing(), argon2.PasswordHasher.hash
    shared = server.app[HASHER]._argon2  # noqa: SLF001 (nothing else tells them apart)

    def hash_slowly(hasher: argon2.PasswordHasher, secret: str) -> str:
        return real(hasher, secret) if hasher is shared else hashing.hash(hasher, secret)

    monkeypatch.setattr(argon2.PasswordHasher, "hash", hash_slowly)
    yield hashing
    hashing.go_on.set()


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    """Two threads, and a line for two more."""
    hasher = Hasher(time_cost=1, memory_kib=512, parallelism=1, threads=2, line_limit=2)
    yield hasher
    hasher.close()


async def test_hash(hasher: Hasher) -> None:
    """What is kept is argon2id of the secret, salted: it fits that secret and no other."""
    one, other = await hasher.mint("t"), await hasher.mint("t")

    assert one.hash.startswith("$argon2id$v=19$m=512,t=1,p=1$")
    assert argon2.PasswordHasher().verify(one.hash, one.secret)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(one.hash, other.secret)
    assert one.last_four == one.secret[-4:]


async def test_cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs less than to have a thread make it is made at once, with no thread, and none is refused."""
    monkeypatch.setattr(threading.Thread, "start", None)
    cheap = Hasher(time_cost=2, memory_kib=128, parallelism=1, threads=1, line_limit=0)

    credentials = await asyncio.gather(*(cheap.mint("t") for _ in range(20)))

    assert cheap.is_cheap
    assert len({credential.secret for credential in credentials}) == 20
    one, other = credentials[:2]
    assert await cheap.verify("t", one.hash, one.secret)
    assert not await cheap.verify("t", one.hash, other.secret)
    cheap.close()


async def test_hashes_are_bounded(hasher: Hasher, hashing: Hashing) -> None:
    """Hashing holds up no one else; two run at once, two wait, and the fifth is refused and told when to come back."""
    minting = [asyncio.create_task(hasher.mint(tenant)) for tenant in "ttuv"]
    await hashing.in_work(2)

    with pytest.raises(TooManyHashes) as refused:
        await hasher.mint("t")

    assert refused.value.headers["Retry-After"] == "1"
    hashing.go_on.set()
    assert len({credential.secret for credential in await asyncio.gather(*minting)}) == 4
    assert hashing.most_at_once == 2
    assert await hasher.mint("t")


async def test_a_tenant_leaves_places(hasher: Hasher, hashing: Hashing) -> None:
    """A tenant for which many hashes are asked, by whoever guesses at its secrets, leaves half of the line."""
    minting = [asyncio.create_task(hasher.mint("t")) for _ in range(10)]
    await hashing.in_work(2)

    other = asyncio.create_task(hasher.verify("u", None, "secret"))
    hashing.go_on.set()

    assert await other is False
    outcomes = await asyncio.gather(*minting, return_exceptions=True)
    assert [isinstance(outcome, TooManyHashes) for outcome in outcomes] == [False] * 2 + [True] * 8


async def test_a_thread_that_cannot_be_started(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never begun takes nobody's place."""

    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as starved:
        starved.setattr(threading.Thread, "start", refuse)
        for _ in range(10):
            with pytest.raises(RuntimeError):
                await hasher.mint("t")

    assert (hasher.running, hasher.waiting) == (0, 0)
    assert await hasher.mint("t")


async def test_who_gives_up_is_counted(hasher: Hasher, hashing: Hashing) -> None:
    """A caller who gives up stops no thread, so his place is taken until the work is done, and not for longer."""
    minting = [asyncio.create_task(hasher.mint(tenant)) for tenant in "ttuv"]
    await asyncio.sleep(0)
    for task in minting:
        task.cancel()
    await asyncio.wait(minting)

    with pytest.raises(TooManyHashes):
        await hasher.mint("t")
    hashing.go_on.set()
    await hashing.in_work(4)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await hasher.mint("t")
            except TooManyHashes:
                await asyncio.sleep(0)
            else:
                break


@pytest.fixture
async def narrow(config: Config, tenant: str) -> AsyncIterator[Api]:
    """A service in which nobody waits for a hash."""
    server = TestServer(build(msgspec.structs.replace(config, hash_line=0, credentials_ready=0)))
    async with server, ClientSession() as session:
        yield Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {}).as_role("admin", tenant)


async def test_too_many_requests(narrow: Api, hashing: Hashing, owner: asyncpg.Connection, tenant: str) -> None:
    """A request for a credential too many is 429 at once, with the time to come back; those in work are answered."""
    threads = len(os.sched_getaffinity(0))
    served = [asyncio.create_task(narrow.register()) for _ in range(threads)]
    await hashing.in_work(threads)

    refused = await narrow.post("/admin/oauth/clients/", json=EXAMPLE)
    without = await narrow.register(client_auth_methods=["private_key_jwt"])

    assert (refused.status, refused.body["code"]) == (429, 429001)
    assert refused.headers["Retry-After"] == "1"
    assert "client_secret" not in without
    assert not any(task.done() for task in served)
    hashing.go_on.set()
    assert all("client_secret" in client for client in await asyncio.gather(*served))
    assert await owner.fetchval("select count(*) from events where tenant_id = $1", tenant) == threads + 1


# ----------------------------------------------------------------------------------------------------- what is not said


def test_what_is_printed_by_accident() -> None:
    """Neither a credential nor a sealed secret says anything when it is printed, also inside of something else."""
    credential = Credential(new_secret(), "$argon2id$hash")
    sealed = SealedSecret(hash=credential.hash, last_four="abcd")

    for thing in (credential, sealed):
        printed = f"{thing} {thing!r} {[thing]} { {'of': thing} }"
        assert credential.secret not in printed
        assert "argon2" not in printed


@pytest.mark.parametrize("name", ["asyncio", "py.warnings"])
def test_libraries_do_not_quote(name: str) -> None:
    """What asyncio and Python complain of may quote an error, or what a function was called with: it is left out."""
    secret = new_secret()
    error = ValueError(secret)

    said = (name, logging.ERROR, __file__, 1, f"never retrieved: {error!r}", None, (ValueError, error, None))
    line = JsonLines().format(logging.LogRecord(*said))

    assert secret not in line
    assert '"type":"builtins.ValueError"' in line


def test_errors_are_not_quoted() -> None:
    """Of an error, and of what caused it, a log line says the type and the place, and never the text."""
    secret = new_secret()
    error = asyncpg.PostgresError(f"row of {secret}: $argon2id$hash")
    error.__cause__ = ValueError(secret)

    line = JsonLines().format(
        logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, (type(error), error, None))
    )

    assert "ValueError" in line
    assert "PostgresError" in line
    assert secret not in line
    assert "argon2" not in line


async def test_logs_of_a_process(postgres: Embedded, tenant: str) -> None:
    """A service process writes a line for every request, and no secret, hash, token or body in any."""
    async with deployed(postgres, 1) as deployment, ClientSession() as session:
        (service,) = deployment.services
        api = Api(session, service.base, deployment.tokens, {}).as_role("admin", tenant)
        source = await api.register(name="a name that nobody logs")
        clone = await api.clone(source["client_id"])
        refused = await api.post("/admin/oauth/clients/", json={**EXAMPLE, "name": source["client_secret"] * 5})
        written = service.out.read_text() + service.err.read_text()

    assert [reply.status for reply in (clone, refused)] == [201, 400]
    assert written.count('"event":"request"') >= 3
    private = [source["client_secret"], clone.data["client_secret"], "$argon2", "a name that nobody logs"]
    assert not any(text in written for text in [*private, api.headers["Authorization"].split()[1]])


async def test_hash_stays_in_its_column(api: Api, owner: asyncpg.Connection, tenant: str) -> None:
    """A hash is in the private column of the record that issued it, and in no body, state or answer."""
    source = await api.register()
    await api.clone(source["client_id"])

    found = await owner.fetchrow(
        """
        select
            (select count(*) from events where tenant_id = $1 and private like '$argon2id$%') as sealed,
            (select count(*) from events where tenant_id = $1 and body::text like '%argon2%') as told,
            (select count(*) from clients where tenant_id = $1 and clients::text like '%argon2%') as kept
        """,
        tenant,
    )
    assert tuple(found or ()) == (2, 0, 0)


# ------------------------------------------------------------------------------ the witness (see `no_leak` in conftest)

ONCE = {"Cache-Control": "no-store"}


def test_witness_of_answers() -> None:
    """It notices a secret in a second answer or in one that may be stored, and a hash in any."""
    secret, stored = new_secret(), new_secret()
    witness = Witness()
    witness.answer("POST", ONCE, f'{{"client_secret": "{secret}"}}')
    assert witness.verdict() == []

    witness.answer("GET", ONCE, f"[{secret}]")
    witness.answer("PUT", {}, stored)
    witness.answer("PATCH", {}, "$argon2id$v=19")

    assert witness.verdict() == [
        "a secret in a second answer: GET",
        "a secret in an answer that may be stored: PUT",
        "a hash in an answer: PATCH",
    ]


def test_witness_of_logs() -> None:
    """It notices a hash, a secret that nobody knew of, and one without its prefix that became known only later."""
    witness, secret = Witness(), new_secret()
    witness.log("one", f"x{secret[7:]}y")
    witness.log("two", f"say {new_secret()}.")
    witness.log("three", "$argon2id$v=19")
    witness.log("four", "nothing of the kind")

    assert witness.verdict() == ["a secret in two", "a hash in three"]
    witness.answer("POST", ONCE, secret)
    assert witness.verdict() == ["a secret in two", "a hash in three", "a secret in one"]


async def test_witness_of_dumps(
    postgres: Embedded, binaries: Path | None, owner: asyncpg.Connection, tenant: str
) -> None:
    """It notices a secret in any table, and a hash outside of the private column."""
    witness, name = Witness(), f"leaky_{tenant[2:]}"
    await owner.execute(f"create database {name}")
    leaky = await asyncpg.connect(postgres.url("postgres", name))
    await leaky.execute("create table events (body text, private text)")
    await leaky.execute("insert into events values ('{}', '$argon2id$v=19')")
    try:
        await asyncio.to_thread(witness.dump, postgres, name, binaries=binaries)
        assert witness.verdict() == []

        await leaky.execute("insert into events values ($1, null)", new_secret())
        await leaky.execute("insert into events values ('$argon2id$v=19', null)")
        await asyncio.to_thread(witness.dump, postgres, name, binaries=binaries)
    finally:
        await leaky.close()
        await owner.execute(f"drop database {name}")

    assert witness.verdict() == [
        f"a hash outside of the private column in {name}: COPY public.events (body, private) FROM ...",
        f"a secret in a dump of {name}",
    ]
