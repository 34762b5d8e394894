"""`mitosis tenant copy`: a tenant once more, in a chain of its own, with what was asked to be different."""

import json

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from events import log
from events.client import ClientSuspended
from events.tenant import Rewrite, TenantCopied
from service import copying
from service.audit.verifying import verify
from service.rewriting import Rules
from tests.callers import EXAMPLE, Api
from tests.commands import Mitosis
from tests.laws import check
from tests.planting import plant

BY_SECRET = {"client_auth_methods": ["client_secret_post"], "fapi_profile": None, "jwks_uri": None}
REWRITE = ("--rewrite", "https://app.example.com=https://staging.example.com")


@pytest.fixture
def new(tenant: str) -> str:
    """The name of the copy."""
    return f"{tenant}-copy"


async def history(api: Api) -> dict[str, str]:
    """A client that works, one that is suspended and one that is gone, by what they are."""
    clients = {name: (await api.register(name=name))["client_id"] for name in ("active", "suspended", "deleted")}
    await api.post(f"/admin/oauth/clients/{clients['active']}/rotate-secret")
    await api.put(f"/admin/oauth/clients/{clients['suspended']}", json={"status": "suspended", "scopes": ["x"]})
    await api.delete(f"/admin/oauth/clients/{clients['deleted']}")
    clients["clone"] = (await api.clone(clients["active"])).data["client_id"]
    return clients


async def test_copy(api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis) -> None:
    """The copy has the source's clients under their ids, with the same history; its first record says whose it is."""
    clients = await history(api)
    before = await check(owner, tenant)

    said = await mitosis("tenant", "copy", tenant, "--as", new, *REWRITE, "--subject", "ops@acme")

    assert said.status == 0, said.err
    first, *others = await check(owner, new)
    head = await log.head(owner, tenant)
    assert isinstance(first.data, TenantCopied)
    assert (first.data.source_tenant, first.data.source_position) == (tenant, len(before))
    assert first.data.source_digest == head.digest.hex()
    assert first.data.rewrites == (Rewrite(old="https://app.example.com", new="https://staging.example.com"),)
    assert (first.actor.subject, first.actor.role) == ("ops@acme", "operator")
    assert first.time == before[0].time < first.data.copied_at
    kept = [record for record in before if "Secret" not in type(record.data).__name__]
    assert [(one.client_id, type(one.data), one.time, one.actor) for one in others] == [
        (one.client_id, type(one.data), one.time, one.actor) for one in kept
    ]
    assert await check(owner, tenant) == before
    assert (await verify(owner, new)).is_whole
    copy = api.as_role("admin", new)
    item = (await copy.get(f"/admin/oauth/clients/{clients['active']}")).data
    assert item["redirect_uris"] == ["https://staging.example.com/callback"]
    assert item["cors_origins"] == ["https://staging.example.com"]
    assert item["terms_url"] == "https://staging.example.com/terms"
    assert item["jwks_uri"] == EXAMPLE["jwks_uri"]
    assert (await copy.get(f"/admin/oauth/clients/{clients['suspended']}")).data["status"] == "suspended"
    assert (await copy.get(f"/admin/oauth/clients/{clients['deleted']}")).status == 404


async def test_no_secret_comes_along(
    api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis
) -> None:
    """Secrets are left behind; the clients that need one are listed, and work once they were rotated."""
    clients = await history(api)
    clients["active"] = (await api.register(**BY_SECRET))["client_id"]

    said = await mitosis("tenant", "copy", tenant, "--as", new)

    needing = [line.partition(" needs a secret: rotate it")[0] for line in said.lines[:-1]]
    assert needing == sorted(needing)
    assert len(needing) == 4
    assert {clients["active"], clients["suspended"], clients["clone"]} <= set(needing)
    rows = await owner.fetch("select private, body from events where tenant_id = $1", new)
    assert not any(row["private"] or "sealed" in row["body"] or "secret_id" in row["body"] for row in rows)
    copy = api.as_role("admin", new)
    rotated = (await copy.post(f"/admin/oauth/clients/{clients['active']}/rotate-secret")).data
    authenticated = await copy.as_role("service", new).post(
        "/internal/oauth/clients/authenticate",
        json={"client_id": clients["active"], "client_secret": rotated["new_secret"]},
    )
    assert authenticated.status == 200


async def test_with_secrets(api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis) -> None:
    """If it is asked for, the secrets work in the copy as well, and both chains verify with their private parts."""
    registered = await api.register(**BY_SECRET)
    rotated = (await api.post(f"/admin/oauth/clients/{registered['client_id']}/rotate-secret")).data

    said = await mitosis("tenant", "copy", tenant, "--as", new, "--with-secrets")

    assert (said.status, len(said.lines)) == (0, 1)
    await check(owner, new)
    assert (await verify(owner, new)).is_whole
    for secret in (registered["client_secret"], rotated["new_secret"]):
        authenticated = await api.as_role("service", new).post(
            "/internal/oauth/clients/authenticate",
            json={"client_id": registered["client_id"], "client_secret": secret},
        )
        assert authenticated.status == 200


