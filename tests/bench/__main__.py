"""
Measure all there is, and write docs/benchmarks.md with its plot.

    python -m tests.bench [--quick] [--only SECTION]
"""

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg

from tests.bench import following, http, plot, replay
from tests.bench.report import Report, Row
from tests.bench.servers import ROOT, Cluster, cluster

_DOCUMENT = ROOT / "docs" / "benchmarks.md"
_MOST_MIB = 150
_PACKAGES = ("aiohttp", "asyncpg", "msgspec", "argon2-cffi", "eventsourcing")
_HEAD = """\
# Benchmarks

{command} wrote this on {day}, in {took}. The targets are ratios where that is possible, since machines differ:
what is compared was measured side by side, in turns. The load generator ran on the same cores as everything else.

{machine}

![How long a clone takes at a rate](benchmarks.png)

"""

Section = Callable[[Cluster], Awaitable[list[Row]]]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--quick", action="store_true", help="in two minutes, and less exactly; writes no document")
    parser.add_argument("--only", metavar="SECTION", action="append", help="only these sections; writes no document")
    asked = parser.parse_args()
    asyncio.run(_measure(quick=asked.quick, only=asked.only))


async def _measure(*, quick: bool, only: list[str] | None) -> None:
    seconds, rounds, records = (2.0, 1, 10_000) if quick else (5.0, 3, 1_000_000)
    began, report = time.monotonic(), Report()

    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {what}\n")

    sections: dict[str, Section] = {
        "writing": lambda there: http.writing(there, seconds, rounds, tell),
        "hashing": lambda there: http.hashing(there, seconds, rounds, tell),
        "reading": lambda there: http.reading(there, seconds, rounds, tell),
        "following": lambda there: following.measure(there, seconds * rounds, tell),
        "replay": lambda there: replay.measure(there, records, tell),
        "growing": lambda there: http.growing(there, seconds, rounds, tell),
    }
    async with cluster() as there:
        for name, section in sections.items():
            if not only or name in only:
                report.add(name.capitalize(), await section(there))
        report.add("Memory", [_memory(there)])
        document = "\n".join(report.markdown())
        if quick or only:
            sys.stdout.write(document)
            return
        machine = await _machine(there)
        await plot.latencies(there, _DOCUMENT.with_suffix(".png"), seconds, tell)
    took = f"{(time.monotonic() - began) / 60:.0f} minutes"
    head = _HEAD.format(command="`make bench`", day=f"{datetime.now(UTC):%Y-%m-%d}", took=took, machine=machine)
    _DOCUMENT.write_text(head + document)
    sys.stdout.write(document)


def _memory(there: Cluster) -> Row:
    work, found = "the largest process of all services above, at its end", there.largest_mib
    is_met = found <= _MOST_MIB
    return Row(work, f"{found:.0f} MiB", target=f"at most {_MOST_MIB} MiB", is_met=is_met)


async def _machine(there: Cluster) -> str:
    owner = await asyncpg.connect(there.url())
    postgres = await owner.fetchval("show server_version")
    await owner.close()
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{cores} cores ({_processor()}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, PostgreSQL {postgres}, {packages}."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    main()
