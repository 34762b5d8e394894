"""All that one process has to say, as plain values."""

import logging

import asyncpg
from aiohttp import web

from events.database import borrowed
from events.errors import DatabaseAway
from service.metrics.families import Family, families, gauge
from service.metrics.instruments import INSTRUMENTS
from service.metrics.state import STATE
from service.requests import READS

DATABASE_S = 1.0  # for what the database is asked; without it the rest is told

_logger = logging.getLogger(__name__)

_LOG = "select count(*) as tenants, coalesce(sum(position), 0)::bigint as records from heads"


async def measured(app: web.Application, *, ask_database: bool) -> list[Family]:
    """What *app* counted and how it is; how long the log is too, if the database is to be asked."""
    here = families(app[INSTRUMENTS].registry.collect()) + families(app[STATE].collect())
    return here + (await _of_database(app[READS]) if ask_database else [])


async def _of_database(pool: asyncpg.Pool) -> list[Family]:
    text = "Whether a connection was free and the database answered within a second."
    try:
        async with borrowed(pool, DATABASE_S) as connection:
            (row,) = await connection.fetch(_LOG)
    except (DatabaseAway, asyncpg.PostgresError) as error:
        _logger.warning("log_not_measured", exc_info=error)
        return [gauge("mitosis_database_up", text, 0)]
    return [
        gauge("mitosis_database_up", text, 1),
        gauge("mitosis_tenants", "Tenants that have a log.", row["tenants"]),
        gauge("mitosis_log_records", "Records in the logs of all tenants.", row["records"]),
    ]
