"""What is done once before anybody serves: the schema, a look at whether the service can work, and the demo client."""

import logging

import asyncpg
import msgspec
from aiohttp import web

from events.database import borrowed
from events.errors import DatabaseAway
from service import demo, schema
from service.app import build, sessions
from service.config import Config
from service.database import reason
from service.dsn import name_of, unusable
from service.requests import READS
from service.runner import Runner
from service.serving import CannotServe

_OLDEST = 15  # major version of PostgreSQL

_logger = logging.getLogger(__name__)


async def prepare(config: Config, *, is_ours: bool) -> bool:
    """
    Make the database what the service needs, and return whether the demo client is there.

    Args:
        config: what will be served.
        is_ours: the database is the embedded one: the service's role may connect as itself, and the demo is planted.

    Raises:
        CannotServe
    """
    await _bring_up_to_date(config, is_ours=is_ours)
    # an application that nobody is served by: what can fail does so before there is any worker
    runner = Runner(build(msgspec.structs.replace(config, credentials_ready=0)), access_log=None)
    await runner.setup()
    try:
        await _check(runner.app, config)
        return is_ours and await demo.plant(runner.app)
    finally:
        await runner.cleanup()


async def _bring_up_to_date(config: Config, *, is_ours: bool) -> None:
    """Apply the schema, as the owner."""
    url = config.owner_database_url or config.database_url or ""
    try:
        connection = await asyncpg.connect(url, timeout=config.database_timeout_s)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotServe(f"the database {name_of(url)} cannot be connected to: {unusable(error)}") from error
    try:
        if connection.get_server_version().major < _OLDEST:
            raise CannotServe(f"the database {name_of(url)} is older than PostgreSQL {_OLDEST}")
        await schema.apply(connection)
        if is_ours:
            await connection.execute("alter role mitosis_service login")
        if (most := int(await connection.fetchval("show max_connections"))) < sessions(config):
            # not an error: pools grow only with the load, and a proxy in between may have more to give
            _logger.warning("too_few_connections", extra={"max_connections": most, "wanted": sessions(config)})
    except asyncpg.PostgresError as error:
        raise CannotServe(f"schema.sql cannot be applied to {name_of(url)}: {reason(error)}") from error
    finally:
        await connection.close(timeout=config.database_timeout_s)


async def _check(app: web.Application, config: Config) -> None:
    """Whether the service's own user can work: a wrong one is told now, and not at the first request."""
    try:
        async with borrowed(app[READS], config.database_timeout_s) as connection:
            await connection.fetchval("select from clients, heads, events limit 0")
    except (DatabaseAway, asyncpg.PostgresError) as error:
        cause = error.__cause__ or error
        url = config.database_url or ""
        raise CannotServe(f"the service cannot use the database {name_of(url)}: {reason(cause)}") from error
