"""GET /admin/oauth/clients/ and GET /admin/oauth/clients/{client_id}."""

import asyncpg

from tests.callers import Api
from tests.planting import plant

CLIENTS = "/admin/oauth/clients/"


async def test_an_empty_list(api: Api) -> None:
    """A tenant that never wrote anything has an empty list."""
    reply = await api.get(CLIENTS)

    assert set(reply.body) == {"code", "message", "timestamp", "items", "total", "pagination"}
    assert (reply.body["items"], reply.body["total"]) == ([], 0)
    assert reply.body["pagination"] == {
        "page": 1,
        "page_size": 20,
        "total": 0,
        "total_pages": 0,
        "has_next": False,
        "has_prev": False,
    }


async def test_pages(api: Api) -> None:
    """Pages are cut from one order, newest first; together they hold every client once."""
    registered = [(await api.register(name=f"client {number}"))["client_id"] for number in range(5)]

    pages = [(await api.get(f"{CLIENTS}?page={page}&page_size=2")).body for page in (1, 2, 3, 4)]

    assert [item["client_id"] for page in pages for item in page["items"]] == registered[::-1]
    assert [page["total"] for page in pages] == [5, 5, 5, 5]
    assert [(page["pagination"]["has_prev"], page["pagination"]["has_next"]) for page in pages] == [
        (False, True),
        (True, True),
        (True, False),
        (True, False),
    ]
    assert pages[3]["pagination"]["total_pages"] == 3


async def test_search_by_name(api: Api) -> None:
    """A name is found by any part of it, whatever the letter case, in any script; wildcards are letters."""
    await api.register(name="Straße der Ärzte 100%")
    await api.register(name="other")

    for part in ("ärzte", "ÄRZTE", "strasse", "STRASSE", "100%"):
        assert (await api.get(CLIENTS, params={"name": part})).body["total"] == 1, part
    assert (await api.get(CLIENTS, params={"name": "r%e"})).body["total"] == 0


async def test_filter_by_status(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A status keeps the clients that have it; it goes together with a name."""
    await api.register(name="first")
    suspended = await plant(owner, tenant, status="suspended", name="second")

    items = (await api.get(CLIENTS, params={"status": "suspended"})).body["items"]

    assert [item["client_id"] for item in items] == [suspended.client_id]
    assert (await api.get(CLIENTS, params={"status": "suspended", "name": "first"})).body["total"] == 0


async def test_an_item(api: Api, tenant: str) -> None:
    """A client is shown with all its settings, its tenant and its times, and without any credential."""
    registered = await api.register()

    item = (await api.get(CLIENTS + registered["client_id"])).data

    assert item["tenant_id"] == tenant
    assert item["created_at"] == item["updated_at"]
    assert item["secret_last_four"] == registered["client_secret"][-4:]
    assert "deleted_at" not in item
    assert "cloned_from" not in item
    assert {name for name in item if "secret" in name} == {"secret_last_four"}
    listed = (await api.get(CLIENTS)).body["items"]
    assert listed == [item]


async def test_an_auditor_reads(api: Api, tenant: str) -> None:
    """An auditor sees what an administrator sees."""
    client_id = (await api.register())["client_id"]
    auditor = api.as_role("auditor", tenant)

    for path in (CLIENTS, CLIENTS + client_id):
        theirs, ours = await auditor.get(path), await api.get(path)
        assert {**theirs.body, "timestamp": 0} == {**ours.body, "timestamp": 0}


async def test_deleted_clients_are_gone(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A deleted client is neither listed nor shown."""
    gone = await plant(owner, tenant, deleted=True)

    assert (await api.get(CLIENTS)).body["total"] == 0
    assert (await api.get(CLIENTS + gone.client_id)).status == 404


async def test_defaults_at_registration(api: Api) -> None:
    """What is left out has the contract's default (RFC 7591 section 2)."""
    reply = await api.post(CLIENTS, json={"name": "plain", "redirect_uris": ["https://app.example.com/callback"]})

    assert reply.status == 201
    assert {name: reply.data[name] for name in reply.data if name not in {"id", "client_id", "client_secret"}} == {
        "name": "plain",
        "status": "active",
        "redirect_uris": ["https://app.example.com/callback"],
        "scopes": [],
        "grant_types": ["authorization_code"],
        "client_auth_methods": '["client_secret_basic"]',
        "cors_origins": [],
        "is_confidential": True,
    }