async def test_only_active(api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis) -> None:
    """Clients that are not active now are left out, with all that ever happened to them."""
    clients = await history(api)

    await mitosis("tenant", "copy", tenant, "--as", new, "--only-active")

    records = await check(owner, new)
    assert {record.client_id for record in records} == {"", clients["active"], clients["clone"]}
    assert not any(isinstance(record.data, ClientSuspended) for record in records)


async def test_many(
    owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant is copied a batch at a time, and the copy of a copy is one too."""
    for _ in range(7):
        await plant(owner, tenant)
    monkeypatch.setattr(copying, "BATCH", 3)

    said = await mitosis("tenant", "copy", tenant, "--as", new, "--json")
    again = await mitosis("tenant", "copy", new, "--as", f"{new}-2", "--json")

    assert (json.loads(said.out)["position"], json.loads(again.out)["position"]) == (8, 8)
    assert len(await check(owner, f"{new}-2")) == 8


async def test_other_events(api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis) -> None:
    """No event of the copy has an id of the source's: a broker that knows those would drop them."""
    await history(api)
    await mitosis("tenant", "copy", tenant, "--as", new, "--with-secrets")

    ids = [{record.event_id for record in await check(owner, one)} for one in (tenant, new)]

    assert ids[0].isdisjoint(ids[1])
    times = [sorted(ULID.from_str(one).milliseconds for one in each) for each in ids]
    assert set(times[0]) <= set(times[1])


async def test_dry_run(api: Api, owner: asyncpg.Connection, tenant: str, new: str, mitosis: Mitosis) -> None:
    """What would be copied is said, and nothing is, not even a head."""
    await history(api)

    said = await mitosis("tenant", "copy", tenant, "--as", new, "--dry-run")

    assert said.lines[-1].startswith(f"tenant {tenant} would be copied to {new} with 8 records")
    assert await owner.fetchval("select count(*) from heads where tenant_id = $1", new) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (("nobody", "--as", "x"), 1, "there is no tenant nobody"),
        (("nobody", "--as", "a b"), 1, "--as must be 1 to 128"),
        (("nobody",), 2, "required: --as"),
        (("nobody", "--as", "x", "--rewrite", "https://a.example"), 2, "--rewrite"),
        (("nobody", "--as", "x", "--rewrite", "https://a.example=javascript:x"), 2, "--rewrite"),
    ],
)
async def test_refused(mitosis: Mitosis, arguments: tuple[str, ...], status: int, why: str) -> None:
    """What cannot be copied is said in one line."""
    said = await mitosis("tenant", "copy", *arguments)

    assert (said.status, said.out) == (status, "")
    assert why in said.err


async def test_a_tenant_that_is_there(api: Api, tenant: str, new: str, mitosis: Mitosis) -> None:
    """Nothing is copied over anything."""
    await api.register()
    await api.as_role("admin", new).register()

    said = await mitosis("tenant", "copy", tenant, "--as", new)

    assert (said.status, said.err) == (1, f"mitosis: there is a tenant {new} already\n")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://old.example", "https://new.example/x"),
        ("https://old.example/", "https://new.example/x/"),
        ("https://old.example/a?b#c", "https://new.example/x/a?b#c"),
        ("https://old.example?b", "https://new.example/x?b"),
        ("https://old.example.evil.com/", "https://old.example.evil.com/"),
        ("https://old.example:8443/", "https://old.example:8443/"),
        ("https://old.example@evil.com/", "https://old.example@evil.com/"),
        ("http://old.example/", "http://old.example/"),
        ("com.old.app:/callback", "com.old.app:/callback"),
    ],
)
def test_whole_hosts(url: str, expected: str) -> None:
    """A URL is rewritten where it begins as it is said, up to the end of a host or a part of the path."""
    rules = Rules("acme", (Rewrite(old="https://old.example", new="https://new.example/x"),))

    assert rules.url(url) == expected


@given(st.integers(0, 2**128 - 1), st.text(min_size=1), st.text(min_size=1))
def test_event_ids(number: int, target: str, other: str) -> None:
    """An event's id in a copy is of the same time, always the same, and another in another copy."""
    old = str(ULID(number.to_bytes(16, "big")))
    made = Rules(target).event_id(old)

    assert ULID.from_str(made).bytes[:6] == ULID.from_str(old).bytes[:6]
    assert made == Rules(target).event_id(old) != old
    assert (made == Rules(other).event_id(old)) == (target == other)
