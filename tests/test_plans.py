"""What the desk and the lookups ask for is found by its key, also with a plan from when the tables were small."""

from pathlib import Path

import asyncpg
import msgspec
import pytest

from events import log
from projections import clients, listing
from service import receipts
from service.app import build
from service.config import Config
from service.embedded import Embedded
from service.metrics.state import STATE
from tests.conftest import Served, own_database
from tests.rebuilding import grow
from tests.waiting import until

TENANT = "planned"
TABLES = ("heads", "events", "clients", "receipts")
_READ = "select relname, seq_scan, idx_scan from pg_stat_xact_user_tables where relname = any($1::text[])"


@pytest.mark.parametrize("name", ["reads", "writes"])
async def test_no_table_is_read_whole(config: Config, name: str) -> None:
    made = build(config)
    async with Served(made), made[STATE].pools[name].acquire() as connection:
        await log.open_heads(connection, [TENANT])
        async with connection.transaction():
            for _ in range(10):  # after some, the driver's statement has a plan that it keeps
                assert list(await log.lock(connection, [TENANT], wait=True)) == [TENANT]
                assert await clients.load(connection, [(TENANT, "app-none")]) == {}
                assert await receipts.load(connection, [(TENANT, bytes(32))]) == {}
                assert await log.find(connection, [(TENANT, "none")]) == set()
            read = {row["relname"]: row for row in await connection.fetch(_READ, TABLES)}
    assert {name: row["seq_scan"] for name, row in read.items()} == dict.fromkeys(TABLES, 0)
    assert all(row["idx_scan"] >= 10 for row in read.values())


_FETCHED = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'clients'"
_VISIBLE = "select relallvisible = relpages from pg_class where relname = 'clients'"


async def test_a_page_is_all_that_is_read(
    config: Config, postgres: Embedded, binaries: Path | None, tenant: str
) -> None:
    """The others are counted in an index, with a plan that is kept too: it is made for a tenant of average size."""
    async with own_database(postgres, binaries) as name, asyncpg.create_pool(postgres.url("postgres", name)) as owners:
        async with owners.acquire() as owner:
            await grow(owner, tenant, range(200))
            for number in range(20):
                await grow(owner, f"{tenant}-{number}", range(2))

        async def is_vacuumed() -> bool:  # an analysis that began before keeps it from being done
            await owners.execute("vacuum analyze clients")
            return bool(await owners.fetchval(_VISIBLE))

        await until(is_vacuumed)
        made = build(msgspec.structs.replace(config, database_url=postgres.url("mitosis_service", name)))
        async with Served(made), made[STATE].pools["reads"].acquire() as connection:
            for _ in range(10):
                async with connection.transaction():
                    before = await connection.fetchval(_FETCHED)
                    page = await listing.page(connection, tenant, number=3, size=20)
                    read = await connection.fetchval(_FETCHED) - before

    assert (page.total, len(page.clients)) == (200, 20)
    assert 20 <= read <= 40
