"""What was seen of a client lately saves a clone its look ahead; nobody is refused or answered on it."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from service import recent
from service.app import build
from service.config import Config
from service.lookup import Lookup
from service.recent import Recent
from service.requests import RECENT
from service.routes import TOKENS
from tests.callers import Api
from tests.conftest import Served
from tests.planting import plant

CLIENTS = "/admin/oauth/clients/"


@pytest.fixture
async def elsewhere(config: Config, tenant: str) -> AsyncIterator[Api]:
    """Another process of the service, of whose doings the shared one hears nothing."""
    server = Served(build(config))
    await server.start_server()
    async with ClientSession() as session:
        yield Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {}).as_role("admin", tenant)
    await server.close()


async def test_no_look_ahead(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever clones what was registered, changed or cloned here lately waits for the turn alone."""
    source = (await api.register())["client_id"]
    copy = (await api.clone(source)).data["client_id"]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was looked up")

    monkeypatch.setattr(Lookup, "find", refuse)
    assert [(await api.clone(one)).status for one in (source, copy, source)] == [201] * 3


async def test_changed_elsewhere(api: Api, elsewhere: Api) -> None:
    """A clone is of the client as it is, and by its version as it is, whatever was seen of it here."""
    source = (await api.register(client_auth_methods=["none"], is_confidential=False, fapi_profile=None))["client_id"]
    assert "client_secret" not in (await api.clone(source)).data
    changes = {"name": "renamed", "client_auth_methods": ["client_secret_basic"], "is_confidential": True}
    assert (await elsewhere.put(CLIENTS + source, json=changes)).status == 200

    old, new = [await api.with_headers(If_Match=tag).clone(source) for tag in ('"1"', '"2"')]

    assert (old.status, new.status) == (412, 201)
    assert new.data["name"] == "renamed (clone)"
    assert new.data["client_secret"].startswith("secret_")
    assert "client_secret" in (await api.clone(source)).data


async def test_deleted_elsewhere(api: Api, elsewhere: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What is gone cannot be cloned, though it was there when it was seen last; and nothing of that is in the log."""
    source = (await api.register())["client_id"]
    await elsewhere.delete(CLIENTS + source)

    assert [(await api.clone(source)).status for _ in range(2)] == [404, 404]
    assert await owner.fetchval("select position from heads where tenant_id = $1", tenant) == 2


async def test_of_the_tenant_alone(api: Api, tenant: str) -> None:
    """What was seen in one tenant is not there for another, under the same id."""
    source = (await api.register())["client_id"]

    assert (await api.as_role("admin", f"{tenant}-other").clone(source)).status == 404


async def test_what_a_turn_saw(api: Api, server: TestServer, tenant: str) -> None:
    """The turn's own reading and writing is what was seen, the newest of both."""
    source = (await api.register())["client_id"]
    await api.put(CLIENTS + source, json={"name": "renamed"})

    found = server.app[RECENT].find(tenant, source)

    assert found is not None
    assert (found.version, found.settings.name) == (2, "renamed")


async def test_only_so_many(owner: asyncpg.Connection, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was seen longest ago is forgotten first."""
    monkeypatch.setattr(recent, "_LIMIT", 2)
    clients = [await plant(owner, tenant) for _ in range(3)]
    seen = Recent()

    seen.note(clients[:2])
    seen.note([clients[0], clients[2]])

    assert [seen.find(tenant, one.client_id) for one in clients] == [clients[0], None, clients[2]]
