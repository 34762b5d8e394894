"""The handlers for those who watch the service."""

from http import HTTPStatus

import msgspec
from aiohttp import web

from events.database import borrowed
from events.errors import DatabaseAway
from service import schema
from service.envelope import Answer, answer
from service.requests import READS, TIMEOUT_S
from service.routes import Route


class Health(msgspec.Struct, frozen=True):
    """How it is."""

    status: str


async def healthz(_request: web.Request) -> web.Response:
    """GET /healthz -> 200: the process lives."""
    return answer(Health("ok"))


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz -> 200: the database answers, and its schema is the one this code needs or a newer one."""
    async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
        if await schema.current(connection) < schema.version():
            raise DatabaseAway
    return answer(Health("ready"))


ROUTES = [
    Route("GET", "/healthz", healthz, "Whether the process lives", {HTTPStatus.OK: Answer[Health]}, None),
    Route(
        "GET",
        "/readyz",
        readyz,
        "Whether requests can be served",
        {HTTPStatus.OK: Answer[Health]},
        None,
        refusals=(DatabaseAway,),
    ),
]
