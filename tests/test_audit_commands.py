"""`mitosis audit`: what auditors type, and what they are told."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.callers import NDJSON, Api
from tests.commands import Mitosis
from tests.processes import MAIN
from tests.streams import PATH

URL = "--url"


@pytest.fixture
async def log(api: Api, tmp_path: Path) -> Path:
    """A folder with a log of six records as a file, the head that was kept of it, and the keys."""
    source = (await api.register())["client_id"]
    for _ in range(4):
        await api.clone(source)
    await api.delete(f"/admin/oauth/clients/{source}")
    async with api.session.get(api.base + PATH, headers={**api.headers, "Accept": NDJSON}) as page:
        (tmp_path / "log.ndjson").write_bytes(await page.read())
    for name, path in (("head.json", "/admin/audit/head"), ("jwks.json", "/.well-known/jwks.json")):
        (tmp_path / name).write_text(json.dumps((await api.get(path)).body))
    return tmp_path


def lines(log: Path) -> list[bytes]:
    return (log / "log.ndjson").read_bytes().splitlines(keepends=True)


async def test_verify_a_file(log: Path, mitosis: Mitosis, tenant: str) -> None:
    """A file is verified against the heads that were kept, with nothing but the keys: no database, no service."""
    nowhere = {"MITOSIS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "MITOSIS_HOME": str(log / "nowhere")}
    files = ("--file", str(log / "log.ndjson"), "--head", str(log / "head.json"), "--jwks", str(log / "jwks.json"))

    said = await mitosis("audit", "verify", *files, **nowhere)

    digest = json.loads(lines(log)[-1])["digest"]
    assert (said.status, said.err) == (0, "")
    assert said.out == f"{tenant}: whole. 6 records, ending in {digest[:16]}..., through 1 kept head\n"
    assert not (log / "nowhere").exists()


async def test_verify_a_damaged_file(log: Path, mitosis: Mitosis, tenant: str) -> None:
    """What is wrong is named, a line each, and the exit status says that something is."""
    damaged = lines(log)
    damaged[1] = damaged[1].replace(b'"role":"admin"', b'"role":"other"')
    del damaged[3]
    (log / "log.ndjson").write_bytes(b"".join(damaged[:-1]))
    heads = ("--head", str(log / "head.json"), "--jwks", str(log / "jwks.json"))

    said = await mitosis("audit", "verify", "--file", str(log / "log.ndjson"), *heads)

    assert said.status == 3
    assert said.lines[0].startswith(f"{tenant}: DAMAGED. 4 records")
    assert [line.split()[0] for line in said.lines[1:]] == ["altered", "removed", "cut"]
    as_json = json.loads((await mitosis("audit", "verify", "--json", "--file", str(log / "log.ndjson"), *heads)).out)
    assert [(fault["kind"], fault["position"]) for fault in as_json["faults"]] == [
        ("altered", 2),
        ("removed", 4),
        ("cut off", 6),
    ]


async def test_verify_the_database(log: Path, mitosis: Mitosis, tenant: str) -> None:
    """In the database the service's own key will do for the heads."""
    said = await mitosis("audit", "verify", "--tenant", tenant, "--head", str(log / "head.json"))

    assert (said.status, said.out.partition(".")[0]) == (0, f"{tenant}: whole")


async def test_verify_a_service(api: Api, log: Path, mitosis: Mitosis, tenant: str, tmp_path: Path) -> None:
    """A service is asked for the whole log, which must pass through its own signed head and those that were kept."""
    token = api.headers["Authorization"].removeprefix("Bearer ")
    (tmp_path / "token").write_text(f"{token}\n")

    said = [
        await mitosis("audit", "verify", URL, api.base, "--tenant", tenant),  # with a token of the local key
        await mitosis("audit", "verify", URL, api.base, "--head", str(log / "head.json"), MITOSIS_TOKEN=token),
        await mitosis("audit", "verify", URL, f"{api.base}/api/v1", "--token-file", str(tmp_path / "token")),
    ]

    assert [one.status for one in said] == [0, 0, 0]
    assert [one.out.rpartition("through ")[2] for one in said] == ["1 kept head\n", "2 kept heads\n", "1 kept head\n"]


async def test_heads_of_every_kind(log: Path, mitosis: Mitosis, api: Api) -> None:
    """Heads are kept as they were answered, or one a line, in any number of files."""
    head = json.loads((log / "head.json").read_text())["data"]["head"]
    (log / "many").write_text(f"{head}\n\n{head}\n")
    (log / "forged").write_text(head[:-4] + "AAAA")
    (log / "other").write_text((await api.as_role("admin", "another").get("/admin/audit/head")).data["head"])
    (log / "empty").touch()
    command = ("audit", "verify", "--file", str(log / "log.ndjson"), "--jwks", str(log / "jwks.json"))

    good = await mitosis(*command, "--head", str(log / "many"), "--head", str(log / "head.json"))
    assert (good.status, good.out.rpartition("through ")[2]) == (0, "3 kept heads\n")
    for name, why in (
        ("forged", "is signed with no key that is known"),
        ("other", "is a head of tenant another, and not of"),
        ("empty", "holds no signed head"),
        ("log.ndjson", "is no signed head"),
    ):
        said = await mitosis(*command, "--head", str(log / name))
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith(f"mitosis: {log / name}")
        assert why in said.err
    said = await mitosis("audit", "verify", "--file", str(log / "log.ndjson"), "--head", str(log / "many"))
    assert (said.status, said.err) == (1, "mitosis: heads are checked with keys: name some with --jwks\n")


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        (b"", 1, "the first line says no tenant"),
        (b"\xff\xfe\n", 1, "the first line says no tenant"),
        (b"[" * 100_000, 1, "the first line says no tenant"),
        (b"{}\n" * 3, 1, "the first line says no tenant"),
    ],
)
async def test_what_is_no_log(mitosis: Mitosis, tmp_path: Path, content: bytes, status: int, why: str) -> None:
    """A file that is none is said to be none, in one line."""
    (tmp_path / "file").write_bytes(content)

    said = await mitosis("audit", "verify", "--file", str(tmp_path / "file"))

    assert (said.status, said.out) == (status, "")
    assert why in said.err
    assert said.err.count("\n") == 1


