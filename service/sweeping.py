"""What nobody needs any more is deleted now and then, in the background."""

import asyncio
import logging

import asyncpg

from events.database import borrowed
from service import receipts

INTERVAL_S = 60.0

_logger = logging.getLogger(__name__)


async def sweep_now_and_then(pool: asyncpg.Pool, *, timeout_s: float) -> None:
    """Sweep until it is cancelled. A database that is away is swept the next time."""
    while True:
        try:
            async with borrowed(pool, timeout_s) as connection:
                while await receipts.sweep(connection):
                    pass
        except Exception as error:
            _logger.warning("sweep_failed", exc_info=error)
        await asyncio.sleep(INTERVAL_S)
