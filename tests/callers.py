"""The HTTP API as its callers see it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientSession

from service.bearer import Tokens
from tests.leaks import WITNESS

# the contract's example, as a caller registers it
EXAMPLE: dict[str, Any] = {
    "name": "My Application",
    "redirect_uris": ["https://app.example.com/callback"],
    "scopes": ["openid", "profile", "email"],
    "grant_types": ["authorization_code", "refresh_token"],
    "client_auth_methods": ["client_secret_basic", "private_key_jwt"],
    "cors_origins": ["https://app.example.com"],
    "fapi_profile": "fapi1",
    "is_confidential": True,
    "jwks_uri": "https://client.example.com/.well-known/jwks.json",
    "logo_url": "https://app.example.com/logo.png",
    "website": "https://app.example.com",
    "terms_url": "https://app.example.com/terms",
    "privacy_policy": "https://app.example.com/privacy",
}


NDJSON = "application/x-ndjson"


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def data(self) -> Any:
        return self.body["data"]


class Api:
    """The HTTP API as one caller sees it: `api.as_role("admin", tenant)` is another caller."""

    def __init__(self, session: ClientSession, base: str, tokens: Tokens, headers: dict[str, str]) -> None:
        self.session, self.base, self.tokens, self.headers = session, base, tokens, headers

    def as_role(self, role: str, tenant_id: str, **headers: str) -> "Api":
        token = self.tokens.issue(subject=f"{role}@{tenant_id}", tenant_id=tenant_id, role=role, ttl_s=600)
        return Api(self.session, self.base, self.tokens, {"Authorization": f"Bearer {token}", **headers})

    def with_headers(self, **headers: str) -> "Api":
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return Api(self.session, self.base, self.tokens, {**self.headers, **given})

    async def send(self, method: str, path: str, **options: Any) -> Reply:
        # it reads answers to their end, and so it asks for pages where there are streams
        headers = {"Accept": f"application/json, {NDJSON}", **self.headers, **options.pop("headers", {})}
        async with self.session.request(method, self.base + path, headers=headers, **options) as response:
            text = await response.read()
            WITNESS.answer(f"{method} {path}", response.headers, text.decode(errors="replace"))
            lines = text.splitlines() if response.content_type == NDJSON else None
            body = [msgspec.json.decode(line) for line in lines] if lines is not None else _decoded(text)
            return Reply(response.status, response.headers, body)

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.send("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Reply:
        return await self.send("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Reply:
        return await self.send("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.send("DELETE", path, **options)

    async def register(self, **changes: Any) -> Any:
        """The data of a newly registered client: the contract's example with *changes*; None leaves a field out."""
        fields = {name: value for name, value in {**EXAMPLE, **changes}.items() if value is not None}
        reply = await self.post("/admin/oauth/clients/", json=fields)
        assert reply.status == 201, reply.body
        return reply.data

    async def clone(self, client_id: str, **options: Any) -> Reply:
        return await self.post(f"/admin/oauth/clients/{client_id}/clone", **options)


def _decoded(text: bytes) -> Any:
    return msgspec.json.decode(text) if text else None
