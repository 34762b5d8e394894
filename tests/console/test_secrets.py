"""A client's secrets: how old they are, and new ones, each of which is shown once."""

import pytest
from playwright.async_api import Page, expect

from tests.callers import Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.lost import losing
from tests.console.seen import in_any_light

CLIENTS = "/admin/oauth/clients/"


async def opened(page: Page, client_id: str) -> None:
    await page.evaluate("address => { location.hash = address }", f"#/clients/{client_id}")
    await expect(page.locator(".secrets li").first).to_be_visible()


async def test_secrets(console: OpenConsole, api: Api, axe: str) -> None:
    """Rotated, added, deactivated, deleted: a new one is shown once, and the ages follow."""
    client = await api.register()
    path = f"{CLIENTS}{client['client_id']}/secrets"
    async with console() as page:
        await opened(page, client["client_id"])
        await page.get_by_role("button", name="Rotate").click()
        await page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        rotated = await page.get_by_label("client_secret", exact=True).input_value()
        await page.get_by_role("button", name="I have stored it").click()
        listed = page.locator(".secrets li")
        await expect(listed).to_have_count(2)
        await expect(page.get_by_text(f"The newest ends in {rotated[-4:]}.")).to_be_visible()

        await page.get_by_role("button", name="Add a secret").click()
        await page.get_by_role("dialog").get_by_label("Note").fill("for the new cluster")
        await in_any_light(page, axe)
        await page.get_by_role("dialog").get_by_role("button", name="Add a secret").click()
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download .env").click()
        added = await page.get_by_label("client_secret", exact=True).input_value()
        text = (await (await download.value).path()).read_text()
        assert text == f"CLIENT_ID={client['client_id']}\nCLIENT_SECRET={added}\n"
        await page.get_by_role("button", name="I have stored it").click()
        await expect(listed).to_have_count(3)
        await expect(listed.get_by_text("for the new cluster")).to_be_visible()

        noted = listed.filter(has_text="for the new cluster")
        await noted.get_by_role("button", name="Deactivate").click()
        await page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
        await expect(noted).to_have_attribute("data-status", "inactive")
        await noted.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(listed).to_have_count(2)
    assert sorted(one["status"] for one in (await api.get(path)).data["secrets"]) == ["active", "retired"]


async def test_only_what_the_service_would_do(console: OpenConsole, api: Api) -> None:
    """The last secret that works cannot be deleted, and two active ones are the most: no button says otherwise."""
    client_id = (await api.register())["client_id"]
    path = CLIENTS + client_id
    async with console() as page:
        await opened(page, client_id)
        listed = page.locator(".secrets li")
        await expect(listed.get_by_role("button", name="Deactivate")).to_have_count(1)
        await expect(listed.get_by_role("button", name="Delete")).to_have_count(0)

        await api.post(f"{path}/rotate-secret")
        await api.post(f"{path}/rotate-secret")
        await page.reload()
        await expect(listed).to_have_count(3)
        await expect(listed.get_by_role("button", name="Delete")).to_have_count(3)
        await expect(page.get_by_text("Two are active, which is the most.")).to_be_visible()
        for name in ("Rotate", "Add a secret"):
            await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    for act in ("rotate-secret", "secrets"):
        assert (await api.post(f"{path}/{act}")).body["code"] == 409002


@pytest.mark.parametrize("act", ["Rotate", "Add a secret"])
async def test_an_answer_that_was_lost(
    console: OpenConsole, api: Api, complaints: Complaints, axe: str, act: str
) -> None:
    """A secret whose answer is lost is not made twice by trying again; the page says so, and how to get another."""
    complaints.expected += ["net::ERR_FAILED", "412 (Precondition Failed)"]
    client_id = (await api.register())["client_id"]
    path = f"{CLIENTS}{client_id}"
    async with console() as page:
        await page.route(f"**{path}/*", losing("POST"))
        await opened(page, client_id)
        await page.get_by_role("button", name=act, exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name=act).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("it is made once at most")
        await in_any_light(page, axe)
        await dialog.get_by_role("button", name=act).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("A new secret there has been seen by nobody")
        await expect(page.locator(".secrets li")).to_have_count(2)
        await in_any_light(page, axe)
        await dialog.get_by_role("button", name="Close").last.click()
        await expect(page.get_by_role("button", name=act, exact=True)).to_have_count(1 if act == "Rotate" else 0)
        assert (await api.get(path)).data["version"] == 2


async def test_a_request_that_was_lost(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """Where nothing had happened yet, trying again makes the secret, and shows it."""
    complaints.expected.append("net::ERR_FAILED")
    client_id = (await api.register())["client_id"]
    async with console() as page:
        await page.route("**/rotate-secret", losing("POST", behind=False))
        await opened(page, client_id)
        await page.get_by_role("button", name="Rotate").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Rotate").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("Try again")
        await dialog.get_by_role("button", name="Rotate").click()
        secret = await page.get_by_label("client_secret", exact=True).input_value()
        await page.get_by_role("button", name="I have stored it").click()
        await expect(page.get_by_text(f"The newest ends in {secret[-4:]}.")).to_be_visible()
        await expect(page.get_by_role("button", name="Rotate")).to_be_focused()
    assert (await api.get(CLIENTS + client_id)).data["version"] == 2
