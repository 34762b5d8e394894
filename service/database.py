"""What every connection to the database has in common, and how one is borrowed without ever hanging."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from events.errors import DatabaseAway, MitosisError
from events.log import Conn

SERVICE_ROLE = "mitosis_service"

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


def session_settings(timeout_s: float, lock_timeout_s: float) -> dict[str, str]:
    """
    What a session of the service starts with.

    The role is set for the whole session, whoever logged in. The time limits are the server's half of never hanging: a
    process that dies or sleeps amid a transaction lets go of its heads.
    """
    limit_ms = str(int(timeout_s * 1000))
    return {
        "application_name": "mitosis",
        "role": SERVICE_ROLE,
        "statement_timeout": limit_ms,
        "lock_timeout": str(int(lock_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": limit_ms,
    }


def open_pool(url: str, *, size: int, timeout_s: float, lock_timeout_s: float | None = None) -> asyncpg.Pool:
    """
    A pool of at most *size* sessions of the service, connected when first needed.

    A statement ends after *timeout_s*, one that waits for a lock after *lock_timeout_s* (the same where it is None).
    """
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60,
        timeout=timeout_s,
        server_settings=session_settings(timeout_s, lock_timeout_s or timeout_s),
        reset=_keep,
    )


async def _keep(_connection: Conn) -> None:
    """Sessions hold no state between two uses, so giving one back costs no round trip."""


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
