"""How a command comes to the database: the one that is configured, or the service's own, whether it runs or not."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from events.errors import MitosisError
from service import embedded, home, schema
from service.cli.trouble import in_one_line
from service.config import Config
from service.dsn import name_of, unusable

_CONNECT_S = 10.0


class CannotConnect(MitosisError):
    """A command cannot work with the database. The message says why, in one line."""


def running_database(config: Config) -> str | None:
    """The DSN of the database, as its owner; None where it is an embedded one that no service runs now."""
    if config.database_url is not None:
        return config.owner_database_url or config.database_url
    return embedded.url_of_running(config.home, "postgres")


@contextmanager
def database(config: Config) -> Iterator[str]:
    """
    The DSN of the database, as its owner.

    An embedded one that no service runs is started, and stopped in the end.

    Raises:
        MitosisError: there is none.
    """
    running = running_database(config)
    if running is not None:
        yield running
        return
    if not (config.home / "postgres").exists():
        raise CannotConnect(
            f"there is no database: neither MITOSIS_DATABASE_URL names one, nor is one in {config.home}"
        )
    with home.hold(config.home) as held:
        server = embedded.start(held)
        try:
            yield server.url("postgres")
        finally:
            server.stop()


@asynccontextmanager
async def connected(url: str, role: str, command: str) -> AsyncIterator[asyncpg.Connection]:
    """
    A session in *role*, named for the *command* that it is for.

    Raises:
        CannotConnect: it cannot be had, or the schema is older than this code.
        DatabaseTrouble: it went away while it was used, or refused.
    """
    name = name_of(url)
    try:
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_S, server_settings={"application_name": f"mitosis {command}", "role": role}
        )
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotConnect(f"the database {name} cannot be used as {role}: {unusable(error)}") from error
    try:
        with in_one_line({name: connection}):
            if await schema.current(connection) < schema.version():
                raise CannotConnect(f"the schema of {name} is older than this program; start the service once")
            yield connection
    finally:
        await connection.close(timeout=_CONNECT_S)
