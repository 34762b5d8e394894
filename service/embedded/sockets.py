"""Where the server's Unix socket lies."""

import os
import shutil
import tempfile
from pathlib import Path

from service.embedded.installation import EmbeddedUnavailable, Installation
from service.home import open_way

PORT = 5432  # it only names the socket
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES = 107  # unix(7): sun_path less its NUL
PRIVATE = "mitosis-socket-"


def socket_directory(home: Path, installation: Installation) -> Path:
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


def remove_private(sockets: Path) -> None:
    """Remove *sockets* if it is a directory that was made for one run; another is left as it is."""
    if sockets.name.startswith(PRIVATE) and sockets.parent == Path(tempfile.gettempdir()).resolve():
        shutil.rmtree(sockets, ignore_errors=True)
