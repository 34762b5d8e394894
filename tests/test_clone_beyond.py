"""Cloning with overrides, a dry run of it, and where a clone comes from."""

from typing import Any

import asyncpg
import pytest

from tests.callers import EXAMPLE, Api
from tests.laws import check

CLIENTS = "/admin/oauth/clients/"


async def test_overrides(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What the body gives takes the source's place, also its name, which then has no suffix; the rest is kept."""
    source = await api.register()
    body = {"name": "staging", "redirect_uris": ["https://staging.example.com/callback"], "website": None}

    clone = (await api.clone(source["client_id"], json=body)).data

    assert clone["name"] == "staging"
    assert clone["redirect_uris"] == ["https://staging.example.com/callback"]
    assert clone["scopes"] == EXAMPLE["scopes"]
    shown = (await api.get(CLIENTS + clone["client_id"])).data
    assert "website" not in shown
    assert shown["logo_url"] == EXAMPLE["logo_url"]
    assert (await api.get(CLIENTS + source["client_id"])).data["website"] == EXAMPLE["website"]
    await check(owner, tenant)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "x" * 256}, ["name"]),
        ({"redirect_uris": ["http://evil.example/", "javascript:alert(1)"]}, ["redirect_uris[0]", "redirect_uris[1]"]),
        ({"jwks_uri": None}, ["client_auth_methods[1]"]),
        ({"is_confidential": False}, ["client_auth_methods[0]", "is_confidential"]),
        ({"status": "active"}, ["status"]),
        ({"client_id": "app-mine", "client_secret": "mine"}, ["client_id", "client_secret"]),
        ({"scopes": "openid", "grant_types": [1]}, ["scopes", "grant_types[0]"]),
    ],
    ids=str,
)
async def test_bad_overrides(api: Api, tenant: str, owner: asyncpg.Connection, body: Any, fields: list[str]) -> None:
    """The copy is validated as a whole, and a status or a credential cannot be chosen; nothing is appended."""
    source = await api.register()

    for query in ("", "?dry_run=true"):
        reply = await api.post(f"{CLIENTS}{source['client_id']}/clone{query}", json=body)

        assert (reply.status, reply.body["code"]) == (400, 400003)
        assert {violation["field"] for violation in reply.body["violations"]} >= {*fields}
    assert len(await check(owner, tenant)) == 1


async def test_overrides_that_ask_for_a_secret(api: Api) -> None:
    """A copy whose methods use a secret gets one, whatever its source had; one without has none."""
    keyless = await api.register(client_auth_methods=["private_key_jwt"], fapi_profile=None)

    with_secret = await api.clone(keyless["client_id"], json={"client_auth_methods": ["client_secret_post"]})
    again_without = await api.clone(
        with_secret.data["client_id"], json={"client_auth_methods": ["none"], "is_confidential": False}
    )

    assert "client_secret" in with_secret.data
    assert (again_without.status, "client_secret" in again_without.data) == (201, False)


async def test_dry_run(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A dry run says what would be created and what would differ, appends nothing and mints nothing."""
    source = await api.register()
    path = f"{CLIENTS}{source['client_id']}/clone?dry_run=true"

    reply = await api.post(path, json={"scopes": ["openid"], "terms_url": None})

    assert reply.status == 200
    assert reply.data["source_id"] == source["client_id"]
    assert reply.data["source_version"] == 1
    assert reply.data["has_secret"] is True
    assert reply.data["differs"] == [
        {"field": "name", "source": "My Application", "clone": "My Application (clone)"},
        {"field": "scopes", "source": EXAMPLE["scopes"], "clone": ["openid"]},
        {"field": "terms_url", "source": EXAMPLE["terms_url"]},
    ]
    would = reply.data["client"]
    assert not {"id", "client_id", "client_secret"} & set(would)
    clone = (await api.clone(source["client_id"], json={"scopes": ["openid"], "terms_url": None})).data
    shown = (await api.get(CLIENTS + clone["client_id"])).data
    assert would == {name: shown[name] for name in would}
    assert len(await check(owner, tenant)) == 2


async def test_dry_run_refuses_as_the_clone_would(api: Api) -> None:
    """A dry run of what would be refused is refused."""
    assert (await api.post(f"{CLIENTS}app-nobody/clone?dry_run=true")).status == 404
    source = await api.register()
    path = f"{CLIENTS}{source['client_id']}/clone?dry_run=true"
    assert (await api.with_headers(If_Match='"2"').post(path)).status == 412
    assert (await api.post(path.replace("true", "maybe"))).status == 400
    assert (await api.post(path.replace("dry_run", "dryrun"))).status == 400


async def test_lineage(api: Api) -> None:
    """A clone names its source; a source's clones, and no others, are listed by it."""
    source = (await api.register())["client_id"]
    first = (await api.clone(source)).data["client_id"]
    second = (await api.clone(first)).data["client_id"]

    assert (await api.get(CLIENTS + second)).data["cloned_from"] == first
    for of, clones in ((source, [first]), (first, [second]), (second, [])):
        found = (await api.get(CLIENTS, params={"cloned_from": of})).body
        assert ([item["client_id"] for item in found["items"]], found["total"]) == (clones, len(clones))
    assert (await api.get(CLIENTS, params={"cloned_from": "APP"})).status == 400


async def test_provenance_in_the_event(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """The event says which version of the source was copied."""
    source = (await api.register())["client_id"]
    await api.put(CLIENTS + source, json={"name": "b"})
    await api.clone(source)

    event = (await check(owner, tenant))[-1].data

    assert (getattr(event, "source_id", ""), getattr(event, "source_version", 0)) == (source, 2)
