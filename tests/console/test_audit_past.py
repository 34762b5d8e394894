"""Older records, and how many of them a page keeps."""

import asyncpg
from playwright.async_api import expect
from ulid import ULID

from events import chain, log
from events.client import ClientSuspended
from events.record import SCHEMA_VERSION, Actor, Record, encode
from tests.callers import Api
from tests.console.conftest import OpenConsole
from tests.console.timeline import is_live, positions, row, rows


async def test_older_ones(console: OpenConsole, api: Api) -> None:
    """A long log begins with its newest; older ones come when they are asked for, and so does a check of them all."""
    client = (await api.register())["client_id"]
    for number in range(129):
        assert (await api.put(f"/admin/oauth/clients/{client}", json={"name": f"Name {number}"})).status == 200
    async with console("#/audit") as page:
        await is_live(page)
        await expect(rows(page)).to_have_count(100)
        await expect(page.locator(".verdict")).to_contain_text("records 31 to 130")
        await page.get_by_role("button", name="Check from the first record").click()
        await expect(page.locator(".verdict")).to_contain_text("every record, from the first to 130")
        await expect(rows(page)).to_have_count(100)
        await page.get_by_role("button", name="Load older records").click()
        await expect(rows(page)).to_have_count(130)
        assert await positions(page) == list(range(130, 0, -1))
        await expect(page.get_by_text("This is where the log begins.")).to_be_visible()
        assert await page.locator(".mark.linked").count() == 131
        await page.get_by_label("What happened").select_option(label="Client registered")
        await expect(row(page, 1)).to_be_visible()  # it is beyond the first hundred
        assert await positions(page) == [1]


async def many(owner: asyncpg.Connection, tenant: str, count: int) -> None:
    """Write *count* records at once, of a client that is suspended again and again."""
    async with owner.transaction():
        head = (await log.lock(owner, [tenant], wait=True))[tenant]
        digest, entries = head.digest, list[log.Entry]()
        for number in range(1, count + 1):
            record = Record(
                event_id=str(ULID()),
                tenant_id=tenant,
                position=head.position + number,
                schema_version=SCHEMA_VERSION,
                client_id="app-01kb0000000000000000000102",
                client_version=number,
                time=head.time,
                actor=Actor(subject="planter", role="system", request_id="planted"),
                data=ClientSuspended(),
            )
            body = encode(record)
            digest = chain.link(digest, body)
            entries.append(log.Entry(tenant, record.position, record.event_id, digest, body, None))
        await log.append(owner, entries, {tenant: log.Head(head.position + count, digest, head.time)})


async def test_a_thousand(console: OpenConsole, api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """However much happens, the page keeps a thousand records: the newest, or those that somebody looks for."""
    await api.register()
    async with console("#/audit") as page:
        await is_live(page)
        await many(owner, tenant, 1100)
        await expect(page.get_by_role("heading", name="Verified up to position 1101")).to_be_visible()
        await expect(rows(page)).to_have_count(1000)
        await expect(row(page, 1101)).to_have_count(1)

        await page.get_by_role("button", name="Load older records").click()
        await expect(page.get_by_text("This is where the log begins.")).to_be_visible()
        await expect(rows(page)).to_have_count(1000)
        await expect(row(page, 1101)).to_have_count(0)
        await is_live(page, "Paused")
        await api.register()
        await page.get_by_role("button", name="Show 1 newer record").click()
        await expect(row(page, 1102)).to_be_visible()
        await expect(rows(page)).to_have_count(100)
        await is_live(page)
