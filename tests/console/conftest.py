"""A browser before the real service; whatever it complains of fails the test that made it complain."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.callers import Api
from tests.console.complaints import Complaints

PATIENCE_MS = 20_000  # on a machine that others use too; where a second is meant, the test says so
WIDE = {"width": 1280, "height": 900}

expect.set_options(timeout=PATIENCE_MS)


class OpenConsole(Protocol):
    """Opens the console in a browser of its own: `async with console(role="auditor") as page`."""

    def __call__(
        self, path: str = "", *, role: str | None = "admin", ttl_s: float = 600, **context: Any
    ) -> AbstractAsyncContextManager[Page]: ...


def executable() -> str | None:
    """Where the browser is: what MITOSIS_BROWSER names, or Debian's."""
    return shutil.which(os.environ.get("MITOSIS_BROWSER", "chromium"))


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each has its own cookies, storage and cache in it."""
    found = executable()
    if found is None:
        if os.environ.get("MITOSIS_REQUIRE_BROWSER") == "1":
            pytest.fail("MITOSIS_REQUIRE_BROWSER=1, but no chromium was found: apt-get install chromium")
        pytest.skip("no chromium was found, so nobody looks at the console: apt-get install chromium")
    async with async_playwright() as playwright:
        # a sandbox takes rights that root in a container has not
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
def token(api: Api, tenant: str) -> Any:
    """A token of the test's tenant, for a role and so many seconds."""

    def issued(role: str = "admin", ttl_s: float = 600, tenant_id: str = tenant) -> str:
        return api.tokens.issue(subject=f"{role}@example", tenant_id=tenant_id, role=role, ttl_s=ttl_s)

    return issued


@pytest.fixture
async def complaints(api: Api) -> AsyncIterator[Complaints]:
    """What the browser found fault with; nothing may be left when the test ends."""
    complaints = Complaints(api.base)
    yield complaints
    assert complaints.found == []


@pytest.fixture
def console(browser: Browser, api: Api, token: Any, complaints: Complaints) -> OpenConsole:
    """The console, with a token in its address unless *role* is None; in English and light, unless told otherwise."""

    @asynccontextmanager
    async def opened(
        path: str = "", *, role: str | None = "admin", ttl_s: float = 600, **context: Any
    ) -> AsyncIterator[Page]:
        settings: dict[str, Any] = {
            "locale": "en-US",
            "color_scheme": "light",
            "viewport": WIDE,
            "timezone_id": "Asia/Tokyo",
        }
        settings |= {"reduced_motion": "reduce", **context}
        made = await browser.new_context(**settings)
        made.set_default_timeout(PATIENCE_MS)
        await complaints.watch(made)
        page = await made.new_page()
        if role is None:
            await page.goto(f"{api.base}/console/{path}")
        else:
            await page.goto(f"{api.base}/console/#token={token(role, ttl_s)}")
            await page.locator(".bar nav").wait_for()
            if path:
                await page.evaluate("address => { location.hash = address }", path)
        try:
            yield page
        finally:
            await made.close()

    return opened


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker, to be evaluated in a page."""
    return Path(__file__).with_name("vendor").joinpath("axe.min.js").read_text()
