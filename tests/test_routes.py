"""What holds for every route, found by walking the router and not by a list."""

import base64
import json
import re
import time
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from multidict import CIMultiDict

from service.bearer import ISSUER, ROLES
from service.signing import load_key
from tests.callers import Api
from tests.laws import check

PUBLIC = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/style.css", "/.well-known/jwks.json"}
NOBODYS = "app-00000000000000000000000000"
NOBODYS_SECRET = "00000000000000000000000000"
STRANGE_ROLES = ("security_admin", "Admin", "ADMIN", "administrator", "admin ", "admin,auditor", "")


def places(server: TestServer, client_id: str = NOBODYS, *, tenant: str = "nobody") -> list[tuple[str, str]]:
    """Method and path of all that the router serves to callers with a token."""
    found = []
    for route in server.app.router.routes():
        template = route.resource.canonical if route.resource else ""
        if template.removeprefix("/api/v1").startswith("/console"):
            continue  # files, not the API: tests/console has them
        path = template.replace("{client_id}", client_id).replace("{secret_id}", NOBODYS_SECRET)
        path = path.replace("{tenant_id}", tenant)
        assert "{" not in path, f"{template}: say what a test puts there"
        if template.removeprefix("/api/v1") not in PUBLIC:
            found.append((route.method, path))
    assert ("POST", f"/api/v1/admin/oauth/clients/{client_id}/clone") in found
    return found


def may(role: str, method: str, path: str) -> bool:
    """The contract's table of roles."""
    if path.removeprefix("/api/v1").startswith("/internal/"):
        return role == "service"
    reads = (method in {"GET", "HEAD"} and not path.endswith("/secrets")) or path.endswith("/audit/verifications")
    return role in {"admin", "super_admin"} or (role == "auditor" and reads)


