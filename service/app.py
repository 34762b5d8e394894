"""The composition root: from a configuration to the application. Only here are pools opened."""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from service import clients, health, routes
from service.access import observed
from service.bearer import Tokens
from service.config import Config
from service.credentials import Hasher
from service.database import open_pool
from service.desk import Desk
from service.reading import BODY_LIMIT
from service.signing import load_key

_DESK_POOL = 6  # its turns and what it looks up; readers have a pool of their own, so neither starves the other


def build(config: Config) -> web.Application:
    """
    The application that *config* describes; its database is connected to when it is first needed.

    Raises:
        ConfigError: the signing key cannot be used.
    """
    app = web.Application(middlewares=[observed], client_max_size=BODY_LIMIT)
    app[routes.TOKENS] = Tokens(load_key(config.key_file), config.audience)
    app[clients.TIMEOUT_S] = config.database_timeout_s

    async def resources(app: web.Application) -> AsyncIterator[None]:
        if config.database_url is None:
            raise ValueError("the application needs a database_url")
        timeout_s = config.database_timeout_s
        hasher = Hasher(
            time_cost=config.argon2_time_cost,
            memory_kib=config.argon2_memory_kib,
            parallelism=config.argon2_parallelism,
            threads=len(os.sched_getaffinity(0)),
            line_limit=config.hash_line,
        )
        async with (
            open_pool(config.database_url, size=config.pool_size, timeout_s=timeout_s) as reads,
            open_pool(config.database_url, size=_DESK_POOL, timeout_s=timeout_s) as writes,
        ):
            desk = Desk(writes, timeout_s=timeout_s, line_limit=config.desk_line)
            app[clients.READS], app[clients.DESK], app[clients.HASHER] = reads, desk, hasher
            yield
            await desk.close()
            hasher.close()

    app.cleanup_ctx.append(resources)
    routes.add(app, clients.ROUTES + health.ROUTES, config.base_path)
    return app
