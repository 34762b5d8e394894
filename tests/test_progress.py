"""How far a long command is: a bar for people, lines for files, and nothing on standard output."""

from io import StringIO

import pytest
from rich.console import Console

from service.cli import progress as module
from service.cli.progress import Progress, progress


def worked(console: Console) -> None:
    """Some work that is watched on *console*."""
    with progress(2000, "records", console) as shown:
        shown.about("[red]acme\x1b[2J")
        shown.advance(500)
        shown.advance(1000)
        shown.reach(2500, 3000)


def on_terminal(**options: str) -> Console:
    return Console(file=StringIO(), force_terminal=True, width=120, color_system=None, **options)  # type: ignore[arg-type]


def said(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """There is a bar with what is worked on, how far it is and at which rate; nothing of it is obeyed."""
    console = on_terminal()

    worked(console)

    assert "[red]acme\N{REPLACEMENT CHARACTER}[2J" in said(console)
    assert "2,500 of 3,000 records" in said(console)
    assert capsys.readouterr() == ("", "")


def test_what_is_written_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes to standard output while there is a bar goes there, for it may be a file."""
    console = on_terminal()

    with progress(1, "records", console):
        print("an answer")  # noqa: T201

    assert capsys.readouterr().out == "an answer\n"
    assert "an answer" not in said(console)


@pytest.mark.parametrize("is_dumb", [False, True])
def test_elsewhere(monkeypatch: pytest.MonkeyPatch, is_dumb: bool) -> None:
    """In a file there is a line every few seconds, and so there is on a terminal that cannot go back."""
    monkeypatch.setattr(module, "EVERY_S", 0)
    monkeypatch.setenv("TERM", "dumb")
    console = on_terminal() if is_dumb else Console(file=StringIO())

    worked(console)

    lines = said(console).splitlines()
    assert lines[-1].startswith("[red]acme\N{REPLACEMENT CHARACTER}[2J: 2,500 of 3,000 records, ")
    assert lines[-1].endswith("/s, 0:00:00 left")
    assert [line.split(": ")[1].split(",")[0] for line in lines[1:2]] == ["500 of 2"]


def test_short_work() -> None:
    """What takes less than a few seconds says nothing in a file."""
    console = Console(file=StringIO())

    worked(console)

    assert said(console) == ""


def test_more_than_was_thought() -> None:
    """What was appended since is counted too, so nothing is ever beyond its end."""
    shown = Progress(10, "records")

    shown.advance(12)

    assert (shown.done, shown.total) == (12, 12)
