"""The relay: every record is in the broker once, in its tenant's order, whatever dies when."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nats.js.api import DiscardPolicy

from events import checkpoints, cloudevent
from service.dsn import name_of
from service.embedded import Embedded
from service.relay.nats import JetStream, subject
from service.relay.publisher import CannotRelay
from tests.accounts import operator_mode
from tests.brokers import Nats, own_nats, stored
from tests.conftest import own_database
from tests.relays import MAIN, Database, Relay, assert_complete, has, refused, relaying
from tests.waiting import until

MITOSIS: dict[str, Any] = {"name": "MITOSIS", "subjects": ["mitosis.>"]}


@pytest.fixture
async def database(postgres: Embedded, binaries: Path | None) -> AsyncIterator[Database]:
    async with own_database(postgres, binaries) as name:
        url = postgres.url("postgres", name)
        owner = await asyncpg.connect(url)
        yield Database(url, owner)
        await owner.close()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Nats]:
    """A server with JetStream, without users and without a stream."""
    async with own_nats(tmp_path) as server:
        yield server


async def test_a_message(database: Database, broker: Nats, tmp_path: Path) -> None:
    """A record is a CloudEvent in structured mode, on its tenant's subject; published twice it is stored once."""
    await database.write("acme")
    async with relaying(broker.url, database, tmp_path), broker.jetstream() as jetstream:
        await until(database.is_done)
        (message,) = await assert_complete(database, jetstream)
        assert message.data is not None
        assert message.headers is not None
        again = await jetstream.publish("mitosis.acme.ClientRegistered", message.data, headers=message.headers)
        assert again.duplicate
        await assert_complete(database, jetstream)
        made = (await jetstream.stream_info("MITOSIS")).config

    (entry,) = await database.entries("acme")
    assert message.subject == "mitosis.acme.ClientRegistered"
    assert message.headers["Nats-Msg-Id"] == entry.event_id
    assert message.headers["Content-Type"] == "application/cloudevents+json"
    event = json.loads(message.data)
    assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
    assert (event["id"], event["source"], event["type"]) == (entry.event_id, "/tenants/acme", "ClientRegistered")
    assert event["data"] == json.loads(entry.body)
    assert (made.subjects, made.storage, made.duplicate_window) == (["mitosis.>"], "file", 3600)


async def test_everything_in_order(database: Database, broker: Nats, tmp_path: Path) -> None:
    """What was there and what is written meanwhile is relayed, by relays that divide the tenants, and never again."""
    odd = ["a.b*c>d%e", "a%2Eb%2Ac%3Ed%25e", ">", "*", ".", "$JS.API.>", "~" * 128]
    tenants = [*odd, *(f"tenant-{number}" for number in range(5))]
    await database.write(*tenants, count=5)

    (tmp_path / "other").mkdir()
    async with (
        broker.jetstream() as jetstream,
        relaying(broker.url, database, tmp_path),
        relaying(broker.url, database, tmp_path / "other"),
    ):
        await database.write(*tenants, count=5)
        await until(database.is_done)
        await assert_complete(database, jetstream)
        await checkpoints.reset(database.owner, "relay", None, 0)
        await until(database.is_done)
        messages = await assert_complete(database, jetstream)

    assert {message.subject for message in messages} == {subject(tenant, "ClientRegistered") for tenant in tenants}


