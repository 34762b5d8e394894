"""The life of a client's secrets: rotation, a second secret, deactivation and deletion."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from argon2 import PasswordHasher

from service.credentials import is_well_formed
from tests.callers import Api
from tests.laws import check

CLIENTS = "/admin/oauth/clients/"


async def listed(api: Api, client_id: str) -> list[Any]:
    """The client's secrets as they are listed."""
    reply = await api.get(f"{CLIENTS}{client_id}/secrets")
    assert reply.status == 200
    return list(reply.data["secrets"])


async def sealed(owner: asyncpg.Connection, tenant: str, secret_id: str) -> str:
    """The hash of a secret, as the log keeps it."""
    query = "select private from events where tenant_id = $1 and event_id = $2"
    return str(await owner.fetchval(query, tenant, secret_id))


async def test_rotation(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A rotation shows a new secret once; the old one is listed as retired for four hours."""
    client = await api.register()

    reply = await api.post(f"{CLIENTS}{client['client_id']}/rotate-secret")

    assert reply.status == 200
    assert set(reply.data) == {"client_id", "new_secret", "rotated_at"}
    assert is_well_formed(reply.data["new_secret"])
    assert reply.headers["Cache-Control"] == "no-store"
    old, new = await listed(api, client["client_id"])
    assert (old["status"], new["status"]) == ("retired", "active")
    grace = datetime.fromisoformat(old["expires_at"]) - datetime.fromisoformat(reply.data["rotated_at"])
    assert grace == timedelta(hours=4)
    hasher = PasswordHasher()
    assert hasher.verify(await sealed(owner, tenant, new["secret_id"]), reply.data["new_secret"])
    assert hasher.verify(await sealed(owner, tenant, old["secret_id"]), client["client_secret"])
    shown = (await api.get(CLIENTS + client["client_id"])).data
    assert shown["secret_last_four"] == reply.data["new_secret"][-4:]
    await check(owner, tenant)


async def test_concurrent_rotations(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """Of two rotations at once both secrets work afterwards, and the one before them to the end of its grace."""
    client = await api.register()
    client_id = client["client_id"]

    replies = await asyncio.gather(*(api.post(f"{CLIENTS}{client_id}/rotate-secret") for _ in range(2)))

    secrets = await listed(api, client_id)
    assert [secret["status"] for secret in secrets] == ["retired", "active", "active"]
    hashes = [await sealed(owner, tenant, secret["secret_id"]) for secret in secrets]
    shown = {client["client_secret"], *(reply.data["new_secret"] for reply in replies)}
    assert shown == {secret for secret in shown for hash_ in hashes if _verifies(hash_, secret)}


def _verifies(hash_: str, secret: str) -> bool:
    try:
        return PasswordHasher().verify(hash_, secret)
    except Exception:  # noqa: BLE001 (whatever is wrong with it, it does not verify)
        return False


async def test_a_second_secret(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A client may have two active secrets; a third is 409."""
    client_id = (await api.register())["client_id"]
    path = f"{CLIENTS}{client_id}/secrets"
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    added = await api.post(path, json={"description": "for the new cluster", "expires_at": later})

    assert added.status == 201
    assert set(added.data) == {"secret_id", "secret_value", "status", "created_at"}
    assert added.headers["Cache-Control"] == "no-store"
    secret = (await listed(api, client_id))[1]
    assert (secret["description"], secret["status"]) == ("for the new cluster", "active")
    assert datetime.fromisoformat(secret["expires_at"]) == datetime.fromisoformat(later)
    assert "secret_value" not in str(await listed(api, client_id))
    refused = await api.post(path)
    assert (refused.status, refused.body["code"]) == (409, 409002)
    await check(owner, tenant)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"description": "x" * 256}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"description": 7}, "description"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"secret_value": "my own"}, "secret_value"),
    ],
    ids=str,
)
async def test_bad_secrets(api: Api, body: Any, field: str) -> None:
    """A description is short and printable, an expiry is ahead and has a time zone; nobody chooses a secret."""
    client_id = (await api.register())["client_id"]

    reply = await api.post(f"{CLIENTS}{client_id}/secrets", json=body)

    assert (reply.status, reply.body["violations"][0]["field"]) == (400, field)
    assert len(await listed(api, client_id)) == 1


async def test_deactivation_and_deletion(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A secret is deactivated and then deleted; the last that works stays."""
    client_id = (await api.register())["client_id"]
    path = f"{CLIENTS}{client_id}/secrets"
    first = (await listed(api, client_id))[0]["secret_id"]
    assert (await api.delete(f"{path}/{first}")).body["code"] == 400007
    second = (await api.post(path)).data["secret_id"]

    deactivated = await api.put(f"{path}/{first}/deactivate")

    assert (deactivated.status, deactivated.data["status"]) == (200, "inactive")
    assert deactivated.data == (await listed(api, client_id))[0]
    assert (await api.delete(f"{path}/{second}")).status == 400
    assert (await api.delete(f"{path}/{first}")).status == 204
    assert (await api.delete(f"{path}/{first}")).body["code"] == 404003
    assert [secret["secret_id"] for secret in await listed(api, client_id)] == [second]
    assert [type(record.data).__name__ for record in await check(owner, tenant)] == [
        "ClientRegistered",
        "SecretAdded",
        "SecretDeactivated",
        "SecretDeleted",
    ]


@pytest.mark.parametrize("what", ["rotate-secret", "secrets"])
async def test_clients_without_use_for_a_secret(api: Api, what: str) -> None:
    """A client that authenticates by key alone is given no secret."""
    client_id = (await api.register(client_auth_methods=["private_key_jwt"]))["client_id"]

    reply = await api.post(f"{CLIENTS}{client_id}/{what}")

    assert (reply.status, reply.body["code"]) == (400, 400006)
