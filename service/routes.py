"""What a route is: the one description that is served, guarded and documented."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from events.errors import MitosisError
from service.bearer import Caller, Tokens, authorize
from service.reading import Nothing, query
from service.refusals import MalformedRequest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKENS = web.AppKey("tokens", Tokens)
CALLER = web.RequestKey("caller", Caller)
QUERY = web.RequestKey("query", msgspec.Struct)
ROUTE = web.RequestKey("route", str)
REQUEST_ID = web.RequestKey("request_id", str)


class Route(NamedTuple):
    """
    One method of one path.

    `roles` are those that may use it, None for everybody without a token. `answers` maps the success status to the
    Struct of the whole body, to media types where it is no JSON, or to None where there is none; `request` is the
    Struct of the body. `refusals` are those of the handler itself, besides what the guard, the query, the body and, on
    guarded routes, the database refuse. A route that `writes` waits in the desk's line; one that `mints` makes a
    credential, and its answer holds the secret.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[HTTPStatus, Any]
    roles: frozenset[str] | None
    query: type[msgspec.Struct] = Nothing
    request: type[msgspec.Struct] | None = None
    refusals: tuple[type[MitosisError], ...] = ()
    writes: bool = False
    mints: bool = False


def add(app: web.Application, routes: list[Route], prefix: str) -> None:
    """Serve *routes* as they are written, and under *prefix* besides where there is one."""
    for base in dict.fromkeys(["", prefix]):
        for route in routes:
            handler = _guarded(route)
            app.router.add_route(route.method, base + route.path, handler)
            if route.path.endswith("/"):
                app.router.add_route(route.method, base + route.path.rstrip("/"), handler)


def _guarded(route: Route) -> Handler:
    """The handler behind its refusals, in the contract's order: 401, 403, 400, and then the handler's own."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route.path
        if route.roles is not None:
            if any(len(request.headers.getall(name, ())) > 1 for name in ("Authorization", "X-Tenant-ID")):
                raise MalformedRequest  # RFC 9110 section 5.3; another reader could take the other one
            claims = await request.app[TOKENS].claims(request.headers)
            request[CALLER] = authorize(claims, route.roles, request.headers.get("X-Tenant-ID"))
        request[QUERY] = query(request, route.query)
        return await route.handler(request)

    return guarded