def test_subjects() -> None:
    """A tenant is one token of the subject, whatever it is called, and no other tenant's."""
    assert subject("a.b*c>d%e", "T") == "mitosis.a%2Eb%2Ac%3Ed%25e.T"
    assert subject("a%2Eb%2Ac%3Ed%25e", "T") == "mitosis.a%252Eb%252Ac%253Ed%2525e.T"
    printable = [chr(code) for code in range(0x21, 0x7F)]
    assert len({subject(tenant, "T") for tenant in printable}) == len(printable)
    changed = {tenant for tenant in printable if subject(tenant, "T") != f"mitosis.{tenant}.T"}
    assert changed == {"%", ".", "*", ">"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopped(database: Database, broker: Nats, tmp_path: Path, number: signal.Signals) -> None:
    """Told to stop amid its work, a relay notes all that the stream has acknowledged, and leaves nobody behind."""
    await database.write("acme", count=150)
    relay = Relay(broker.url, database, tmp_path)
    async with broker.jetstream() as jetstream:
        await relay.start()
        await until(partial(has, jetstream, 20))

        assert await relay.end(number) == 0

        messages = (await jetstream.stream_info("MITOSIS")).state.messages
    noted = (await database.standings())["acme"].position
    assert 0 <= messages - noted <= 1  # the one that was on its way when the signal came
    assert await database.owner.fetchval("select count(*) from members") == 0


@pytest.mark.parametrize("window_s", [None, 0.1], ids=["its own window", "the shortest window"])
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.torture)])
async def test_killed(database: Database, broker: Nats, tmp_path: Path, kills: int, window_s: float | None) -> None:
    """Killed at random amid writing, and between publishing and noting it, a relay leaves every record there once."""
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)
    tenants = [f"tenant-{number}" for number in range(4)]
    await database.write(*tenants, count=60)
    relay = Relay(broker.url, database, tmp_path)
    relayed = unnoted = 0
    async with broker.jetstream() as jetstream:
        if window_s is not None:
            # by the time that another relay has started, the stream has forgotten all ids
            await jetstream.add_stream(**MITOSIS, duplicate_window=window_s)
        async with database.written_to(*tenants):
            for _ in range(kills):
                await relay.start()
                await until(partial(has, jetstream, relayed + random.randrange(1, 150)))
                await relay.end(signal.SIGKILL)
                relayed = (await jetstream.stream_info("MITOSIS")).state.messages
                unnoted += relayed - sum(one.position for one in (await database.standings()).values())
                await database.forget_the_dead()
        async with relaying(broker.url, database, tmp_path):
            await until(database.is_done)
            await assert_complete(database, jetstream)
    assert unnoted > 0, seed
    assert await database.parked() == {}


async def test_nats_is_away(database: Database, broker: Nats, tmp_path: Path) -> None:
    """
    A server that goes away and comes back amid writing costs time: nothing is lost, nobody is parked.

    A relay that is told to stop while it waits for one stops.
    """
    tenants = ["acme", "globex"]
    await database.write(*tenants, count=150)
    async with relaying(broker.url, database, tmp_path) as relay:
        async with database.written_to(*tenants):
            async with broker.jetstream() as jetstream:
                await until(partial(has, jetstream, 30))
            await broker.stop()
            await until(partial(relay.has_logged, '"nats_away"'))
            await broker.start()
        await until(database.is_done)
        async with broker.jetstream() as jetstream:
            await assert_complete(database, jetstream)
        assert relay.has_logged('"nats_connected"')

        await broker.stop()
        tries = relay.logged.count('"nats_away"')
        await database.write("acme")
        await until(lambda: relay.logged.count('"nats_away"') > tries)
    assert await database.parked() == {}


async def test_a_stream_that_takes_nothing_for_now(database: Database, broker: Nats, tmp_path: Path) -> None:
    """A stream that is full, or gone, is waited for. What was lost with it is said."""
    stream: dict[str, Any] = {"name": "MITOSIS", "subjects": ["mitosis.*.*"], "discard": DiscardPolicy.NEW}
    await database.write("acme", "globex", count=10)
    async with broker.jetstream() as jetstream:
        await jetstream.add_stream(**stream, max_msgs=5)
        async with relaying(broker.url, database, tmp_path) as relay:
            await until(partial(relay.has_logged, '"code":10077'))  # maximum messages exceeded
            await jetstream.update_stream(**stream, max_msgs=100)
            await until(database.is_done)
            await assert_complete(database, jetstream)

            await jetstream.delete_stream("MITOSIS")
            await database.write("acme")
            await until(partial(relay.has_logged, "nats.js.errors.NoStreamResponseError"))
            await jetstream.add_stream(**stream)
            await until(database.is_done)
            (message,) = await stored(jetstream)
            assert relay.has_logged('"stream_lacks_records"')
    assert cloudevent.decode(message.data or b"").position == 11
    assert await database.parked() == {}


