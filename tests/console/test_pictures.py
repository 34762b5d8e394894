"""Pictures of each page for the README, in light and dark: `make screenshots` makes them, and nothing else does."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Page, expect

from tests.callers import Api
from tests.console.conftest import OpenConsole
from tests.console.timeline import is_live

pytestmark = pytest.mark.pictures

FOLDER = Path(__file__).parents[2] / "docs" / "console"
CLIENTS = "/admin/oauth/clients/"


class Lived(NamedTuple):
    """A tenant in which something happened: a template, what was cloned from it, and a client with a past."""

    template: str
    portal: str


@pytest.fixture
async def lived(api: Api, tenant: str) -> Lived:
    """Clients as people name them."""
    template = (await api.register(name="Web application (template)"))["client_id"]
    clones = []
    for name in ("Customer portal", "Partner portal", "Back office", "Payroll"):
        host = name.lower().replace(" ", "-")
        body = {"name": name, "redirect_uris": [f"https://{host}.example.com/callback"]}
        clones.append((await api.clone(template, json=body)).data["client_id"])
    portal = clones[0]
    for stage in ("staging", "qa"):
        body = {"name": f"Customer portal ({stage})", "redirect_uris": [f"https://{stage}.example.com/callback"]}
        clones.append((await api.clone(portal, json=body)).data["client_id"])
    await api.put(CLIENTS + portal, json={"scopes": ["openid", "profile", "email", "accounts:read"]})
    await api.post(f"{CLIENTS}{portal}/rotate-secret")
    await api.put(CLIENTS + portal, json={"website": "https://portal.example.com", "cors_origins": []})
    await api.put(CLIENTS + clones[3], json={"status": "suspended"})
    await api.register(name="Mobile app", client_auth_methods=["none"], is_confidential=False, fapi_profile=None)
    await api.register(name="Nightly reports", redirect_uris=[], grant_types=["client_credentials"])
    return Lived(template, portal)


async def sign_in(page: Page, lived: Lived) -> None:
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()


async def clients(page: Page, lived: Lived) -> None:
    await expect(page.get_by_role("link", name="Customer portal", exact=True)).to_be_visible()


async def register(page: Page, lived: Lived) -> None:
    await page.evaluate("location.hash = '#/clients/new'")
    await page.get_by_label("Name").fill("Insurance claims")


async def client(page: Page, lived: Lived) -> None:
    await page.evaluate("id => { location.hash = `#/clients/${id}` }", lived.portal)
    await expect(page.locator(".secrets li")).to_have_count(2)
    await expect(page.get_by_text("Created by")).to_be_visible()


async def edit(page: Page, lived: Lived) -> None:
    await page.evaluate("id => { location.hash = `#/clients/${id}/edit` }", lived.portal)
    await page.get_by_label("Name").fill("Customer portal (Europe)")
    await page.get_by_label("Website").fill("https://eu.example.com")
    await expect(page.locator(".changes tbody tr")).to_have_count(2)
    await page.locator(".changes").scroll_into_view_if_needed()


async def clone(page: Page, lived: Lived) -> None:
    await client(page, lived)
    await page.get_by_role("button", name="Clone", exact=True).click()
    await page.get_by_label("Name").fill("Customer portal (production)")
    await expect(page.locator(".preview .new").first).to_contain_text("production")


async def secret(page: Page, lived: Lived) -> None:
    await clone(page, lived)
    await page.get_by_role("dialog").get_by_role("button", name="Clone", exact=True).click()
    await expect(page.get_by_text("This secret is shown once.")).to_be_visible()


async def lineage(page: Page, lived: Lived) -> None:
    await page.evaluate("id => { location.hash = `#/clients/${id}/lineage` }", lived.template)
    await page.get_by_role("button", name="Show the clones of Customer portal", exact=True).click()
    await expect(page.get_by_role("link", name="Customer portal (qa)")).to_be_visible()


async def audit(page: Page, lived: Lived) -> None:
    await page.evaluate("location.hash = '#/audit'")
    await is_live(page)
    await expect(page.locator(".verdict .confirmed")).to_be_visible()
    await page.locator(".timeline summary").nth(2).click()


async def versions(page: Page, lived: Lived) -> None:
    await page.evaluate("id => { location.hash = `#/clients/${id}/versions?version=4&base=1` }", lived.portal)
    await expect(page.locator(".compared tbody tr").first).to_be_visible()


PAGES: list[Callable[[Page, Lived], Awaitable[None]]] = [
    clients,
    register,
    client,
    edit,
    clone,
    secret,
    lineage,
    audit,
    versions,
    sign_in,
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures(console: OpenConsole, lived: Lived, scheme: str) -> None:
    """Each page, as it is after what people do there."""
    for show in PAGES:
        async with console(color_scheme=scheme) as page:
            await show(page, lived)
            await page.screenshot(path=FOLDER / f"{show.__name__.replace('_', '-')}-{scheme}.png")


async def test_pictures_on_a_phone(console: OpenConsole, lived: Lived) -> None:
    """Some of them as they are on a phone, and in Chinese."""
    for show in (clients, client, lineage, audit):
        async with console(viewport={"width": 390, "height": 844}) as page:
            await show(page, lived)
            await page.screenshot(path=FOLDER / f"{show.__name__}-phone.png")
    async with console(locale="zh-CN") as page:
        await expect(page.get_by_role("link", name="Customer portal", exact=True)).to_be_visible()
        await page.screenshot(path=FOLDER / "clients-chinese.png")
