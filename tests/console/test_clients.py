"""The list, registering, one client, and what is done with it."""

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.callers import EXAMPLE, Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.seen import in_any_light

CLIENTS = "/admin/oauth/clients/"
REFUSED = "400 (Bad Request)"


def names(page: Page) -> Any:
    return page.locator("table.clients tbody th")


async def opened(page: Page, client_id: str, below: str = "") -> None:
    await page.evaluate("address => { location.hash = address }", f"#/clients/{client_id}{below}")


# ------------------------------------------------------------------------------------------------------------- the list


async def test_nothing_yet(console: OpenConsole, axe: str) -> None:
    """An empty registry says what a client is, and leads whoever may to the first one."""
    async with console() as page:
        await expect(page.get_by_role("heading", name="There are no clients yet")).to_be_visible()
        await in_any_light(page, axe)
        await page.locator(".empty").get_by_role("link", name="Register a client").click()
        await expect(page.get_by_role("heading", name="Register a client")).to_be_focused()
    async with console(role="auditor") as page:
        await expect(page.get_by_role("heading", name="There are no clients yet")).to_be_visible()
        await expect(page.get_by_role("link", name="Register a client")).to_have_count(0)


async def test_looking(console: OpenConsole, api: Api, axe: str) -> None:
    """By a part of the name and by status, page by page; where one looks is in the address."""
    ids = [(await api.register(name=f"Portal {number:02}"))["client_id"] for number in range(22)]
    await api.put(CLIENTS + ids[3], json={"status": "suspended", "name": "Ledger"})
    async with console() as page:
        await expect(names(page)).to_have_count(20)
        await expect(names(page).first).to_have_text("Portal 21")
        await expect(page.get_by_text("1 to 20 of 22")).to_be_visible()
        await page.get_by_role("link", name="Next").click()
        await expect(names(page)).to_have_text(["Portal 01", "Portal 00"])
        await in_any_light(page, axe)

        await page.get_by_label("Name").fill("LEDG")
        await expect(names(page)).to_have_text(["Ledger"])
        assert page.url.endswith("#/clients?name=LEDG")
        await page.get_by_label("Status").select_option("active")
        await expect(page.get_by_role("heading", name="No client is like that")).to_be_visible()
        await page.get_by_label("Status").select_option("suspended")
        await expect(names(page)).to_have_text(["Ledger"])
        await page.reload()
        await expect(names(page)).to_have_text(["Ledger"])
        await page.get_by_role("link", name="Ledger").click()
        await expect(page.get_by_role("heading", name="Ledger")).to_be_focused()


async def test_a_name_that_means_something_to_browsers(console: OpenConsole, api: Api) -> None:
    """What somebody called a client is text, wherever it stands."""
    name = '<img src=x onerror="alert(1)"> & "q" {name}'
    await api.register(name=name)
    async with console() as page:
        await page.get_by_role("link", name=name).click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_role("dialog")).to_contain_text(name)


async def test_in_chinese(console: OpenConsole, api: Api, axe: str) -> None:
    """By the browser's language, and switched by hand; the choice is kept."""
    client = await api.register()
    async with console(locale="zh-CN") as page:
        await expect(page.get_by_role("heading", name="客户端")).to_be_visible()
        await opened(page, client["client_id"])
        await expect(page.get_by_role("button", name="克隆")).to_be_visible()
        assert await page.evaluate("document.documentElement.lang") == "zh-CN"
        await in_any_light(page, axe)
        await page.get_by_label("语言").select_option("en")
        await expect(page.get_by_role("button", name="Clone", exact=True)).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("button", name="Clone", exact=True)).to_be_visible()


# ---------------------------------------------------------------------------------------------------------- registering


