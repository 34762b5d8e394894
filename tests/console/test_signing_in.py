"""Signing in: by a link, by a token, or at an issuer; and out again."""

import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, Page, expect

from service.app import build
from service.config import Config
from service.routes import TOKENS
from tests.callers import Api
from tests.conftest import Served
from tests.console.complaints import Complaints
from tests.console.conftest import PATIENCE_MS, OpenConsole
from tests.console.issuing import Issuer
from tests.console.seen import in_any_light

TOKEN_S = 600  # the issuer's, unless a test says otherwise
KEPT = "sessionStorage.getItem('mitosis.token')"


async def test_by_a_link(console: OpenConsole, api: Api) -> None:
    """The token is taken from the address bar at once, and is in the tab's own storage and nowhere else."""
    async with console() as page:
        await expect(page.get_by_role("heading", name="Clients", exact=True)).to_be_visible()
        assert "token" not in page.url
        token = await page.evaluate(KEPT)
        assert token.count(".") == 2
        assert await page.evaluate("[document.cookie, JSON.stringify(localStorage)]") == ["", "{}"]
        assert token not in await page.content()
        await page.go_back()
        assert "token" not in page.url
        await page.goto(f"{api.base}/console/")
        await expect(page.get_by_text("admin@example")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        assert await page.evaluate(KEPT) is None


async def test_by_a_token(console: OpenConsole, token: Callable[..., str], axe: str) -> None:
    """It is pasted, or the link is; what is neither is said to be."""
    async with console(role=None) as page:
        await in_any_light(page, axe)
        await page.get_by_label("Token").fill("not.a.token")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("This is no token.")).to_be_visible()
        await page.get_by_label("Token").fill(token("admin", ttl_s=-5))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("Your token is no longer good")
        await page.get_by_role("dialog").get_by_label("Token").fill(f"http://x/console/#token={token('auditor')}")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("auditor@example · auditor")).to_be_visible()


async def test_by_a_link_that_was_cut_off(console: OpenConsole, api: Api, axe: str) -> None:
    """It signs nobody in and says so, and it signs nobody out."""
    async with console("#token=eyJhbGciOi", role=None) as page:
        await expect(page.get_by_role("alert").first).to_contain_text("This link signs nobody in")
        assert "token" not in page.url
        await in_any_light(page, axe)
    async with console() as page:
        await page.evaluate("location.hash = '#token=eyJhbGciOi'")
        await expect(page.locator(".toasts")).to_contain_text("This link signs nobody in")
        assert "token" not in page.url
        await expect(page.get_by_text("admin@example")).to_be_visible()
        await page.goto(f"{api.base}/console/?again#token=eyJhbGciOi")
        await expect(page.locator(".toasts")).to_contain_text("This link signs nobody in")
        await expect(page.get_by_text("admin@example")).to_be_visible()


async def test_a_token_of_somebody_else(console: OpenConsole, complaints: Complaints) -> None:
    """One that the service does not take is asked for again, with nothing of anybody on the page."""
    complaints.expected.append("401 (Unauthorized)")
    claims = {"iss": "mitosis", "sub": "eve", "tenant_id": "t", "role": "admin", "exp": 9_999_999_999}
    forged = ".".join(urlsafe_b64encode(msgspec.json.encode(one)).decode().rstrip("=") for one in ({}, claims, 0))
    async with console(role=None) as page:
        await page.get_by_label("Token").fill(forged)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("Your token is no longer good")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("alert")).to_contain_text("You are not signed in.")


async def test_a_role_without_a_console(console: OpenConsole, axe: str) -> None:
    """A service's token is good, and there is nothing here for it."""
    async with console(role="service") as page:
        await expect(page.get_by_role("alert")).to_contain_text("The console is for administrators and auditors")
        await in_any_light(page, axe)


@pytest.fixture
async def issuer(tenant: str) -> AsyncIterator[Issuer]:
    issuer = Issuer()
    await issuer.start()
    issuer.claims = {"tenant_id": tenant}
    yield issuer
    await issuer.stop()


@pytest.fixture
async def trusting(config: Config, issuer: Issuer, tenant: str) -> AsyncIterator[Api]:
    """A service that takes the issuer's tokens."""
    server = Served(build(msgspec.structs.replace(config, issuer=issuer.url, console_client_id="the-console")))
    await server.start_server()
    async with ClientSession() as session:
        yield Api(session, str(server.make_url("")).rstrip("/"), server.app[TOKENS], {}).as_role("admin", tenant)
    await server.close()


@pytest.fixture
async def heard(trusting: Api, issuer: Issuer) -> AsyncIterator[Complaints]:
    """Nobody is asked but the service and the issuer."""
    complaints = Complaints(trusting.base, issuer.origin)
    yield complaints
    assert complaints.found == []


