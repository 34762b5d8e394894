"""The flagship: POST /admin/oauth/clients/{client_id}/clone."""

import json
from typing import Any

import asyncpg
import msgspec
import pytest
from joserfc.jwk import ECKey, KeySet

from events.client import ClientCloned, ClientRegistered
from service.credentials import Credential, is_well_formed
from service.decisions import clone_name
from service.shapes import ClonedClient, shown
from tests.callers import EXAMPLE, Api
from tests.laws import check
from tests.planting import plant

KEPT = ("redirect_uris", "scopes", "grant_types", "cors_origins", "fapi_profile", "jwks_uri")
ONLY_IN_ITEM = ("is_confidential", "logo_url", "website", "terms_url", "privacy_policy")


async def test_clone_of_the_example(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """Every setting is kept, field by field; identity, credential and history are the clone's own."""
    source = await api.register()

    reply = await api.clone(source["client_id"])

    assert reply.status == 201
    assert reply.body["code"] == 0
    clone = reply.data
    assert set(clone) == {
        *("id", "client_id", "client_secret", "name", "status", "client_auth_methods"),
        *KEPT,
    }
    assert {name: clone[name] for name in KEPT} == {name: EXAMPLE[name] for name in KEPT}
    assert clone["client_auth_methods"] == '["client_secret_basic","private_key_jwt"]'
    assert clone["name"] == "My Application (clone)"
    assert clone["status"] == "active"
    assert clone["client_id"] == f"app-{clone['id'].lower()}"
    for own in ("id", "client_id", "client_secret"):
        assert clone[own] != source[own]
    assert is_well_formed(clone["client_secret"])
    shown = (await api.get(f"/admin/oauth/clients/{clone['client_id']}")).data
    assert {name: shown[name] for name in ONLY_IN_ITEM} == {name: EXAMPLE[name] for name in ONLY_IN_ITEM}
    assert shown["cloned_from"] == source["client_id"]
    assert shown["version"] == 1
    assert shown["secret_last_four"] == clone["client_secret"][-4:]
    assert [record.data.__class__.__name__ for record in await check(owner, tenant)] == [
        "ClientRegistered",
        "ClientCloned",
    ]


async def test_clone_of_a_clone(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A clone is a client like any other, and its clone names it as the source, at the version it had."""
    first = (await api.clone((await api.register())["client_id"])).data

    second = (await api.clone(first["client_id"])).data

    assert second["name"] == "My Application (clone) (clone)"
    event = (await check(owner, tenant))[-1].data
    assert (getattr(event, "source_id", None), getattr(event, "source_version", None)) == (first["client_id"], 1)


async def test_clone_keeps_a_jwk_set(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """The JWK Set is kept to the letter."""
    jwks = json.dumps(KeySet([ECKey.generate_key("P-256")]).as_dict(private=False), indent=1)
    source = await api.register(jwks=jwks, jwks_uri=None)
    assert source["jwks"] == jwks

    await api.clone(source["client_id"])

    registered, cloned = (record.data for record in await check(owner, tenant))
    assert isinstance(registered, ClientRegistered)
    assert isinstance(cloned, ClientCloned)
    assert cloned.settings.jwks == registered.settings.jwks == jwks


@pytest.mark.parametrize("methods", [["none"], ["private_key_jwt"], ["self_signed_tls_client_auth"]], ids="+".join)
async def test_clone_without_a_secret(api: Api, tenant: str, owner: asyncpg.Connection, methods: list[str]) -> None:
    """A client that has no use for a secret is registered and cloned without one: no field, no hash, no last four."""
    changes: dict[str, Any] = {"client_auth_methods": methods, "is_confidential": methods != ["none"]}
    source = await api.register(**changes, fapi_profile=None)

    clone = await api.clone(source["client_id"])

    assert "client_secret" not in source
    assert "client_secret" not in clone.data
    assert "secret_last_four" not in (await api.get(f"/admin/oauth/clients/{clone.data['client_id']}")).data
    await check(owner, tenant)
    assert await owner.fetchval("select count(private) from events where tenant_id = $1", tenant) == 0


async def test_a_credential_made_in_vain(owner: asyncpg.Connection, tenant: str) -> None:
    """Where the source stopped to use secrets while one was made, it is not shown: it would open nothing."""
    client = msgspec.structs.replace(await plant(owner, tenant), secrets=())

    assert "client_secret" not in msgspec.to_builtins(shown(ClonedClient, client, Credential("secret_x", "a hash")))


@pytest.mark.parametrize("status", ["suspended", "inactive"])
async def test_clone_keeps_the_status(api: Api, tenant: str, owner: asyncpg.Connection, status: Any) -> None:
    """Cloning is no way around a suspension."""
    source = await plant(owner, tenant, status=status)

    assert (await api.clone(source.client_id)).data["status"] == status


@pytest.mark.parametrize("length", [1, 247, 248, 255])
async def test_clone_name_within_its_limit(api: Api, length: int) -> None:
    """The source's part of the name is cut, never the suffix."""
    source = await api.register(name="é" * length)

    clone = (await api.clone(source["client_id"])).data

    assert clone["name"] == "é" * min(length, 247) + " (clone)"
    assert clone_name(clone["name"]).endswith(" (clone)")


async def test_clone_of_what_todays_rules_refuse(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A source that could not be registered today is not copied: 400, with what is wrong."""
    source = await plant(owner, tenant, redirect_uris=("http://app.example.com/callback",), grant_types=("implicit",))

    reply = await api.clone(source.client_id)

    assert reply.status == 400
    assert reply.body["code"] == 400003
    assert {violation["field"] for violation in reply.body["violations"]} >= {"redirect_uris[0]", "grant_types[0]"}
    assert len(await check(owner, tenant)) == 1


@pytest.mark.parametrize(
    "options",
    [{}, {"data": b"", "headers": {"Content-Type": "application/json"}}, {"json": {}}],
    ids=["no body", "empty JSON body", "empty object"],
)
async def test_clone_takes_no_body(api: Api, options: dict[str, Any]) -> None:
    """Existing SDKs send an empty body as application/json; it works."""
    source = await api.register()

    assert (await api.clone(source["client_id"], **options)).status == 201


async def test_the_secret_is_shown_once(api: Api) -> None:
    """The answer that carries a secret is not to be stored, and no other answer carries it."""
    source = await api.register()
    reply = await api.clone(source["client_id"])

    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Pragma"] == "no-cache"
    shown = await api.get(f"/admin/oauth/clients/{reply.data['client_id']}")
    listed = await api.get("/admin/oauth/clients/")
    assert "client_secret" not in shown.data
    assert reply.data["client_secret"] not in f"{shown.body}{listed.body}"


async def test_clone_across_tenants(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """Another tenant's client does not exist: 404, as for an id that was never used, and nothing is appended."""
    source = await api.register()
    stranger = api.as_role("admin", f"{tenant}-other")

    theirs = await stranger.clone(source["client_id"])
    nobodys = await stranger.clone("app-00000000000000000000000000")

    assert theirs.status == nobodys.status == 404
    assert {**theirs.body, "timestamp": None} == {**nobodys.body, "timestamp": None}
    assert await check(owner, f"{tenant}-other") == []


async def test_super_admin_clones_where_it_says(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """X-Tenant-ID takes a super_admin, and nobody else, into another tenant; the clone stays in it."""
    source = await api.register()
    root = api.as_role("super_admin", f"{tenant}-root")

    assert (await root.clone(source["client_id"])).status == 404
    assert (await root.with_headers(X_Tenant_ID=tenant).clone(source["client_id"])).status == 201

    record = (await check(owner, tenant))[-1]
    assert (record.actor.subject, record.actor.role) == (f"super_admin@{tenant}-root", "super_admin")


async def test_clone_of_a_deleted_client(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A deleted client does not exist."""
    source = await plant(owner, tenant, deleted=True)

    assert (await api.clone(source.client_id)).status == 404


@pytest.mark.parametrize("client_id", ["demo", "APP-DEMO", "app-", "app-x%00", "app-%20", "app-" + "x" * 61, "app-é"])
async def test_malformed_client_id(api: Api, client_id: str) -> None:
    """An id that cannot be one is 400, whoever's it would be."""
    reply = await api.clone(client_id)

    assert (reply.status, reply.body["code"]) == (400, 400002)
