"""How far a long command is: a bar on a terminal, a line every few seconds elsewhere. Both go to standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from service.cli.printing import plain

EVERY_S = 5.0  # between two lines


class Progress:
    """
    How far something is: `done` of `total`, both counted in *unit*, such as "records".

    Who is watching sees the rate, and the time that is left at this rate.
    """

    def __init__(self, total: int, unit: str) -> None:
        self.done, self.total = 0, total
        self._unit = unit
        self._about = ""

    def about(self, what: str) -> None:
        """Say what is being worked on."""
        self._about = plain(what)
        self._show()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.reach(self.done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        """So many are done, and so many are there now, where that has changed."""
        self.done = done
        self.total = max(self.total if total is None else total, done)
        self._show()

    def _show(self) -> None:
        """Nobody is watching."""


@contextmanager
def progress(total: int, unit: str, console: Console | None = None) -> Iterator[Progress]:
    """Show how far something is for as long as the context lasts."""
    console = console or Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(total, unit, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed:,}} of {{task.total:,}} {unit}", markup=False),
        _Rate(),
        TimeRemainingColumn(),
    )
    # what is written to standard output meanwhile may go elsewhere, so it is left alone
    with Bar(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield _OnTerminal(total, unit, bar)


class _OnTerminal(Progress):
    """A bar that is gone when the work is done."""

    def __init__(self, total: int, unit: str, bar: Bar) -> None:
        super().__init__(total, unit)
        self._bar = bar
        self._task = bar.add_task("", total=total)

    def _show(self) -> None:
        self._bar.update(self._task, description=self._about, completed=self.done, total=self.total)


class _Rate(ProgressColumn):
    """How many in a second, of late."""

    def render(self, task: Task) -> Text:
        """The rate; nothing as long as it is not known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class _Lines(Progress):
    """A line every few seconds, and none of what takes less."""

    def __init__(self, total: int, unit: str, console: Console) -> None:
        super().__init__(total, unit)
        self._console = console
        self._begun = self._said = time.monotonic()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._said < EVERY_S:
            return
        self._said = now
        rate = self.done / max(now - self._begun, 1e-9)
        left = f", {timedelta(seconds=round((self.total - self.done) / rate))} left" if rate else ""
        counted = f"{self.done:,} of {self.total:,} {self._unit}, {rate:,.0f}/s{left}"
        self._console.out(f"{self._about}: {counted}" if self._about else counted, highlight=False)