def claims(tenant: str, **changes: Any) -> dict[str, Any]:
    """What a good token says, with *changes*; None leaves a claim out."""
    good = {
        "iss": ISSUER,
        "aud": "mitosis",
        "sub": "ops",
        "tenant_id": tenant,
        "role": "admin",
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def unsigned(header: dict[str, str], payload: dict[str, Any], signature: str = "") -> str:
    """A token that says of itself that nobody signed it."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)]
    return ".".join([*parts, signature])


@pytest.fixture
def key(server: TestServer, config: Any) -> OKPKey:
    """The key that the service's own tokens are signed with."""
    return load_key(config.key_file)


def forgeries(tenant: str, key: OKPKey) -> dict[str, str]:
    """Authorization headers that must not get anybody in, by what is wrong with them."""

    def signed(by: Any = key, alg: str = "Ed25519", **changes: Any) -> str:
        return jwt.encode({"alg": alg}, claims(tenant, **changes), by, algorithms=["Ed25519", "HS256"])

    now = int(time.time())
    nested = json.loads("[" * 300 + "]" * 300)
    as_hmac = OctKey.import_key(str(key.as_dict(private=False)["x"]))
    tokens = {
        "no JWT": "x.y.z",
        "a huge token": "a" * 8000,
        "nested JSON": unsigned({"alg": "Ed25519"}, {"a": nested}, "AA"),
        "alg none": unsigned({"alg": "none"}, claims(tenant)),
        "alg NONE": unsigned({"alg": "NONE"}, claims(tenant)),
        "alg none with a signature": unsigned({"alg": "none"}, claims(tenant), "AAAA"),
        "wrong signature": signed(OKPKey.generate_key("Ed25519")),
        "cut signature": signed()[:-3],
        "public key as HMAC secret": signed(as_hmac, "HS256"),
        "expired": signed(exp=now - 1),
        "not yet valid": signed(nbf=now + 60),
        "without exp": signed(exp=None),
        "exp as text": signed(exp="9999999999"),
        "wrong audience": signed(aud="another"),
        "no audience": signed(aud=None),
        "wrong issuer": signed(iss="https://elsewhere.example"),
        "no tenant": signed(tenant_id=None),
        "a tenant with a NUL": signed(tenant_id="a\0b"),
        "no subject": signed(sub=""),
        "no role": signed(role=None),
        "a list of roles": signed(role=["admin"]),
    }
    return {name: f"Bearer {token}" for name, token in tokens.items()}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic b3BzOm9wcw==", "bearertoken"])
async def test_who_brings_no_token(api: Api, server: TestServer, header: str) -> None:
    """Without a bearer token: 401 with a challenge, on every route, before anything else is looked at."""
    nobody = api.with_headers(Authorization=header, X_Tenant_ID="?" * 200)
    for method, path in places(server, "MALFORMED"):
        reply = await nobody.send(method, path, params={"bogus": "1"})
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="mitosis"'), (method, path)
        assert method == "HEAD" or reply.body["code"] == 401001


async def test_who_brings_no_good_token(api: Api, server: TestServer, tenant: str, key: OKPKey) -> None:
    """A token that is not ours, not for us or not valid now: 401 on every route, before anything else is looked at."""
    for name, header in forgeries(tenant, key).items():
        nobody = api.with_headers(Authorization=header, X_Tenant_ID="?" * 200)
        for method, path in places(server, "MALFORMED"):
            reply = await nobody.send(method, path, params={"bogus": "1"})
            assert reply.status == 401, (name, method, path)
            assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
            assert method == "HEAD" or reply.body["code"] == 401002


@pytest.mark.parametrize("role", [*ROLES, *STRANGE_ROLES])
async def test_who_may_what(api: Api, server: TestServer, tenant: str, role: str) -> None:
    """A role may what the contract's table says and nothing else; 403 comes before what is wrong with the request."""
    caller = api.as_role(role, tenant)
    for method, path in places(server, tenant=tenant):
        reply = await caller.send(method, path)
        assert (reply.status == 403) is not may(role, method, path), (method, path)
        if not may(role, method, path):
            malformed = await caller.send(method, path.replace(NOBODYS, "MALFORMED"), params={"bogus": "1"})
            assert malformed.status == 403


@pytest.mark.parametrize("role", ["admin", "auditor", "service"])
async def test_another_tenant_in_the_header(api: Api, server: TestServer, tenant: str, role: str) -> None:
    """X-Tenant-ID that names another tenant than the token: 403 for everybody but super_admin."""
    caller = api.as_role(role, tenant).with_headers(X_Tenant_ID="another")
    for method, path in places(server, tenant=tenant):
        reply = await caller.send(method, path)
        assert reply.status == 403, (method, path)
        assert method == "HEAD" or not may(role, method, path) or reply.body["code"] == 403002


async def test_own_tenant_in_the_header(api: Api, server: TestServer, tenant: str) -> None:
    """X-Tenant-ID that names the token's own tenant changes nothing."""
    for method, path in places(server, tenant=tenant):
        reply = await api.with_headers(X_Tenant_ID=tenant).send(method, path)
        assert (reply.status == 403) is not may("admin", method, path), (method, path)


async def test_malformed_tenant_in_the_header(api: Api, server: TestServer, tenant: str) -> None:
    """A super_admin who names what can be no tenant is told so: 400."""
    root = api.as_role("super_admin", tenant).with_headers(X_Tenant_ID="a tenant with spaces")
    for method, path in places(server, tenant=tenant):
        reply = await root.send(method, path)
        assert reply.status == (400 if may("super_admin", method, path) else 403), (method, path)


@pytest.mark.parametrize("name", ["Authorization", "X-Tenant-ID"])
async def test_a_header_twice(api: Api, tenant: str, name: str) -> None:
    """Who says twice who he is, or whose, is not heard at all: two readers could hear different things."""
    headers = CIMultiDict(api.headers)
    headers["X-Tenant-ID"] = tenant
    headers.add(name, headers[name])

    async with api.session.get(f"{api.base}/admin/oauth/clients/", headers=headers) as reply:
        assert (reply.status, (await reply.json())["code"]) == (400, 400005)


async def test_another_tenants_token(api: Api, server: TestServer, tenant: str, owner: asyncpg.Connection) -> None:
    """To another tenant's administrator a client is as one that never was, on every route that names one."""
    client_id = (await api.register())["client_id"]
    stranger = api.as_role("admin", f"{tenant}-other")
    for (method, theirs), (_, nobodys) in zip(places(server, client_id), places(server), strict=True):
        if theirs == nobodys:
            continue
        reply = await stranger.send(method, theirs, json={})
        reference = await stranger.send(method, nobodys, json={})
        assert reply.status == reference.status == 404, (method, theirs)
        if method != "HEAD":
            assert {**reply.body, "timestamp": None} == {**reference.body, "timestamp": None}
    assert await check(owner, f"{tenant}-other") == []
    assert len(await check(owner, tenant)) == 1


async def test_every_method_is_answered_in_the_envelope(api: Api, server: TestServer) -> None:
    """A path that is served takes its methods; any other is 405, says which there are, and is in the envelope."""
    served: dict[str, set[str]] = {}
    for method, path in places(server):
        served.setdefault(path, set()).add(method)
    for path, methods in served.items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            reply = await api.send(method, path)
            if method not in methods:
                assert (reply.status, reply.body["code"]) == (405, 405001)
                assert set(reply.headers["Allow"].replace(" ", "").split(",")) == methods


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/admin", "/admin/oauth/clients/app-x/y/z", "//", "/%00", "/é", "/api/v1/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_paths(api: Api, method: str, path: str) -> None:
    """Nothing is at an unknown path: 404 in the envelope, with or without a token."""
    for caller in (api, api.with_headers(Authorization="")):
        reply = await caller.send(method, path)
        assert (reply.status, reply.body["code"]) == (404, 404002)


async def test_the_prefix_serves_the_same(api: Api, server: TestServer) -> None:
    """Paths are served as written and under MITOSIS_BASE_PATH: the same ones, no more and no fewer."""
    everything = {(route.method, route.resource.canonical) for route in server.app.router.routes() if route.resource}
    prefixed = {(method, path) for method, path in everything if path.startswith("/api/v1")}

    assert {(method, path.removeprefix("/api/v1")) for method, path in prefixed} == everything - prefixed
    client_id = (await api.register())["client_id"]
    assert (await api.get(f"/api/v1/admin/oauth/clients/{client_id}")).data["client_id"] == client_id


def test_failures_have_stable_codes() -> None:
    """A code is its status and a reason number; each says what it means, and no two are alike."""
    from service.refusals import MESSAGES, REFUSALS, Refusal  # noqa: PLC0415

    assert len(REFUSALS) == len(Refusal.__subclasses__())
    assert all(re.fullmatch(r"[45]\d\d\d\d\d", str(code)) for code in MESSAGES)
    assert all(message.endswith(".") for message in MESSAGES.values())
