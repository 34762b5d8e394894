"""Key sets that clients publish: what is fetched, from where, how often, and what is not."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import OctKey

from service.authentication import fetching
from service.authentication.fetching import AGAIN_S, AT_ONCE, FRESH_S, KeySets
from service.rules.jwks import LONGEST_SET
from tests.keys import HOST, Names, Publisher, key_set, new_key, publisher

Address = IPv4Address | IPv6Address


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Publisher]:
    """A key server."""
    async with publisher(tmp_path) as far:
        yield far


@asynccontextmanager
async def fetcher(
    far: Publisher, allowed: Callable[[Address], bool] | None = None, **options: Any
) -> AsyncIterator[KeySets]:
    """What finds *far* under its name, on an address that counts as public here."""
    names = options.pop("names", Names(keys_example_com=["127.0.0.1"]))
    sets = KeySets(
        is_allowed=allowed or (lambda address: address == IPv4Address("127.0.0.1")),
        resolver=names,
        ssl=far.trust,
        **options,
    )
    yield sets
    await sets.close()


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the fetching logged: others in this process may have something to say as well."""
    return [record for record in caplog.records if record.name == fetching.__name__]


async def test_a_key_set(far: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set is fetched with a plain request: no cookie, no proxy, no compression."""
    key = new_key()
    far.publish(key)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with fetcher(far) as sets:
        keys = await sets.keys("t", far.url, "one")

    assert keys == (key.as_dict(private=False),)
    assert far.seen[0].headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(far.seen[0].headers)


PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_addresses(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that leads to an address that is not public is not connected to: no socket is even made."""
    monkeypatch.setattr("service.authentication.fetching.socket.socket", pytest.fail)
    sets = KeySets(resolver=Names(keys_example_com=[address]))

    assert await sets.keys("t", f"https://{HOST}/jwks.json", None) == ()
    assert [vars(record)["reason"] for record in told(caplog)] == ["an address that is not public"]
    await sets.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://localhost/",
        "https://metadata.internal/",
        "https://user@keys.example.com/",
        "https://keys.example.com/#fragment",
        "file:///etc/passwd",
        "ftp://keys.example.com/",
        "https://",
        "https://[",
        "",
    ],
)
async def test_urls_that_are_not_fetched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that today's rules would not register is not fetched, however it came into the registry."""
    monkeypatch.setattr("service.authentication.fetching.socket.socket", pytest.fail)
    sets = KeySets(resolver=Names(keys_example_com=["127.0.0.1"]))

    assert await sets.keys("t", url, None) == ()
    await sets.close()


async def test_rebinding(far: Publisher) -> None:
    """The address that is checked is the one that is connected to: a second look-up is another check."""
    far.publish(new_key())
    clock, checked = Clock(), list[Address]()

    def allowed(address: Address) -> bool:
        checked.append(address)
        return address == IPv4Address("127.0.0.1")

    names = Names(keys_example_com=["127.0.0.1", "127.0.0.2"])
    async with fetcher(far, allowed, names=names, clock=clock) as sets:
        assert await sets.keys("t", far.url, None)
        clock.now += FRESH_S
        assert await sets.keys("t", far.url, None) == ()

    assert checked == [ip_address("127.0.0.1"), ip_address("127.0.0.2")]
    assert far.asked == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["https://127.0.0.1:{port}/x", "https://keys.example.com:{port}/x", "/x"])
async def test_redirects(far: Publisher, status: int, target: str) -> None:
    """A redirect is not followed, wherever it leads."""
    location = target.format(port=far.port)
    far.answer = lambda: web.Response(status=status, headers={"Location": location}, text=key_set(new_key()))
    async with fetcher(far) as sets:
        assert await sets.keys("t", far.url, None) == ()

    assert far.asked == 1


async def slow() -> web.Response:
    """An answer that does not come."""
    await asyncio.Event().wait()
    raise AssertionError


