"""Runs the application so that what never becomes a request is answered in the envelope too."""

import asyncio
import resource
import socket
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from service.access import failed
from service.envelope import failure
from service.refusals import MalformedRequest

FIRST_REQUEST_S = 15
KEEPALIVE_S = 75  # a connection may be idle between two requests
UNREAD_MS = 30_000  # what was sent may stay unread
_SPARE_FILES = 64  # descriptors that are kept for the database and the rest


class _Protocol(web.RequestHandler):
    """aiohttp's protocol. It answers a header that it cannot parse by itself; here it does so in the envelope."""

    __slots__ = ("_patience",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Whoever connects has so long to send a request; aiohttp itself waits for the first one for ever."""
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > _most_connections():
            self.force_close()  # better than to have no descriptor left for anything
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            # a reader who stops reading is let go by the kernel, with all that waits for him
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._patience = asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self._hang_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The other side is gone."""
        self._patience.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (it quotes what was sent)
    ) -> web.StreamResponse:
        """Answer what the parser refused, or what failed before an answer was sent; then the connection is closed."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer is sent already")
        error = MalformedRequest() if status < 500 else exc if isinstance(exc, Exception) else Exception()  # noqa: PLR2004
        response = failure(error)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


def _most_connections() -> int:
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES, 16)


class Runner(web.AppRunner):
    """`web.AppRunner`, with every failure in the envelope, bounded connections, and bodies left as they are."""

    def __init__(self, app: web.Application, **options: Any) -> None:  # noqa: ANN401 (as those of web.AppRunner)
        super().__init__(app, **{"keepalive_timeout": KEEPALIVE_S, "auto_decompress": False, **options})

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler

        async def enveloped(request: BaseRequest) -> web.StreamResponse:
            try:
                return await handle(request)
            except web.HTTPException as error:  # an Expect header is judged before the middlewares
                return failed(request, error)

        return _Server(
            enveloped,
            request_factory=made.request_factory,
            loop=asyncio.get_running_loop(),
            **made._kwargs,  # noqa: SLF001
        )
