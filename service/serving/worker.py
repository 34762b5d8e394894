"""A worker's process. It is started by `service.serving.workers`, and serves until that tells it to stop, or dies."""

import asyncio
import logging
import os
import signal
import socket

from aiohttp import web

from events.errors import MitosisError
from service import logs
from service.metrics.measuring import measured
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
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not (first := await reader.readline()):
        return 1  # who started this is gone already
    order = line.decode_order(first)
    sockets = [socket.socket(fileno=each) for each in order.sockets]
    try:
        async with accepting(order.config, sockets, Place(order.number, Shares(order.shares))) as app:
            attending = asyncio.create_task(_attend(app, reader, writer))  # while what is in flight is answered, too
            writer.write(line.encode(line.Serving()))
            await stop.wait()
        attending.cancel()
    except MitosisError as error:
        writer.write(line.encode(line.Cannot(str(error))))
        await writer.drain()
        return 1
    except Exception:
        _logger.exception("worker_failed")
        return 1
    return 0


async def _attend(app: web.Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    Answer the questions of the process that started this one, and end at once when it is gone.

    As if this one had been killed too: whoever starts the service again must find nobody on its port, its home or its
    PostgreSQL, and a caller who was not answered knows as much as after any crash.
    """
    try:
        while asked := await reader.readline():
            question = line.decode_question(asked)
            try:
                found = await measured(app, ask_database=question.ask_database)
            except Exception:
                _logger.exception("not_measured")
            else:
                writer.write(line.encode(line.Measured(question.number, found)))
    except ConnectionError:
        pass
    except Exception:
        _logger.exception("line_lost")
    os._exit(1)
