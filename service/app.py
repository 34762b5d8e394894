"""The composition root: from a configuration to the application. Only here are pools opened."""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from service import client_secrets, clients, health, reference, requests, routes
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
    app[requests.TIMEOUT_S] = config.database_timeout_s
    app[client_secrets.GRACE_S] = config.rotation_grace_s

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
            # a quarter is for what a handler looks up before
            desk = Desk(writes, timeout_s=timeout_s * 3 / 4, line_limit=config.desk_line)
            app[requests.READS], app[requests.DESK], app[requests.HASHER] = reads, desk, hasher
            yield
            await desk.close()
            hasher.close()

    app.cleanup_ctx.append(resources)
    table = clients.ROUTES + client_secrets.ROUTES + health.ROUTES + reference.ROUTES
    app[reference.PAGES] = reference.pages(table, config.base_path)
    routes.add(app, table, config.base_path)
    return app
