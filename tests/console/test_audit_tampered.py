"""A chain that the page checks itself: what was tampered with turns red."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Route, expect

from tests.callers import Api
from tests.commands import Mitosis
from tests.console.conftest import OpenConsole
from tests.console.seen import accessible, in_any_light
from tests.console.test_chain import lines_of
from tests.console.timeline import STREAM, is_live, row

Tamper = Callable[[list[Any]], list[Any]]


def _renamed(events: list[Any]) -> list[Any]:
    events[1]["data"]["data"]["settings"]["name"] = "Evil"
    return events


def _by_another(events: list[Any]) -> list[Any]:
    events[1]["data"]["actor"]["subject"] = "nobody@example"
    return events


def _by_nobody(events: list[Any]) -> list[Any]:
    del events[1]["data"]["actor"]
    events[1]["data"]["data"]["settings"] = None
    return events


def _no_record(events: list[Any]) -> list[Any]:
    events[1]["data"] = ["gone"]
    return events


def _other_digest(events: list[Any]) -> list[Any]:
    events[1]["digest"] = "0" * 64
    return events


def _one_less(events: list[Any]) -> list[Any]:
    return [events[0], *events[2:]]


def _cut_off(events: list[Any]) -> list[Any]:
    return events[:1]


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (_renamed, "The record at position 2 does not follow from the one before"),
        (_by_another, "The record at position 2 does not follow from the one before"),
        (_by_nobody, "The record at position 2 does not follow from the one before"),
        (_no_record, "The record at position 2 does not follow from the one before"),
        (_other_digest, "The record at position 2 does not follow from the one before"),
        (_one_less, "The record at position 2 is missing."),
        (_cut_off, "The records from position 2 on are missing: a signed head is of position 3."),
    ],
)
async def test_a_tampered_feed(console: OpenConsole, api: Api, tamper: Tamper, says: str) -> None:
    """Whoever changes the feed on its way is found out: in red, in words, with a shape, at its position."""
    for name in ("One", "Two", "Three"):
        await api.register(name=name)

    async def tampered(route: Route) -> None:
        if "ndjson" not in route.request.headers["accept"]:
            await route.fulfill(status=200, content_type="text/event-stream", body=": nothing\n\n")
            return
        answer = await route.fetch()
        events = [msgspec.json.decode(line) for line in (await answer.text()).split("\n") if line]
        body = b"".join(msgspec.json.encode(event) + b"\n" for event in (tamper(events) if len(events) > 1 else []))
        await route.fulfill(response=answer, body=body)

    async with console() as page:
        await page.route(STREAM, tampered)
        await page.evaluate("location.hash = '#/audit'")
        verdict = page.locator(".verdict.broken")
        await expect(verdict).to_contain_text("The chain is broken at position 2")
        await expect(verdict).to_contain_text(says)
        broken = row(page, 2)
        await expect(broken).to_contain_text(says)
        await expect(broken).to_have_class(re.compile(r"\bbroken\b"))
        colour = await broken.locator(".breaks").evaluate("line => getComputedStyle(line).color")
        assert colour == "rgb(179, 38, 30)"
        if await broken.locator("summary").count():
            await expect(broken.locator(".mark.broken svg")).to_be_visible()
            await expect(broken.locator(".mark.broken")).to_have_text("The chain is broken here.")
        await expect(row(page, 1)).not_to_have_class(re.compile(r"\bbroken\b"))
        await page.get_by_role("button", name="2", exact=True).click()
        await expect(broken).to_be_in_viewport()


async def test_a_tampered_stream(console: OpenConsole, api: Api, axe: str) -> None:
    """What comes live is checked like all else, and the true signed head is of no help to whoever made it up."""
    await api.register(name="One")

    async def tampered(route: Route) -> None:
        headers = route.request.headers
        if "event-stream" not in headers["accept"]:
            await route.continue_()
        elif headers["last-event-id"] == "1":
            await api.register(name="Two")
            line = (await lines_of(api))[1].replace("Two", "Evil")
            await route.fulfill(
                status=200, content_type="text/event-stream", body=f"id: 2\nevent: ClientRegistered\ndata: {line}\n\n"
            )
        else:
            await route.continue_()

    async with console() as page:
        await page.route(STREAM, tampered)
        await page.evaluate("location.hash = '#/audit'")
        await expect(row(page, 2)).to_contain_text("Evil")
        await expect(row(page, 2)).to_have_class(re.compile(r"\bbroken\b"))
        await expect(page.get_by_role("heading", name="The chain is broken at position 2")).to_be_visible()
        await is_live(page)  # and it goes on
        await api.register(name="Three")
        await expect(row(page, 3)).to_contain_text("Three")
        await expect(row(page, 3)).not_to_have_class(re.compile(r"\bbroken\b"))
        await in_any_light(page, axe)


async def test_a_forged_head(console: OpenConsole, api: Api) -> None:
    """A head that the service's key has not signed confirms nothing, and that is said in red."""
    await api.register()

    async def forged(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        header, _, signature = body["data"]["head"].split(".")
        body["data"]["head"] = f"{header}.e30.{signature}"
        await route.fulfill(response=answer, json=body)

    async with console() as page:
        await page.route("**/admin/audit/head", forged)
        await page.evaluate("location.hash = '#/audit'")
        await expect(page.get_by_role("heading", name="The signed head is not signed by the service")).to_be_visible()
        await expect(page.locator(".verdict.broken")).to_be_visible()


async def test_a_log_that_was_set_back(console: OpenConsole, api: Api) -> None:
    """A true head that is older than one before it says that the newest records were cut off."""
    await api.register()
    old = (await api.get("/admin/audit/head")).body
    await api.register()
    async with console("#/audit") as page:
        await expect(page.locator(".verdict .confirmed")).to_contain_text("confirms position 2")
        await page.route("**/admin/audit/head", lambda route: route.fulfill(json=old))
        await api.register()
        await expect(page.get_by_role("heading", name="The chain is broken at position 2")).to_be_visible()
        await expect(row(page, 2)).to_contain_text("The log ends before position 2")


async def test_a_kept_head(console: OpenConsole, api: Api, tenant: str, mitosis: Mitosis, tmp_path: Path) -> None:
    """The signed head can be taken away, and later holds the log to what it was."""
    await api.register()
    async with console("#/audit", role="auditor") as page:
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download the signed head").click()
        kept = tmp_path / (await download.value).suggested_filename
        await (await download.value).save_as(kept)
    await api.register()
    assert kept.name == "head-1.jws"
    said = await mitosis("audit", "verify", "--tenant", tenant, "--head", str(kept))
    assert (said.status, said.err) == (0, "")


_OLD = """
() => {
const {subtle} = crypto;
const importKey = subtle.importKey.bind(subtle);
subtle.importKey = (format, key, algorithm, ...rest) => algorithm.name === "Ed25519"
  ? Promise.reject(new DOMException("no", "NotSupportedError")) : importKey(format, key, algorithm, ...rest);
}
"""


async def test_an_old_browser(console: OpenConsole, api: Api) -> None:
    """Without Ed25519 the links are checked, and it is said that no head confirms them."""
    await api.register()
    async with console() as page:
        await page.evaluate(_OLD)
        await page.evaluate("location.hash = '#/audit'")
        await expect(page.get_by_role("heading", name="Verified up to position 1")).to_be_visible()
        await expect(page.locator(".verdict")).to_contain_text("cannot check Ed25519 signatures")
        await expect(page.locator(".verdict .confirmed")).to_have_count(0)
        await expect(row(page, 1).locator(".mark.linked")).to_have_count(1)


async def test_no_secure_context(console: OpenConsole, api: Api, axe: str) -> None:
    """Without cryptography the records are there all the same, and it is said that nobody checked them."""
    await api.register()
    async with console() as page:
        await page.evaluate("Object.defineProperty(crypto, 'subtle', {value: undefined})")
        await page.evaluate("location.hash = '#/audit'")
        await expect(page.get_by_role("heading", name="The hash chain is not checked here")).to_be_visible()
        await is_live(page)
        await api.register()
        await expect(row(page, 2).locator(".mark.unchecked")).to_have_count(1)
        await expect(row(page, 1)).to_contain_text("Not checked.")
        assert await accessible(page, axe) == []
