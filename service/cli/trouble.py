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
        OSError: it is not about a database: those are all there still.
    """
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        gone = [name for name, side in sides.items() if side is not None and side.is_closed()]
        if isinstance(error, OSError) and not gone and None not in sides.values():
            raise
        where = " and ".join(gone or sides)
        if isinstance(error, asyncpg.LockNotAvailableError):
            raise DatabaseTrouble(f"somebody holds the tenant in the database {where} up; try again shortly") from error
        # cut between two steps of the driver's, it stumbles over what is not there any more
        why = "it was cut off" if isinstance(error, asyncpg.InternalClientError) else reason(error)
        raise DatabaseTrouble(f"the database {where} {'went away' if gone else 'does not do it'}: {why}") from error
