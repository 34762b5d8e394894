"""The stream as its readers see it (WHATWG HTML section 9.2.6), and what a record looks like there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientResponse

from tests.callers import Api
from tests.leaks import WITNESS

PATH = "/admin/audit/stream"
_PATIENCE_S = 20


class Seen(NamedTuple):
    """One event as a browser would dispatch it."""

    id: str
    type: str
    data: str

    @property
    def event(self) -> Any:
        """The CloudEvent."""
        return msgspec.json.decode(self.data)


class Stream:
    """An open stream, and what came of it so far."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.comments: list[str] = []

    async def next(self) -> Seen | None:
        """The next event; None where the stream ended."""
        kind, data = "message", list[str]()
        while True:
            async with asyncio.timeout(_PATIENCE_S):
                line = await self.response.content.readline()
            if not line:
                return None
            name, _, value = line.decode().rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            WITNESS.log("the audit stream", value)
            if not name and not value:
                if data:
                    return Seen(self.last_id, kind, "\n".join(data))
                kind = "message"
            match name:
                case "" if value:
                    self.comments.append(value)
                case "id":
                    self.last_id = value
                case "event":
                    kind = value
                case "data":
                    data.append(value)

    async def take(self, count: int) -> list[Seen]:
        """The next *count* events."""
        found = [await self.next() for _ in range(count)]
        return [one for one in found if one is not None]


@asynccontextmanager
async def following(api: Api, *, last_id: str | None = None, **query: str) -> AsyncIterator[Stream]:
    """Follow what *api* may; *last_id* is what a browser sends when it comes back."""
    headers = {**api.headers, "Accept": "text/event-stream"}
    headers |= {} if last_id is None else {"Last-Event-ID": last_id}
    async with api.session.get(api.base + PATH, headers=headers, params=query) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Stream(response)
