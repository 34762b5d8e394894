"""Signed heads, and whole logs verified over HTTP."""

import asyncio
import json
import warnings

import asyncpg
import pytest
from aiohttp.test_utils import TestServer
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet, OKPKey

from events import chain, log
from service.audit import heads, proof
from service.audit.heads import NoHead
from service.config import Config
from service.jose import PublicKey
from service.signing import load_key
from tests.callers import Api
from tests.planting import tampered

KEYS = "/.well-known/jwks.json"


async def test_head(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A head says where the log ends, and a standard library proves with the published keys that it was said here."""
    await api.register()

    reply = await api.get("/admin/audit/head")

    (entry,) = [entry async for entry in log.read(owner, tenant)]
    told = {"tenant_id": tenant, "position": 1, "digest": entry.digest.hex(), "time": reply.data["time"]}
    assert {name: value for name, value in reply.data.items() if name != "head"} == told
    keys = KeySet.import_key_set((await api.get(KEYS)).body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        signed = jws.deserialize_compact(reply.data["head"], keys, algorithms=["EdDSA"])
    assert json.loads(signed.payload) == told
    assert signed.headers() == {"alg": "EdDSA", "kid": keys.keys[0].kid, "typ": "mitosis-head+jws"}


async def test_head_of_nothing(api: Api, tenant: str) -> None:
    """A tenant that never wrote is at position 0, with the digest that its first record will follow from."""
    data = (await api.get("/admin/audit/head")).data

    assert (data["position"], data["digest"]) == (0, chain.genesis(tenant).hex())
    assert "time" not in data


async def test_head_of_another_tenant(api: Api, tenant: str) -> None:
    """A super_admin gets the head of the tenant that it acts in."""
    await api.register()
    root = api.as_role("super_admin", "root").with_headers(X_Tenant_ID=tenant)

    assert (await root.get("/admin/audit/head")).data["position"] == 1


async def test_keys_are_public(api: Api) -> None:
    """Anybody may have the keys, at both addresses; nothing private is among them."""
    for path in (KEYS, f"/api/v1{KEYS}"):
        reply = await api.with_headers(Authorization="").get(path)
        (key,) = reply.body["keys"]
        assert set(key) == {"kty", "crv", "x", "kid", "use"}


async def test_head_is_no_token(api: Api) -> None:
    """A head lets nobody in, though the same key signs tokens; and a token is no head."""
    head = (await api.get("/admin/audit/head")).data["head"]

    assert (await api.with_headers(Authorization=f"Bearer {head}").get("/admin/audit/head")).status == 401
    with pytest.raises(NoHead, match="is no signed head"):
        heads.read(api.headers["Authorization"].removeprefix("Bearer "), [], source="kept")


async def test_forged_heads(api: Api, server: TestServer) -> None:
    """A head that was altered, is signed with another key or says what cannot be is refused, wherever it was kept."""
    await api.register()
    head = (await api.get("/admin/audit/head")).data["head"]
    key = server.app[proof.SIGNER]._key  # noqa: SLF001 (the service's own)
    public = PublicKey({**key.as_dict(private=False), "kid": key.thumbprint()})
    header, payload, signature = head.split(".")
    stranger = OKPKey.generate_key("Ed25519")

    assert heads.read(f" {head}\n", [public], source="kept")[1].position == 1
    other = await api.as_role("admin", "another").get("/admin/audit/head")
    for forged in (
        "x",
        f"{header}.{payload}.",
        f"{header}.{other.data['head'].split('.')[1]}.{signature}",
        heads.HeadSigner(stranger).sign("acme", log.beginning("acme")),
    ):
        with pytest.raises(NoHead, match=r"^kept is"):
            heads.read(forged, [public], source="kept")
    with pytest.raises(NoHead):
        heads.read(head, [], source="kept")


async def test_hash_chain(api: Api, tenant: str) -> None:
    """From the genesis digest to the last one, with as many records as there are, and whether all is well."""
    empty = (await api.get(f"/admin/audit/hashchain/{tenant}")).data
    source = (await api.register())["client_id"]
    for _ in range(4):
        await api.clone(source)

    data = (await api.get(f"/admin/audit/hashchain/{tenant}")).data

    start = chain.genesis(tenant).hex()
    assert (empty["log_count"], empty["start_hash"], empty["end_hash"], empty["is_valid"]) == (0, start, start, True)
    head = (await api.get("/admin/audit/head")).data
    assert (data["tenant_id"], data["log_count"], data["is_valid"]) == (tenant, 5, True)
    assert (data["start_hash"], data["end_hash"]) == (start, head["digest"])
    assert data["verified_at"].endswith("Z")


async def test_verification(api: Api, tenant: str) -> None:
    """What was checked, and that nothing is wrong with it; an empty log has nothing that could be."""
    body = {"tenant_id": tenant}
    empty = (await api.post("/admin/audit/verifications", json=body)).data
    await api.register()

    data = (await api.post("/admin/audit/verifications", json=body)).data

    message = "Every record is there as it was written."
    assert empty == {"valid": True, "checked_count": 0, "message": message}
    digest = (await api.get("/admin/audit/head")).data["digest"]
    expected = {"valid": True, "checked_count": 1, "first_hash": digest, "last_hash": digest, "message": message}
    assert data == expected


@pytest.mark.parametrize("role", ["admin", "auditor"])
async def test_whose_log(api: Api, tenant: str, role: str) -> None:
    """The own tenant's; another's is for a super_admin, for whom one that never was is an empty one."""
    caller, root = api.as_role(role, f"{tenant}-other"), api.as_role("super_admin", "root")

    for reply in (
        await caller.get(f"/admin/audit/hashchain/{tenant}"),
        await caller.post("/admin/audit/verifications", json={"tenant_id": tenant}),
    ):
        assert (reply.status, reply.body["code"]) == (403, 403002)
    assert (await caller.get(f"/admin/audit/hashchain/{tenant}-other")).status == 200
    assert (await root.get(f"/admin/audit/hashchain/{tenant}")).data["log_count"] == 0
    for malformed in (
        await root.get("/admin/audit/hashchain/a%20b"),
        await root.get("/admin/audit/hashchain/t%00"),
        await root.post("/admin/audit/verifications", json={"tenant_id": "a b"}),
    ):
        assert (malformed.status, malformed.body["code"]) == (400, 400003)
        assert malformed.body["violations"][0]["field"] == "tenant_id"


async def test_a_damaged_log(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What was done to a log is said with its position, whoever did it."""
    source = (await api.register())["client_id"]
    for _ in range(3):
        await api.clone(source)
    forge = (
        "update events set body = replace(body::text, 'admin', 'nobody')::json where tenant_id = $1 and position = 3"
    )
    async with tampered(owner, tenant, forge):
        data = (await api.post("/admin/audit/verifications", json={"tenant_id": tenant})).data
        chained = (await api.get(f"/admin/audit/hashchain/{tenant}")).data

    assert (data["valid"], data["checked_count"], data["broken_at"]) == (False, 4, 3)
    assert data["message"].startswith("The record at position 3 does not follow")
    assert chained["is_valid"] is False


async def test_a_line_of_verifications(
    api: Api, server: TestServer, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One log of a tenant at once, and so many in all; who waits for too long is told to come again."""
    monkeypatch.setattr(proof, "_LINE_S", 0.05)
    line = server.app[proof.VERIFYING]
    async with line.place(tenant, wait_s=1):
        reply = await api.get(f"/admin/audit/hashchain/{tenant}")
        other = await api.as_role("admin", f"{tenant}-other").get(f"/admin/audit/hashchain/{tenant}-other")
    async with line.place("one", wait_s=1), line.place("two", wait_s=1):
        late = await api.get(f"/admin/audit/hashchain/{tenant}")

    assert (other.status, late.status) == (200, 429)
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (429, 429002, "1")
    several = await asyncio.gather(*(api.get(f"/admin/audit/hashchain/{tenant}") for _ in range(6)))
    assert {one.status for one in several} == {200}


async def test_the_key_is_the_services(api: Api, config: Config) -> None:
    """Heads are signed with the key whose file the README names."""
    key = load_key(config.key_file)

    assert (await api.get(KEYS)).body["keys"][0]["kid"] == key.thumbprint()
