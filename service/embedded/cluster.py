"""A data directory, and the processes on it: which are ours, and how they end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from service.embedded.installation import EmbeddedUnavailable, Installation
from service.embedded.sockets import remove_private

FAST_S = 30.0
IMMEDIATE_S = 5.0
KILL_S = 10.0
POLL_S = 0.02


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
        title, *arguments = command_line(pid)
        backend = title.startswith(f"postgres: {self.name}:")
        return uid == self.installation.uid and (backend or f"cluster_name={self.name}" in arguments)

    def take_over(self) -> None:
        """Shuts down the server that a killed service left running, if there is one."""
        record = self.record()
        self.shut_down(self.recorded_pid())
        for sockets in record[4:5]:
            remove_private(Path(sockets))
        # Killed between creating and writing the file: PostgreSQL cannot tell whose it is, and would not start.
        with contextlib.suppress(FileNotFoundError):
            if (self.data / "postmaster.pid").stat().st_size == 0:
                (self.data / "postmaster.pid").unlink()

    def shut_down(self, postmaster: int) -> None:
        """Orders *postmaster* to shut down, unless it is not ours, and sweeps up what does not obey."""
        for order, patience_s in ((signal.SIGINT, FAST_S), (signal.SIGQUIT, IMMEDIATE_S)):
            if self.owns(postmaster):
                send(postmaster, order)
                await_end(postmaster, patience_s)
        self.sweep()

    def sweep(self) -> None:
        """SIGKILL for every process on this directory, until there is none."""
        while pids := list(self._processes()):
            for pid in pids:
                send(pid, signal.SIGKILL)
            for pid in pids:
                if not await_end(pid, KILL_S):
                    raise EmbeddedUnavailable(f"process {pid} on {self.data} outlives SIGKILL")

    def _processes(self) -> Iterator[int]:
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return filter(self.owns, pids)


def is_postgres(pid: int) -> bool:
    """Whether process *pid* is some PostgreSQL, whosever."""
    title = command_line(pid)[0]
    return Path(title).name == "postgres" or title.startswith("postgres:")


def await_end(pid: int, patience_s: float) -> bool:
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


def send(pid: int, order: signal.Signals) -> None:
    """Give *pid* an order; one that has ended needs none."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, order)


def command_line(pid: int) -> list[str]:
    """Its arguments, of which a PostgreSQL backend has made a title; [""] for a zombie, or for no process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return [""]