ANSWERS: dict[str, Callable[[], Any]] = {
    "not found": lambda: web.Response(status=404, text=key_set(new_key())),
    "created": lambda: web.Response(status=201, text=key_set(new_key())),
    "nothing": web.Response,
    "no JSON": lambda: web.Response(text="<html>"),
    "no key set": lambda: web.Response(text="[]"),
    "no UTF-8": lambda: web.Response(body=b"\xff"),
    "a private key": lambda: web.Response(text=key_set(new_key(), private=True)),
    "a symmetric key": lambda: web.Response(text=key_set(OctKey.generate_key(), private=True)),
    "too much": lambda: web.Response(text=key_set(new_key()) + " " * LONGEST_SET),
    "compressed": lambda: web.Response(
        body=gzip.compress(key_set(new_key()).encode()), headers={"Content-Encoding": "gzip"}
    ),
    "too slow": slow,
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_bad_answers(
    far: Publisher, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no usable key set, or does not come in time, is as none; the log says which host and why."""
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.3)
    far.answer = ANSWERS[name]
    with caplog.at_level(logging.WARNING, fetching.__name__):
        async with fetcher(far) as sets:
            assert await sets.keys("t", far.url, None) == ()

    (record,) = told(caplog)
    assert record.getMessage() == "key_set_not_fetched"
    assert vars(record)["host"] == HOST
    assert vars(record)["reason"]


async def test_strange_certificate(far: Publisher) -> None:
    """A server that cannot prove its name is not listened to."""
    far.publish(new_key())
    sets = KeySets(is_allowed=lambda _: True, resolver=Names(keys_example_com=["127.0.0.1"]))

    assert await sets.keys("t", far.url, None) == ()
    assert far.asked == 0
    await sets.close()


async def test_fresh_for_five_minutes(far: Publisher) -> None:
    """A set is fetched once in five minutes, and what stands there then is what counts."""
    clock = Clock()
    far.publish(new_key("one"))
    async with fetcher(far, clock=clock) as sets:
        assert (await sets.keys("t", far.url, "one"))[0]["kid"] == "one"
        far.publish(new_key("two"))
        clock.now += FRESH_S - 1
        assert (await sets.keys("t", far.url, "one"))[0]["kid"] == "one"
        assert far.asked == 1
        clock.now += 1
        assert (await sets.keys("t", far.url, "one"))[0]["kid"] == "two"

    assert far.asked == 2


async def test_an_unknown_kid(far: Publisher) -> None:
    """A key that is not in the set has it fetched again, though once in 30 seconds at most."""
    clock = Clock()
    far.publish(new_key("one"))
    async with fetcher(far, clock=clock) as sets:
        await sets.keys("t", far.url, "one")
        far.publish(new_key("two"))
        for _ in range(3):
            assert (await sets.keys("t", far.url, "two"))[0]["kid"] == "one"
        assert far.asked == 1
        clock.now += AGAIN_S
        assert (await sets.keys("t", far.url, "two"))[0]["kid"] == "two"
        for _ in range(3):
            await sets.keys("t", far.url, "three")

    assert far.asked == 2


async def test_failures_are_remembered_briefly(far: Publisher) -> None:
    """A failure is not tried again for 30 seconds; it does not cost a set that is still fresh."""
    clock = Clock()
    far.answer = lambda: web.Response(status=500)
    async with fetcher(far, clock=clock) as sets:
        for _ in range(3):
            assert await sets.keys("t", far.url, None) == ()
        assert far.asked == 1
        far.publish(new_key("one"))
        clock.now += AGAIN_S
        assert await sets.keys("t", far.url, None)
        far.answer = lambda: web.Response(status=500)
        clock.now += AGAIN_S
        assert (await sets.keys("t", far.url, "two"))[0]["kid"] == "one"
        assert (await sets.keys("t", far.url, "one"))[0]["kid"] == "one"

    assert far.asked == 3


async def test_one_flight(far: Publisher) -> None:
    """All who need a set at once share one fetch, and one who gives up does not end it for the others."""
    asked, go = asyncio.Event(), asyncio.Event()
    body = key_set(new_key())

    async def held() -> web.Response:
        asked.set()
        await go.wait()
        return web.Response(text=body)

    far.answer = held
    async with fetcher(far) as sets:
        waiting = [asyncio.create_task(sets.keys("t", far.url, "one")) for _ in range(20)]
        await asked.wait()
        waiting[0].cancel()
        go.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert far.asked == 1
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(keys, tuple) and len(keys) == 1 for keys in answers[1:])


async def test_bounded(far: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many sets the one that was not asked for longest goes."""
    monkeypatch.setattr(fetching, "LIMIT", 2)
    far.publish(new_key())
    async with fetcher(far) as sets:
        for path in ("a", "b", "a", "c"):
            await sets.keys("t", f"https://{HOST}:{far.port}/{path}", "one")
        assert far.asked == 3
        await sets.keys("t", f"https://{HOST}:{far.port}/a", "one")
        assert far.asked == 3
        await sets.keys("t", f"https://{HOST}:{far.port}/b", "one")

    assert far.asked == 4


async def test_whose_hosts_are_slow(far: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    """A tenant whose clients name hosts that do not answer waits for them alone; what it never asked is no failure."""
    key = new_key()
    far.publish(key)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, fetcher(far) as sets:
        slow = [asyncio.create_task(sets.keys("slow", f"https://{HOST}:{port}/{n}", None)) for n in range(AT_ONCE)]
        await asyncio.sleep(0)

        async with asyncio.timeout(fetching.TIMEOUT_S / 2):
            assert await sets.keys("other", far.url, "one") == (key.as_dict(private=False),)

        assert not any(task.done() for task in slow)
        assert await asyncio.gather(*slow) == [()] * AT_ONCE
    reasons = [record.__dict__["reason"] for record in told(caplog)]
    assert reasons.count("too many fetches") > 0
    assert len(sets._kept) == 1 + len(reasons) - reasons.count("too many fetches")  # noqa: SLF001 (what is kept)
