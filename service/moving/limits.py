"""What keeps a move from hanging, and from being interrupted where it must not be."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

from events.log import Conn

T = TypeVar("T")


@contextmanager
def cut_after(limit_s: float, conn: Conn) -> Iterator[None]:
    """
    Cut *conn* if it is still needed in *limit_s* seconds: whatever waits on it then fails, at once.

    A query that is cancelled instead would wait for the server to hear of it, which one that hangs does not.
    """
    cut = asyncio.get_running_loop().call_later(limit_s, conn.terminate)
    try:
        yield
    finally:
        cut.cancel()


async def unbroken(work: Coroutine[None, None, T]) -> T:
    """The outcome of *work*, to which an interruption that comes meanwhile comes too late."""
    task, waiting = asyncio.ensure_future(work), asyncio.current_task()
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() or waiting is None:
                raise
            waiting.uncancel()
