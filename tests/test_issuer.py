"""Tokens from an issuer elsewhere, beside those of the local key."""

import asyncio
import hmac
import json
import time
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from service import bearer
from service import config as configuration
from service import issuer as keys_elsewhere
from service.app import build
from service.bearer import ISSUER, ROLES, Tokens, authorize
from service.config import Config, ConfigError
from service.discovery import LONGEST_ANSWER
from service.issuer import Issuer
from service.jose import PublicKey, Token
from service.refusals import InvalidToken, IssuerAway, NotPermitted
from service.routes import TOKENS
from tests.callers import Api
from tests.conftest import Served

CLIENTS = "/admin/oauth/clients/"
LOCAL = OKPKey.generate_key("Ed25519")
SIGNERS: dict[str, RSAKey | ECKey | OKPKey] = {
    "RS256": RSAKey.generate_key(2048),
    "PS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def published(key: Key, kid: str | None, **changes: Any) -> dict[str, Any]:
    """The public JWK of *key*, as an issuer shows it."""
    jwk = {**key.as_dict(private=False), "kid": kid, "use": "sig", **changes}
    return {name: value for name, value in jwk.items() if value is not None}


def claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """What a good token says, with *changes*; None leaves a claim out."""
    good = {
        "iss": issuer,
        "aud": ["account", "mitosis"],
        "sub": "8f3c-ops",
        "tenant_id": "acme",
        "role": "admin",
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: Key, algorithm: str, payload: dict[str, Any], **header: Any) -> str:
    """A token; header parameters that are None are left out."""
    head = {name: value for name, value in {"alg": algorithm, "typ": "at+jwt", **header}.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(head, json.dumps(payload), key, registry=registry)


class Elsewhere:
    """An issuer on loopback, which does what a test tells it to."""

    def __init__(self) -> None:
        self.keys: list[Any] = [published(key, name) for name, key in SIGNERS.items()]
        self.fetches = 0
        self.discovered: dict[str, Any] = {}
        self.answer: Answer = self._key_set
        self._counted = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/realms/main"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/keys"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/realms/main/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/realms/main/keys", self._counting)
        app.router.add_get("/moved", self._key_set)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def asked(self, times: int) -> None:
        """Wait until the keys were asked for so many times."""
        async with asyncio.timeout(20), self._counted:
            await self._counted.wait_for(lambda: self.fetches >= times)

    def token(self, algorithm: str = "ES256", *, kid: str | None = "", **changes: Any) -> str:
        """A good token; with *changes*, perhaps no good one."""
        named = algorithm if kid == "" else kid
        return signed(SIGNERS[algorithm], algorithm, claims(self.url, **changes), kid=named)

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": self.jwks_url, **self.discovered})

    async def _counting(self, request: web.Request) -> web.StreamResponse:
        async with self._counted:
            self.fetches += 1
            self._counted.notify_all()
        return await self.answer(request)

    async def _key_set(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": self.keys}, content_type="application/jwk-set+json")


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    issuer = Elsewhere()
    await issuer.start()
    yield issuer
    await issuer.stop()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def known(elsewhere: Elsewhere, clock: Clock, **settings: Any) -> AsyncIterator[Tokens]:
    """What reads tokens of *elsewhere*, whose keys are fetched when they are needed and not before."""
    given = {"name": elsewhere.url, "jwks_url": None, "tenant_claim": "tenant_id", "role_claim": "role", **settings}
    async with ClientSession() as session:
        issuer = Issuer(session, **given, clock=clock)
        yield Tokens(LOCAL, "mitosis", issuer)
        await issuer.close()


@pytest.fixture
async def tokens(elsewhere: Elsewhere, clock: Clock) -> AsyncIterator[Tokens]:
    async with known(elsewhere, clock) as tokens:
        yield tokens


async def said(tokens: Tokens, token: str) -> bearer.Claims:
    """What *token* says, if it is a good one."""
    return await tokens.claims({"Authorization": f"Bearer {token}"})


async def is_good(tokens: Tokens, token: str) -> bool:
    try:
        await said(tokens, token)
    except InvalidToken:
        return False
    return True


@asynccontextmanager
async def serving(config: Config, **settings: Any) -> AsyncIterator[Api]:
    """A service of the test's own, called by nobody in particular."""
    app = build(msgspec.structs.replace(config, **settings))
    async with Served(app) as server, ClientSession() as session:
        yield Api(session, str(server.make_url("")).rstrip("/"), app[TOKENS], {})


def bearing(api: Api, token: str) -> Api:
    return api.with_headers(Authorization=f"Bearer {token}")


async def test_both_kinds_of_tokens(config: Config, elsewhere: Elsewhere, tenant: str) -> None:
    """A service with an issuer takes its tokens, and the local key's besides, for the same tenants."""
    async with serving(config, issuer=elsewhere.url) as api:
        theirs, ours = bearing(api, elsewhere.token(tenant_id=tenant)), api.as_role("admin", tenant)

        client = await theirs.register()

        assert (await ours.get(CLIENTS + client["client_id"])).status == 200
        assert (await ours.clone(client["client_id"])).status == 201
        assert (await theirs.clone(client["client_id"])).status == 201
        auditor = bearing(api, elsewhere.token(tenant_id=tenant, role="auditor"))
        assert (await auditor.get(CLIENTS)).body["total"] == 3
        assert (await auditor.clone(client["client_id"])).status == 403


async def test_issuer_dead_at_start(
    config: Config, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The service starts without its issuer, and the log says why its tokens wait.

    They are neither good nor bad yet: 503 with Retry-After, not a 401 that would send their bearers to log in again.
    """
    monkeypatch.setattr(keys_elsewhere, "RETRY_S", 0.01)
    await elsewhere.stop()
    async with serving(config, issuer=elsewhere.url) as api:
        theirs, ours = bearing(api, elsewhere.token()), api.as_role("admin", "acme")

        early = await theirs.get(CLIENTS)
        assert (early.status, early.body["code"]) == (503, 503004)
        assert "Retry-After" in early.headers
        assert (await ours.get(CLIENTS)).status == 200
        assert (await bearing(api, "x.y.z").get(CLIENTS)).status == 401
        assert any(
            (record.message, vars(record).get("host")) == ("issuer_keys_not_fetched", "127.0.0.1")
            for record in caplog.records
        )

        await elsewhere.start()
        await elsewhere.asked(1)
        # the answer is on its way; who asks now waits for it
        assert (await theirs.get(CLIENTS)).status == 200


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_algorithms(elsewhere: Elsewhere, tokens: Tokens, algorithm: str) -> None:
    """Whatever is accepted is accepted, with and without `typ`."""
    assert (await said(tokens, elsewhere.token(algorithm))).tenant_id == "acme"
    for typ in ("JWT", "jwt", "application/at+jwt", None):
        token = signed(SIGNERS[algorithm], algorithm, claims(elsewhere.url), kid=algorithm, typ=typ)
        assert await is_good(tokens, token)


def forgeries(elsewhere: Elsewhere) -> dict[str, str]:
    """Tokens that must not get anybody in, by what is wrong with them."""
    rsa, curve, edwards = SIGNERS["RS256"], SIGNERS["ES256"], SIGNERS["Ed25519"]
    good, local = claims(elsewhere.url), LOCAL.thumbprint()
    payload = elsewhere.token().split(".")[1]
    now = int(time.time())
    x = str(edwards.as_dict(private=False)["x"])
    return {
        "another issuer": elsewhere.token(iss="https://elsewhere.example"),
        "nearly the issuer": elsewhere.token(iss=f"{elsewhere.url}/"),
        "the issuer in a list": elsewhere.token(iss=[elsewhere.url]),
        "no issuer": elsewhere.token(iss=None),
        "ours, by the issuer": elsewhere.token(iss=ISSUER),
        "ours, by the issuer, under our key's name": signed(edwards, "Ed25519", claims(ISSUER), kid=local),
        "ours, by the issuer, under no name": signed(edwards, "Ed25519", claims(ISSUER)),
        "the issuer's, by our key": signed(LOCAL, "Ed25519", good, kid=local),
        "the issuer's, by our key, under its name": signed(LOCAL, "Ed25519", good, kid="Ed25519"),
        "the issuer's, by our key, under no name": signed(LOCAL, "Ed25519", good),
        "ours, by our key, under the issuer's name": signed(LOCAL, "Ed25519", claims(ISSUER), kid="Ed25519"),
        "another audience": elsewhere.token(aud="account"),
        "no audience": elsewhere.token(aud=None),
        "part of an audience": elsewhere.token(aud="mitosis-admin"),
        "expired": elsewhere.token(exp=now - 1),
        "no expiry": elsewhere.token(exp=None),
        "not for a long while": elsewhere.token(nbf=now + 120),
        "nobody": elsewhere.token(sub=None),
        "no tenant": elsewhere.token(tenant_id=None),
        "two tenants": elsewhere.token(tenant_id=["acme", "globex"]),
        "a list of a tenant": elsewhere.token(tenant_id=["acme"]),
        "a role that is a number": elsewhere.token(role=1),
        "a role that is an object": elsewhere.token(role={"admin": True}),
        "a kid that is unknown": elsewhere.token(kid="bogus"),
        "a kid of another key": signed(rsa, "RS256", good, kid="PS256"),
        "a kid of another type of key": signed(curve, "ES256", good, kid="RS256"),
        "a kid that is a path": elsewhere.token(kid="../../dev/null"),
        "no kid where several are meant": elsewhere.token("RS256", kid=None),
        "a stranger's key": signed(ECKey.generate_key("P-256"), "ES256", good, kid="ES256"),
        "a key that it brings along": signed(LOCAL, "Ed25519", good, kid="x", jwk=LOCAL.as_dict(private=False)),
        "PEM as an HMAC secret": _with_hmac(rsa.as_pem(private=False), good, "RS256"),
        "x as an HMAC secret": _with_hmac(x.encode(), good, "Ed25519"),
        "the key's octets as an HMAC secret": _with_hmac(urlsafe_b64decode(f"{x}="), good, "Ed25519"),
        "an algorithm that is not accepted": signed(rsa, "RS512", good, kid="RS256"),
        "alg none": f"{_part({'alg': 'none', 'kid': 'ES256'})}.{payload}.",
        "alg none with a signature": f"{_part({'alg': 'none', 'kid': 'ES256'})}.{elsewhere.token().partition('.')[2]}",
        "alg in another letter case": f"{_part({'alg': 'es256', 'kid': 'ES256'})}.{payload}.AAAA",
        "no alg": f"{_part({'kid': 'ES256'})}.{payload}.AAAA",
        "no signature": f"{elsewhere.token().rpartition('.')[0]}.",
        "another's signature": elsewhere.token().rpartition(".")[0] + "." + elsewhere.token(sub="x").rpartition(".")[2],
        "a changed payload": _with_payload(elsewhere.token(), {**good, "role": "super_admin"}),
        "another type of JWT": signed(curve, "ES256", good, kid="ES256", typ="logout+jwt"),
        "critical header": signed(curve, "ES256", good, kid="ES256", crit=["kid"]),
        "four parts": f"{elsewhere.token()}.AAAA",
        "padding": f"{elsewhere.token()}=",
        "a blank": elsewhere.token().replace(".", ". "),
        "a payload that is a list": f"{_part({'alg': 'ES256'})}.{_part([good])}.AAAA",
        "nested": f"{_part({'alg': 'ES256', 'kid': 'ES256'})}.{_part(json.loads('[' * 300 + ']' * 300))}.AAAA",
        "not ASCII": "é.é.é",
    }


def _part(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def _with_hmac(secret: bytes, payload: Any, kid: str) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': kid})}.{_part(payload)}"
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _with_payload(token: str, payload: Any) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{_part(payload)}.{signature}"


async def test_forgeries(config: Config, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Whatever is wrong with a token: 401. Neither signer can sign what only the other may."""
    file = tmp_path / "key.pem"
    file.write_bytes(LOCAL.as_pem(private=True))
    file.chmod(0o600)
    async with serving(config, issuer=elsewhere.url, signing_key_file=file) as api:
        for token in (elsewhere.token(), signed(LOCAL, "Ed25519", claims(ISSUER))):
            assert (await bearing(api, token).get(CLIENTS)).status == 200
        for name, token in forgeries(elsewhere).items():
            reply = await bearing(api, token).get(CLIENTS)
            assert reply.status == 401, name
            assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


async def test_strays_are_not_looked_for(elsewhere: Elsewhere, tokens: Tokens) -> None:
    """A token that could not be good whoever signed it costs the issuer nothing."""
    for changes in ({"iss": "x"}, {"aud": "x"}, {"exp": 1}, {"iss": ISSUER}, {"tenant_id": None}):
        assert not await is_good(tokens, elsewhere.token(kid="bogus", **changes))
    assert elsewhere.fetches == 0


async def test_no_issuer() -> None:
    """Without an issuer, only the local key's tokens are good."""
    tokens = Tokens(LOCAL, "mitosis")

    assert await is_good(tokens, signed(LOCAL, "Ed25519", claims(ISSUER)))
    assert not await is_good(tokens, signed(LOCAL, "Ed25519", claims("https://elsewhere.example")))
    assert not await is_good(tokens, signed(SIGNERS["ES256"], "ES256", claims(ISSUER), kid=LOCAL.thumbprint()))


async def test_rotation(elsewhere: Elsewhere, tokens: Tokens, clock: Clock) -> None:
    """A key that is new is fetched when a token names it, and one that is gone is good for nothing more."""
    old = elsewhere.token()
    assert await is_good(tokens, old)
    new = ECKey.generate_key("P-256")
    elsewhere.keys = [published(new, "new")]
    token = signed(new, "ES256", claims(elsewhere.url), kid="new")

    clock.now += keys_elsewhere.AGAIN_S
    assert await is_good(tokens, token)
    assert elsewhere.fetches == 2
    assert not await is_good(tokens, old)


async def test_unknown_keys_are_asked_for_now_and_then(elsewhere: Elsewhere, tokens: Tokens, clock: Clock) -> None:
    """Whoever invents names of keys makes one fetch in 30 s, however many names."""
    for number in range(10):
        assert not await is_good(tokens, elsewhere.token(kid=f"bogus {number}"))
        clock.now += 2.9
    assert elsewhere.fetches == 1

    clock.now += 1
    assert not await is_good(tokens, elsewhere.token(kid="bogus"))
    assert elsewhere.fetches == 2


async def test_one_fetch_for_all_who_wait(elsewhere: Elsewhere, tokens: Tokens, clock: Clock) -> None:
    """Fifty tokens with unknown keys at once are one fetch; one who stops waiting takes it from nobody."""
    assert await is_good(tokens, elsewhere.token())
    new = ECKey.generate_key("P-256")
    elsewhere.keys = [published(new, "new")]
    key_set, open_ = elsewhere.answer, asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await open_.wait()
        return await key_set(request)

    elsewhere.answer = slow
    clock.now += keys_elsewhere.AGAIN_S
    good = [signed(new, "ES256", claims(elsewhere.url, sub=f"{number}"), kid="new") for number in range(25)]
    bad = [elsewhere.token(kid=f"bogus {number}") for number in range(25)]
    waiting = [asyncio.create_task(is_good(tokens, token)) for token in [*good, *bad]]
    await elsewhere.asked(2)
    waiting[0].cancel()
    open_.set()

    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [True] * 24 + [False] * 25
    assert elsewhere.fetches == 2


async def test_a_dead_issuer(
    elsewhere: Elsewhere, tokens: Tokens, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that are known go on working; a token of another key can be judged when the issuer is back, and not yet."""
    assert await is_good(tokens, elsewhere.token())
    new = ECKey.generate_key("P-256")
    elsewhere.keys.append(published(new, "new"))
    await elsewhere.stop()
    clock.now += keys_elsewhere.FRESH_S
    token = signed(new, "ES256", claims(elsewhere.url), kid="new")

    for _ in range(3):
        with pytest.raises(IssuerAway):
            await said(tokens, token)
    # one failure, then a pause
    assert [record.message for record in caplog.records].count("issuer_keys_not_fetched") == 1
    assert await is_good(tokens, elsewhere.token(sub="another"))

    await elsewhere.start()
    clock.now += keys_elsewhere.AGAIN_S
    assert await is_good(tokens, token)


async def test_a_failing_issuer_is_not_asked_more_often(elsewhere: Elsewhere, tokens: Tokens, clock: Clock) -> None:
    """Whoever invents names of keys makes one fetch in 30 s also where each one fails."""
    elsewhere.answer = _garbage
    began = clock.now
    for number in range(30):
        with pytest.raises(IssuerAway) as away:
            await said(tokens, elsewhere.token(kid=f"bogus {number}"))
        assert 1 <= int(away.value.headers["Retry-After"]) <= keys_elsewhere.AGAIN_S
        assert elsewhere.fetches == 1 + (clock.now - began) // keys_elsewhere.AGAIN_S
        clock.now += 3
    assert elsewhere.fetches == 3


async def test_failures_are_tried_again(elsewhere: Elsewhere, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself the service tries again after 5 s, and after twice as long each time, up to 30 s; then afresh."""
    began, fetched, key_set = clock.now, list[float](), elsewhere.answer

    async def failing(request: web.Request) -> web.StreamResponse:
        fetched.append(clock.now - began)
        return await (key_set if len(fetched) == 6 else _garbage)(request)

    async def pass_by(wait_s: float) -> None:
        clock.now += wait_s
        if len(fetched) >= 8:
            raise asyncio.CancelledError

    elsewhere.answer = failing
    async with ClientSession() as session:
        issuer = Issuer(
            session, name=None, jwks_url=elsewhere.jwks_url, tenant_claim="tenant", role_claim="role", clock=clock
        )
        monkeypatch.setattr(keys_elsewhere, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": pass_by}))
        with pytest.raises(asyncio.CancelledError):
            await issuer.stay_fresh()

    assert fetched == [0, 5, 15, 35, 65, 95, 695, 700]


async def _garbage(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def _nested(_: web.Request) -> web.StreamResponse:
    return web.Response(text='{"keys":' + "[" * 100_000)


async def _another_shape(_: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": {"a": "b"}})


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(LONGEST_ANSWER // 1024 + 1):
        await response.write(b" " * 1024)
    await response.write(b'{"keys": []}')
    return response


async def _redirect(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/moved")


async def _broken(_: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": []}, status=500)


async def _never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_garbage, "not the JSON that was asked for"),
        (_nested, "not the JSON that was asked for"),
        (_another_shape, "not the JSON that was asked for"),
        (_huge, "more than 262,144 bytes"),
        (_redirect, "status 302"),
        (_broken, "status 500"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_bad_answers(
    elsewhere: Elsewhere, clock: Clock, caplog: pytest.LogCaptureFixture, answer: Answer, reason: str
) -> None:
    """Whatever an issuer answers that is no key set: it is logged, and what is known stays."""
    async with known(elsewhere, clock) as tokens:
        assert await is_good(tokens, elsewhere.token())
        elsewhere.answer = answer
        clock.now += keys_elsewhere.AGAIN_S

        with pytest.raises(IssuerAway):
            await said(tokens, elsewhere.token(kid="new"))

        assert await is_good(tokens, elsewhere.token(sub="another"))
    assert [vars(record)["reason"] for record in caplog.records if hasattr(record, "reason")] == [reason]


async def test_an_issuer_that_does_not_answer(
    config: Config, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that takes the request and says nothing is not waited for."""
    monkeypatch.setattr(keys_elsewhere, "FETCH_TIMEOUT_S", 0.05)
    elsewhere.answer = _never
    async with serving(config, issuer=elsewhere.url) as api:
        assert (await bearing(api, elsewhere.token()).get(CLIENTS)).status == 503


@pytest.mark.parametrize(
    "discovered",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": "http://127.0.0.1/realms/main"},
        {"issuer": None},
        {"jwks_uri": "http://keys.example/"},
        {"jwks_uri": "ftp://127.0.0.1/"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": None},
    ],
    ids=str,
)
async def test_bad_discoveries(elsewhere: Elsewhere, tokens: Tokens, discovered: dict[str, Any]) -> None:
    """A discovery document that is another's, or that sends us where no keys should come from, is not followed."""
    elsewhere.discovered = discovered

    with pytest.raises(IssuerAway):
        await said(tokens, elsewhere.token())
    assert elsewhere.fetches == 0


def _short_key() -> Key:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return RSAKey.generate_key(1024)


async def test_keys_that_are_not_for_this(elsewhere: Elsewhere, tokens: Tokens) -> None:
    """Of a key set, what cannot be used or is for something else is passed over, and the rest is not."""
    rsa, curve, edwards = SIGNERS["RS256"], SIGNERS["ES256"], SIGNERS["Ed25519"]
    elsewhere.keys = [
        "no key",
        {"kty": "new", "kid": "x"},
        OctKey.generate_key(256).as_dict(),
        published(rsa, "private") | {"d": rsa.as_dict(private=True)["d"]},
        published(_short_key(), "short"),
        published(ECKey.generate_key("P-521"), "P-521"),
        published(OKPKey.generate_key("X25519"), "X25519"),
        published(rsa, "encryption", use="enc"),
        published(rsa, "signs", key_ops=["sign"], use=None),
        published(rsa, "of another algorithm", alg="RS512"),
        published(curve, "good", alg="ES256", key_ops=["verify"], x5t="AAAA"),
        published(edwards, "older name", alg="EdDSA"),
    ]

    for kid in ("private", "encryption", "signs", "of another algorithm"):
        assert not await is_good(tokens, signed(rsa, "RS256", claims(elsewhere.url), kid=kid)), kid
    assert await is_good(tokens, signed(curve, "ES256", claims(elsewhere.url), kid="good"))
    assert await is_good(tokens, signed(edwards, "Ed25519", claims(elsewhere.url), kid="older name"))
    # one alone can be meant
    assert await is_good(tokens, signed(curve, "ES256", claims(elsewhere.url, sub="no kid")))


@pytest.mark.parametrize(
    ("tenant_claim", "role_claim", "given"),
    [
        ("tenant_id", "role", {"tenant_id": "acme", "role": "auditor"}),
        ("https://example.com/tenant", "https://example.com/role", {}),
        ("realm_access.tenant", "realm_access.roles", {"realm_access": {"tenant": "acme", "roles": ["auditor"]}}),
        ("a.b", "a.c.d", {"a.b": "acme", "a": {"b": "globex", "c": {"d": "auditor"}}}),
    ],
)
async def test_names_of_claims(
    elsewhere: Elsewhere, clock: Clock, tenant_claim: str, role_claim: str, given: dict[str, Any]
) -> None:
    """The tenant and the role are where the configuration says: under that very name, or else where its dots lead."""
    given = {"tenant_id": None, "role": None, **(given or {tenant_claim: "acme", role_claim: "auditor"})}
    async with known(elsewhere, clock, tenant_claim=tenant_claim, role_claim=role_claim) as tokens:
        found = await said(tokens, elsewhere.token(**given))

        assert (found.tenant_id, found.role) == ("acme", "auditor")
        # the local key's tokens have the names that they always have
        ours = tokens.issue(subject="ops", tenant_id="globex", role="admin", ttl_s=60)
        assert (await said(tokens, ours)).tenant_id == "globex"


@pytest.mark.parametrize("name", ["tenant", "a.b", "tenant_id.x", "."])
async def test_claims_that_are_elsewhere(elsewhere: Elsewhere, clock: Clock, name: str) -> None:
    """Where another claim was configured, the one with our name is not taken for it."""
    async with known(elsewhere, clock, tenant_claim=name) as tokens:
        assert not await is_good(tokens, elsewhere.token(a="b"))


@pytest.mark.parametrize(
    ("given", "role"),
    [
        ("admin", "admin"),
        ("security_admin", "security_admin"),
        (["admin"], "admin"),
        (["offline_access", "auditor", "uma"], "auditor"),
        (["admin", "admin"], "admin"),
        (["admin", "auditor"], ""),
        (["security_admin"], ""),
        (["admin,auditor"], ""),
        ([["admin"]], ""),
        ([{"admin": 1}, 1, None], ""),
        ([], ""),
        (None, ""),
    ],
)
async def test_lists_of_roles(elsewhere: Elsewhere, tokens: Tokens, given: Any, role: str) -> None:
    """Of a list, the one role that is known here counts; who has none, or several, may nothing: 403."""
    found = await said(tokens, elsewhere.token(role=given))

    assert found.role == role
    if role not in ROLES:
        with pytest.raises(NotPermitted):
            authorize(found, frozenset(ROLES), None)


async def test_keys_directly(elsewhere: Elsewhere, clock: Clock) -> None:
    """With the address of the keys alone, any issuer's name will do, but never ours."""
    elsewhere.discovered = {"issuer": None}
    async with known(elsewhere, clock, name=None, jwks_url=elsewhere.jwks_url) as tokens:
        for iss in (elsewhere.url, "anyone", None):
            assert await is_good(tokens, elsewhere.token(iss=iss))
        assert not await is_good(tokens, elsewhere.token(iss=ISSUER))
        assert not await is_good(tokens, signed(LOCAL, "Ed25519", claims("anyone"), kid=LOCAL.thumbprint()))
    async with known(elsewhere, clock, jwks_url=elsewhere.jwks_url) as tokens:
        assert await is_good(tokens, elsewhere.token())
        assert not await is_good(tokens, elsewhere.token(iss="anyone"))
        assert not await is_good(tokens, elsewhere.token(iss=None))


async def test_clocks_that_disagree(elsewhere: Elsewhere, tokens: Tokens) -> None:
    """An issuer's clock may be a little ahead."""
    assert await is_good(tokens, elsewhere.token(nbf=int(time.time()) + 30))


async def test_a_token_is_proven_once(
    elsewhere: Elsewhere, tokens: Tokens, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that comes again is known, until it expires or the issuer's keys change."""
    proofs = []
    prove = PublicKey.proves

    def counted(key: PublicKey, token: Token[Any]) -> bool:
        proofs.append(token)
        return prove(key, token)

    monkeypatch.setattr(PublicKey, "proves", counted)
    theirs = elsewhere.token()
    forged = f"{theirs.rpartition('.')[0]}.{'A' * 86}"
    ours = tokens.issue(subject="ops", tenant_id="acme", role="admin", ttl_s=600)
    for _ in range(3):
        assert await is_good(tokens, theirs)
        assert await is_good(tokens, ours)
        assert not await is_good(tokens, forged)
    assert len(proofs) == 2 + 3

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=600)

    with monkeypatch.context() as patch:
        patch.setattr(bearer, "datetime", Later)
        assert not await is_good(tokens, theirs)
        assert not await is_good(tokens, ours)
    assert await is_good(tokens, theirs)

    elsewhere.keys = [published(SIGNERS["RS256"], "RS256")]
    clock.now += keys_elsewhere.AGAIN_S
    assert await is_good(tokens, elsewhere.token("RS256", sub="another"))
    assert await is_good(tokens, elsewhere.token("RS256"))
    assert not await is_good(tokens, elsewhere.token(kid="bogus"))
    assert not await is_good(tokens, theirs)


async def test_what_is_known_is_bounded(elsewhere: Elsewhere, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of tokens fills the memory."""
    monkeypatch.setattr(bearer, "PROVEN_LIMIT", 3)
    for number in range(9):
        assert await is_good(tokens, elsewhere.token(sub=f"{number}"))
    assert len(tokens._proven) == 3  # noqa: SLF001 (a size shows nowhere else)


async def test_keys_stay_fresh(config: Config, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are fetched when the service starts and again and again, whether or not anybody calls."""
    monkeypatch.setattr(keys_elsewhere, "FRESH_S", 0.01)
    async with serving(config, issuer=elsewhere.url):
        await elsewhere.asked(3)


@pytest.mark.parametrize(
    ("name", "url", "said"),
    [
        ("MITOSIS_ISSUER", "accounts.example.com", "is not an https URL"),
        ("MITOSIS_ISSUER", "ftp://accounts.example.com", "is not an https URL"),
        ("MITOSIS_ISSUER", "http://accounts.example.com", "uses http with a host that is not loopback; use https"),
        ("MITOSIS_ISSUER", "http://127.0.0.1.example.com", "uses http with a host that is not loopback; use https"),
        ("MITOSIS_ISSUER", "https://accounts.example.com/#x", "has a fragment (everything from '#' on)"),
        ("MITOSIS_ISSUER", "https://accounts.example.com/?x=1", "has a query (everything from '?' on)"),
        ("MITOSIS_ISSUER", "https://", "names no host"),
        ("MITOSIS_JWKS_URL", "https://ops:secret@accounts.example.com/", "has user info (everything before '@')"),
        ("MITOSIS_JWKS_URL", "https://accounts.example.com/a b", "holds a space; write it as %20"),
        ("MITOSIS_JWKS_URL", "http://10.0.0.1/keys", "uses http with a host that is not loopback; use https"),
    ],
)
def test_bad_settings(name: str, url: str, said: str) -> None:
    """An address that no keys should come from is refused when the service starts, without quoting what is in it."""
    with pytest.raises(ConfigError) as refused:
        configuration.from_environment({name: url})

    assert str(refused.value).startswith(f"{name} {said}")
    assert "secret" not in str(refused.value)


def test_good_settings() -> None:
    """The variables are read as they are written; http is for this machine alone."""
    config = configuration.from_environment(
        {
            "MITOSIS_ISSUER": "https://accounts.example.com/realms/Main/",
            "MITOSIS_JWKS_URL": "http://localhost:8081/keys?set=1",
            "MITOSIS_TENANT_CLAIM": "https://example.com/tenant",
            "MITOSIS_ROLE_CLAIM": "realm_access.roles",
        }
    )

    assert config.issuer == "https://accounts.example.com/realms/Main/"
    assert config.jwks_url == "http://localhost:8081/keys?set=1"
    assert (config.tenant_claim, config.role_claim) == ("https://example.com/tenant", "realm_access.roles")