@asynccontextmanager
async def visiting(browser: Browser, heard: Complaints, base: str) -> AsyncIterator[Page]:
    context = await browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    await heard.watch(context)
    await context.clock.install()
    page = await context.new_page()
    await page.goto(f"{base}/console/#/audit")
    yield page
    await context.close()


async def test_at_an_issuer(browser: Browser, trusting: Api, heard: Complaints, issuer: Issuer, axe: str) -> None:
    """By an authorization code with PKCE; whoever comes back is where they were, and no code is in the address bar."""
    await trusting.register(name="Known by now")
    async with visiting(browser, heard, trusting.base) as page:
        await in_any_light(page, axe)
        await page.get_by_role("button", name="Sign in at 127.0.0.1").click()
        await expect(page.get_by_text("8f3c-ops · administrator")).to_be_visible()
        await expect(page.get_by_role("heading", name="Audit")).to_be_visible()
        assert page.url == f"{trusting.base}/console/#/audit"
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Clients").click()
        await expect(page.get_by_role("link", name="Known by now")).to_be_visible()

    (asked,), (redeemed,) = issuer.asked, issuer.redeemed
    assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == (
        "code",
        "S256",
        "the-console",
    )
    assert "client_secret" not in redeemed
    async with trusting.session.get(f"{trusting.base}/console/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert f"connect-src 'self' {issuer.origin};" in policy


@pytest.mark.parametrize("closes", [True, False])
async def test_again_beside(
    browser: Browser, trusting: Api, heard: Complaints, issuer: Issuer, axe: str, *, closes: bool
) -> None:
    """
    When the token expires, somebody signs in in a window beside, and what was typed is there.

    The window closes; where a browser does not let it, it says that it is not needed any more.
    """
    client_id = (await trusting.register())["client_id"]
    async with visiting(browser, heard, trusting.base) as page:
        await page.get_by_role("button", name="Sign in at 127.0.0.1").click()
        await expect(page.get_by_text("8f3c-ops · administrator")).to_be_visible()
        await page.evaluate("address => { location.hash = address }", f"#/clients/{client_id}/edit")
        await page.get_by_label("Name").fill("Typed before")
        await page.context.clock.fast_forward(TOKEN_S * 1000)
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Your token is no longer good")
        issuer.claims["exp"] = int(time.time()) + 6 * TOKEN_S
        issuer.asks = True
        if not closes:
            await page.context.add_init_script("window.close = () => {}")
        async with page.context.expect_page() as beside:
            await dialog.get_by_role("button", name="Sign in at 127.0.0.1").click()
        window = await beside.value
        await window.get_by_role("link", name="Let me in").click()
        await expect(dialog).to_have_count(0)
        if not closes:
            await expect(window.get_by_role("status")).to_contain_text("This window is not needed any more.")
            assert "code" not in window.url
            await in_any_light(window, axe)
        elif not window.is_closed():
            await window.wait_for_event("close")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Typed before")).to_be_visible()


async def test_the_issuer_is_away(browser: Browser, trusting: Api, heard: Complaints, issuer: Issuer) -> None:
    """Nobody waits for who does not answer, and no empty window is left behind."""
    heard.expected.append("net::ERR_CONNECTION_REFUSED")
    async with visiting(browser, heard, trusting.base) as page:
        await page.get_by_role("button", name="Sign in at 127.0.0.1").click()
        await expect(page.get_by_text("8f3c-ops · administrator")).to_be_visible()
        await issuer.stop()
        await page.context.clock.fast_forward(TOKEN_S * 1000)
        dialog = page.get_by_role("dialog")
        async with page.context.expect_page() as beside:
            await dialog.get_by_role("button", name="Sign in at 127.0.0.1").click()
        await expect(dialog.get_by_role("alert").first).to_contain_text("Signing in did not work.")
        if not (window := await beside.value).is_closed():
            await window.wait_for_event("close")


async def test_refused_by_the_issuer(browser: Browser, trusting: Api, heard: Complaints, issuer: Issuer) -> None:
    """Whoever is not let in there is told so, and can try again or take a token."""
    issuer.error = "access_denied"
    async with visiting(browser, heard, trusting.base) as page:
        await page.get_by_role("button", name="Sign in at 127.0.0.1").click()
        await expect(page.get_by_role("alert")).to_contain_text("The issuer did not let you in.")
        await page.goto(f"{trusting.base}/console/?code=stolen&state=made-up")
        await expect(page.get_by_role("alert")).to_contain_text("Signing in was not begun here")
        assert page.url == f"{trusting.base}/console/"
    assert issuer.redeemed == []
