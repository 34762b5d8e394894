"""Many callers at once, on two services that share a database."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from service.embedded import Embedded
from tests.callers import Api
from tests.load import ask, settle, sources
from tests.processes import Deployment, deployed

CLONES = 200


@pytest.fixture(scope="module")
async def deployment(postgres: Embedded) -> AsyncIterator[Deployment]:
    async with deployed(postgres, 2) as deployment:
        yield deployment


@pytest.mark.parametrize("count", [1, 20], ids="{} tenants".format)
async def test_clones_at_once(deployment: Deployment, owner: asyncpg.Connection, tenant: str, count: int) -> None:
    """Two hundred clones at once are two hundred clients, in gapless logs whose chains verify, whoever wrote them."""
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        doors, tokens = deployment.services, deployment.tokens
        tenants = await sources(session, tokens, doors[0], [f"{tenant}-{number}" for number in range(count)])
        admins = {name: Api(session, "", tokens, {}).as_role("admin", name) for name in tenants}
        turns = [(list(tenants)[n % count], doors[n // count % 2]) for n in range(CLONES)]

        answers = await asyncio.gather(*(ask(admins[name], name, door, tenants[name]) for name, door in turns))

    assert [answer.status for answer in answers] == [201] * CLONES
    assert len({answer.client_id for answer in answers}) == CLONES
    assert len({answer.secret for answer in answers}) == CLONES
    assert (await settle(owner, tenants, answers))["acknowledged"] == CLONES
    sizes = await owner.fetch("select position from heads where tenant_id = any($1::text[])", list(tenants))
    assert [row["position"] for row in sizes] == [1 + CLONES // count] * count


async def test_new_tenants_at_once(deployment: Deployment, owner: asyncpg.Connection, tenant: str) -> None:
    """The first commands of a tenant may come to both services at once: it gets one head and one log."""
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        names = [f"{tenant}-{number}" for number in range(10)]
        admins = [(name, Api(session, "", deployment.tokens, {}).as_role("admin", name)) for name in names]

        answers = await asyncio.gather(
            *(ask(admin, name, door, None) for name, admin in admins for door in deployment.services * 2)
        )

    assert [answer.status for answer in answers] == [201] * 40
    await settle(owner, dict.fromkeys(names, ""), answers)
