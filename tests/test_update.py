"""PUT and DELETE of a client, and the versions by which callers do not overwrite each other."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.callers import EXAMPLE, Api
from tests.laws import check

CLIENTS = "/admin/oauth/clients/"


async def names(owner: asyncpg.Connection, tenant: str) -> list[str]:
    """The types of the tenant's events, after its laws were checked."""
    return [type(record.data).__name__ for record in await check(owner, tenant)]


async def test_update(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A field that is given changes, one that is left out stays, and a null takes a setting away."""
    client_id = (await api.register())["client_id"]

    reply = await api.put(CLIENTS + client_id, json={"name": "renamed", "website": None, "status": "active"})

    assert reply.status == 200
    shown = (await api.get(CLIENTS + client_id)).data
    assert reply.data == shown
    assert (shown["name"], shown["version"], shown["scopes"]) == ("renamed", 2, EXAMPLE["scopes"])
    assert "website" not in shown
    assert shown["updated_at"] > shown["created_at"]
    assert await names(owner, tenant) == ["ClientRegistered", "ClientUpdated"]


async def test_update_that_changes_nothing(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What is there already is no event and no version."""
    client_id = (await api.register())["client_id"]

    for body in ({}, {"name": EXAMPLE["name"], "status": "active"}, {"jwks": None}):
        reply = await api.put(CLIENTS + client_id, json=body)
        assert (reply.status, reply.data["version"]) == (200, 1)
    assert await names(owner, tenant) == ["ClientRegistered"]


async def test_suspension(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A suspended client's clone is suspended; each change of status is an event of its own."""
    client_id = (await api.register())["client_id"]

    for status in ("suspended", "inactive", "active", "suspended"):
        assert (await api.put(CLIENTS + client_id, json={"status": status})).data["status"] == status
    assert (await api.clone(client_id)).data["status"] == "suspended"

    assert (await names(owner, tenant))[1:] == [
        "ClientSuspended",
        "ClientDeactivated",
        "ClientReactivated",
        "ClientSuspended",
        "ClientCloned",
    ]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"status": "gone"}, ["status"]),
        ({"id": "x", "client_id": "y", "version": 3}, ["id", "client_id", "version"]),
        ({"name": None}, ["name"]),
        ({"redirect_uris": []}, ["redirect_uris"]),
        ({"jwks_uri": None}, ["client_auth_methods[1]"]),
        ({"client_secret": "secret_of_my_own"}, ["client_secret"]),
    ],
    ids=str,
)
async def test_bad_updates(api: Api, tenant: str, owner: asyncpg.Connection, body: Any, fields: list[str]) -> None:
    """What an update leads to must keep the rules as a whole; nothing is appended where it would not."""
    client_id = (await api.register())["client_id"]

    reply = await api.put(CLIENTS + client_id, json=body)

    assert (reply.status, reply.body["code"]) == (400, 400003)
    assert {violation["field"] for violation in reply.body["violations"]} >= {*fields}
    assert await names(owner, tenant) == ["ClientRegistered"]


async def test_delete(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A deleted client is 404 everywhere, and its log is whole."""
    client_id = (await api.register())["client_id"]
    clone_id = (await api.clone(client_id)).data["client_id"]

    reply = await api.delete(CLIENTS + client_id)

    assert (reply.status, reply.body) == (204, None)
    for method, path in (
        ("GET", client_id),
        ("PUT", client_id),
        ("DELETE", client_id),
        ("POST", f"{client_id}/clone"),
        ("POST", f"{client_id}/rotate-secret"),
        ("GET", f"{client_id}/secrets"),
        ("POST", f"{client_id}/secrets"),
    ):
        assert (await api.send(method, CLIENTS + path, json={})).status == 404, (method, path)
    assert [item["client_id"] for item in (await api.get(CLIENTS)).body["items"]] == [clone_id]
    assert await names(owner, tenant) == ["ClientRegistered", "ClientCloned", "ClientDeleted"]


async def test_entity_tags(api: Api) -> None:
    """The ETag of a client is its version, on every answer that shows it."""
    reply = await api.post(CLIENTS, json=EXAMPLE)
    client = CLIENTS + reply.data["client_id"]

    assert reply.headers["ETag"] == '"1"'
    assert (await api.get(client)).headers["ETag"] == '"1"'
    assert (await api.put(client, json={"name": "b"})).headers["ETag"] == '"2"'
    assert (await api.post(f"{client}/rotate-secret")).headers["ETag"] == '"3"'
    assert (await api.post(f"{client}/clone")).headers["ETag"] == '"1"'


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        (' "1" ', 200),
        ('"2"', 412),
        ('W/"1"', 412),
        ('"one"', 412),
        ('""', 412),
        ("1", 400),
        ('"1', 400),
        ('"1", "2"', 400),
        ("", 400),
    ],
)
async def test_preconditions(api: Api, tenant: str, owner: asyncpg.Connection, tag: str, status: int) -> None:
    """If-Match is compared with the version; a weak tag never matches; what is no tag is 400; nothing is done then."""
    client = CLIENTS + (await api.register())["client_id"]
    conditional = api.with_headers(If_Match=tag)

    replies = [
        await conditional.post(f"{client}/clone"),
        await conditional.put(client, json={"name": "b"}),
    ]

    assert [reply.status for reply in replies] == [201 if status == 200 else status, status]
    if status != 200:
        assert (await conditional.post(f"{client}/rotate-secret")).status == status
        assert (await conditional.delete(client)).status == status
        assert await names(owner, tenant) == ["ClientRegistered"]


async def test_no_update_is_lost(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """100 updates, rotations and clones of one client at once: no update is lost, and every secret shown works."""
    methods = ["client_secret_post", "private_key_jwt"]
    registered = await api.register(client_auth_methods=methods)
    client_id = registered["client_id"]
    client = CLIENTS + client_id

    async def rename(number: int) -> int:
        while True:
            tag = (await api.get(client)).headers["ETag"]
            reply = await api.with_headers(If_Match=tag).put(client, json={"website": f"https://{number}.example.com/"})
            if reply.status != 412:
                return reply.status

    renamed, rotated, cloned = await asyncio.gather(
        asyncio.gather(*(rename(number) for number in range(34))),
        asyncio.gather(*(api.post(f"{client}/rotate-secret") for _ in range(33))),
        asyncio.gather(*(api.clone(client_id) for _ in range(33))),
    )

    assert set(renamed) == {200}
    assert {reply.status for reply in cloned} == {201}
    # two active secrets and one in its grace: who would be one too many is told so, and loses nothing
    assert sorted(reply.status for reply in rotated) == [200] * 2 + [409] * 31
    happened = await names(owner, tenant)
    assert sorted(happened) == sorted(
        ["ClientRegistered", *["ClientUpdated"] * 34, *["SecretRotated"] * 2, *["ClientCloned"] * 33]
    )
    assert (await api.get(client)).data["version"] == 1 + 34 + 2
    service = api.as_role("service", tenant)
    shown = [registered, *(reply.data for reply in cloned)]
    handed_out = [(data["client_id"], data["client_secret"]) for data in shown]
    handed_out += [(client_id, reply.data["new_secret"]) for reply in rotated if reply.status == 200]
    for name, secret in handed_out:
        body = {"client_id": name, "client_secret": secret}
        assert (await service.post("/internal/oauth/clients/authenticate", json=body)).status == 200
