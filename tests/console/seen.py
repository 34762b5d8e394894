"""What a checker of accessibility says of a page."""

from playwright.async_api import Page

from tests.console.complaints import told


async def accessible(page: Page, axe: str) -> list[str]:
    """What axe finds in *page* as it is now; it is evaluated from outside, so the page's policy needs no hole."""
    await page.evaluate(axe)
    return told(await page.evaluate("() => axe.run({resultTypes: ['violations']})"))