async def test_lines_that_are_no_records(mitosis: Mitosis, log: Path, tenant: str) -> None:
    """A line that is no record is damage like any other, and what is around it is still read."""
    damaged = lines(log)
    damaged[2] = b"[" * 100_000 + b"\n"
    damaged[4] = b"\xff\n"
    (log / "log.ndjson").write_bytes(b"\n".join(damaged))

    said = await mitosis("audit", "verify", "--tenant", tenant, "--file", str(log / "log.ndjson"))

    assert said.status == 3
    assert [line.split()[:2] for line in said.lines[1:]] == [["altered", "3"], ["altered", "5"]]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "--tenant is needed"),
        (("--tenant", "a b"), "--tenant must be 1 to 128"),
        (("--file", "/nowhere"), "/nowhere: No such file"),
        (("--jwks", "setup.cfg", "--tenant", "x"), "setup.cfg is no JWK Set"),
        ((URL, "http://127.0.0.1:1", "--tenant", "x"), "cannot be reached"),
        ((URL, "ftp://x", "--tenant", "x"), "cannot be reached"),
        ((URL, "http://127.0.0.1:1"), "a token is needed"),
    ],
)
async def test_verify_says_what_it_needs(mitosis: Mitosis, arguments: tuple[str, ...], why: str) -> None:
    """What is missing, or cannot be had, is said in one line."""
    said = await mitosis("audit", "verify", *arguments)

    assert (said.status, said.out) == (1, "")
    assert why in said.err
    assert said.err.count("\n") == 1


async def test_tail(api: Api, log: Path, mitosis: Mitosis, tenant: str) -> None:
    """A line a record: when, where, what, which client, and who it was."""
    said = await mitosis("audit", "tail", URL, api.base, "--tenant", tenant)

    assert said.status == 0
    assert len(said.lines) == 6
    assert said.lines[0].split()[1:4:2] == ["1", (json.loads(lines(log)[0]))["subject"]]
    assert said.lines[-1].split()[2] == "ClientDeleted"
    assert said.lines[-1].endswith(f"admin@{tenant} (admin) from 127.0.0.1")
    assert "\x1b" not in said.out


async def test_tail_the_newest(api: Api, mitosis: Mitosis, tenant: str) -> None:
    """The last ten, those behind a position, or those of a type."""
    source = (await api.register())["client_id"]
    for _ in range(14):
        await api.clone(source)
    command = ("audit", "tail", URL, api.base, "--tenant", tenant)

    positions = [
        [int(line.split()[1]) for line in (await mitosis(*command, *asked)).lines]
        for asked in ((), ("--after", "12"), ("--after", "0", "--type", "ClientRegistered", "--type", "ClientDeleted"))
    ]

    assert positions == [list(range(6, 16)), [13, 14, 15], [1]]


async def test_tail_as_json(api: Api, log: Path, mitosis: Mitosis, tenant: str) -> None:
    """CloudEvents to the letter: what it prints is a file that can be verified."""
    said = await mitosis("audit", "tail", URL, api.base, "--tenant", tenant, "--after", "0", "--json")

    assert said.out.encode() == b"".join(lines(log))


async def test_tail_all_tenants(alone: Api, mitosis: Mitosis, tenant: str) -> None:
    """With * each line says whose it is."""
    await alone.register()

    said = await mitosis("audit", "tail", URL, alone.base, "--tenant", "*")

    assert said.status == 0, said.err
    assert any(tenant in line.split() for line in said.lines)


async def test_tail_follows(api: Api, tenant: str) -> None:
    """With --follow it goes on with what comes, until it is told to stop."""
    source = (await api.register())["client_id"]
    arguments = ("audit", "tail", "--follow", URL, api.base, "--tenant", tenant)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAIN, *arguments),
        env={"PATH": os.defpath, "MITOSIS_TOKEN": api.headers["Authorization"].removeprefix("Bearer ")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = await process.stdout.readline()
            await api.clone(source)
            second = await process.stdout.readline()
    finally:
        process.send_signal(2)
        _, err = await process.communicate()

    assert (first.split()[2], second.split()[2]) == (b"ClientRegistered", b"ClientCloned")
    assert (process.returncode, err) == (130, b"")


async def test_tail_of_what_is_not_permitted(api: Api, mitosis: Mitosis, tenant: str) -> None:
    """A refusal is passed on in one line."""
    said = await mitosis("audit", "tail", URL, api.base, "--tenant", f"{tenant}-other", MITOSIS_TOKEN="nonsense")

    assert said.status == 1
    assert said.err == f"mitosis: {api.base} answered 401: The bearer token is invalid or has expired.\n"


async def test_tail_of_an_endless_answer(mitosis: Mitosis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that never ends is not gathered until memory is full."""
    monkeypatch.setattr("service.cli.remote._ANSWER_BYTES", 1024 * 1024)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Last-Event-ID": "1"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(bytes(64 * 1024))
        return response

    app = web.Application()
    app.router.add_get(PATH, endless)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        said = await mitosis("audit", "tail", URL, url, "--after", "0", MITOSIS_TOKEN="token")

    assert (said.status, said.err) == (1, f"mitosis: {url} answered with more than 1,048,576 bytes\n")
