"""Success and failure have one form, whatever happens."""

import asyncio
import gzip
import re
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from service import reading, runner
from tests.callers import EXAMPLE, Api

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
CLIENTS = "/admin/oauth/clients/"
JSON = {"Content-Type": "application/json"}


async def raw(server: TestServer, request: bytes) -> bytes:
    """What the server answers to *request*, byte for byte, until it closes the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request)
    answered = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answered


def is_failure(body: Any, code: int) -> bool:
    """Whether *body* is the envelope of a failure with *code*."""
    return (
        set(body) <= {"code", "message", "timestamp", "violations"}
        and body["code"] == code
        and TIMESTAMP.fullmatch(body["timestamp"]) is not None
    )


async def test_success(api: Api) -> None:
    """A success has code 0, also a 201, a message, a UTC timestamp and its data, and never a null."""
    reply = await api.post(CLIENTS, json=EXAMPLE)

    assert reply.status == 201
    assert set(reply.body) == {"code", "message", "timestamp", "data"}
    assert reply.body["code"] == 0
    assert TIMESTAMP.fullmatch(reply.body["timestamp"])
    shown = await api.get(CLIENTS + reply.data["client_id"])
    listed = await api.get(CLIENTS)
    for body in (reply.body, shown.body, listed.body):
        assert "None" not in str(body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400001),
        (b"{", 400001),
        (b"[]", 400001),
        (b'"text"', 400001),
        (b"null", 400001),
        (b"NaN", 400001),
        (b'{"name": "\\ud800"}', 400001),
        (b'{"name": "\xff"}', 400001),
        (b"[" * 60_000, 400001),
        (b'{"name":' * 8_000, 400001),
        (b'{"name": 1e400}', 400001),
        (b"{}", 400003),
        (b'{"name": null}', 400003),
        (b'{"name": 7, "redirect_uris": "https://a.example/"}', 400003),
        (b'{"a\x01b": 1}', 400001),
        (b'{"__class__": {}}', 400003),
        (b"{" + b" " * 70_000 + b"}", 413001),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else str(value),
)
async def test_bad_bodies(api: Api, body: bytes, code: int) -> None:
    """A body that is no registration is refused in the envelope, whichever way it is none."""
    reply = await api.post(CLIENTS, data=body, headers=JSON)

    assert reply.status == code // 1000
    assert is_failure(reply.body, code)


async def test_all_faults_in_one_answer(api: Api) -> None:
    """Unknown and missing fields, wrong types and broken rules are all named, by their path in the JSON."""
    body = {
        "bogus": 1,
        "redirect_uris": ["http://evil.example/", "javascript:alert(1)"],
        "scopes": ["openid", 7, None],
        "cors_origins": "*",
        "website": "ftp://a.example/",
    }
    reply = await api.post(CLIENTS, json=body)

    assert [violation["field"] for violation in reply.body["violations"]] == [
        *("bogus", "name", "scopes[1]", "scopes[2]", "cors_origins"),
        *("redirect_uris[0]", "redirect_uris[1]", "website"),
    ]
    assert all(violation["message"] and violation["reference"] for violation in reply.body["violations"])


async def test_oversized_body_without_a_length(api: Api) -> None:
    """A body that comes in chunks is counted as it comes."""

    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * 8192

    reply = await api.post(CLIENTS, data=chunks(), headers=JSON)

    assert is_failure(reply.body, 413001)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_bodies_that_are_not_json(api: Api, content_type: str) -> None:
    """A body must say that it is JSON."""
    reply = await api.post(CLIENTS, data=b"{}", headers={"Content-Type": content_type})

    assert is_failure(reply.body, 415001)


async def test_a_body_that_does_not_come(server: TestServer, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who announces a body and does not send it is not waited for: 408."""
    monkeypatch.setattr(reading, "BODY_TIMEOUT_S", 0.05)
    head = f"POST {CLIENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n"

    answered = await raw(server, f"{head}Authorization: {api.headers['Authorization']}\r\n\r\n{{".encode())

    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b'{"code":408001,' in answered


