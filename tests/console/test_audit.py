"""The audit page: records as they come."""

import json
from typing import Any

import msgspec
from playwright.async_api import expect

from tests.callers import Api
from tests.console.conftest import OpenConsole
from tests.console.seen import accessible, in_any_light
from tests.console.test_chain import lines_of
from tests.console.timeline import is_live, positions, row, rows

AT_ONCE_MS = 1000


async def test_a_record_arrives(console: OpenConsole, api: Api) -> None:
    """A record is on the page within a second, checked, and soon a signed head confirms it."""
    await api.register(name="First")
    async with console("#/audit") as page:
        await is_live(page)
        await expect(page.get_by_role("heading", name="Verified up to position 1")).to_be_visible()

        client = await api.register(name="Second 漢字")
        arrived = row(page, 2)
        await expect(arrived).to_be_visible(timeout=AT_ONCE_MS)

        await expect(arrived).to_contain_text("Client registered Second 漢字")
        await expect(arrived).to_contain_text(client["client_id"])
        await expect(arrived).to_contain_text("Follows from the one before.")
        assert await positions(page) == [2, 1]
        await expect(page.get_by_role("heading", name="Verified up to position 2")).to_be_visible()
        await expect(page.locator(".verdict")).to_contain_text("from the first to 2")
        await expect(page.locator(".verdict .confirmed")).to_contain_text("signed head confirms position 2")
        exact = await page.locator(".verdict time").get_attribute("datetime")
        assert exact == (await api.get("/admin/audit/head")).data["time"]


async def test_a_body(console: OpenConsole, api: Api) -> None:
    """A record opens and closes by the keyboard, and shows all that was hashed; the exact time is on hover."""
    client = await api.register()
    async with console("#/audit") as page:
        await is_live(page)
        summary = row(page, 1).locator("summary")
        await summary.focus()
        await page.keyboard.press("Enter")
        shown = row(page, 1).locator("pre")
        await expect(shown).to_be_visible()
        record = json.loads(await shown.inner_text())
        event = msgspec.json.decode((await lines_of(api))[0])
        assert record == event["data"]
        await expect(row(page, 1).locator("dd.digest")).to_have_text(event["digest"])
        await expect(row(page, 1).get_by_role("link", name=client["client_id"])).to_be_visible()
        moment = summary.locator("time")
        assert await moment.get_attribute("title") == record["time"].replace("T", " ").replace("Z", " UTC")
        await summary.focus()
        await page.keyboard.press("Enter")
        await expect(shown).to_be_hidden()


async def test_nothing_yet(console: OpenConsole, axe: str) -> None:
    """An empty log says so, and what to do."""
    async with console("#/audit") as page:
        await is_live(page)
        await expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
        await expect(page.get_by_role("heading", name="The log is empty, and so is its signed head")).to_be_visible()
        await expect(page.get_by_role("link", name="Register the first client")).to_be_visible()
        assert await accessible(page, axe) == []
    async with console("#/audit", role="auditor") as page:
        await expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
        await expect(page.get_by_role("link", name="Register the first client")).to_have_count(0)


async def test_filters(console: OpenConsole, api: Api, tenant: str) -> None:
    """By type, by client, and by who did it: in the address, for what is there and what comes."""
    other = api.as_role("super_admin", tenant)
    first = (await api.register(name="First"))["client_id"]
    second = (await other.register(name="Second"))["client_id"]
    assert (await api.post(f"/admin/oauth/clients/{first}/rotate-secret")).status == 200
    async with console("#/audit") as page:
        await is_live(page)
        await expect(rows(page)).to_have_count(3)
        await page.get_by_label("What happened").select_option(label="All about secrets")
        await expect(rows(page)).to_have_count(1)
        assert "types=SecretAdded%2CSecretRotated" in page.url
        await is_live(page)
        assert (await other.post(f"/admin/oauth/clients/{second}/rotate-secret")).status == 200
        assert (await api.put(f"/admin/oauth/clients/{second}", json={"name": "Third"})).status == 200
        await expect(page.get_by_role("heading", name="Verified up to position 5")).to_be_visible()
        assert await positions(page) == [4, 3]

        await page.get_by_label("Client", exact=True).fill(second[-6:].upper())
        await expect(rows(page)).to_have_count(1)
        await page.get_by_label("What happened").select_option(label="Everything")
        await expect(rows(page)).to_have_count(3)
        assert await positions(page) == [5, 4, 2]
        await page.get_by_label("Operator").fill("super_admin@")
        await expect(rows(page)).to_have_count(2)
        assert await positions(page) == [4, 2]
        await page.reload()
        await expect(rows(page)).to_have_count(2)
        await expect(page.get_by_label("Operator")).to_have_value("super_admin@")
        await page.get_by_label("Operator").fill("nobody")
        await expect(page.get_by_role("heading", name="No record is like that")).to_be_visible()
        await page.get_by_role("link", name="Show all", exact=True).click()
        await expect(rows(page)).to_have_count(5)
        await expect(page.get_by_label("Client", exact=True)).to_have_value("")


async def test_a_pause(console: OpenConsole, api: Api) -> None:
    """Who reads may stop the list from moving: what comes meanwhile is counted, and then shown."""
    await api.register()
    async with console("#/audit") as page:
        await is_live(page)
        await page.get_by_role("button", name="Pause").click()
        await is_live(page, "Paused")
        await api.register()
        await api.register()
        await page.get_by_role("button", name="Show 2 newer records").click()
        await expect(rows(page)).to_have_count(3)
        await is_live(page)


async def test_under_a_prefix(console: OpenConsole, api: Api, token: Any) -> None:
    """The console finds feed and keys beside it, wherever it is."""
    await api.register()
    async with console(role=None) as page:
        await page.goto(f"{api.base}/api/v1/console/#token={token('auditor')}")
        await page.locator(".bar nav").get_by_role("link", name="Audit").click()
        await is_live(page)
        await expect(page.locator(".verdict .confirmed")).to_contain_text("confirms position 1")


async def test_for_everybody(console: OpenConsole, api: Api, axe: str) -> None:
    """An auditor reads all of it, in Chinese, in either light, and on a phone without scrolling sideways."""
    client = await api.register(name="支付网关")
    await api.clone(client["client_id"])
    async with console("#/audit", role="auditor", locale="zh-CN") as page:
        await is_live(page, "实时")
        await expect(page.get_by_role("heading", name="已验证到位置 2")).to_be_visible()
        await expect(row(page, 1)).to_contain_text("客户端已注册")
        await row(page, 2).locator("summary").click()
        await expect(row(page, 2).locator("pre")).to_be_visible()
        await in_any_light(page, axe)
