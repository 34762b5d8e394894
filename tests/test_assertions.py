"""POST /internal/oauth/clients/authenticate, with a JWT that the client signed (private_key_jwt)."""

import asyncio
import json
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiohttp import ClientSession, web
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from events.database import borrowed
from service.app import build
from service.authentication import authenticator
from service.authentication.fetching import KeySets
from service.authentication.usage import read as last_uses
from service.config import Config
from tests.callers import Api
from tests.conftest import Served
from tests.keys import AUDIENCE, HOST, Names, Publisher, claims, key_set, new_key, presented, publisher, signed
from tests.planting import plant
from tests.test_authenticate import CLIENTS, authenticate, is_refused

KEY_ONLY = ["private_key_jwt"]
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})


async def key_client(api: Api, *keys: Key, **changes: Any) -> str:
    """The id of a client that authenticates with one of *keys*."""
    settings = {"fapi_profile": None, "jwks_uri": None, "jwks": key_set(*keys), "client_auth_methods": KEY_ONLY}
    return str((await api.register(**{**settings, **changes}))["client_id"])


def by_hand(header: dict[str, Any], payload: Any, key: Key | None = None) -> str:
    """A JWT with whatever header and payload, signed by *key*, or by nobody."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    if key is None:
        parts = [urlsafe_b64encode(part).rstrip(b"=").decode() for part in (json.dumps(header).encode(), text)]
        return ".".join([*parts, ""])
    registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    return jws.serialize_compact(header, text, key, registry=registry)


async def test_with_an_assertion(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A good assertion is answered with the client and the method; there is no secret that it could name."""
    key = new_key()
    client_id = await key_client(api, key)
    shown = (await api.get(CLIENTS + client_id)).data

    reply = await authenticate(api, tenant, presented(signed(key, claims(client_id))))

    assert reply.status == 200
    assert reply.data == {**shown, "auth_method": "private_key_jwt"}
    assert await last_uses(owner, tenant, client_id) == {}


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        *((alg, RSA) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", ECKey.generate_key("P-256")),
        ("ES384", ECKey.generate_key("P-384")),
        ("ES512", ECKey.generate_key("P-521")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("EdDSA", OKPKey.generate_key("Ed25519", parameters={"alg": "Ed25519"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
async def test_algorithms(api: Api, tenant: str, alg: str, key: Key) -> None:
    """Each accepted algorithm is accepted with the keys it fits; `kid` may be left out where one key can be meant."""
    bare = {name: value for name, value in key.as_dict(private=True).items() if name != "alg"}
    signer = type(key).import_key(bare)
    client_id = await key_client(api, key)

    assertion = signed(signer, claims(client_id), alg=alg, kid=None)

    assert (await authenticate(api, tenant, presented(assertion))).status == 200


@pytest.mark.parametrize(
    ("profile", "accepted"),
    [("fapi1", {"RS256", "PS256"}), ("fapi1_advanced", {"PS256"}), ("fapi2", {"PS256"})],
)
async def test_profiles(api: Api, tenant: str, profile: str, accepted: set[str]) -> None:
    """A FAPI profile narrows the algorithms: RSASSA-PKCS1-v1_5 is none of its (FAPI 1.0 Advanced 8.6, FAPI 2.0 5.4)."""
    client_id = await key_client(api, RSA, fapi_profile=profile)
    for alg in ("RS256", "PS256"):
        reply = await authenticate(api, tenant, presented(signed(RSA, claims(client_id), alg=alg)))
        assert (reply.status == 200) is (alg in accepted)


async def test_what_may_vary(api: Api, tenant: str) -> None:
    """Who is meant may be one name or several, either side; times may be fractions, and clocks a little apart."""
    key, now = new_key(), time.time()
    client_id = await key_client(api, key)
    variants = [
        presented(signed(key, claims(client_id, aud=["https://other.example", AUDIENCE]))),
        presented(signed(key, claims(client_id)), audience=AUDIENCE),
        presented(signed(key, claims(client_id)), client_id=client_id),
        presented(signed(key, claims(client_id, exp=now + 0.5 + 60, iat=now + 30, nbf=now + 30))),
        presented(signed(key, claims(client_id, exp=int(now) + 3600, iat=None))),
        presented(signed(key, claims(client_id), typ="client-authentication+jwt", kid=None)),
        presented(by_hand({"alg": "ES256", "typ": "jwt", "unknown": "?"}, claims(client_id), key)),
    ]
    for variant in variants:
        assert (await authenticate(api, tenant, variant)).status == 200


def forgeries(client_id: str, key: ECKey, twin: ECKey, audience: str = AUDIENCE) -> dict[str, str]:
    """Assertions that prove nothing, by what is wrong with them; *client_id* has *key*, and *twin* of the same kid."""
    now, good = int(time.time()), claims(client_id)
    header = {"alg": "ES256", "kid": key.kid}
    public = key.as_dict(private=False)
    as_hmac = OctKey.import_key(json.dumps(public))
    head, body, signature = signed(key, claims(client_id)).split(".")
    _, other_body, _ = signed(key, claims(client_id)).split(".")

    def changed(**changes: Any) -> str:
        return signed(key, claims(client_id, **changes))

    return {
        "nothing": "",
        "no JWT": "x.y.z",
        "two parts": f"{head}.{body}",
        "four parts": f"{head}.{body}.{signature}.x",
        "huge": "a" * 50_000,
        "nested JSON": by_hand(header, b"[" * 20_000),
        "an array": by_hand(header, [good], key),
        "no UTF-8": by_hand(header, b'{"iss": "\xff"}', key),
        "padding": f"{head}.{body}==.{signature}",
        "no signature": f"{head}.{body}.",
        "cut signature": f"{head}.{body}.{signature[:-3]}",
        "zero signature": f"{head}.{body}.{'A' * 86}",
        "another payload": f"{head}.{other_body}.{signature}",
        "alg none": by_hand({**header, "alg": "none"}, good),
        "alg None": by_hand({**header, "alg": "None"}, good) + "AA",
        "no alg": by_hand({"kid": key.kid}, good) + "AA",
        "alg that is a list": by_hand({**header, "alg": ["ES256"]}, good) + "AA",
        "public key as HMAC secret": by_hand({"alg": "HS256", "kid": key.kid}, good, as_hmac),
        "another algorithm": f"{by_hand({**header, 'alg': 'ES384'}, good)}{signature}",
        "another key": signed(twin, good),
        "key in the header": by_hand({"alg": "ES256", "jwk": twin.as_dict(private=False)}, good, twin),
        "key by URL": by_hand({**header, "jku": "https://127.0.0.1/"}, good, twin),
        "unknown kid": signed(key, good, kid="unknown"),
        "another type": signed(key, good, typ="at+jwt"),
        "another issuer": changed(iss="app-other"),
        "another subject": changed(sub="app-other"),
        "no issuer": changed(iss=None),
        "no subject": changed(sub=None),
        "another audience": changed(aud="https://elsewhere.example"),
        "the audience's prefix": changed(aud=audience[:-1]),
        "no audience": changed(aud=None),
        "empty audience": changed(aud=[]),
        "no end": changed(exp=None),
        "expired": changed(exp=now - 1),
        "ends too late": changed(exp=now + 2 * 3600),
        "ends never": by_hand(header, json.dumps(good).replace(str(good["exp"]), "1e999").encode(), key),
        "end as text": changed(exp=str(now + 60)),
        "end as truth": changed(exp=True),
        "begins later": changed(nbf=now + 600),
        "issued later": changed(iat=now + 600),
        "issued long ago": changed(iat=now - 2 * 3600),
        "no id": changed(jti=None),
        "empty id": changed(jti=""),
        "endless id": changed(jti="x" * 256),
        "id as number": changed(jti=7),
    }


async def test_forgeries(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What proves nothing is refused like everything else, and uses no id up."""
    key, twin = new_key(), new_key()
    client_id = await key_client(api, key)

    for name, assertion in forgeries(client_id, key, twin).items():
        assert is_refused(await authenticate(api, tenant, presented(assertion))), name
    mismatch = presented(signed(key, claims(client_id)), client_id="app-other")
    assert is_refused(await authenticate(api, tenant, mismatch))

    assert await owner.fetchval("select count(*) from assertions where tenant_id = $1", tenant) == 0


async def test_critical_headers(api: Api, tenant: str) -> None:
    """An extension that must be understood is not, not even one that the library knows (RFC 7515 section 4.1.11)."""
    key = new_key()
    client_id = await key_client(api, key)
    header = {"alg": "ES256", "kid": "one", "b64": True, "crit": ["b64"]}

    assert is_refused(await authenticate(api, tenant, presented(by_hand(header, claims(client_id), key))))


@pytest.mark.parametrize(
    "member", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "ES384"}, {"alg": "RS256"}], ids=str
)
async def test_keys_for_something_else(api: Api, tenant: str, member: dict[str, Any]) -> None:
    """A key that its owner meant for something else proves nothing."""
    key = new_key()
    public = {**key.as_dict(private=False), **member}
    client_id = await key_client(api, key, jwks=json.dumps({"keys": [public]}))

    assert is_refused(await authenticate(api, tenant, presented(signed(key, claims(client_id)))))


async def test_several_keys(api: Api, tenant: str) -> None:
    """Of several keys `kid` says which; without it none is tried where several fit (OpenID Connect Core 10.1)."""
    one, two = new_key("one"), new_key("two")
    client_id = await key_client(api, one, two, RSA)

    for key in (one, two):
        assert (await authenticate(api, tenant, presented(signed(key, claims(client_id))))).status == 200
        assert is_refused(await authenticate(api, tenant, presented(signed(key, claims(client_id), kid=None))))
    assert is_refused(await authenticate(api, tenant, presented(signed(one, claims(client_id), kid="two"))))
    alone = signed(RSA, claims(client_id), alg="RS256", kid=None)
    assert (await authenticate(api, tenant, presented(alone))).status == 200


async def test_clients_that_may_not(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A good assertion of a client that may not be used, or not so, or is another tenant's, is worth nothing."""
    key = new_key()
    stranger = api.as_role("admin", f"{tenant}-other")
    suspended, deleted, foreign = [await key_client(caller, key) for caller in (api, api, stranger)]
    await api.put(CLIENTS + suspended, json={"status": "suspended"})
    await api.delete(CLIENTS + deleted)
    secretive = await key_client(api, key, client_auth_methods=["client_secret_basic"])
    old = await plant(owner, tenant, jwks="no JSON", jwks_uri=None)
    keyless = await plant(owner, tenant, jwks_uri=None)

    for client_id in (suspended, deleted, foreign, secretive, old.client_id, keyless.client_id, "app-nobodys", "?"):
        assert is_refused(await authenticate(api, tenant, presented(signed(key, claims(client_id))))), client_id
    again = presented(signed(key, claims(foreign)))
    assert (await authenticate(stranger, f"{tenant}-other", again)).status == 200


class Work(NamedTuple):
    """What requests cost: the database's statements, its time limits, and the library's verifications."""

    statements: list[str]
    limits: list[float]
    keys: list[Any]

    def take(self) -> tuple[list[str], int]:
        """The statements, and how many verifications, since the last time."""
        found = list(self.statements), len(self.keys)
        for counted in self:
            counted.clear()
        return found


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts what authenticating costs, below all of our own code."""
    work = Work([], [], [])
    verify = jws.deserialize_compact

    def counted_verify(text: str, key: Any, **options: Any) -> Any:
        if AUDIENCE.encode() in jws.extract_compact(text.encode()).payload:  # and not the caller's own token
            work.keys.append(key)
        return verify(text, key, **options)

    @asynccontextmanager
    async def logged(pool: asyncpg.Pool, limit_s: float) -> AsyncIterator[Any]:
        work.limits.append(limit_s)
        async with borrowed(pool, limit_s) as connection:
            with connection.query_logger(lambda record: work.statements.append(record.query)):
                yield connection
                await asyncio.sleep(0)  # the logger is called by the loop

    monkeypatch.setattr(jws, "deserialize_compact", counted_verify)
    monkeypatch.setattr(authenticator, "borrowed", logged)
    return work


async def test_the_price(near: Api, far: Publisher, tenant: str, owner: asyncpg.Connection, work: Work) -> None:
    """Whoever an assertion is from, and whether or not it is good, it costs two statements and one verification."""
    key, twin = new_key(), new_key()
    far.publish(key)
    good, suspended, deleted, profiled, published = [
        await key_client(near, key, **changes) for changes in ({}, {}, {}, {"fapi_profile": "fapi1_advanced"}, {})
    ]
    secretive = await key_client(near, key, client_auth_methods=["client_secret_basic"])
    inactive, away = await key_client(near, key), await uri_client(near, far.url)
    several, rsa = await key_client(near, new_key("x"), new_key("y")), await key_client(near, RSA)
    keyless = (await plant(owner, tenant, fapi_profile=None, jwks_uri=None)).client_id
    for client_id, status in ((suspended, "suspended"), (away, "suspended"), (inactive, "inactive")):
        assert (await near.put(CLIENTS + client_id, json={"status": status})).status == 200
    await near.delete(CLIENTS + deleted)
    replayed = signed(key, claims(published))
    head, body, _ = signed(key, claims(good)).split(".")
    for assertion in (replayed, signed(key, claims(published))):  # the second, for whatever is done but once
        assert (await authenticate(near, tenant, presented(assertion))).status == 200
    statements, verified = work.take()
    assert (len(statements), verified) == (4, 2)
    price = statements[2:], 1

    refused = {
        "unknown": signed(key, claims("app-nobodys")),
        "no id": signed(key, claims("no\0id")),
        "suspended": signed(key, claims(suspended)),
        "suspended, and wrong": signed(twin, claims(suspended)),
        "suspended, and keys elsewhere": signed(key, claims(away)),
        "inactive": signed(key, claims(inactive)),
        "deleted": signed(key, claims(deleted)),
        "method": signed(key, claims(secretive)),
        "profile": signed(RSA, claims(profiled), alg="RS256"),
        "no key": signed(key, claims(keyless)),
        "unknown kid": signed(key, claims(good, jti="mine"), kid="two"),
        "several keys": signed(key, claims(several), kid=None),
        "another type of key": signed(key, claims(rsa)),
        "wrong signature": signed(twin, claims(good)),
        "zero signature": f"{head}.{body}.{'A' * 86}",
        "used before": replayed,
        **{f"unknown, {alg}": signed(RSA, claims("app-nobodys"), alg=alg) for alg in ("RS256", "PS512")},
        **{
            f"unknown, {alg}": signed(signer, claims("app-nobodys"), alg=alg)
            for alg, signer in (
                ("ES384", ECKey.generate_key("P-384")),
                ("ES512", ECKey.generate_key("P-521")),
                ("Ed25519", OKPKey.generate_key("Ed25519")),
            )
        },
    }
    for name, assertion in refused.items():
        reply = await authenticate(near, tenant, presented(assertion))
        assert is_refused(reply), name
        assert work.take() == price, name
    assert far.asked == 0
    # a refusal uses nothing up
    assert (await authenticate(near, tenant, presented(signed(key, claims(good, jti="mine"))))).status == 200
    assert work.take() == price


async def test_what_could_be_nobodys_costs_nothing(api: Api, tenant: str, work: Work) -> None:
    """What is refused whoever it is from is refused before anybody is looked for."""
    key = new_key()
    client_id = await key_client(api, key)
    for name in (client_id, "app-nobodys"):
        hmac = by_hand({"alg": "HS256"}, claims(name), OctKey.generate_key(256))
        for assertion in (hmac, signed(key, claims(name, exp=1)), signed(key, claims(name, aud=f"{AUDIENCE}?"))):
            assert is_refused(await authenticate(api, tenant, presented(assertion)))
            assert work.take() == ([], 0)


async def test_one_time_limit(api: Api, tenant: str, config: Config, work: Work) -> None:
    """What the first statement waited for the database is taken from what the second one may."""
    key = new_key()
    client_id = await key_client(api, key)
    began = time.monotonic()
    assert (await authenticate(api, tenant, presented(signed(key, claims(client_id))))).status == 200

    first, second = work.limits
    assert first == config.database_timeout_s
    assert first - (time.monotonic() - began) < second < first


async def test_replay(api: Api, tenant: str, config: Config) -> None:
    """An assertion is good once, in all processes together; its id is its client's alone."""
    key = new_key()
    client_id, other_id = await key_client(api, key), await key_client(api, key)
    spent = presented(signed(key, claims(client_id, jti="once")))
    assert (await authenticate(api, tenant, spent)).status == 200

    assert is_refused(await authenticate(api, tenant, spent))
    assert is_refused(await authenticate(api, tenant, presented(signed(key, claims(client_id, jti="once")))))
    async with elsewhere(api, config) as there:
        assert is_refused(await authenticate(there, tenant, spent))
    assert (await authenticate(api, tenant, presented(signed(key, claims(other_id, jti="once"))))).status == 200


async def test_replay_at_once(api: Api, tenant: str, config: Config) -> None:
    """Of twenty who send the same assertion at the same time, to two processes, one is let in."""
    key = new_key()
    client_id = await key_client(api, key)
    assertion = presented(signed(key, claims(client_id)))

    async with elsewhere(api, config) as there:
        replies = await asyncio.gather(
            *(authenticate(caller, tenant, assertion) for _ in range(10) for caller in (api, there))
        )

    assert [reply.status for reply in replies].count(200) == 1
    assert sum(is_refused(reply) for reply in replies if reply.status != 200) == 19


async def test_spent_ids_are_swept(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """An id is forgotten some time after its assertion expired, and not before: clocks differ between machines."""
    key = new_key()
    client_id = await key_client(api, key)
    now = datetime.now(UTC)
    rows = [
        (tenant, client_id, sha256(name.encode()).digest(), now - timedelta(minutes=minutes))
        for name, minutes in (("long ago", 60), ("just now", 1))
    ]
    await owner.executemany("insert into assertions values ($1, $2, $3, $4)", rows)

    assert (await authenticate(api, tenant, presented(signed(key, claims(client_id, jti="new"))))).status == 200

    kept = await owner.fetch("select jti_digest from assertions where tenant_id = $1", tenant)
    assert {row["jti_digest"] for row in kept} == {sha256(name).digest() for name in (b"just now", b"new")}


async def test_nothing_of_it_is_logged(api: Api, tenant: str, caplog: pytest.LogCaptureFixture) -> None:
    """A log line says why a client was refused and nothing of what it sent."""
    key = new_key()
    client_id = await key_client(api, key)
    assertion = signed(new_key(), claims(client_id))
    with caplog.at_level(logging.DEBUG):
        await authenticate(api, tenant, presented(assertion))

    (record,) = [record for record in caplog.records if record.getMessage() == "client_refused"]
    assert vars(record)["reason"] == "wrong signature"
    assert not any(part in str(vars(record)) for record in caplog.records for part in assertion.split(".")[1:])


# ---------------------------------------------------------------------------------------------------------- jwks_uri


@asynccontextmanager
async def elsewhere(api: Api, config: Config, **options: Any) -> AsyncIterator[Api]:
    """The same caller at another process of the service, on the same database."""
    async with Served(build(config, **options)) as other, ClientSession() as session:
        yield Api(session, str(other.make_url("")).rstrip("/"), api.tokens, api.headers)


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Publisher]:
    """A server on which a client publishes its keys."""
    async with publisher(tmp_path) as far:
        yield far


@pytest.fixture
async def near(far: Publisher, api: Api, config: Config) -> AsyncIterator[Api]:
    """A service that finds *far* under its name; to all other names there is a private address."""

    def key_sets() -> KeySets:
        return KeySets(
            is_allowed=lambda address: address == IPv4Address("127.0.0.1"),
            resolver=Names(keys_example_com=["127.0.0.1"], inside_example_com=["127.0.0.2"]),
            ssl=far.trust,
        )

    async with elsewhere(api, config, key_sets=key_sets) as near:
        yield near


async def uri_client(api: Api, url: str) -> str:
    """The id of a client that publishes its keys at *url*."""
    return str(
        (await api.register(fapi_profile=None, jwks_uri=url, client_auth_methods=["private_key_jwt"]))["client_id"]
    )


async def test_published_keys(near: Api, far: Publisher, tenant: str) -> None:
    """Keys are found where the client publishes them, and fetched once for many assertions."""
    key = new_key()
    far.publish(key)
    client_id = await uri_client(near, far.url)

    for _ in range(3):
        assert (await authenticate(near, tenant, presented(signed(key, claims(client_id))))).status == 200
    assert is_refused(await authenticate(near, tenant, presented(signed(new_key(), claims(client_id)))))
    assert far.asked == 1


async def test_nothing_is_fetched_in_vain(near: Api, far: Publisher, tenant: str) -> None:
    """For an assertion that would be refused whoever signed it, and for a client that may not, nothing is fetched."""
    key = new_key()
    far.publish(key)
    client_id, suspended = await uri_client(near, far.url), await uri_client(near, far.url)
    await near.put(CLIENTS + suspended, json={"status": "suspended"})

    for payload in (claims(client_id, aud="?"), claims(client_id, exp=1), claims(suspended)):
        assert is_refused(await authenticate(near, tenant, presented(signed(key, payload))))
    assert far.asked == 0


async def test_redirected_keys(near: Api, far: Publisher, tenant: str) -> None:
    """Keys behind a redirect are no keys, wherever it leads."""
    key = new_key()
    for location in (f"https://127.0.0.1:{far.port}/", f"https://{HOST}:{far.port}/other", "http://169.254.169.254/"):
        far.answer = lambda location=location: web.Response(
            status=302, headers={"Location": location}, text=key_set(key)
        )
        client_id = await uri_client(near, f"{far.url}?{location}")
        assert is_refused(await authenticate(near, tenant, presented(signed(key, claims(client_id)))))
    assert far.asked == 3


async def test_keys_inside(near: Api, api: Api, far: Publisher, tenant: str, owner: asyncpg.Connection) -> None:
    """Keys on a private address are no keys: by a name that leads there, or by a URL from before today's rules."""
    key = new_key()
    far.publish(key)
    named = await uri_client(near, f"https://inside.example.com:{far.port}/")
    planted = [
        (await plant(owner, tenant, fapi_profile=None, jwks_uri=url)).client_id
        for url in (f"https://127.0.0.1:{far.port}/", f"https://[::1]:{far.port}/", f"http://{HOST}:{far.port}/")
    ]
    for client_id in (named, *planted):
        for caller in (near, api):
            assert is_refused(await authenticate(caller, tenant, presented(signed(key, claims(client_id)))))
    assert far.asked == 0
