"""What was measured, as a table that anyone can compare with another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """
    One piece of work: how fast it was, what it is compared with, and what it should be.

    `is_met` is None where there is no target.
    """

    work: str
    measured: str
    baseline: str = ""
    ratio: str = ""
    target: str = ""
    is_met: bool | None = None


@dataclass
class Report:
    """All rows, by the name of the section that measured them."""

    sections: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, section: str, rows: Sequence[Row]) -> None:
        """Rows of *section*."""
        self.sections.setdefault(section, []).extend(rows)

    def markdown(self) -> Iterator[str]:
        """The lines of a document with all tables."""
        for section, rows in self.sections.items():
            yield f"## {section}"
            yield ""
            yield "| work | measured | compared with | ratio | target | met |"
            yield "|---|---|---|---|---|---|"
            for row in rows:
                met = {True: "yes", False: "**no**", None: ""}[row.is_met]
                yield f"| {row.work} | {row.measured} | {row.baseline} | {row.ratio} | {row.target} | {met} |"
            yield ""
