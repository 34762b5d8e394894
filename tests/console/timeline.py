"""The audit page as its readers see it."""

import re

from playwright.async_api import Locator, Page, expect

STREAM = re.compile(r"/admin/audit/stream")


def rows(page: Page) -> Locator:
    return page.locator(".timeline > li")


def row(page: Page, position: int) -> Locator:
    return page.locator(f".timeline > li[data-position='{position}']")


async def positions(page: Page) -> list[int]:
    """The positions of the records on the page, from the top."""
    return [int(one) for one in await rows(page).evaluate_all("rows => rows.map(row => row.dataset.position)")]


async def is_live(page: Page, name: str = "Live") -> None:
    await expect(page.locator(".stream")).to_have_text(name)
