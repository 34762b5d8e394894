"""An authorization server that keeps its clients in this registry: Authlib's, which speaks to it over HTTP alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from msgspec.structs import replace
from ulid import ULID

from service.app import build
from service.config import Config
from service.routes import TOKENS
from tests.callers import Api
from tests.conftest import Served
from tests.keys import key_set, new_key
from tests.test_authenticate import basic

TOKEN_ENDPOINT = "https://as.example/token"
CLIENTS = "/admin/oauth/clients/"
GRACE_S = 2.0
REFUSED = 401003
REGISTRATION = {
    "redirect_uris": [],
    "grant_types": ["client_credentials"],
    "client_auth_methods": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    "scopes": ["read", "write"],
    "fapi_profile": None,
    "jwks_uri": None,
}


class RegisteredClient(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """A client as Authlib wants to see one, of what the registry answered."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def get_client_id(self) -> str:
        return str(self.data["client_id"])

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(set((scope or "").split()) & set(self.data["scopes"]))

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.data["grant_types"]

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == str(self.data["auth_method"])


class Grant(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib has no types
    """Client credentials (RFC 6749 section 4.4), for all the ways to authenticate that the registry knows."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")


class Server(AuthorizationServer):  # type: ignore[misc]  # Authlib has no types
    """Authlib's authorization server. It knows no client and no secret: it passes on what it received, and is told."""

    def __init__(self, registry: str, token: str) -> None:
        super().__init__()
        self.place = f"{registry}/internal/oauth/clients/authenticate"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.register_grant(Grant)
        self.register_token_generator("default", BearerTokenGenerator(lambda **_: str(ULID())))
        self.register_client_auth_method("client_secret_basic", self.by_header)
        self.register_client_auth_method("client_secret_post", self.by_form)
        self.register_client_auth_method("private_key_jwt", self.by_assertion)

    def query_client(self, _client_id: str) -> None:
        """Nobody is known by name alone."""

    def by_header(self, _query: object, request: OAuth2Request) -> RegisteredClient | None:
        header = request.headers.get("Authorization")
        return self.ask(authorization=header) if header else None

    def by_form(self, _query: object, request: OAuth2Request) -> RegisteredClient | None:
        form = request.payload.data
        if "client_secret" not in form:
            return None
        return self.ask(client_id=form.get("client_id"), client_secret=form["client_secret"])

    def by_assertion(self, _query: object, request: OAuth2Request) -> RegisteredClient | None:
        names = ("client_assertion_type", "client_assertion", "client_id")
        given = {name: request.payload.data[name] for name in names if name in request.payload.data}
        return self.ask(**given, audience=TOKEN_ENDPOINT) if "client_assertion" in given else None

    def ask(self, **presented: Any) -> RegisteredClient | None:
        """The client whom the registry takes this from, None for nobody."""
        request = Request(self.place, json.dumps(presented).encode(), self.headers)
        try:
            with urlopen(request, timeout=10) as response:
                return RegisteredClient(json.load(response)["data"])
        except HTTPError as refusal:
            with refusal:
                if json.load(refusal)["code"] != REFUSED:
                    raise
                return None

    def create_oauth2_request(self, request: tuple[Mapping[str, str], Mapping[str, str]]) -> OAuth2Request:
        headers, form = request
        made = OAuth2Request("POST", TOKEN_ENDPOINT, headers=headers)
        made.payload = BasicOAuth2Payload(form)
        return made

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, dict[str, str]]:
        return status, body, dict(headers)

    def save_token(self, token: Any, request: OAuth2Request) -> None:
        """Issued tokens are nobody's concern here."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""


class Deployment(NamedTuple):
    """A registry, its administrator, and where an authorization server beside it hands out tokens."""

    admin: Api
    token_endpoint: str

    async def token(self, authorization: str = "", **form: str) -> tuple[int, Any]:
        """What a client is answered that asks for a token: the status and the body."""
        data = {"grant_type": "client_credentials", "scope": "read", **form}
        headers = {"Authorization": authorization} if authorization else {}
        async with self.admin.session.post(self.token_endpoint, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def works(self, client_id: str, secret: str) -> bool:
        """Whether a client gets a token for its secret; if not, it is told what RFC 6749 section 5.2 has it told."""
        status, body = await self.token(**basic(client_id, secret))
        assert (status, "access_token" in body) == (200, True) or (status, body["error"]) == (401, "invalid_client")
        return status == 200


@pytest.fixture
async def deployment(config: Config, tenant: str) -> AsyncIterator[Deployment]:
    """A registry with a short grace, and an authorization server that has no other way to it than HTTP."""
    made = build(replace(config, rotation_grace_s=GRACE_S))
    async with Served(made) as registry, ClientSession() as session:
        place, tokens = str(registry.make_url("")).rstrip("/"), made[TOKENS]
        server = Server(place, tokens.issue(subject="as", tenant_id=tenant, role="service", ttl_s=600))

        async def token(request: web.Request) -> web.Response:
            form = {name: str(value) for name, value in (await request.post()).items()}
            status, body, headers = await asyncio.to_thread(server.create_token_response, (request.headers, form))
            headers.pop("Content-Type", None)
            return web.json_response(body, status=status, headers=headers)

        app = web.Application()
        app.router.add_post("/token", token)
        async with TestServer(app) as beside:
            admin = Api(session, place, tokens, {}).as_role("admin", tenant)
            yield Deployment(admin, str(beside.make_url("/token")))


async def test_a_clone_gets_tokens(deployment: Deployment) -> None:
    """A clone's own secret gets it tokens, in the header and in the form; its source's secret does not."""
    source = await deployment.admin.register(**REGISTRATION, jwks=key_set(new_key()))
    clone = (await deployment.admin.clone(source["client_id"])).data

    client_id, secret = clone["client_id"], clone["client_secret"]
    status, body = await deployment.token(**basic(client_id, secret))
    assert (status, body["token_type"], body["scope"]) == (200, "Bearer", "read")
    status, body = await deployment.token(client_id=client_id, client_secret=secret)
    assert (status, body["token_type"]) == (200, "Bearer")
    assert await deployment.works(source["client_id"], source["client_secret"])
    assert not await deployment.works(client_id, source["client_secret"])
    assert not await deployment.works(source["client_id"], secret)


async def test_a_clone_signs(deployment: Deployment) -> None:
    """The cloned key set lets the clone sign for itself, once with each assertion, and not for its source."""
    key = new_key()
    source = await deployment.admin.register(**REGISTRATION, jwks=key_set(key))
    clone = (await deployment.admin.clone(source["client_id"])).data

    async def sign(signer: str, **form: str) -> tuple[int, Any]:
        assertion = private_key_jwt_sign(key, signer, TOKEN_ENDPOINT, alg="ES256", header={"kid": "one"})
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        sent = {"client_assertion_type": kind, "client_assertion": assertion, **form}
        first, again = await deployment.token(**sent), await deployment.token(**sent)
        assert again[0] == 401
        return first

    for client in (clone, source):
        status, body = await sign(client["client_id"])
        assert (status, body["token_type"]) == (200, "Bearer")
    status, body = await sign(clone["client_id"], client_id=source["client_id"])
    assert (status, body["error"]) == (401, "invalid_client")


async def test_after_a_rotation(deployment: Deployment) -> None:
    """Within the grace the old secret gets tokens as the new one does; after it the new one alone."""
    client = await deployment.admin.register(**REGISTRATION, jwks=key_set(new_key()))
    client_id, old = client["client_id"], client["client_secret"]
    assert await deployment.works(client_id, old)

    rotated = await deployment.admin.post(f"{CLIENTS}{client_id}/rotate-secret")
    new = rotated.data["new_secret"]

    assert await deployment.works(client_id, old)
    assert await deployment.works(client_id, new)
    (retired, _) = (await deployment.admin.get(f"{CLIENTS}{client_id}/secrets")).data["secrets"]
    left = datetime.fromisoformat(retired["expires_at"]) - datetime.now(UTC)
    await asyncio.sleep(max(left.total_seconds(), 0))
    assert not await deployment.works(client_id, old)
    assert await deployment.works(client_id, new)


async def test_a_suspended_client(deployment: Deployment) -> None:
    """A suspended client gets no token, nor does a clone of it; one that is active again does."""
    client = await deployment.admin.register(**REGISTRATION, jwks=key_set(new_key()))
    client_id, secret = client["client_id"], client["client_secret"]
    assert await deployment.works(client_id, secret)

    await deployment.admin.put(CLIENTS + client_id, json={"status": "suspended"})
    clone = (await deployment.admin.clone(client_id)).data

    assert not await deployment.works(client_id, secret)
    assert not await deployment.works(clone["client_id"], clone["client_secret"])
    await deployment.admin.put(CLIENTS + client_id, json={"status": "active"})
    assert await deployment.works(client_id, secret)


async def test_grants_are_the_registrys(deployment: Deployment) -> None:
    """What a client may do is what it was registered for."""
    changes = {**REGISTRATION, "redirect_uris": ["https://app.example.com/"], "grant_types": ["authorization_code"]}
    client = await deployment.admin.register(**changes, jwks=key_set(new_key()))

    status, body = await deployment.token(**basic(client["client_id"], client["client_secret"]))

    assert (status, body["error"]) == (400, "unauthorized_client")
