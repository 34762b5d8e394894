"""POST /internal/oauth/clients/authenticate, with a secret: who is let in, and what it costs to be refused."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import argon2
import asyncpg
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from ulid import ULID

from events.database import borrowed
from events.record import Actor
from service.app import build
from service.authentication import authenticator, usage
from service.authentication import handlers as authentication
from service.authentication.remembered import REMEMBERED_S, Remembered
from service.bearer import ROLES
from service.commands import AddSecret, RotateSecret, SealedSecret
from service.config import Config
from service.credentials import new_secret
from service.database import open_pool
from service.fairness import Places
from service.refusals import MESSAGES
from service.requests import DESK, HASHER
from tests.callers import Api, Reply
from tests.conftest import Served
from tests.planting import plant

AUTHENTICATE = "/internal/oauth/clients/authenticate"
CLIENTS = "/admin/oauth/clients/"
METHODS = ["client_secret_basic", "client_secret_post"]
ACTOR = Actor(subject="tests", role="system", request_id="tests")


def basic(client_id: str, secret: str) -> dict[str, str]:
    """A client that says who it is in a header (client_secret_basic)."""
    return {"authorization": "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()}


def post(client_id: str, secret: str) -> dict[str, str]:
    """A client that says who it is in the form (client_secret_post)."""
    return {"client_id": client_id, "client_secret": secret}


async def authenticate(api: Api, tenant: str, presented: dict[str, Any]) -> Reply:
    """What an authorization server of *tenant* is answered."""
    return await api.as_role("service", tenant).post(AUTHENTICATE, json=presented)


async def secret_client(api: Api, **changes: Any) -> Any:
    """A client that authenticates with a secret, both ways."""
    return await api.register(fapi_profile=None, jwks_uri=None, client_auth_methods=METHODS, **changes)


class Work(NamedTuple):
    """What a request cost: the database's statements, and argon2's verifications."""

    statements: list[str]
    hashes: list[str]

    def take(self) -> tuple[int, int]:
        """How many of both there were since the last time."""
        counts = len(self.statements), len(self.hashes)
        self.statements.clear()
        self.hashes.clear()
        return counts


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts what authenticating costs, below all of our own code."""
    work = Work([], [])
    verify = argon2.PasswordHasher.verify

    def counted_verify(self: argon2.PasswordHasher, sealed: str, secret: str) -> bool:
        work.hashes.append(sealed)
        return verify(self, sealed, secret)

    @asynccontextmanager
    async def logged(pool: asyncpg.Pool, limit_s: float) -> AsyncIterator[Any]:
        async with borrowed(pool, limit_s) as connection:
            with connection.query_logger(lambda record: work.statements.append(record.query)):
                yield connection
                await asyncio.sleep(0)  # the logger is called by the loop

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted_verify)
    monkeypatch.setattr(authenticator, "borrowed", logged)
    return work


def is_refused(reply: Reply) -> bool:
    """Whether it is the one refusal there is, and says no more than that."""
    body = {**reply.body, "timestamp": None}
    return (
        reply.status == 401
        and body == {"code": 401003, "message": MESSAGES[401003], "timestamp": None}
        and "invalid_client" in reply.body["message"]
        and reply.headers["WWW-Authenticate"] == 'Bearer realm="mitosis", error="invalid_client"'
    )


async def test_with_a_secret(api: Api, tenant: str) -> None:
    """The right secret is answered with the client as it is shown elsewhere, the method, and which secret it was."""
    client = await secret_client(api)
    shown = (await api.get(CLIENTS + client["client_id"])).data
    (listed,) = (await api.get(f"{CLIENTS}{client['client_id']}/secrets")).data["secrets"]

    for present, method in ((basic, "client_secret_basic"), (post, "client_secret_post")):
        reply = await authenticate(api, tenant, present(client["client_id"], client["client_secret"]))

        assert reply.status == 200
        assert reply.body["code"] == 0
        assert reply.data == {**shown, "auth_method": method, "secret_id": listed["secret_id"]}


async def test_form_urlencoded_basic(api: Api, tenant: str) -> None:
    """In a Basic header both parts are form-urlencoded before they are joined (RFC 6749 section 2.3.1)."""
    client = await secret_client(api)
    parts = ["".join(f"%{octet:02X}" for octet in client[name].encode()) for name in ("client_id", "client_secret")]

    reply = await authenticate(api, tenant, basic(*parts))
    shouted = await authenticate(api, tenant, {"authorization": basic(*parts)["authorization"].replace("B", "b", 1)})

    assert (reply.status, shouted.status) == (200, 200)


