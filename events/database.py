"""How a connection to the database is borrowed without ever hanging, and what it means that the database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from events.errors import DatabaseAway, MitosisError
from events.log import Conn

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, starting up, cancelled by its own time limit
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby: the primary is elsewhere
    asyncpg.InvalidAuthorizationSpecificationError,
)


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database is away, stuck or not itself, and not that a statement is wrong."""
    # the driver's DataError says that an argument does not fit its statement
    return isinstance(error, _AWAY) and not isinstance(error, asyncpg.DataError)


@asynccontextmanager
async def borrowed(pool: asyncpg.Pool, limit_s: float) -> AsyncIterator[Conn]:
    """
    A connection of *pool* for at most *limit_s* seconds, the wait for it included.

    Raises:
        DatabaseAway: none could be had, or it did not answer in time. What it was doing is not known to have been done.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    try:
        async with pool.acquire(timeout=limit_s) as connection:
            # Not asyncio.timeout: a cancelled transaction would say ROLLBACK to a server that does not answer.
            # Cutting the connection fails whatever waits on it, at once.
            cut = loop.call_at(deadline, connection.terminate)
            try:
                yield connection
            except Exception as error:
                # cut between two steps of the driver's, it stumbles over what is not there any more
                if connection.is_closed() and not isinstance(error, MitosisError):
                    raise DatabaseAway from error
                raise
            finally:
                cut.cancel()
    except Exception as error:
        if is_away(error):
            raise DatabaseAway from error
        raise
