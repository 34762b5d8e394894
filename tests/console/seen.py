"""What a checker of accessibility says of a page."""

from playwright.async_api import Page

from tests.console.complaints import told

# what reaches beyond the page's width
_BESIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth)
    .map((one) => one.outerHTML.slice(0, 200))"""

# a colour that fades is neither the one nor the other; what moves for ever is as it is
_STILL = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished)).then(() => {})"""


async def accessible(page: Page, axe: str) -> list[str]:
    """What axe finds in *page* as it is now; it is evaluated from outside, so the page's policy needs no hole."""
    await page.evaluate(axe)
    return told(await page.evaluate("() => axe.run({resultTypes: ['violations']})"))


async def in_any_light(page: Page, axe: str) -> None:
    """In light and dark, wide and on a phone, nobody is kept out of *page*, and nothing is beside it."""
    before = page.viewport_size
    for width, height in ((1280, 900), (375, 740)):
        await page.set_viewport_size({"width": width, "height": height})
        beside = await page.evaluate(_BESIDE)
        assert beside == [], beside
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.evaluate(_STILL)
            faults = await accessible(page, axe)
            assert faults == [], faults
    if before is not None:
        await page.set_viewport_size(before)
