"""A worker's process. It is started by `service.serving.workers`, and serves until that tells it to stop, or dies."""

import asyncio
import logging
import os
import signal
import socket

from events.errors import MitosisError
from service import logs
from service.serving import line
from service.serving.accepting import Place, accepting
from service.serving.sharing import Shares

_logger = logging.getLogger(__name__)


def main() -> None:
    """Serve what the first line on standard input asks for, until SIGTERM; then answer what is in flight."""
    logs.start()
    raise SystemExit(asyncio.run(_work(socket.socket(fileno=os.dup(0)))))


async def _work(parent: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=parent, limit=line.LONGEST_BYTES)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if not (first := await reader.readline()):
        return 1  # who started this is gone already
    order = line.decode_order(first)
    sockets = [socket.socket(fileno=each) for each in order.sockets]
    try:
        async with accepting(order.config, sockets, Place(order.number, Shares(order.shares))):
            watching = asyncio.create_task(_watch(reader))  # it goes on while what is in flight is answered
            writer.write(line.encode(line.Serving()))
            await stop.wait()
        watching.cancel()
    except MitosisError as error:
        writer.write(line.encode(line.Cannot(str(error))))
        await writer.drain()
        return 1
    except Exception:
        _logger.exception("worker_failed")
        return 1
    return 0


async def _watch(reader: asyncio.StreamReader) -> None:
    """
    End this process at once when the one that started it is gone.

    As if it had been killed too: whoever starts the service again must find nobody on its port, its home or its
    PostgreSQL, and a caller who was not answered knows as much as after any crash.
    """
    await reader.read()
    os._exit(1)
