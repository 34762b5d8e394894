"""
The home directory: keys, the embedded PostgreSQL and its log, held by one process at a time.

    <home>/lock            flock of the holder, with its pid inside
    <home>/postgres        data of the embedded PostgreSQL (service.embedded)
    <home>/postgres.log    its log
    <home>/run             its socket

The home is created 0700. The embedded PostgreSQL of root, which cannot run as root, raises it to 0711: the server's
account walks through to its data, but lists and reads nothing on the way. A home that exists keeps its mode: a
mounted volume has the one that its operator gave it.
"""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import MitosisError

ORPHAN_S = 1.0  # how long a child that its killed parent had forked, but that has not come to exec, may keep the lock
POLL_S = 0.02

_log = logging.getLogger(__name__)


class HomeHeld(MitosisError):
    """Another process holds the home; the message names both."""

    def __init__(self, home: Path, holder: str) -> None:
        super().__init__(f"{home} is in use by {f'process {holder}' if holder else 'another process'}")


@contextmanager
def hold(home: Path) -> Iterator[Path]:
    """
    Holds *home*, created if it is missing, and yields its resolved path.

    The kernel releases the lock when this process ends, however it ends: the descriptor is closed on exec, so a
    PostgreSQL that outlives us does not keep it. The file stays, since removing it would let two processes lock two
    files of one name.

    Raises:
        HomeHeld: another process holds it, or this one does already.
        OSError: it cannot be created or written.
    """
    home = home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + ORPHAN_S
        while not _locked(lock):
            holder = os.pread(lock, 32, 0).decode().partition("\n")[0]
            if Path("/proc", holder).exists() or time.monotonic() > deadline:
                raise HomeHeld(home, holder)
            time.sleep(POLL_S)
        # Written before it is cut, so that a reader finds a whole first line at any moment.
        os.ftruncate(lock, os.pwrite(lock, b"%d\n" % os.getpid(), 0))
        try:
            yield home
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_way(directory: Path, uid: int, gid: int) -> None:
    """
    Lets an account walk through *directory* and all above it: o+x where it is missing, never o+r.

    Only root opens anything; without root, the account is our own.
    """
    if os.geteuid() != 0:
        return
    for step in (*reversed(directory.parents), directory):
        status = step.stat()
        if status.st_uid != uid and status.st_gid != gid and not status.st_mode & stat.S_IXOTH:
            step.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
            _log.warning("opened %s for uid %d to walk through (o+x), as PostgreSQL does not run as root", step, uid)


def open_tree(tree: Path) -> None:
    """
    Lets everyone read *tree* (o+rX): programs that root unpacked under umask 077 are root's alone.

    Only root opens anything.
    """
    if os.geteuid() != 0:
        return
    opened = 0
    for directory, _, names in os.walk(tree):
        for path in (Path(directory), *(Path(directory, name) for name in names)):
            mode = path.lstat().st_mode
            wanted = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
            if not stat.S_ISLNK(mode) and mode & wanted != wanted:
                path.chmod(stat.S_IMODE(mode) | wanted)
                opened += 1
    if opened:
        _log.warning("opened %s for reading (o+rX, %d files), as PostgreSQL does not run as root", tree, opened)