async def test_by_whom(api: Api, tenant: str) -> None:
    """An authorization server asks, and nobody else: not even an administrator."""
    client = await secret_client(api)
    presented = basic(client["client_id"], client["client_secret"])
    for role in ROLES:
        reply = await api.as_role(role, tenant).post(AUTHENTICATE, json=presented)
        assert reply.status == (200 if role == "service" else 403)


async def submit(
    server: TestServer, kind: type[AddSecret | RotateSecret], tenant: str, client_id: str, **fields: Any
) -> str:
    """Have a command decided at the desk, past the rules of its endpoint; the secret it brings."""
    credential = await server.app[HASHER].mint(tenant)
    last_four = fields.pop("last_four", credential.last_four)
    sealed = SealedSecret(hash=credential.hash, last_four=last_four)
    await server.app[DESK].submit(kind(tenant_id=tenant, actor=ACTOR, reads=client_id, sealed=sealed, **fields))
    return credential.secret


async def refused(api: Api, server: TestServer, owner: asyncpg.Connection, tenant: str) -> dict[str, dict[str, str]]:
    """What is presented in vain, by what is wrong with it."""
    good = await secret_client(api)
    client_id, secret = good["client_id"], good["client_secret"]
    stored = await owner.fetchval("select private from events where tenant_id = $1 and private is not null", tenant)

    async def changed(**changes: Any) -> tuple[str, str]:
        client = await secret_client(api)
        assert (await api.put(CLIENTS + client["client_id"], json=changes)).status == 200
        return client["client_id"], client["client_secret"]

    suspended, inactive = await changed(status="suspended"), await changed(status="inactive")
    only_post = await changed(client_auth_methods=["client_secret_post"])
    deleted = await secret_client(api)
    assert (await api.delete(CLIENTS + deleted["client_id"])).status == 204
    foreign = await secret_client(api.as_role("admin", f"{tenant}-other"))
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = await submit(server, AddSecret, tenant, client_id, expires_at=past)
    graceless = await secret_client(api)
    await submit(server, RotateSecret, tenant, graceless["client_id"], grace_s=0)
    off = await secret_client(api)
    await api.post(f"{CLIENTS}{off['client_id']}/secrets")
    (first, _) = (await api.get(f"{CLIENTS}{off['client_id']}/secrets")).data["secrets"]
    reply = await api.put(f"{CLIENTS}{off['client_id']}/secrets/{first['secret_id']}/deactivate")
    assert reply.status == 200
    key_only = await plant(owner, tenant, client_auth_methods=["private_key_jwt"])
    return {
        "unknown client": basic("app-00000000000000000000000000", secret),
        "malformed client": basic("../../etc", secret),
        "client with a NUL": post(client_id + "\0", secret),
        "no client": post("", secret),
        "another tenant's client": basic(foreign["client_id"], foreign["client_secret"]),
        "wrong secret": basic(client_id, new_secret()),
        "wrong secret, posted": post(client_id, new_secret()),
        "no secret": basic(client_id, ""),
        "malformed secret": basic(client_id, secret[:-1]),
        "secret with more behind it": basic(client_id, secret + "x"),
        "secret with a NUL behind it": post(client_id, secret + "\0"),
        "secret in capitals": basic(client_id, secret.upper()),
        "enormous secret": post(client_id, secret + "x" * 60_000),
        "stored hash": basic(client_id, stored),
        "stored hash, posted": post(client_id, stored),
        "no Basic header": {"authorization": f"Bearer {secret}"},
        "empty header": {"authorization": ""},
        "no Base64": {"authorization": f"Basic {client_id}:{secret}"},
        "no UTF-8": {"authorization": "Basic " + b64encode(b"\xff:\xff").decode()},
        "no percent-encoded UTF-8": basic("%ff", "%ff"),
        "no colon": {"authorization": "Basic " + b64encode(client_id.encode()).decode()},
        "suspended client": basic(*suspended),
        "inactive client": basic(*inactive),
        "deleted client": basic(deleted["client_id"], deleted["client_secret"]),
        "method not registered": basic(*only_post),
        "no method with a secret": basic(key_only.client_id, secret),
        "expired secret": basic(client_id, expired),
        "secret past its grace": basic(graceless["client_id"], graceless["client_secret"]),
        "deactivated secret": basic(off["client_id"], off["client_secret"]),
    }


