"""Words: what is said in one language is said in the other, and what a page says there are words for."""

import re
from pathlib import Path

from playwright.async_api import expect

from tests.console.conftest import OpenConsole
from tests.console.seen import in_any_light

CONSOLE = Path(__file__).parents[2] / "service" / "console"
_ENTRY = re.compile(r'^  "([^"]+)": (".*"),$', re.MULTILINE)
_USED = re.compile(r'\bt\("([a-z0-9_]+\.[a-zA-Z0-9_.]+)"')
_BLANK = re.compile(r"\{(\w+)\}")


def words(language: str) -> dict[str, str]:
    """All of a language's, by their keys."""
    found: dict[str, str] = {}
    for name in (language, f"audit.{language}", f"clients.{language}"):
        found |= _ENTRY.findall((CONSOLE / "words" / f"{name}.js").read_text())
    return found


def test_both_languages() -> None:
    """The same keys, with the same blanks to be filled; Chinese has one form where English has two."""
    english, chinese = words("en"), words("zh")
    plural = {key for key in english if key.endswith(".one")}

    assert english.keys() - plural == chinese.keys() - plural
    for key in chinese.keys() - plural:
        assert set(_BLANK.findall(english[key])) == set(_BLANK.findall(chinese[key])), key


def test_no_key_without_words() -> None:
    """Whatever a page asks for by its whole name is there."""
    known = words("en")
    for file in CONSOLE.rglob("*.js"):
        if "vendor" not in file.parts:
            for key in _USED.findall(file.read_text()):
                assert key in known or f"{key}.other" in known, f"{file.name}: {key}"


def test_no_words_without_a_page() -> None:
    """What is in the lists is said somewhere: by its whole name, or by one that begins in a template."""
    pages = "".join(file.read_text() for file in CONSOLE.rglob("*.js") if not {"vendor", "words"} & {*file.parts})
    templates = tuple(set(re.findall(r"`([a-z0-9_]+\.[a-z0-9_.]*)\$\{", pages)))
    unsaid = {
        key
        for key in words("en")
        if not (key.startswith(templates) or f'"{re.sub(r"[.](one|other|do)$", "", key)}' in pages)
    }
    assert unsaid == set()


async def test_nowhere(console: OpenConsole, axe: str) -> None:
    """An address that leads nowhere says so, and leads back."""
    async with console("#/nowhere/at/all") as page:
        await expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
        await in_any_light(page, axe)
        await page.get_by_role("link", name="Go to the clients").click()
        await expect(page.get_by_role("heading", name="Clients", exact=True)).to_be_visible()


async def test_light_and_dark_by_hand(console: OpenConsole) -> None:
    """As the system has it, or as somebody wants it; the choice is kept."""
    async with console(color_scheme="light") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(ground)
        await page.get_by_label("Theme").select_option("dark")
        dark = await page.evaluate(ground)
        assert dark != light
        await page.reload()
        assert await page.evaluate(ground) == dark
        await page.get_by_label("Theme").select_option("system")
        assert await page.evaluate(ground) == light
