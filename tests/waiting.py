"""Waiting for what happens elsewhere: in another process, or in a task that nobody here holds."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

PATIENCE_S = 30.0
_LOOK_S = 0.01


async def until(condition: Callable[[], bool | Awaitable[bool]], *, patience_s: float = PATIENCE_S) -> None:
    """Return as soon as *condition* holds; TimeoutError where it does not within *patience_s*."""
    async with asyncio.timeout(patience_s):
        while True:
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(_LOOK_S)