async def test_a_stream_that_was_purged(database: Database, broker: Nats, tmp_path: Path) -> None:
    """
    A relay that is set back fills a purged stream again.

    Such a stream knows the ids of what it lost, and drops that for as long as its window lasts. It is not believed.
    """
    await database.write("acme", count=10)
    async with broker.jetstream() as jetstream:
        await jetstream.add_stream(**MITOSIS, duplicate_window=2)
        async with relaying(broker.url, database, tmp_path) as relay:
            await until(database.is_done)
            await jetstream.purge_stream("MITOSIS")

            await checkpoints.reset(database.owner, "relay", None, 0)

            await until(partial(relay.has_logged, "NotKept"))
            await until(database.is_done)
            await assert_complete(database, jetstream)


async def has_parked(database: Database, count: int) -> bool:
    return len(await database.parked()) == count


async def test_too_large(database: Database, tmp_path: Path) -> None:
    """A record that is longer than the server or the stream ever takes parks its tenant, and others go on."""
    settings = f'jetstream {{ store_dir: "{tmp_path}/jetstream" }}\nmax_payload: 65536'
    async with own_nats(tmp_path, settings) as broker, broker.jetstream() as jetstream:
        await jetstream.add_stream(**MITOSIS, max_msg_size=30_000)
        for tenant, length in (("server", 70_000), ("stream", 40_000), ("small", 1)):
            await database.write(tenant)
            await database.write(tenant, name="x" * length)
            await database.write(tenant)
        async with relaying(broker.url, database, tmp_path):
            await until(partial(has_parked, database, 2))
            parked, found = await database.parked(), await database.standings()
            state = (await jetstream.stream_info("MITOSIS", subjects_filter="mitosis.>")).state

    assert {tenant: one.position for tenant, one in found.items()} == {"server": 1, "stream": 1, "small": 3}
    assert state.subjects == {subject(tenant, "ClientRegistered"): one.position for tenant, one in found.items()}
    assert parked["server"].startswith("NeverTaken: a message of 7")
    assert parked["server"].endswith(" bytes; NATS takes 65536 (max_payload)")
    assert parked["stream"].endswith(" bytes; the stream takes less (max_msg_size)")


async def test_another_log(database: Database, broker: Nats, tmp_path: Path) -> None:
    """A stream that was filled from another log, or by somebody else, is not taken for ours: the tenant is parked."""
    await database.write("acme", "globex", count=3)
    (*_, last) = await database.entries("acme")
    theirs = cloudevent.encode(last._replace(digest=bytes(32)))[1]
    async with broker.jetstream() as jetstream:
        await jetstream.add_stream(**MITOSIS)
        await jetstream.publish(subject("acme", "ClientRegistered"), theirs)
        await jetstream.publish(subject("globex", "news"), b"all is well")
        async with relaying(broker.url, database, tmp_path):
            await until(partial(has_parked, database, 2))
            parked = await database.parked()

    assert parked["acme"] == "NeverTaken: the stream MITOSIS has another record at position 3: of another log"
    assert parked["globex"] == "NeverTaken: the last message on mitosis.globex.news of the stream MITOSIS is not ours"


async def test_credentials(database: Database, tmp_path: Path) -> None:
    """A credentials file opens a server in operator mode, to a user who may do no more than the README says."""
    api = ["STREAM.NAMES", "STREAM.INFO.MITOSIS", "STREAM.CREATE.MITOSIS", "STREAM.MSG.GET.MITOSIS"]
    settings, file = operator_mode(
        tmp_path, publish=["mitosis.>", *(f"$JS.API.{name}" for name in api)], subscribe=["_INBOX.>"]
    )
    await database.write("acme", count=3)
    async with (
        own_nats(tmp_path, settings) as broker,
        relaying(broker.url, database, tmp_path, "--creds", str(file)) as relay,
    ):
        await until(database.is_done)
        jwt = file.read_text().split("\n")[1]
        assert jwt not in relay.logged
    assert await database.parked() == {}


