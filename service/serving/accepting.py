"""One process that serves: the application, accepting on sockets that are bound already."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

from aiohttp import web

from service.app import build
from service.config import Config
from service.cycles import look_rarely
from service.runner import Runner
from service.serving.sharing import Shares

ANSWER_S = 30  # for requests in flight when the service is told to stop


class Place(NamedTuple):
    """Which one of several workers this is."""

    number: int
    shares: Shares


@asynccontextmanager
async def accepting(
    config: Config, sockets: Iterable[socket.socket], place: Place | None = None
) -> AsyncIterator[web.Application]:
    """
    The application, served on *sockets*; in the end they are closed, and what is in flight is answered.

    Without a *place* nobody else accepts on them.

    Raises:
        ConfigError: the signing key cannot be used.
    """
    app = build(config)
    runner = Runner(app, access_log=None, shutdown_timeout=ANSWER_S)
    await runner.setup()
    look_rarely()
    server = cast("web.Server", runner.server)  # it is there since the setup
    shared: list[asyncio.Task[None]] = []
    if place is not None:
        place.shares.join(place.number)
    try:
        for each in sockets:
            if place is None:
                await web.SockSite(runner, each).start()
            else:
                shared.append(asyncio.create_task(place.shares.accept(each, place.number, server)))
        yield app
    finally:
        for task in shared:
            task.cancel()
        await asyncio.gather(*shared, return_exceptions=True)
        await runner.cleanup()
