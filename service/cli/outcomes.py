"""What a replay came to, as people read it and as machines do."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from projections.outcome import Outcome
from service.cli.printing import plain

DAMAGED = 3  # exit status
DIFFERENT = 4

Act = Literal["rebuild", "check", "dry run"]


@dataclass
class Report:
    """What became of the tenants' clients, and how long it took in all."""

    act: Act
    tenants: list[Outcome] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def records(self) -> int:
        """How many were folded."""
        return sum(one.position for one in self.tenants)

    @property
    def differing(self) -> int:
        """How many clients differed."""
        return sum(one.differing for one in self.tenants)

    @property
    def damaged(self) -> int:
        """How many tenants have a log that cannot be folded."""
        return sum(one.damage is not None for one in self.tenants)

    @property
    def records_per_s(self) -> int:
        """How many were verified and folded in a second."""
        return round(self.records / self.elapsed_s) if self.elapsed_s else 0


def status(report: Report) -> int:
    """The exit status."""
    if report.damaged:
        return DAMAGED
    return DIFFERENT if report.act == "check" and report.differing else 0


def say(report: Report, *, as_json: bool) -> None:
    """Write *report* to standard output: one JSON object, or what differs and a summary."""
    if as_json:
        counted = {
            name: getattr(report, name) for name in ("act", "records", "elapsed_s", "records_per_s", "differing")
        }
        _say_json({**counted, "damaged": report.damaged, "tenants": report.tenants})
    else:
        sys.stdout.write("".join(f"{plain(line)}\n" for line in _lines(report)))


def say_discarded(rows: Mapping[str, int], *, dry_run: bool, as_json: bool) -> None:
    """The same of replaced rows that were discarded, by tenant."""
    total = sum(rows.values())
    if as_json:
        _say_json({"act": "dry run" if dry_run else "discard", "rows": total, "tenants": rows})
        return
    for tenant_id, count in rows.items():
        sys.stdout.write(f"{plain(tenant_id)}: {count:,}\n")
    verb = "would be" if dry_run else "was" if total == 1 else "were"
    sys.stdout.write(f"{_counted(total, 'replaced row')} {verb} discarded.\n")


def _say_json(said: object) -> None:
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")


def _lines(report: Report) -> Iterator[str]:
    for one in report.tenants:
        if one.damage is not None:
            yield f"{one.tenant_id}: DAMAGED, nothing was done. {one.damage.message}"
        if not one.differing:
            continue
        yield f"{one.tenant_id}: {_differed(report.act, one.differing)}"
        for difference in one.differences:
            yield f"  {difference.kind:<7}  {difference.client_id}  {', '.join(difference.fields)}".rstrip()
        if one.differing > len(one.differences):
            yield f"  and {one.differing - len(one.differences):,} more"
    yield _summary(report)


def _differed(act: Act, count: int) -> str:
    if act == "check":
        return f"{_counted(count, 'client')} {'differs' if count == 1 else 'differ'}"
    verb = "would be" if act == "dry run" else "differed and was" if count == 1 else "differed and were"
    return f"{_counted(count, 'client')} {verb} replaced"


def _summary(report: Report) -> str:
    clients = sum(one.clients for one in report.tenants)
    read = ((len(report.tenants), "tenant"), (report.records, "record"), (clients, "client"))
    said = [_differed(report.act, report.differing) if report.differing else "every client is what its events say"]
    if report.damaged:
        said = [f"the log of {_counted(report.damaged, 'tenant')} is DAMAGED", *(said if report.differing else ())]
    if report.act == "rebuild":
        said.append(f"writers waited {max((one.held_s for one in report.tenants), default=0) * 1000:.0f} ms at most")
    took = f"in {report.elapsed_s:.1f} s ({report.records_per_s:,} records/s)"
    return f"{', '.join(_counted(*one) for one in read)} {took}: {'; '.join(said)}."


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
