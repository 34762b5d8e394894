"""The sockets that are listened on, before anybody accepts on them and whoever does."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from service.serving import CannotServe

BACKLOG = 128  # connections that may wait to be accepted


@asynccontextmanager
async def bound(host: str, port: int) -> AsyncIterator[list[socket.socket]]:
    """
    Sockets that listen on *port*, or on any that is free where it is 0: one for each address that *host* has.

    Whoever connects waits until somebody accepts; that may be a moment, while workers start or one is replaced.

    Raises:
        CannotServe: the address cannot be listened on.
    """
    with ExitStack() as stack:
        try:
            made = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
            sockets = [stack.enter_context(each.dup()) for each in made.sockets]
            made.close()
            for each in sockets:
                each.listen(BACKLOG)  # only now a port is ours: others may have bound it too
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotServe(f"{host}:{port} cannot be listened on: {reason}") from error
        yield sockets


def address(sockets: list[socket.socket]) -> str:
    """The URL of the first of *sockets*."""
    host, port = sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