async def test_registering(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """What is wrong stands beside its field; then the secret is shown once, and what was typed is what is there."""
    complaints.expected.append(REFUSED)
    async with console("#/clients/new") as page:
        await page.get_by_label("Redirect URIs").fill("https://ok.example.com/cb\nhttp://far.example.com/cb")
        await page.get_by_role("button", name="Register", exact=True).click()
        await expect(page.get_by_label("Name")).to_be_focused()
        await expect(page.locator("[data-setting=name] .fault")).to_contain_text("contract: name")
        await expect(page.locator("[data-setting=redirect_uris] .fault")).to_contain_text("Entry 2: ")
        await in_any_light(page, axe)

        await page.get_by_label("Name").fill("Claims 漢字")
        await page.get_by_label("Redirect URIs").fill("https://ok.example.com/cb")
        await page.get_by_label("Scopes").fill("openid email")
        await page.get_by_role("button", name="Register", exact=True).click()
        secret = await page.get_by_label("client_secret", exact=True).input_value()
        client_id = await page.get_by_label("client_id", exact=True).input_value()
        await page.keyboard.press("Escape")
        await expect(page.get_by_label("client_secret", exact=True)).to_be_visible()
        await in_any_light(page, axe)
        await page.get_by_role("button", name="I have stored it").click()
        await expect(page.get_by_role("heading", name="Claims 漢字")).to_be_visible()
        assert secret not in await page.content()

    item = (await api.get(CLIENTS + client_id)).data
    assert (item["name"], item["scopes"]) == ("Claims 漢字", ["openid", "email"])
    assert secret.endswith(item["secret_last_four"])


async def test_a_lost_answer(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """An answer that is lost is asked for again with the same key: one client, and its secret."""
    complaints.expected.append("net::ERR_FAILED")
    seen: list[str] = []

    async def lose(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        seen.append(route.request.headers["idempotency-key"])
        if len(seen) == 1:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    async with console("#/clients/new") as page:
        await page.route(f"**{CLIENTS}", lose)
        await page.get_by_label("Name").fill("Once")
        await page.get_by_label("Redirect URIs").fill("https://ok.example.com/cb")
        await page.get_by_role("button", name="Register", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("Nobody can say whether it happened")
        await expect(page.get_by_label("Name")).to_be_disabled()
        await page.get_by_role("button", name="Try again").click()
        secret = await page.get_by_label("client_secret", exact=True).input_value()

    listed = (await api.get(CLIENTS)).body["items"]
    assert [(one["name"], one["secret_last_four"]) for one in listed] == [("Once", secret[-4:])]
    assert len(seen) == 2
    assert len(set(seen)) == 1


# ----------------------------------------------------------------------------------------------------------- one client


async def test_a_client(console: OpenConsole, api: Api, tenant: str, axe: str) -> None:
    """Every setting, where it comes from, and how old its secrets are; the exact time is on hover."""
    source = await api.register()
    clone = (await api.clone(source["client_id"], json={"name": "The copy"})).data
    async with console() as page:
        await opened(page, clone["client_id"])
        await expect(page.get_by_text("Created by")).to_be_visible()
        for setting, value in EXAMPLE.items():
            row = page.locator(f"[data-setting={setting}] dd")
            if isinstance(value, str) and setting != "name":
                await expect(row).to_have_text(value)
            for one in value if isinstance(value, list) else ():
                await expect(row.get_by_text(one, exact=True)).to_be_visible()
        await expect(page.get_by_role("link", name=source["client_id"])).to_be_visible()
        await expect(page.get_by_text(f"admin@{tenant}")).to_be_visible()
        await expect(page.locator(".secrets li")).to_have_attribute("data-status", "active")
        created = (await api.get(CLIENTS + clone["client_id"])).data["created_at"]
        title = created.replace("T", " ").replace("Z", " UTC")
        await expect(page.locator(f"time[title='{title}']").first).to_be_visible()
        await in_any_light(page, axe)


async def test_suspended_and_deleted(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """Each is asked once more, and can be left alone; what is deleted is not on the list any more."""
    complaints.expected.append("404 (Not Found)")
    client_id = (await api.register(name="Short-lived"))["client_id"]
    async with console() as page:
        await opened(page, client_id)
        await page.get_by_role("button", name="Suspend").click()
        await in_any_light(page, axe)
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("button", name="Suspend")).to_be_focused()
        await page.get_by_role("button", name="Suspend").click()
        await page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
        await expect(page.locator("h1 .status")).to_have_text("suspended")
        assert (await api.get(CLIENTS + client_id)).data["status"] == "suspended"
        await page.get_by_role("button", name="Reactivate").click()
        await page.get_by_role("dialog").get_by_role("button", name="Reactivate").click()
        await expect(page.locator("h1 .status")).to_have_text("active")
        await page.get_by_role("button", name="Delete", exact=True).first.click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="There are no clients yet")).to_be_visible()
        await expect(page.get_by_role("status").get_by_text("Short-lived is deleted")).to_be_visible()
        await opened(page, client_id)
        await expect(page.get_by_role("alert")).to_contain_text("It may have been deleted")
    assert (await api.get(CLIENTS + client_id)).status == 404


async def test_somebody_was_faster(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """What was decided on an old state is not done: the new one is shown, and whoever still wants it confirms again."""
    complaints.expected.append("412 (Precondition Failed)")
    client_id = (await api.register())["client_id"]
    async with console() as page:
        await opened(page, client_id)
        await page.get_by_role("button", name="Delete", exact=True).first.click()
        await api.put(CLIENTS + client_id, json={"name": "Changed meanwhile"})
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog", name="Delete Changed meanwhile?")
        await expect(dialog.get_by_role("alert")).to_contain_text("The newest version is loaded now")
        assert (await api.get(CLIENTS + client_id)).status == 200
        await dialog.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="There are no clients yet")).to_be_visible()
    assert (await api.get(CLIENTS + client_id)).status == 404


@pytest.mark.parametrize("below", ["", "/edit"])
async def test_the_auditors_view(console: OpenConsole, api: Api, axe: str, below: str) -> None:
    """Whoever may only look sees no button that would be refused, and no request is."""
    client_id = (await api.register())["client_id"]
    async with console(role="auditor") as page:
        await opened(page, client_id, below)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("My Application")
        if not below:
            await expect(page.get_by_text("Only administrators see the secrets' ages.")).to_be_visible()
        for name in ("Clone", "Suspend", "Delete", "Rotate", "Add a secret", "Save"):
            await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
        await expect(page.get_by_role("main").get_by_role("link", name="Edit")).to_have_count(0)
        await in_any_light(page, axe)
