"""Changing a client: what changes is seen before, and nothing that was typed is lost."""

from playwright.async_api import expect

from tests.callers import Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.lost import losing
from tests.console.seen import in_any_light

CLIENTS = "/admin/oauth/clients/"


async def test_what_changes(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """Only what was changed is sent, after it was seen; what is refused stands beside its field."""
    complaints.expected.append("400 (Bad Request)")
    client_id = (await api.register())["client_id"]
    async with console(f"#/clients/{client_id}/edit") as page:
        await expect(page.get_by_text("Nothing yet")).to_be_visible()
        await expect(page.get_by_role("button", name="Save")).to_be_disabled()
        await page.get_by_label("Website").fill("ftp://example.com")
        await page.get_by_label("Logo").fill("")
        await page.get_by_label("Scopes").fill("openid\noffline_access")
        changed = page.locator(".changes tbody tr")
        await expect(changed).to_have_count(3)
        await in_any_light(page, axe)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_label("Website")).to_be_focused()
        await expect(page.locator("[data-setting=website] .fault")).to_be_visible()
        await page.get_by_label("Website").fill("https://example.com")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="My Application")).to_be_visible()
        await expect(page.get_by_role("status").get_by_text("My Application is changed")).to_be_visible()

    item = (await api.get(CLIENTS + client_id)).data
    assert (item["website"], item["scopes"], item.get("logo_url")) == (
        "https://example.com",
        ["openid", "offline_access"],
        None,
    )
    assert item["version"] == 2


async def test_somebody_was_faster(console: OpenConsole, api: Api, complaints: Complaints, axe: str) -> None:
    """What another changed meanwhile is shown and kept; what was typed is on top of it, and saved at the next try."""
    complaints.expected.append("412 (Precondition Failed)")
    client_id = (await api.register())["client_id"]
    async with console(f"#/clients/{client_id}/edit") as page:
        await page.get_by_label("Name").fill("Mine")
        await api.put(CLIENTS + client_id, json={"name": "Theirs", "website": "https://theirs.example.com"})
        await page.get_by_role("button", name="Save").click()
        notice = page.get_by_role("alert")
        await expect(notice).to_contain_text("Somebody else was faster.")
        await expect(notice.locator("tbody tr")).to_have_count(2)
        await expect(notice).to_contain_text("https://theirs.example.com")
        await expect(page.get_by_label("Name")).to_have_value("Mine")
        await expect(page.get_by_label("Website")).to_have_value("https://theirs.example.com")
        await in_any_light(page, axe)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Mine")).to_be_visible()

    item = (await api.get(CLIENTS + client_id)).data
    assert (item["name"], item["website"], item["version"]) == ("Mine", "https://theirs.example.com", 3)


async def test_a_token_that_expired(console: OpenConsole, api: Api, token: object, axe: str) -> None:
    """It asks again above the page; with a new one the very change goes through, and nothing was typed in vain."""
    assert callable(token)
    client_id = (await api.register())["client_id"]
    async with console(f"#/clients/{client_id}/edit", ttl_s=600) as page:
        await page.clock.install()
        await page.reload()  # what it waits for is then a matter of that clock
        await page.get_by_label("Name").fill("Typed before it expired")
        await page.clock.fast_forward(600_000)
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Your token is no longer good")
        await in_any_light(page, axe)
        await dialog.get_by_label("Token").fill("nonsense")
        await dialog.get_by_role("button", name="Sign in").click()
        await expect(dialog).to_contain_text("This is no token")
        await dialog.get_by_label("Token").fill(token("admin", ttl_s=3600))
        await dialog.get_by_role("button", name="Sign in").click()
        await expect(dialog).to_have_count(0)
        await expect(page.get_by_label("Name")).to_have_value("Typed before it expired")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Typed before it expired")).to_be_visible()


async def test_a_key_set(console: OpenConsole, api: Api) -> None:
    """A registered key set is not shown; it stays, or is taken away on purpose."""
    keys = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    given = {"jwks": keys, "jwks_uri": None, "client_auth_methods": ["client_secret_basic"], "fapi_profile": None}
    client_id = (await api.register(**given))["client_id"]
    async with console(f"#/clients/{client_id}/edit") as page:
        await page.get_by_label("Key set's URL").fill("https://client.example.com/jwks.json")
        await page.get_by_label("Take the registered key set away").check()
        await expect(page.locator(".changes tbody tr")).to_have_count(2)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").get_by_text("My Application is changed")).to_be_visible()
    assert (await api.get(CLIENTS + client_id)).data["jwks_uri"] == "https://client.example.com/jwks.json"


async def test_an_answer_that_was_lost(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """Where it turns out that the change was made, nobody is said to have been faster."""
    complaints.expected += ["net::ERR_FAILED", "412 (Precondition Failed)"]
    client_id = (await api.register())["client_id"]
    async with console(f"#/clients/{client_id}/edit") as page:
        await page.route(f"**{CLIENTS}{client_id}", losing("PUT"))
        await page.get_by_label("Name").fill("Changed once")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")
        await expect(page.get_by_label("Name")).to_have_value("Changed once")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Changed once")).to_be_visible()
        await expect(page.get_by_role("status").get_by_text("Changed once is changed")).to_be_visible()
    assert (await api.get(CLIENTS + client_id)).data["version"] == 2


async def test_a_change_that_waits_for_a_token(console: OpenConsole, api: Api, token: object) -> None:
    """Whoever puts signing in off keeps what was typed; the change is asked to wait, and goes through by itself."""
    assert callable(token)
    client_id = (await api.register())["client_id"]
    async with console(f"#/clients/{client_id}/edit", ttl_s=600) as page:
        await page.get_by_label("Name").fill("Waits")
        dialog = page.get_by_role("dialog")
        await page.clock.install()
        await page.clock.fast_forward("11:00")
        await page.get_by_role("button", name="Save").click()
        await dialog.get_by_role("button", name="Close").click()
        await expect(page.get_by_role("alert")).to_contain_text("What you typed is still here")
        await expect(page.get_by_label("Name")).to_have_value("Waits")
        await page.get_by_role("button", name="Save").click()
        await dialog.get_by_label("Token").fill(token("admin", 7200))
        await dialog.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Waits")).to_be_visible()
    assert (await api.get(CLIENTS + client_id)).data["name"] == "Waits"
