"""Replay: how many records a second are rebuilt, checked, exported, verified and imported, and in how much memory."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import asyncpg
import msgspec

from tests.bench import eventsourced
from tests.bench.records import fill
from tests.bench.report import Row
from tests.bench.servers import ROOT, Cluster

TENANT = "large"
_LOOK_S = 0.05
_LEAST_EXPORTED, _LEAST_IMPORTED = 50_000, 20_000  # records/s
_COMMAND = (sys.executable, "-c", "from service.cli import main; raise SystemExit(main())")


class Done(NamedTuple):
    """What a command said, how long it took with its start, and the most memory that it had."""

    said: str
    took_s: float
    peak_mib: float


async def command(environment: Mapping[str, str], *arguments: str) -> Done:
    """
    Run `mitosis` to its end.

    Raises:
        RuntimeError: it failed.
    """
    clock = asyncio.get_running_loop().time
    began, peak_mib = clock(), 0.0
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *arguments, stdout=PIPE, stderr=PIPE, env=environment, cwd=ROOT
    )
    ending = asyncio.create_task(process.communicate())
    while not (await asyncio.wait([ending], timeout=_LOOK_S))[0]:
        peak_mib = max(peak_mib, _peak_mib(process.pid))
    said, complaint = await ending
    if process.returncode:
        raise RuntimeError(f"mitosis {' '.join(arguments)}: {complaint.decode()}")
    return Done(said.decode(), clock() - began, peak_mib)


def _peak_mib(pid: int) -> float:
    """The most memory that the process had so far; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


async def measure(cluster: Cluster, records: int, tell: Callable[[str], None]) -> list[Row]:
    """Of a tenant with so many *records*, which is made first and stays."""
    tell(f"writing {records:,} records")
    owner = await asyncpg.connect(cluster.url())
    await fill(owner, TENANT, records)
    await owner.execute("vacuum analyze")
    await owner.close()
    here, there = cluster.environment(), cluster.environment("imported")
    await cluster.create("imported")
    archive, rows = str(cluster.home / "large.mitosis"), list[Row]()

    async def timed(work: str, least: int | None, environment: Mapping[str, str], *arguments: str) -> int:
        tell(work)
        done = await command(environment, *arguments)
        rate = round(records / _seconds(done))
        target = "" if least is None else f"at least {least:,}"
        is_met = None if least is None else rate >= least
        rows.append(Row(work, f"{rate:,} records/s, {done.peak_mib:.0f} MiB", target=target, is_met=is_met))
        return rate

    await timed("check against the fold", None, here, "replay", "rebuild", "--check", "--tenant", TENANT, "--json")
    rebuilt = await timed("rebuild", None, here, "replay", "rebuild", "--tenant", TENANT, "--json")
    await timed("verify in the database", None, here, "audit", "verify", "--tenant", TENANT)
    await timed("export", _LEAST_EXPORTED, here, "tenant", "export", TENANT, "-o", archive, "--json")
    await timed("verify the archive", None, here, "audit", "verify", "--file", archive)
    await timed("import", _LEAST_IMPORTED, there, "tenant", "import", archive, "--json")
    tell("eventsourcing: reading")
    read = await eventsourced.reading(cluster, min(records, 50_000))
    ratio = rebuilt / read
    rows[1] = Row(
        f"rebuild of {records:,} records",
        rows[1].measured,
        f"`eventsourcing` reading and decoding: {read:,.0f} events/s",
        f"{ratio:.2f}",
        "at least 1",
        ratio >= 1,
    )
    return rows


def _seconds(done: Done) -> float:
    """As the command itself says, without its start, where it does."""
    try:
        said = msgspec.json.decode(done.said)
    except msgspec.DecodeError:
        return done.took_s
    return float(said.get("took_s") or said["elapsed_s"])
