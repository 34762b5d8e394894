"""The sockets that are listened on: bound once, before anybody accepts on them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from service.serving import CannotServe


@asynccontextmanager
async def bound(host: str, port: int) -> AsyncIterator[list[socket.socket]]:
    """
    Sockets on *port*, or on any that is free where it is 0: one for each address that *host* has.

    Whoever serves listens on them, so nobody can connect until somebody does.

    Raises:
        CannotServe: the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotServe(f"{host}:{port} cannot be listened on: {reason}") from error
    with ExitStack() as stack:
        sockets = [stack.enter_context(each.dup()) for each in server.sockets]
        server.close()
        yield sockets


def address(sockets: list[socket.socket]) -> str:
    """The URL of the first of *sockets*."""
    host, port = sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
