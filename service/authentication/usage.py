"""
When a client's secrets were last used: telemetry and no event, since nothing is decided on it.

It is collected in memory and written every few seconds in one statement. What a crash leaves: the uses of the last
seconds are not known.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime

import asyncpg

from events.database import borrowed
from events.log import Conn

INTERVAL_S = 5.0
LIMIT = 10_000  # secrets between two writes

_logger = logging.getLogger(__name__)

# in the order of their keys, so that two processes cannot deadlock
_WRITE = """
insert into secret_usage (tenant_id, client_id, secret_id, last_used_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as used (tenant, client, secret, at)
order by tenant, client, secret
on conflict (tenant_id, client_id, secret_id) do update
set last_used_at = greatest(secret_usage.last_used_at, excluded.last_used_at)
"""

_READ = "select secret_id, last_used_at from secret_usage where tenant_id = $1 and client_id = $2"


async def read(conn: Conn, tenant_id: str, client_id: str) -> dict[str, datetime]:
    """When each of the client's secrets was last used, by secret id; those never used are missing."""
    return {row["secret_id"]: row["last_used_at"] for row in await conn.fetch(_READ, tenant_id, client_id)}


class Usage:
    """
    Collects uses, and writes them now and then. Made inside a running loop.

    Args:
        pool: where they are written; a write waits for a connection like any reader.
        timeout_s: of one write.
    """

    def __init__(self, pool: asyncpg.Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._noted: dict[tuple[str, str, str], datetime] = {}
        self._closing = asyncio.Event()
        self._clerk = asyncio.create_task(self._write_now_and_then())

    def note(self, tenant_id: str, client_id: str, secret_id: str) -> None:
        """A secret was used now. Where too many wait to be written, a further one is not noted."""
        key = (tenant_id, client_id, secret_id)
        if key in self._noted or len(self._noted) < LIMIT:
            self._noted[key] = datetime.now(UTC)

    async def write(self) -> None:
        """Write what was noted. Never raises: what could not be written is logged, and kept for the next time."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        tenants, clients, secrets = zip(*noted, strict=True)
        try:
            async with borrowed(self._pool, self._timeout_s) as connection:
                await connection.execute(_WRITE, tenants, clients, secrets, list(noted.values()))
        except Exception as error:
            _logger.warning("usage_not_written", exc_info=error, extra={"secrets": len(noted)})
            newest = {**noted, **self._noted}
            self._noted = dict(list(newest.items())[-LIMIT:])

    async def close(self) -> None:
        """Write what is left, and stop."""
        self._closing.set()
        await self._clerk

    async def _write_now_and_then(self) -> None:
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await self._closing.wait()
            is_last = self._closing.is_set()
            await self.write()
