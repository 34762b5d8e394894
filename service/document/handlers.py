"""The handlers for those who read about the service: the OpenAPI document, and a page made of it."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from service.document import openapi
from service.document.page import page as rendered
from service.routes import Route

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class Pages(NamedTuple):
    """What never changes while the service runs, as it is sent."""

    document: bytes
    page: bytes
    style: bytes


PAGES = web.AppKey("pages", Pages)


def pages(routes: Sequence[Route], base_path: str) -> Pages:
    """The pages about *routes*."""
    document = msgspec.json.encode(openapi.document(routes, base_path))
    style = files("service.document").joinpath("style.css").read_bytes()
    return Pages(document, rendered(msgspec.json.decode(document)).encode(), style)


async def document(request: web.Request) -> web.Response:
    """GET /openapi.json -> 200: the document itself, in no envelope."""
    return web.Response(body=request.app[PAGES].document, content_type="application/json")


async def page(request: web.Request) -> web.Response:
    """GET /docs -> 200: the document for people."""
    return web.Response(body=request.app[PAGES].page, content_type="text/html", charset="utf-8", headers=_HEADERS)


async def style(request: web.Request) -> web.Response:
    """GET /docs/style.css -> 200: how the page looks."""
    return web.Response(body=request.app[PAGES].style, content_type="text/css", charset="utf-8")


ROUTES = [
    Route("GET", "/openapi.json", document, "This document", {HTTPStatus.OK: dict[str, Any]}, None),
    Route("GET", "/docs", page, "This document for people", {HTTPStatus.OK: ("text/html",)}, None),
    Route("GET", "/docs/style.css", style, "How that page looks", {HTTPStatus.OK: ("text/css",)}, None),
]
