"""How the console is served: as files, with headers that keep strangers out of it."""

import re

import pytest
from playwright.async_api import expect

from tests.callers import Api
from tests.console.conftest import OpenConsole
from tests.console.seen import accessible

FIRST_LOAD_LIMIT_BYTES = 100_000


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_every_answer_has_its_headers(api: Api, prefix: str) -> None:
    """A strict policy, and whatever else keeps a page to itself, with each file, and with what is not there."""
    async with api.session.get(f"{api.base}{prefix}/console", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "console/")
    async with api.session.get(f"{api.base}{prefix}/console") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    for name, kind in {"": "text/html", "main.js": "text/javascript", "configuration.json": "application/json"}.items():
        async with api.session.get(f"{api.base}{prefix}/console/{name}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert (answer.status, answer.content_type) == (200, kind)
            assert policy.startswith("default-src 'self'; connect-src 'self'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["nope", "main.js/", "../app.py", "%2e%2e/app.py", "site.py", "vendor/README.md", "vendor/"]
)
async def test_what_is_no_file(api: Api, path: str) -> None:
    """404 in the envelope: for what is not there, and for what is there but is nobody's business."""
    reply = await api.get(f"/console/{path}")
    assert (reply.status, reply.body["code"]) == (404, 404002)


async def test_what_somebody_has_already(api: Api) -> None:
    """304 to who has it; compressed and not, it has different tags."""
    tags = set()
    for coding in ("gzip", "identity"):
        headers = {"Accept-Encoding": coding}
        async with api.session.get(f"{api.base}/console/main.js", headers=headers) as answer:
            assert answer.headers.get("Content-Encoding", "identity") == coding
            tags.add(tag := answer.headers["ETag"])
        async with api.session.get(f"{api.base}/console/main.js", headers={**headers, "If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
    assert len(tags) == 2


async def test_the_first_load_is_small(console: OpenConsole, axe: str) -> None:
    """All that a browser loads until the first page is there is less than 100 kB as it is sent."""
    async with console() as page:
        await expect(page.get_by_role("heading", name="Clients", level=1)).to_be_visible()
        sent = await page.evaluate(
            "() => performance.getEntries().filter(({encodedBodySize}) => encodedBodySize)"
            ".map(({name, encodedBodySize}) => [name, encodedBodySize])"
        )
        assert any(name.endswith("main.js") for name, _ in sent)
        assert 10_000 < sum(size for _, size in sent) < FIRST_LOAD_LIMIT_BYTES
        assert not any(re.search(r"oauth4webapi", name) for name, _ in sent)
        assert await accessible(page, axe) == []
