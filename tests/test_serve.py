"""The command line: `mitosis serve` on its own PostgreSQL, and `mitosis token`."""

import asyncio
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from service import embedded
from service.embedded import Embedded
from tests.leaks import WITNESS

MITOSIS = (sys.executable, "-c", "from service.cli import main; raise SystemExit(main())")
CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home for one service; not pytest's own, whose parent other sessions close to the embedded server's account."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "home"


def environment(home: Path, **settings: str) -> dict[str, str]:
    """What a service in *home* starts with, and nothing of ours."""
    cheap = {"MITOSIS_ARGON2_MEMORY_KIB": "8", "MITOSIS_ARGON2_TIME_COST": "1", "MITOSIS_WORKERS": "1"}
    return {"PATH": os.defpath, "MITOSIS_HOME": str(home), "PORT": "0", **cheap, **settings}


def run(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [*MITOSIS, *arguments],
        env=environment(home, **settings),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A service on its own PostgreSQL, and all that it printed until it served."""
    with subprocess.Popen(
        [*MITOSIS, "serve"],
        env=environment(home, **settings),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed and (line := process.stdout.readline()):
            printed += line
        try:
            yield process, printed
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
            WITNESS.log("serve", err)


def pasted(printed: str) -> urllib.request.Request:
    """The printed curl command, as a request."""
    command = printed[printed.index("curl") : printed.index("Ctrl-C")].replace("\\\n", " ")
    words = shlex.split(command)
    assert words[:4] == ["curl", "-sS", "-X", "POST"]
    name, _, value = words[-1].partition(": ")
    return urllib.request.Request(words[4], method="POST", headers={name: value})


def linked(printed: str) -> str:
    """The printed link to the console."""
    return printed.partition("signed in for 12 hours: ")[2].partition("\n")[0]


def leftovers(home: Path) -> list[str]:
    """The command lines of the processes that name *home*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(home) in line:
                found.append(line)
    return found


def test_first_run(home: Path) -> None:
    """Serve prints a curl that clones the demo client as it stands; the data survives a restart; nothing is left."""
    clones = []
    for stop in (signal.SIGINT, signal.SIGTERM):
        with serving(home) as (process, printed):
            with urllib.request.urlopen(pasted(printed), timeout=10) as reply:
                assert reply.status == 201
                clones.append(json.load(reply)["data"])
            with urllib.request.urlopen(linked(printed), timeout=10) as reply:
                assert reply.headers["Content-Type"].startswith("text/html")
            request = pasted(printed)
            assert request.get_header("Authorization") == f"Bearer {linked(printed).partition('#token=')[2]}"
            listing = urllib.request.Request(
                request.full_url.partition("app-demo")[0], headers=dict(request.header_items())
            )
            with urllib.request.urlopen(listing, timeout=10) as reply:
                listed = json.load(reply)
            assert {item["client_id"] for item in listed["items"]} == {
                "app-demo",
                *(clone["client_id"] for clone in clones),
            }
            process.send_signal(stop)
            assert process.wait(30) == 0
        assert leftovers(home) == []
    assert clones[0]["name"] == "My Application (clone)"
    assert clones[0]["fapi_profile"] == "fapi1"


def test_one_home_one_service(home: Path) -> None:
    """A second service on a home says who holds it, in one line, and leaves the first alone."""
    with serving(home) as (process, printed):
        second = run(home, "serve")

        assert second.returncode == 1
        assert second.stderr == f"mitosis: {home} is in use by process {process.pid}\n"
        with urllib.request.urlopen(pasted(printed), timeout=10) as reply:
            assert reply.status == 201


def test_a_taken_port(home: Path) -> None:
    """A port that is taken is said in one line, and no PostgreSQL is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run(home, "serve", PORT=str(port))

    assert refused.returncode == 1
    lines = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert lines == [lines[0]]
    assert lines[0].startswith(f"mitosis: 127.0.0.1:{port} cannot be listened on: ")
    assert leftovers(home) == []


@pytest.mark.parametrize(
    ("arguments", "settings", "said", "status"),
    [
        (["serve", "--bogus"], {}, "unrecognized arguments: --bogus", 2),
        (["bogus"], {}, "invalid choice: 'bogus'", 2),
        ([], {}, "required: COMMAND", 2),
        (["serve", "--port", "x"], {}, "invalid int value: 'x'", 2),
        (["serve", "--port", "70000"], {}, "--port must be from 0 to 65535", 1),
        (["serve"], {"PORT": "http"}, "PORT must be a whole number from 0 to 65535, not 'http'", 1),
        (["serve"], {"MITOSIS_DATABASE_TIMEOUT": "soon"}, "MITOSIS_DATABASE_TIMEOUT must be a length of time", 1),
        (["serve"], {"MITOSIS_BASE_PATH": "/a b"}, "MITOSIS_BASE_PATH must be a path", 1),
        (["serve"], {"MITOSIS_DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/x"}, "the database 127.0.0.1:1/x", 1),
        (["serve"], {"MITOSIS_DATABASE_URL": "nonsense://u:hidden@h"}, "cannot be connected to", 1),
        (["token", "--role", "admin"], {}, "required: --tenant", 2),
        (["token", "--tenant", "t", "--role", "boss"], {}, "invalid choice: 'boss'", 2),
        (["token", "--tenant", "a b", "--role", "admin"], {}, "--tenant must be 1 to 128 printable", 1),
        (["token", "--tenant", "t", "--role", "admin", "--ttl", "-1"], {}, "--ttl must be a length of time", 1),
        (["token", "--tenant", "t", "--role", "admin", "--ttl", "0"], {}, "--ttl must be a length of time", 1),
        (["token", "--tenant", "t", "--role", "admin"], {"MITOSIS_SIGNING_KEY_FILE": "/proc/x"}, "the signing key", 1),
        (["token", "--tenant", "t", "--role", "admin"], {"MITOSIS_SIGNING_KEY_FILE": "setup.cfg"}, "setup.cfg", 1),
    ],
)
def test_mistakes(home: Path, arguments: list[str], settings: dict[str, str], said: str, status: int) -> None:
    """A user's mistake is one line that says what is wrong, never a traceback, and never a password."""
    refused = run(home, *arguments, **settings)

    assert refused.returncode == status
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert said in refused.stderr
    assert "hidden" not in refused.stderr


def test_a_database_that_is_missing(home: Path, postgres: Embedded) -> None:
    """A server without that database is said in one line."""
    url = postgres.url("postgres", "nowhere")

    refused = run(home, "serve", MITOSIS_DATABASE_URL=url)

    assert refused.returncode == 1
    assert 'cannot be connected to: database "nowhere" does not exist\n' in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_external_database(home: Path, binaries: Path | None) -> None:
    """
    The owner of a database, who may make roles and is no superuser, is all that an external database needs.

    Nothing is planted there, and no token is printed.
    """
    home.mkdir()
    server = embedded.start(home, binaries=binaries)
    try:
        asyncio.run(_own_database(server))
        with serving(home / "service", MITOSIS_DATABASE_URL=server.url("ops", "registry")) as (_, printed):
            assert "curl" not in printed
            base = printed.split()[2]
            with urllib.request.urlopen(f"{base}/readyz", timeout=10) as reply:
                assert reply.status == 200
    finally:
        server.stop()


async def _own_database(server: Embedded) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute("create role ops login createrole")
    await connection.execute("create database registry owner ops")
    await connection.close()


def test_tokens(home: Path) -> None:
    """`mitosis token` prints a bare JWT, signed with a key that is made once and is its owner's alone."""
    tokens = [run(home, "token", "--tenant", "demo", "--role", "admin").stdout for _ in range(2)]

    key = home / "signing-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert all(token.endswith("\n") and token.count(".") == 2 and " " not in token for token in tokens)
    assert len({token.split(".")[0] for token in tokens}) == 1


def test_a_key_that_others_can_read(home: Path) -> None:
    """A signing key that every user can read is not used."""
    run(home, "token", "--tenant", "demo", "--role", "admin")
    (home / "signing-key.pem").chmod(0o644)

    refused = run(home, "token", "--tenant", "demo", "--role", "admin")

    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_help() -> None:
    """Every command explains itself."""
    for arguments in (["--help"], ["serve", "--help"], ["token", "--help"]):
        helped = run(Path("unused"), *arguments)
        assert (helped.returncode, helped.stderr) == (0, "")
        assert "usage: mitosis" in helped.stdout


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_flight_is_answered(home: Path, stop: signal.Signals) -> None:
    """A request that is being answered when the service is told to stop is answered; then it ends."""
    with serving(home) as (process, printed):
        assert asyncio.run(stopped_meanwhile(process, home, pasted(printed), stop)) == 201
        assert process.wait(30) == 0
    assert leftovers(home) == []


_LOCK = "select from heads where tenant_id = 'demo' for update"
_IS_WAITING = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"


async def stopped_meanwhile(
    process: "subprocess.Popen[str]", home: Path, request: urllib.request.Request, stop: signal.Signals
) -> int:
    """Hold the demo tenant's head, tell the service to stop while a clone waits for it, and let go."""
    connection = await asyncpg.connect(f"postgresql://postgres@/mitosis?host={home}/run&port=5432")
    watcher = await asyncpg.connect(f"postgresql://postgres@/mitosis?host={home}/run&port=5432")
    async with connection.transaction():
        await connection.execute(_LOCK)
        answered = asyncio.create_task(asyncio.to_thread(urllib.request.urlopen, request, timeout=20))
        while not await watcher.fetchval(_IS_WAITING):
            pass
        process.send_signal(stop)
        while _listens(request.full_url):
            pass
    for each in (connection, watcher):
        await each.close()
    with await answered as reply:
        return int(reply.status)


def _listens(url: str) -> bool:
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    try:
        socket.create_connection((address.hostname, address.port), timeout=20).close()
    except OSError:
        return False
    return True


def test_the_line_of_a_request(home: Path) -> None:
    """A request is one JSON line: what, how it ended, how long it took, whose it was, and its id."""
    with serving(home) as (process, printed):
        request = pasted(printed)
        request.add_header("X-Request-ID", "the-id")
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.headers["X-Request-ID"] == "the-id"
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr if '"the-id"' in line]

    (line,) = lines
    assert isinstance(line.pop("duration_ms"), float)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "request",
        "method": "POST",
        "route": "/admin/oauth/clients/{client_id}/clone",
        "status": 201,
        "tenant": "demo",
        "subject": "ops@demo",
        "request_id": "the-id",
    }