async def test_tls(database: Database, tmp_path: Path) -> None:
    """A tls:// server gets user and password. Neither greeting nor log says them."""
    certify(tmp_path)
    settings = (
        f'jetstream {{ store_dir: "{tmp_path}/jetstream" }}\nauthorization {{ user: relay, password: "p@ss/word" }}\n'
        f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}'
    )
    await database.write("acme", count=3)
    async with own_nats(tmp_path, settings) as broker:
        url = f"tls://relay:p%40ss%2Fword@{broker.host}"
        async with relaying(url, database, tmp_path) as relay:
            await until(database.is_done)
    assert (
        relay.greeting == f"Mitosis relays {name_of(database.url)} to tls://{broker.host} (stream MITOSIS) as relay.\n"
    )
    assert "word" not in relay.logged


def certify(directory: Path) -> None:
    """A certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nats")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def test_no_secret_in_clear(database: Database) -> None:
    """Where a tls:// server does not ask for TLS, it is told nothing."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version": "2.11.0", "auth_required": true, "headers": true, "max_payload": 1048576}\r\n')
        heard.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await refused(f"tls://relay:hidden@127.0.0.1:{port}", database.url)

    assert said == f"mitosis: tls://127.0.0.1:{port} does not use TLS\n"
    assert bytes(heard) == b""


async def test_mistakes(database: Database, postgres: Embedded, broker: Nats) -> None:
    """What keeps a relay from starting is said in one line, without a traceback or a password."""
    without_nats = f"import sys; sys.modules['nats'] = None; {MAIN}"
    lesser = database.url.replace("//postgres@", "//mitosis_service@")
    cases = {
        "the broker must be named by a URL such as": refused("nats://relay:hid/hidden@127.0.0.1", database.url),
        "nats://127.0.0.1:1 cannot be connected to: ": refused("nats://relay:hidden@127.0.0.1:1", database.url),
        "the database 127.0.0.1:1/x cannot be used": refused(broker.url, "postgresql://u:hidden@127.0.0.1:1/x"),
        "permission denied to set role": refused(broker.url, lesser),
        "is older than this program": refused(broker.url, postgres.url("postgres", "postgres")),
        "pip install 'mitosis[nats]'": refused(broker.url, database.url, main=without_nats),
    }
    for expected, said in zip(cases, await asyncio.gather(*cases.values()), strict=True):
        assert said.startswith("mitosis: "), said
        assert said.count("\n") == 1, said
        assert expected in said
        assert "hidden" not in said


async def test_brokers_that_cannot_be_used(broker: Nats, tmp_path: Path) -> None:
    """A server or a stream that would not do is refused at the start, and says why."""
    other, plain = tmp_path / "other", tmp_path / "plain"
    other.mkdir()
    plain.mkdir()
    (other / "garbage").write_text("hidden")
    users = f'jetstream {{ store_dir: "{other}/jetstream" }}\nauthorization {{ user: relay, password: right }}'

    async def said(url: str, stream: str = "MITOSIS", credentials: Path | None = None) -> str:
        with pytest.raises(CannotRelay) as caught:
            await JetStream.open(url, stream=stream, credentials=credentials)
        assert "hidden" not in str(caught.value)
        return str(caught.value)

    async with (
        own_nats(other, users) as guarded,
        own_nats(plain, "max_payload: 65536") as core,
        broker.jetstream() as jetstream,
    ):
        assert "'Authorization Violation'" in await said(f"nats://relay:hidden@{guarded.host}")
        assert "--stream: 'a.b'" in await said(f"nats://relay:right@{guarded.host}", stream="a.b")
        assert await said(core.url) == "NATS has no JetStream, or this user none of it"
        await jetstream.add_stream(name="PART", subjects=["mitosis.acme.>"])
        assert "the stream PART takes some of mitosis.>" in await said(broker.url)
        await jetstream.update_stream(name="PART", subjects=["mitosis.>"], no_ack=True)
        assert "the stream PART acknowledges nothing" in await said(broker.url)
    assert "/nowhere cannot be read: No such file" in await said(broker.url, credentials=Path("/nowhere"))
    assert "holds no JWT and seed" in await said(broker.url, credentials=other / "garbage")
    for url in (
        "http://relay:hidden@127.0.0.1",
        "nats://",
        "nats://h/hidden",
        "nats://h:hidden",
        "tls://h?hidden",
        "h",
    ):
        assert "the broker must be named by a URL such as nats://host:4222" in await said(url)
