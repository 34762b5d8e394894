"""What the desk and the lookups ask for is found by its key, also with a plan from when the tables were small."""

from events import log
from projections import clients
from service import receipts
from service.database import open_pool
from service.embedded import Embedded

TENANT = "planned"
TABLES = ("heads", "events", "clients", "receipts")
_READ = "select relname, seq_scan, idx_scan from pg_stat_xact_user_tables where relname = any($1::text[])"


async def test_no_table_is_read_whole(postgres: Embedded) -> None:
    url = postgres.url("mitosis_service")
    async with open_pool(url, size=1, timeout_s=5, by_key=True) as pool, pool.acquire() as connection:
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
