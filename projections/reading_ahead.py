"""Reading ahead: while some rows are worked on, the database and the driver get the next ones ready."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

_STEP = 100  # rows that are worked on in a stretch

Row = TypeVar("Row")


async def read_ahead(
    fetch: Callable[[Row | None], Awaitable[Sequence[Row]]], work: Callable[[Sequence[Row]], None]
) -> AsyncIterator[None]:
    """
    Have *work* done on all rows in their order, some at a time; yields whenever the connection is free.

    *fetch* gets those behind a row, or the first ones where it is None, and none in the end. Of what it gets at a time,
    twice as many are in memory. What *work* raises ends it, with the connection free.
    """
    rows = await fetch(None)
    while rows:
        coming = asyncio.ensure_future(fetch(rows[-1]))
        try:
            for begin in range(0, len(rows), _STEP):
                await asyncio.sleep(0)  # the loop takes in what has arrived
                work(rows[begin : begin + _STEP])
        except BaseException:  # whoever is cancelled leaves the connection free, too
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            raise
        rows = await coming
        yield
