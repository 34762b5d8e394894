"""Time travel: what a client was, what made it so, and in what two of its versions differ."""

import pytest
from playwright.async_api import Locator, Page, expect

from tests.callers import Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.seen import in_any_light

SCOPES = ["openid", "profile", "email"]


@pytest.fixture
async def client_id(api: Api, tenant: str) -> str:
    """A client with five versions, between which other clients changed in the same second."""
    client_id = str((await api.register(name="One", scopes=SCOPES))["client_id"])
    path = f"/admin/oauth/clients/{client_id}"
    await api.register(name="Another")
    assert (await api.put(path, json={"name": "Two", "website": None})).status == 200
    await api.register(name="A third")
    assert (await api.put(path, json={"scopes": ["openid", "email", "offline_access"]})).status == 200
    assert (await api.post(f"{path}/rotate-secret")).status == 200
    other = api.as_role("super_admin", tenant)
    assert (await other.put(path, json={"status": "suspended"})).status == 200
    return client_id


def compared(page: Page, setting: str) -> Locator:
    return page.locator(f".compared tr[data-setting='{setting}'] td")


async def test_the_newest(console: OpenConsole, client_id: str) -> None:
    """It begins with what happened last, who did it, and what that changed."""
    async with console(f"#/clients/{client_id}/versions") as page:
        slider = page.get_by_role("slider", name="Version", exact=True)
        await expect(slider).to_have_value("5")
        await expect(slider).to_have_attribute("aria-valuetext", "Version 5 of 5")
        made = page.locator(".made")
        await expect(made).to_contain_text("Client suspended")
        await expect(made).to_contain_text("by super_admin@")
        await expect(made).to_contain_text("position 7")
        await expect(compared(page, "status")).to_have_text(["active", "suspended"])
        await expect(page.locator(".compared tbody tr")).to_have_count(1)


async def test_by_keyboard(console: OpenConsole, api: Api, client_id: str) -> None:
    """The arrows go through the versions; the difference is to the one before, or to whichever is chosen."""
    async with console(f"#/clients/{client_id}/versions") as page:
        slider = page.get_by_role("slider", name="Version", exact=True)
        await slider.focus()
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator(".made")).to_contain_text("Secret rotated")
        await expect(page.locator(".compared tbody tr")).to_have_count(1)
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator(".made")).to_contain_text("Settings changed Scopes")
        before, after = compared(page, "scopes").nth(0), compared(page, "scopes").nth(1)
        await expect(before.locator(".apart")).to_have_text("\u2212 profile")
        await expect(after.locator(".apart")).to_have_text("+ offline_access")
        assert "version=3" in page.url

        await page.get_by_role("slider", name="Compared with version").focus()
        await page.keyboard.press("Home")
        await expect(compared(page, "name")).to_have_text(["One", "Two"])
        await expect(page.locator(".compared tbody tr")).to_have_count(3)
        await expect(compared(page, "website").nth(1)).to_have_text("nothing")
        await page.get_by_role("button", name="Compared with version: Later").click()
        await expect(page.locator(".compared tbody tr")).to_have_count(1)

        await slider.focus()
        await page.keyboard.press("Home")
        await expect(page.locator(".made")).to_contain_text("Client registered One")
        state = page.locator(".state")
        await expect(state).to_contain_text("https://app.example.com/privacy")
        for scope in SCOPES:
            await expect(state.get_by_text(scope, exact=True)).to_be_visible()


async def test_what_the_record_says(console: OpenConsole, client_id: str) -> None:
    """The record that made a version is there whole, and the audit page leads here."""
    async with console("#/audit") as page:
        await page.locator(".timeline > li[data-position='5'] summary").click()
        await page.locator(".timeline > li[data-position='5'] dd.version a").click()
        await expect(page.get_by_role("heading", name="What made version 3")).to_be_visible()
        await page.get_by_text("Show the record").click()
        await expect(page.locator(".made pre")).to_contain_text('"position": 5')
        await expect(page.locator(".made pre")).to_contain_text(client_id)
        await page.get_by_role("link", name="All its records").click()
        await expect(page.get_by_label("Client", exact=True)).to_have_value(client_id)
        await expect(page.locator(".timeline > li")).to_have_count(5)


async def test_one_version(console: OpenConsole, api: Api) -> None:
    """A client that was only registered has nothing to be compared with."""
    client = await api.register()
    async with console(f"#/clients/{client['client_id']}/versions") as page:
        await expect(page.get_by_text("This is the first version: there is nothing before it.")).to_be_visible()
        await expect(page.get_by_role("slider", name="Compared with version")).to_have_count(0)


async def test_a_deleted_client(console: OpenConsole, api: Api, client_id: str, complaints: Complaints) -> None:
    """One that is gone can be looked at as it was."""
    complaints.expected.append("404 (Not Found)")
    assert (await api.delete(f"/admin/oauth/clients/{client_id}")).status == 204
    async with console(f"#/clients/{client_id}/versions", role="auditor") as page:
        await expect(
            page.get_by_text("In version 6 the client is deleted: it has no settings any more.")
        ).to_be_visible()
        await page.get_by_role("button", name="Version: Earlier", exact=True).click()
        await expect(page.locator(".made")).to_contain_text("Client suspended")
        await expect(page.locator(".state")).to_contain_text("Two")


async def test_no_such_client(console: OpenConsole, complaints: Complaints) -> None:
    """An address that somebody made up says so."""
    complaints.expected.append("404 (Not Found)")
    async with console("#/clients/app-01kb0000000000000000000102/versions") as page:
        await expect(page.get_by_role("alert")).to_be_visible()
        await expect(page.get_by_label("Loading")).to_have_count(0)


async def test_for_everybody(console: OpenConsole, client_id: str, axe: str) -> None:
    """An auditor travels in Chinese, in either light, and on a phone without scrolling sideways."""
    path = f"#/clients/{client_id}/versions?version=3&base=1"
    async with console(path, role="auditor", locale="zh-CN") as page:
        await expect(page.get_by_role("heading", name="产生第 3 版的操作")).to_be_visible()
        await expect(page.locator(".compared tbody tr")).to_have_count(3)
        await in_any_light(page, axe)
