"""An OpenID Connect issuer on loopback that knows one person, and lets a browser come and go."""

import hashlib
import time
from base64 import urlsafe_b64encode
from html import escape
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.test_issuer import SIGNERS, claims, published, signed

_KEY = SIGNERS["ES256"]


class Issuer:
    """
    Answers at `url`; `claims` are those of the tokens, `error` what it says instead of a code.

    Who comes is sent back at once or, where it `asks`, once they have said that they want to.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.error: str | None = None
        self.asks = False
        self.asked: list[dict[str, str]] = []
        self.redeemed: list[dict[str, str]] = []
        self._server: TestServer | None = None

    @property
    def origin(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/realms/main"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/realms/main/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/realms/main/keys", self._keys)
        app.router.add_get("/realms/main/authorize", self._authorize)
        app.router.add_post("/realms/main/token", self._token)
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.close()

    async def _discovery(self, _: web.Request) -> web.Response:
        told: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
        }
        told["id_token_signing_alg_values_supported"] = ["RS256", "ES256"]
        ends = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
        return _open(web.json_response({**told, **ends}))

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [published(_KEY, "ES256")]})

    async def _authorize(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        told = {"error": self.error} if self.error else {"code": "a-code"}
        query = urlencode({**told, "state": request.query["state"]})
        back = f"{request.query['redirect_uri']}?{query}"
        if self.asks:
            head = '<!doctype html><title>Issuer</title><link rel="icon" href="data:,">'
            page = f'{head}<a href="{escape(back)}">Let me in</a>'
            return web.Response(text=page, content_type="text/html")
        raise web.HTTPFound(back)

    async def _token(self, request: web.Request) -> web.Response:
        given = {name: str(value) for name, value in (await request.post()).items()}
        self.redeemed.append(given)
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        asked = self.asked[-1]
        if (challenge, given["redirect_uri"]) != (asked["code_challenge"], asked["redirect_uri"]):
            return _open(web.json_response({"error": "invalid_grant"}, status=400))
        access = signed(_KEY, "ES256", claims(self.url, **self.claims), kid="ES256")
        who = {"iss": self.url, "aud": asked["client_id"], "sub": "8f3c-ops", "nonce": asked["nonce"]}
        now = int(time.time())
        identity = signed(_KEY, "ES256", {**who, "iat": now, "exp": now + 3600}, kid="ES256", typ="JWT")
        told = {"access_token": access, "id_token": identity, "token_type": "Bearer", "expires_in": 600}
        return _open(web.json_response(told))


def _open(answer: web.Response) -> web.Response:
    """What a browser may read from another origin."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer
