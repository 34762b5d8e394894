"""A stream that breaks: it goes on where it was, or says why not."""

import asyncio
import re
from typing import Any

from playwright.async_api import Route, expect

from tests.callers import Api
from tests.console.complaints import Complaints
from tests.console.conftest import OpenConsole
from tests.console.test_chain import lines_of
from tests.console.timeline import STREAM, is_live, positions, rows


async def test_breaks(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """The stream ends, and is refused, and goes on where it was: nothing is missed, nothing is there twice."""
    complaints.expected.append("ERR_CONNECTION_REFUSED")
    await api.register(name="1")
    resumed: list[str] = []
    is_away = asyncio.Event()

    async def breaking(route: Route) -> None:
        headers = route.request.headers
        if "event-stream" not in headers["accept"]:
            await route.continue_()
            return
        resumed.append(headers["last-event-id"])
        if len(resumed) == 1:
            # two whole records and half of one, then the connection ends
            for name in "234":
                await api.register(name=name)
            lines = await lines_of(api)
            frames = [f"id: {at}\nevent: x\ndata: {lines[at - 1]}\n\n" for at in (2, 3, 4)]
            body = "".join(frames)[:-200]
            await route.fulfill(status=200, content_type="text/event-stream", body=body)
        elif len(resumed) < 4:
            is_away.set()
            await route.abort("connectionrefused")
        else:
            await route.continue_()

    async with console() as page:
        await page.route(STREAM, breaking)
        await page.evaluate("location.hash = '#/audit'")
        await is_away.wait()
        await expect(page.locator(".stream")).to_have_text(re.compile("Connection lost; trying again shortly"))
        await api.register(name="5")
        await page.get_by_role("button", name="Try now").click()
        await expect(rows(page)).to_have_count(5)
        await is_live(page)
        assert await positions(page) == [5, 4, 3, 2, 1]
        assert resumed == ["1", "3", "3", "3"]
        await expect(page.get_by_role("heading", name="Verified up to position 5")).to_be_visible()


async def test_it_ends_with_the_page(console: OpenConsole, api: Api) -> None:
    """Whoever goes elsewhere follows no longer, and asks no more."""
    async with console("#/audit") as page:
        await is_live(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        async with page.expect_event("requestfailed", lambda request: bool(STREAM.search(request.url))):
            await page.evaluate("location.hash = '#/clients'")
        await expect(page.get_by_role("heading", name="Clients", level=1)).to_be_visible()
        await api.register()
        assert not [url for url in asked if "/audit/" in url]


async def test_not_permitted_any_more(console: OpenConsole, api: Api, complaints: Complaints) -> None:
    """What would be refused again is not tried again: it is said, with a button."""
    complaints.expected.append("409 (Conflict)")

    async def shorter(route: Route) -> None:
        if "event-stream" in route.request.headers["accept"]:
            answer = {"code": 409004, "message": "The log ends before.", "timestamp": "2026-01-01T00:00:00Z"}
            await route.fulfill(status=409, json=answer)
        else:
            await route.continue_()

    async with console() as page:
        await page.route(STREAM, shorter)
        await page.evaluate("location.hash = '#/audit'")
        await is_live(page, "Not live")
        await expect(page.get_by_role("alert")).to_contain_text("The log ends before.")
        await page.unroute(STREAM)
        await page.get_by_role("button", name="Try again").click()
        await is_live(page)


async def test_the_service_is_away(console: OpenConsole, complaints: Complaints) -> None:
    """Nothing spins for ever: what went wrong is said, and a button tries again."""
    complaints.expected.append("ERR_FAILED")
    async with console() as page:
        await page.route("**/admin/audit/head", lambda route: route.abort())
        await page.evaluate("location.hash = '#/audit'")
        await expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")
        await expect(page.get_by_label("Loading")).to_have_count(0)
        await page.unroute("**/admin/audit/head")
        await page.get_by_role("button", name="Try again").click()
        await is_live(page)


async def test_no_answer(console: OpenConsole, api: Api) -> None:
    """A stream that says nothing at all is given up after a while, and asked for again."""
    await api.register()

    async def silent(route: Route) -> None:
        if "event-stream" not in route.request.headers["accept"]:
            await route.continue_()

    async with console() as page:
        await page.clock.install()
        await page.route(STREAM, silent)
        await page.evaluate("location.hash = '#/audit'")
        await is_live(page, "Connecting…")
        await page.clock.fast_forward(20_001)
        await expect(page.locator(".stream")).to_have_text("Connection lost; trying again shortly")
        await page.unroute(STREAM)
        await page.clock.fast_forward(1_000)
        await is_live(page)


async def test_an_expired_token(console: OpenConsole, api: Api, token: Any, complaints: Complaints) -> None:
    """Whoever signs in again goes on where they were; what came meanwhile is there."""
    complaints.expected.append("401 (Unauthorized)")
    await api.register()
    asked = 0

    async def expired(route: Route) -> None:
        nonlocal asked
        if "event-stream" not in route.request.headers["accept"]:
            await route.continue_()
            return
        asked += 1
        if asked == 1:
            await route.fulfill(status=200, content_type="text/event-stream", body="retry: 1000\n\n")
        else:
            await route.fulfill(status=401, json={"code": 401001, "message": "expired"})

    async with console() as page:
        await page.route(STREAM, expired)
        await page.evaluate("location.hash = '#/audit'")
        dialog = page.get_by_role("dialog", name="Sign in again")
        await expect(dialog).to_be_visible()
        await api.register()
        await page.unroute(STREAM)
        await dialog.get_by_label("Token", exact=True).fill(token())
        await dialog.get_by_role("button", name="Sign in", exact=True).click()
        await expect(dialog).to_have_count(0)
        await expect(rows(page)).to_have_count(2)
        await is_live(page)
