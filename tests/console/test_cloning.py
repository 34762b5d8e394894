"""Clone in two clicks, and where clones come from."""

import asyncio
import json
from typing import Any

from playwright.async_api import Page, Route, expect

from tests.callers import Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.seen import in_any_light
from tests.test_authenticate import authenticate, post, secret_client

CLIENTS = "/admin/oauth/clients/"


async def begun(page: Page, client_id: str) -> Any:
    """The dialog, over the client's page."""
    await page.evaluate("address => { location.hash = address }", f"#/clients/{client_id}")
    await page.get_by_role("button", name="Clone", exact=True).click()
    return page.get_by_role("dialog")


async def test_two_clicks(console: OpenConsole, api: Api) -> None:
    """The button and the confirmation, and there is a clone under the name that the service itself would give."""
    source = await api.register()
    async with console() as page:
        dialog = await begun(page, source["client_id"])
        await dialog.get_by_role("button", name="Clone", exact=True).click()
        assert (await page.get_by_label("client_secret", exact=True).input_value()).startswith("secret_")
        await page.get_by_role("button", name="I have stored it").click()
        await expect(page.get_by_role("heading", name="My Application (clone)")).to_be_visible()
        await expect(page.get_by_role("link", name=source["client_id"])).to_be_visible()


async def test_adapted(console: OpenConsole, api: Api, tenant: str, axe: str) -> None:
    """What differs and what is kept is seen before; the clone is that, and its secret authenticates it."""
    source = await secret_client(api)
    async with console() as page:
        dialog = await begun(page, source["client_id"])
        await dialog.get_by_label("Name").fill("Staging")
        await dialog.get_by_label("Redirect URIs").fill("https://staging.example.com/callback")
        await expect(dialog.locator(".preview .new").last).to_contain_text("https://staging.example.com/callback")
        await expect(dialog.locator(".preview tbody tr")).to_have_count(2)
        # what was seen stays while somebody types on, and is not confirmed until it is what they typed
        held = asyncio.Event()

        async def hold(route: Route) -> None:
            await held.wait()
            await route.continue_()

        await page.route("**/clone?dry_run=true", hold)
        async with page.expect_request("**/clone?dry_run=true"):
            await dialog.get_by_label("Name").fill("Staging 2")
        await expect(dialog.locator(".preview tbody tr")).to_have_count(2)
        await expect(dialog.locator(".preview")).to_have_attribute("aria-busy", "true")
        await expect(dialog.get_by_role("button", name="Clone", exact=True)).to_be_disabled()
        held.set()
        await expect(dialog.locator(".preview .new").first).to_contain_text("Staging 2")
        await dialog.get_by_label("Name").fill("Staging")
        await expect(dialog.locator(".preview .new").first).to_have_text("Staging")
        await expect(dialog.locator(".preview")).to_contain_text("Kept: Grant types, Scopes")
        await expect(dialog.locator(".preview")).to_contain_text("It gets a secret of its own")
        await in_any_light(page, axe)
        await dialog.get_by_role("button", name="Clone", exact=True).click()
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download JSON").click()
        kept = json.loads((await (await download.value).path()).read_text())
        await page.get_by_role("button", name="I have stored it").click()
        await expect(page.get_by_role("heading", name="Staging")).to_be_visible()
        assert kept["client_secret"] not in await page.content()

    presented = post(kept["client_id"], kept["client_secret"])
    answer = (await authenticate(api, tenant, presented)).data
    assert (answer["name"], answer["redirect_uris"]) == ("Staging", ["https://staging.example.com/callback"])
    assert (kept["client_name"], answer["cloned_from"]) == ("Staging", source["client_id"])