async def test_refusals_are_alike(
    api: Api, server: TestServer, owner: asyncpg.Connection, tenant: str, work: Work
) -> None:
    """Whatever is wrong: the same answer for the same work, which is that of a right secret seen for the first time."""
    cases = await refused(api, server, owner, tenant)
    client = await secret_client(api)
    work.take()
    assert (await authenticate(api, tenant, basic(client["client_id"], client["client_secret"]))).status == 200
    price = work.take()

    assert price == (1, 1)
    for name, presented in cases.items():
        assert is_refused(await authenticate(api, tenant, presented)), name
        assert work.take() == price, name


async def test_at_most_two_hashes(api: Api, server: TestServer, tenant: str, work: Work) -> None:
    """A client may have three secrets that work; if all end alike, one request still causes two hashes at most."""
    client_id = (await secret_client(api))["client_id"]
    wrong = new_secret()
    for grace_s in (0.001, 60, 60):  # the first ends the secret of the registration, the last adds one beside
        await submit(server, RotateSecret, tenant, client_id, last_four=wrong[-4:], grace_s=grace_s)
    work.take()

    assert is_refused(await authenticate(api, tenant, basic(client_id, wrong)))
    assert work.take() == (1, 2)


async def test_remembered(api: Api, tenant: str, work: Work) -> None:
    """A secret that was right a moment ago costs no hash, whichever way it is sent; a wrong one costs one each time."""
    client = await secret_client(api)
    client_id, secret = client["client_id"], client["client_secret"]
    assert (await authenticate(api, tenant, basic(client_id, secret))).status == 200
    work.take()

    for present in (basic, post):
        assert (await authenticate(api, tenant, present(client_id, secret))).status == 200
        assert work.take() == (1, 0)
    wrong = new_secret()
    for _ in range(2):
        assert is_refused(await authenticate(api, tenant, basic(client_id, wrong)))
        assert work.take() == (1, 1)


def test_remembered_for_a_minute() -> None:
    """A secret is remembered for a minute, under exactly what it was verified for, and of too many the oldest goes."""
    time = [0.0]
    remembered = Remembered(limit=2, clock=lambda: time[0])
    parts = ("tenant", "app-x", "id", "secret")
    remembered.add(*parts)

    assert remembered.holds(*parts)
    for place in range(4):
        assert not remembered.holds(*(part + "x" if place == index else part for index, part in enumerate(parts)))
    time[0] = REMEMBERED_S
    assert not remembered.holds(*parts)
    for number in range(3):
        remembered.add("tenant", "app-x", "id", f"secret {number}")
    assert [remembered.holds("tenant", "app-x", "id", f"secret {number}") for number in range(3)] == [False, True, True]
    assert "secret" not in repr(vars(remembered)).replace("secrets", "")


@pytest.fixture
async def elsewhere(config: Config, server: TestServer, api: Api) -> AsyncIterator[Api]:
    """An administrator at another process of the service, on the same database."""
    async with Served(build(config)) as other, ClientSession() as session:
        yield Api(session, str(other.make_url("")).rstrip("/"), api.tokens, api.headers)


@pytest.mark.parametrize("act", ["suspend", "deactivate client", "change methods", "delete", "rotate", "secret"])
async def test_forgotten_at_once(api: Api, tenant: str, elsewhere: Api, work: Work, act: str) -> None:
    """What any process does to a client ends a remembered secret here, with the next request."""
    client = await secret_client(api)
    client_id, presented = client["client_id"], basic(client["client_id"], client["client_secret"])
    assert (await authenticate(api, tenant, presented)).status == 200
    place = CLIENTS + client_id

    match act:
        case "suspend":
            done = await elsewhere.put(place, json={"status": "suspended"})
        case "deactivate client":
            done = await elsewhere.put(place, json={"status": "inactive"})
        case "change methods":
            done = await elsewhere.put(place, json={"client_auth_methods": ["client_secret_post"]})
        case "delete":
            done = await elsewhere.delete(place)
        case "rotate":  # and end the grace
            await elsewhere.post(f"{place}/rotate-secret")
            retired = (await elsewhere.get(f"{place}/secrets")).data["secrets"][0]
            done = await elsewhere.delete(f"{place}/secrets/{retired['secret_id']}")
        case _:
            secret = (await elsewhere.get(f"{place}/secrets")).data["secrets"][0]
            await elsewhere.post(f"{place}/secrets")
            done = await elsewhere.put(f"{place}/secrets/{secret['secret_id']}/deactivate")
    work.take()

    assert done.status in {200, 204}
    assert is_refused(await authenticate(api, tenant, presented))
    assert work.take() == (1, 1)


