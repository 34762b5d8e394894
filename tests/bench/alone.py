"""
The baseline that shows what turns are for: the same service, but each command in a transaction of its own.

    python -m tests.bench.alone --port 0
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import asyncpg
from aiohttp import web

from events import log
from events.database import borrowed
from projections import clients
from projections.clients import Client
from service.app import build
from service.commands import Command
from service.config import Config, from_environment
from service.database import open_pool
from service.requests import DESK
from service.runner import Runner
from service.turn import Turn

if TYPE_CHECKING:
    from service.desk import Desk

_POOL_SIZE = 16
_TIMEOUT_S = 30.0


class Alone:
    """Decides and appends as the desk does, in the same statements, for one caller at a time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def submit(self, command: Command) -> Client:
        """As `Desk.submit`."""
        async with borrowed(self._pool, _TIMEOUT_S) as connection, connection.transaction():
            heads = await log.lock(connection, [command.tenant_id], wait=True)
            read = await clients.load(connection, [(command.tenant_id, command.reads)])
            turn = Turn(heads, read, {})
            client = turn.take(command)
            await log.append(connection, turn.entries, turn.heads)
            await clients.save(connection, list(turn.changed.values()))
        return client


async def main(config: Config) -> None:
    """Serve until it is ended."""
    app = build(config)

    async def swap(app: web.Application) -> AsyncIterator[None]:
        assert config.database_url is not None
        async with open_pool(config.database_url, size=_POOL_SIZE, timeout_s=_TIMEOUT_S, by_key=True) as pool:
            desk = app[DESK]
            app[DESK] = cast("Desk", Alone(pool))  # it has what handlers use
            yield
            app[DESK] = desk

    app.cleanup_ctx.append(swap)
    runner = Runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"Mitosis serves http://{host}:{port} alone\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(from_environment()))