async def test_a_request_that_does_not_come(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and sends half a header is not waited for; who sent a request may take his time for the next."""
    monkeypatch.setattr(runner, "FIRST_REQUEST_S", 0.05)

    assert await raw(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n") == b""

    reader, writer = await asyncio.open_connection(server.host, server.port)
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 200 ")
        assert await raw(server, b"") == b""
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=lambda request: request[:40],
)
async def test_what_is_not_http(server: TestServer, request_: bytes) -> None:
    """What cannot be parsed as HTTP is answered in the envelope too, and quotes nothing of what was sent."""
    answered = await raw(server, request_)

    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert body.startswith(b'{"code":400005,"message":"The request is not valid HTTP."')


async def test_expectations(api: Api) -> None:
    """100-continue is met; any other expectation is refused in the envelope."""
    assert (await api.post(CLIENTS, json=EXAMPLE, headers={"Expect": "100-continue"})).status == 201
    for path in (CLIENTS, "/nope"):
        assert is_failure((await api.post(path, headers={"Expect": "miracles"})).body, 417001)


async def test_a_crash(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A crash is 500 with nothing of its cause, and the log says where it was and not what it said."""

    async def crash(*_: object, **__: object) -> None:
        raise RuntimeError("secret_of_the_cause")

    monkeypatch.setattr("service.clients.load", crash)
    reply = await api.get(CLIENTS + "app-x")

    assert is_failure(reply.body, 500001)
    assert "secret_of_the_cause" not in str(reply)
    assert any(record.message == "request_failed" and record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("page=0", {"page"}),
        ("page=x&page_size=101", {"page", "page_size"}),
        ("page=1.5", {"page"}),
        ("page=99999999999999999999", {"page"}),
        ("page_size=0", {"page_size"}),
        ("status=gone", {"status"}),
        ("stauts=active", {"stauts"}),
        ("page=1&page=2", {"page"}),
        ("page=1&page=2&foo=1", {"page", "foo"}),
        ("name=" + "x" * 256, {"name"}),
        ("name=a%00b", {"name"}),
    ],
)
async def test_bad_queries(api: Api, query: str, fields: set[str]) -> None:
    """A parameter that is unknown, stands there twice or has no good value is named: 400."""
    reply = await api.get(f"{CLIENTS}?{query}")

    assert is_failure(reply.body, 400003)
    assert {violation["field"] for violation in reply.body["violations"]} == fields


@pytest.mark.parametrize("name", ["%ff", "%ed%a0%80", "%", "%25", "_", "'", "\\", "💥"])
async def test_odd_names_are_searched_for(api: Api, name: str) -> None:
    """Whatever is searched for is text and nothing else."""
    await api.register(name="plain")

    reply = await api.get(f"{CLIENTS}?name={name}")

    assert (reply.status, reply.body["total"]) == (200, 0)


async def test_request_ids(api: Api) -> None:
    """X-Request-ID is taken over where it can be one, and given where not, also to failures."""
    for given, kept in (("a-Request.1", True), ("with space", False), ("x" * 129, False), ("ü", False)):
        for path in (CLIENTS, "/nope"):
            answered = (await api.get(path, headers={"X-Request-ID": given})).headers["X-Request-ID"]
            assert (answered == given) is kept
            assert re.fullmatch(r"[!-~]{1,128}", answered)


@pytest.mark.parametrize("body", [gzip.compress(b"{}" + b" " * 1_000_000), b"junk"], ids=["a bomb", "junk"])
async def test_packed_bodies(api: Api, body: bytes) -> None:
    """Nothing is unpacked: a body with a Content-Encoding is refused, and without a token it is not looked at."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    assert is_failure((await api.post(CLIENTS, data=body, headers=headers)).body, 415001)
    nobody = api.with_headers(Authorization="")
    assert is_failure((await nobody.post(CLIENTS, data=body, headers=headers)).body, 401001)
