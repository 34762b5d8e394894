"""Where Prometheus asks: `/metrics`, on a port of its own, since no token is asked for."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from service.metrics.families import Family, text
from service.runner import Runner

Measure = Callable[[], Awaitable[Sequence[Family]]]

_ANSWER_S = 1  # for who is being answered when the service stops


@asynccontextmanager
async def exposed(measure: Measure, sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Answer `GET /metrics` on *sockets* with what *measure* has to say; many who ask at once are told the same."""
    asking: list[asyncio.Task[bytes]] = []

    async def told() -> bytes:
        return text(await measure())

    async def metrics(_request: web.Request) -> web.Response:
        if not asking or asking[0].done():
            asking[:] = [asyncio.create_task(told())]
        body = await asyncio.shield(asking[0])  # who hangs up stops it for nobody else
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = Runner(app, access_log=None, shutdown_timeout=_ANSWER_S)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each).start()
        yield
    finally:
        await runner.cleanup()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
