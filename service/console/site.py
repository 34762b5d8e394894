"""What is at /console/: the page, its files, and what they have to know of the service."""

from collections.abc import Mapping

import msgspec
from aiohttp import web
from yarl import URL

from service.bearer import ROLES
from service.config import Config
from service.console import files
from service.refusals import NoSuchRoute
from service.routes import ROUTE

PATH = "/console/"

_PAGE = "index.html"
_CONFIGURATION = "configuration.json"


class Configuration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What the console has to know before anybody has signed in; nothing of it is secret.

    With `issuer` and `client_id` people sign in there; the two claims are what the issuer calls the tenant and the
    role.
    """

    roles: tuple[str, ...]
    issuer: str | None = None
    client_id: str | None = None
    tenant_claim: str
    role_claim: str


def add(app: web.Application, config: Config) -> None:
    """Serve the console as it is written, and under the prefix besides where there is one."""
    site = _Site(config)
    for base in dict.fromkeys(["", config.base_path]):
        app.router.add_get(base + PATH.rstrip("/"), site.redirect, allow_head=False)
        app.router.add_get(base + PATH + "{path:.*}", site.show, allow_head=False)


class _Site:
    """The files, and the headers that go with each of them."""

    def __init__(self, config: Config) -> None:
        issuer = config.issuer if config.console_client_id else None
        told = Configuration(
            roles=ROLES,
            issuer=issuer,
            client_id=config.console_client_id if issuer else None,
            tenant_claim=config.tenant_claim,
            role_claim=config.role_claim,
        )
        configuration = files.made(msgspec.json.encode(told), "application/json")
        self._files: Mapping[str, files.File] = {**files.load(), _CONFIGURATION: configuration}
        self._headers = _headers(issuer)

    async def redirect(self, request: web.Request) -> web.Response:
        """GET /console -> 308: relative, since a gateway may have put something before the path."""
        request[ROUTE] = PATH
        return web.Response(status=308, headers={**self._headers, "Location": PATH.strip("/") + "/"})

    async def show(self, request: web.Request) -> web.Response:
        """
        GET /console/{path} -> 200, or 304 to who has it already; without a path it is the page.

        The query is not looked at: an issuer sends people back with what it likes in it.

        Raises:
            NoSuchRoute: there is no such file.
        """
        request[ROUTE] = PATH
        file = self._files.get(request.match_info["path"] or _PAGE)
        if file is None:
            raise NoSuchRoute
        zipped = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        tag = file.compressed_tag if zipped else file.plain_tag
        headers = {**self._headers, "ETag": f'"{tag}"', "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if tag in {one.value for one in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            body=file.compressed if zipped else file.plain, content_type=file.kind, charset="utf-8", headers=headers
        )


def _headers(issuer: str | None) -> Mapping[str, str]:
    """What every answer here has. With an *issuer*, the page may ask it for a token, and nobody else for anything."""
    reached = ["'self'", *([str(URL(issuer).origin())] if issuer else [])]
    policy = {
        "default-src": "'self'",
        "connect-src": " ".join(reached),
        "script-src": "'self'",
        "style-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }
