"""A stream taken apart, however the network cuts it."""

import pytest
from playwright.async_api import Page

from tests.console.test_chain import page as page  # noqa: PLC0414 (a fixture)

_TAKE = """
async pieces => {
  const {Events} = await import("/console/following.js");
  const events = new Events("7");
  return pieces.map(piece => [events.take(piece), events.id]).concat([[[], events.id]]);
}
"""
_TEXT = (
    'retry: 1000\n\nid: 8\nevent: x\ndata: {"a": "é 👩‍👧"}\n\n'
    ": still here\n\nid:9\ndata:one\ndata: two\n\nid: 10\ndata: half"
)


async def taken(page: Page, pieces: list[str]) -> tuple[list[str], str]:
    found = await page.evaluate(_TAKE, pieces)
    return [data for several, _ in found for data in several], found[-1][1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_pieces(page: Page, end: str) -> None:
    """Whole events are handed over, once; of half a one not even the id counts."""
    text = _TEXT.replace("\n", end)
    whole = (['{"a": "é 👩‍👧"}', "one\ntwo"], "9")
    assert await taken(page, [text]) == whole
    assert await taken(page, list(text)) == whole
    for size in (2, 3, 5, 7):
        assert await taken(page, [text[at : at + size] for at in range(0, len(text), size)]) == whole


async def test_an_id_without_data(page: Page) -> None:
    """A beat of the heart moves the place on, since records may have been passed that nobody asked for."""
    assert await taken(page, ["id: 12\n: still here\n\n"]) == ([], "12")


async def test_no_end(page: Page) -> None:
    """What never ends is not kept until there is no memory left."""
    piece = "x" * 1024 * 1024
    with pytest.raises(Exception, match="an event without end"):
        await taken(page, ["data: ", *[piece] * 9])
