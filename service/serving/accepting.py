"""One process that serves: the application, accepting on sockets that are bound already."""

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from service.app import build
from service.config import Config
from service.runner import Runner

ANSWER_S = 30  # for requests in flight when the service is told to stop


@asynccontextmanager
async def accepting(config: Config, sockets: Iterable[socket.socket]) -> AsyncIterator[web.Application]:
    """
    The application, served on *sockets*; in the end they are closed, and what is in flight is answered.

    Raises:
        ConfigError: the signing key cannot be used.
    """
    app = build(config)
    runner = Runner(app, access_log=None, shutdown_timeout=ANSWER_S)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each).start()
        yield app
    finally:
        await runner.cleanup()
