"""A file that has its name only when it is whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from events.errors import MitosisError


class NoPlace(MitosisError):
    """A file cannot be written where it should be. The message says why."""


@contextmanager
def draft(path: Path) -> Iterator[BinaryIO]:
    """
    What is written to this is *path*, durably, if nothing was raised; otherwise that is what it was before.

    Its owner alone may read it. It is written beside its place, under a name that begins with a dot; a process that is
    killed leaves that behind, and nothing else.

    Raises:
        NoPlace: there is something else than a file, or no folder that lets one be made.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise NoPlace(f"{path} is no file; with - the archive is written to the standard output")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        opened = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise NoPlace(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(opened, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the name of a file in *folder* durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