async def test_a_lost_answer(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """A connection that is lost behind the commit: the retry, with the same key, still gets the secret; one clone."""
    complaints.expected.append("net::ERR_FAILED")
    source = await api.register()
    sent: list[tuple[str, str]] = []

    async def lose(route: Route) -> None:
        if "dry_run" in route.request.url:
            await route.continue_()
            return
        reply = await route.fetch()
        sent.append((route.request.headers["idempotency-key"], (await reply.json())["data"]["client_secret"]))
        await (route.abort() if len(sent) == 1 else route.fulfill(response=reply))

    async with console() as page:
        await page.route("**/clone*", lose)
        dialog = await begun(page, source["client_id"])
        await dialog.get_by_role("button", name="Clone", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("Nobody can say whether it happened")
        await expect(dialog.get_by_label("Name")).to_be_disabled()
        await dialog.get_by_role("button", name="Try again").click()
        assert await page.get_by_label("client_secret", exact=True).input_value() == sent[0][1]

    assert sent[0] == sent[1]
    assert (await api.get(CLIENTS, params={"cloned_from": source["client_id"]})).body["total"] == 1


async def test_violations(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """What the clone would be refused for stands beside its field, before anybody asks for it."""
    complaints.expected.append("400 (Bad Request)")
    source = await api.register()
    async with console() as page:
        dialog = await begun(page, source["client_id"])
        await dialog.get_by_label("Name").fill("")
        await dialog.get_by_label("Redirect URIs").fill("https://ok.example.com/\nhttps://*.example.com/")
        await expect(dialog.locator("[data-setting=name] .fault")).to_contain_text("contract: name")
        await expect(dialog.locator("[data-setting=redirect_uris] .fault")).to_contain_text("Entry 2: ")
        await expect(dialog.get_by_role("button", name="Clone", exact=True)).to_be_disabled()
        await in_any_light(page, axe)
        await dialog.get_by_label("Name").fill("Fine")
        await dialog.get_by_label("Redirect URIs").fill("https://ok.example.com/")
        await expect(dialog.get_by_role("button", name="Clone", exact=True)).to_be_enabled()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Clone", exact=True)).to_be_focused()
    assert (await api.get(CLIENTS)).body["total"] == 1


async def test_changed_meanwhile(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """What was previewed is what is cloned, or nothing: where the source has changed, the new preview comes first."""
    complaints.expected.append("412 (Precondition Failed)")
    source = await api.register()
    async with console() as page:
        dialog = await begun(page, source["client_id"])
        await expect(dialog.get_by_role("button", name="Clone", exact=True)).to_be_enabled()
        await api.put(CLIENTS + source["client_id"], json={"status": "suspended"})
        await dialog.get_by_role("button", name="Clone", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await expect(dialog.locator(".preview")).to_contain_text("It is suspended, as its source is.")
        await dialog.get_by_role("button", name="Clone", exact=True).click()
        await page.get_by_role("button", name="I have stored it").click()
        await expect(page.locator("h1 .status")).to_have_text("suspended")


async def test_in_chinese_on_a_phone(console: OpenConsole, api: Api, axe: str) -> None:
    """The same on a small screen, in another language."""
    source = await api.register()
    async with console(locale="zh-CN", viewport={"width": 375, "height": 740}) as page:
        await page.evaluate("address => { location.hash = address }", f"#/clients/{source['client_id']}")
        await page.get_by_role("button", name="克隆").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.locator(".preview")).to_contain_text("它有自己的密钥")
        await in_any_light(page, axe)
        await dialog.get_by_role("button", name="克隆", exact=True).click()
        await expect(page.get_by_text("此密钥只显示一次。")).to_be_visible()
        await in_any_light(page, axe)


async def test_lineage(console: OpenConsole, api: Api, axe: str) -> None:
    """Up to the first, and down as far as somebody wants to see; what was deleted is in its place."""
    first = (await api.register(name="First"))["client_id"]
    second = (await api.clone(first, json={"name": "Second"})).data["client_id"]
    third = (await api.clone(second, json={"name": "Third"})).data["client_id"]
    fourth = (await api.clone(third, json={"name": "Fourth"})).data["client_id"]
    await api.clone(fourth, json={"name": "Fifth"})
    async with console(f"#/clients/{third}/lineage", role="auditor") as page:
        tree = page.get_by_role("navigation", name="Where it comes from, and what was cloned from it")
        await expect(tree.locator(".leaf a")).to_have_text(["First", "Second", "Third", "Fourth"])
        await expect(tree.locator(".here a")).to_have_attribute("aria-current", "true")
        await expect(page.get_by_text("further back")).to_have_count(0)
        await page.get_by_role("button", name="Show the clones of Fourth").focus()
        await page.keyboard.press("Enter")
        await expect(tree.locator(".leaf a").last).to_have_text("Fifth")
        await page.get_by_role("button", name="Show the clones of Fifth").click()
        await expect(page.get_by_text("Nothing was cloned from it.")).to_be_visible()
        await in_any_light(page, axe)
        await page.get_by_role("button", name="Hide the clones of Fourth").click()
        await expect(tree.locator(".leaf")).to_have_count(4)
        await page.get_by_role("link", name="Second").click()
        await expect(page.get_by_role("heading", name="Second")).to_be_visible()


async def test_lineage_of_many(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """Twenty clones at a time; and a source that is gone is said to be."""
    complaints.expected.append("404 (Not Found)")
    source = (await api.register(name="Source"))["client_id"]
    template = (await api.clone(source, json={"name": "Template"})).data["client_id"]
    for number in range(23):
        await api.clone(template, json={"name": f"Clone {number:02}"})
    await api.delete(CLIENTS + source)
    async with console(f"#/clients/{template}/lineage") as page:
        await expect(page.locator(".leaf").first).to_contain_text(f"{source} deleted")
        await expect(page.locator(".leaf a").first).to_have_text("Source")
        await expect(page.locator(".leaf")).to_have_count(22)
        await page.get_by_role("button", name="3 more").click()
        await expect(page.locator(".leaf")).to_have_count(25)
        await expect(page.get_by_role("button", name="more")).to_have_count(0)


async def test_lineage_beyond_the_deleted(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """Whoever is gone is called what it was called when it was cloned, and the line goes on behind it."""
    complaints.expected.append("404 (Not Found)")
    first = (await api.register(name="First"))["client_id"]
    second = (await api.clone(first, json={"name": "Second"})).data["client_id"]
    third = (await api.clone(second, json={"name": "Third"})).data["client_id"]
    fourth = (await api.clone(third, json={"name": "Fourth"})).data["client_id"]
    await api.put(CLIENTS + second, json={"name": "Second, at last"})
    for gone in (second, third):
        assert (await api.delete(CLIENTS + gone)).status == 204
    async with console(f"#/clients/{fourth}/lineage", role="auditor") as page:
        await expect(page.locator(".leaf a")).to_have_text(["First", "Second", "Third", "Fourth"])
        await expect(page.locator(".leaf").nth(1)).to_contain_text(f"{second} deleted")
        await in_any_light(page, axe)
        await page.get_by_role("link", name="Second").click()
        await expect(page.get_by_text("In version 3 the client is deleted")).to_be_visible()


async def test_lineage_of_many_generations(console: OpenConsole, api: Api, axe: str) -> None:
    """Eight generations back at a time; a tree as deep as that is not squeezed on a phone, and does not widen it."""
    line = [(await api.register(name="Generation 0"))["client_id"]]
    for number in range(1, 11):
        line.append((await api.clone(line[-1], json={"name": f"Generation {number}"})).data["client_id"])
    async with console(f"#/clients/{line[-1]}/lineage") as page:
        await expect(page.locator(".leaf a")).to_have_text([f"Generation {number}" for number in range(2, 11)])
        await in_any_light(page, axe)
        await page.get_by_role("link", name="Look further back").click()
        await expect(page.locator(".leaf a")).to_have_text([f"Generation {number}" for number in range(4)])
        await expect(page.get_by_text("further back")).to_have_count(0)
