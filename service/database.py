"""What every session with the database has in common."""

import asyncpg

from events.log import Conn

SERVICE_ROLE = "mitosis_service"
CONSUMER_ROLE = "mitosis_consumer"
ERASER_ROLE = "mitosis_eraser"
MOVER_ROLE = "mitosis_mover"
OPERATOR_ROLE = "mitosis_operator"


def session_settings(timeout_s: float, lock_timeout_s: float, role: str = SERVICE_ROLE) -> dict[str, str]:
    """
    What a session in *role* starts with.

    The role is set for the whole session, whoever logged in. The time limits are the server's half of never hanging: a
    process that dies or sleeps amid a transaction lets go of its heads.
    """
    limit_ms = str(int(timeout_s * 1000))
    return {
        "application_name": "mitosis",
        "role": role,
        "statement_timeout": limit_ms,
        "lock_timeout": str(int(lock_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": limit_ms,
    }


# A session keeps the plan of a statement. One that was made while a table was small reads all of it, and goes on doing
# so as it grows, until the table is analyzed.
_BY_KEY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


def open_pool(  # noqa: PLR0913 (what a session starts with)
    url: str,
    *,
    size: int,
    timeout_s: float,
    lock_timeout_s: float | None = None,
    role: str = SERVICE_ROLE,
    by_key: bool = False,
) -> asyncpg.Pool:
    """
    A pool of at most *size* sessions in *role*, connected when first needed.

    A statement ends after *timeout_s*, one that waits for a lock after *lock_timeout_s* (the same where it is None).
    With *by_key* rows are looked up in the indexes, however small the tables are: for requests, which ask for a few.
    """
    settings = session_settings(timeout_s, lock_timeout_s or timeout_s, role)
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60,
        timeout=timeout_s,
        server_settings=settings | _BY_KEY if by_key else settings,
        reset=_keep,
    )


async def _keep(_connection: Conn) -> None:
    """Sessions hold no state between two uses, so giving one back costs no round trip."""


def reason(error: BaseException) -> str:
    """The first line of what *error* says, for whoever runs the command."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
