"""Reading ahead: the next rows are on their way while some are worked on, and nothing is in the way of what follows."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from projections import reading_ahead
from projections.reading_ahead import read_ahead


class Numbers:
    """The numbers to *last*, three at a time, out of the database; `log` is what was done in which order."""

    def __init__(self, conn: asyncpg.Connection, last: int) -> None:
        self.conn, self.last = conn, last
        self.log: list[str] = []

    async def fetch(self, after: asyncpg.Record | None) -> list[asyncpg.Record]:
        first = after["number"] + 1 if after else 1
        self.log.append(f"asked from {first}")
        query = "select number from generate_series($1::int, least($1 + 2, $2)) as number"
        return await self.conn.fetch(query, first, self.last)

    def work(self, rows: Sequence[asyncpg.Record]) -> None:
        self.log += [str(row["number"]) for row in rows]


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_ahead, "_STEP", 2)


async def test_order(owner: asyncpg.Connection) -> None:
    """Rows are worked on in their order, while those behind are asked for; in between, the connection is free."""
    numbers, free = Numbers(owner, 7), 0

    async for _ in read_ahead(numbers.fetch, numbers.work):
        free += await owner.fetchval("select 1")

    assert numbers.log == (
        ["asked from 1", "asked from 4", "1", "2", "3", "asked from 7", "4", "5", "6", "asked from 8", "7"]
    )
    assert free == 3


async def test_nothing(owner: asyncpg.Connection) -> None:
    """Of no rows there is nothing to do."""
    numbers = Numbers(owner, 0)

    assert [1 async for _ in read_ahead(numbers.fetch, numbers.work)] == []
    assert numbers.log == ["asked from 1"]


async def test_work_fails(owner: asyncpg.Connection) -> None:
    """What is wrong with a row is raised as it is, and the transaction can be ended at once."""
    numbers = Numbers(owner, 7)

    def work(rows: Sequence[asyncpg.Record]) -> None:
        numbers.work(rows)
        if rows[0]["number"] > 3:
            raise ZeroDivisionError

    async def read() -> None:
        async with owner.transaction():
            async for _ in read_ahead(numbers.fetch, work):
                pass

    with pytest.raises(ZeroDivisionError):
        await read()

    assert numbers.log[-3:] == ["asked from 7", "4", "5"]
    assert await owner.fetchval("select 1") == 1


async def test_given_up(owner: asyncpg.Connection) -> None:
    """Whoever is cancelled in the middle, with rows on their way, leaves the connection free too."""
    numbers = Numbers(owner, 10**9)

    async def read() -> None:
        async with owner.transaction():
            async for _ in read_ahead(numbers.fetch, numbers.work):
                if len(numbers.log) > 20:
                    asyncio.get_running_loop().call_soon(reading.cancel)

    reading = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert await owner.fetchval("select 1") == 1


async def test_database_fails(owner: asyncpg.Connection) -> None:
    """What goes wrong with the rows behind is raised when these have been worked on."""
    numbers = Numbers(owner, 10)

    async def fetch(after: asyncpg.Record | None) -> list[asyncpg.Record]:
        if after is not None and after["number"] == 6:
            return await owner.fetch("select 1 / 0 as number")
        return await numbers.fetch(after)

    with pytest.raises(asyncpg.DivisionByZeroError):
        async for _ in read_ahead(fetch, numbers.work):
            pass

    assert numbers.log[-3:] == ["4", "5", "6"]
