"""What a database does not do, in one line, for whoever runs a command."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg

from events.errors import MitosisError
from service.database import reason

LOCK_TIMEOUT = "set lock_timeout = '3s'"  # whoever holds a tenant's head for longer is stuck
# what a session holds is free again within half a minute of the loss of its machine
PATIENCE = f"""
{LOCK_TIMEOUT};
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
"""


class DatabaseTrouble(MitosisError):
    """A database went away, or refuses. The message says which one, and why."""


@contextmanager
def in_one_line(sides: Mapping[str, asyncpg.Connection | None]) -> Iterator[None]:
    """
    Turn what the driver raises into DatabaseTrouble.

    *sides* are the sessions in use by the names of their databases, None for one that is yet to come.

    Raises:
        DatabaseTrouble
    """
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        gone = [name for name, side in sides.items() if side is not None and side.is_closed()]
        where = " and ".join(gone or sides)
        if isinstance(error, asyncpg.LockNotAvailableError):
            raise DatabaseTrouble(f"somebody holds the tenant in {where} up; try again shortly") from error
        raise DatabaseTrouble(f"{where} {'went away' if gone else 'does not do it'}: {reason(error)}") from error