async def test_after_a_suspension(api: Api, tenant: str) -> None:
    """A client that is active again is let in again."""
    client = await secret_client(api)
    presented = basic(client["client_id"], client["client_secret"])
    await api.put(CLIENTS + client["client_id"], json={"status": "suspended"})
    assert is_refused(await authenticate(api, tenant, presented))

    await api.put(CLIENTS + client["client_id"], json={"status": "active"})

    assert (await authenticate(api, tenant, presented)).status == 200


async def test_too_many_hashes(api: Api, server: TestServer, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many hashes wait already, one more is refused and not queued."""
    client = await secret_client(api)
    monkeypatch.setattr(server.app[HASHER], "_places", Places(0))

    reply = await authenticate(api, tenant, basic(client["client_id"], client["client_secret"]))

    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (429, 429001, "1")


@pytest.mark.parametrize(
    ("presented", "fields"),
    [
        ({}, {"authorization"}),
        ({"client_id": "app-x"}, {"authorization"}),
        ({"audience": "https://as.example"}, {"authorization"}),
        ({"authorization": None}, {"authorization"}),
        ({"client_secret": "x"}, {"client_id"}),
        ({"authorization": "Basic x", "client_id": "app-x"}, {"client_id"}),
        ({"authorization": "Basic x", "client_id": "app-x", "client_secret": "x"}, {"client_id", "client_secret"}),
        ({"authorization": "Basic x", "client_assertion": "x"}, {"client_assertion"}),
        ({"client_assertion": "x"}, {"client_assertion_type", "audience"}),
        ({"client_assertion_type": authentication.JWT_BEARER}, {"client_assertion", "audience"}),
        (
            {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                "client_assertion": "x",
                "audience": ["", "https://as.example"],
            },
            {"client_assertion_type", "audience"},
        ),
        (
            {
                "client_assertion_type": authentication.JWT_BEARER,
                "client_assertion": "x",
                "client_secret": "x",
                "audience": [],
            },
            {"client_secret", "audience"},
        ),
        ({"authorization": 7, "password": "x"}, {"authorization", "password"}),
    ],
)
async def test_exactly_one_form(api: Api, tenant: str, presented: dict[str, Any], fields: set[str]) -> None:
    """Two ways to authenticate at once, none, or half of one: 400, with every fault named."""
    reply = await authenticate(api, tenant, presented)

    assert (reply.status, reply.body["code"]) == (400, 400003)
    assert {violation["field"] for violation in reply.body["violations"]} == fields


async def test_last_use(api: Api, config: Config, tenant: str, owner: asyncpg.Connection) -> None:
    """When a secret was last used is known once the process that saw it has ended, if not before."""
    client = await secret_client(api)
    presented = basic(client["client_id"], client["client_secret"])
    before = datetime.now(UTC)
    async with Served(build(config)) as other, ClientSession() as session:
        there = Api(session, str(other.make_url("")).rstrip("/"), api.tokens, api.headers)
        secret_id = (await authenticate(there, tenant, presented)).data["secret_id"]
        assert is_refused(await authenticate(there, tenant, basic(client["client_id"], new_secret())))

    used = await usage.read(owner, tenant, client["client_id"])

    assert used.keys() == {secret_id}
    assert before < used[secret_id] < datetime.now(UTC)
    assert await usage.read(owner, f"{tenant}-other", client["client_id"]) == {}


async def test_last_use_is_never_set_back(
    config: Config, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that write, the later use stays; what cannot be written is kept, and fails nobody."""
    url = config.database_url or ""
    async with (
        open_pool(url, size=1, timeout_s=5) as pool,
        open_pool("postgres://localhost:1/", size=1, timeout_s=1) as no,
    ):
        broken = usage.Usage(no, timeout_s=1)
        broken.note(tenant, "app-x", "one")
        await broken.write()
        later = usage.Usage(pool, timeout_s=5)
        later.note(tenant, "app-x", "one")
        await later.close()
        used = await usage.read(owner, tenant, "app-x")
        monkeypatch.setattr(broken, "_pool", pool)
        await broken.close()

    assert used.keys() == {"one"}
    assert await usage.read(owner, tenant, "app-x") == used


async def test_use_is_bounded(
    config: Config, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits to be written has a limit, whatever the database does."""
    monkeypatch.setattr(usage, "LIMIT", 3)
    async with open_pool(config.database_url or "", size=1, timeout_s=5) as pool:
        collected = usage.Usage(pool, timeout_s=5)
        for _ in range(5):
            collected.note(tenant, "app-x", str(ULID()))
        await collected.close()

    assert len(await usage.read(owner, tenant, "app-x")) == 3
