"""Who runs a command."""

import getpass
import os

from ulid import ULID

from events.record import Actor


def operator(subject: str | None, role: str = "operator") -> Actor:
    """Who runs a command, as a record says it."""
    return Actor(subject=subject or _user(), role=role, request_id=str(ULID()))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # one that the machine has no name for
