"""`mitosis tenant move`: a tenant from one database to another, while it works."""

import argparse
import asyncio
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from events import log
from events.errors import LogDamaged, MitosisError
from service.cli.acting import operator
from service.cli.connecting import connected, database
from service.cli.destination import destination
from service.cli.parser import Commands
from service.cli.printing import plain
from service.cli.progress import progress
from service.cli.trouble import PATIENCE, in_one_line
from service.config import from_environment
from service.database import MOVER_ROLE, reason
from service.dsn import name_of
from service.moving import journey as journeys
from service.moving.journey import ROLE, Journey, Stage, Unfinished
from service.moving.move import Move, Moved, call_off
from service.rules.uris import page_faults

DAMAGED = 3  # exit status
UNFINISHED = 4
_SHOWN_DIGITS = 16

_Told = tuple[dict[str, Any], str]  # what is to be said, for machines and for people


class CannotMove(MitosisError):
    """What the command is told does not do, or a database went away. The message says why."""


def add(actions: Commands) -> None:
    """Add the action to `mitosis tenant`."""
    moving = actions.add_parser(
        "move",
        help="move a tenant to another database while it works",
        description="Copy a tenant's records as they are to another PostgreSQL with the same schema while callers go "
        "on, freeze it when little is left, copy the rest, compare the heads, and let it take changes there. Callers "
        "of a frozen tenant are answered 503 with Retry-After, those of a moved one 421 with Location, where --address "
        "says it. It can be interrupted at any time: before the last step the tenant goes on where it was. Exit status "
        "1 if it was not moved, 3 if its log is damaged, 4 if it has to be gone on with or called off.",
    )
    moving.add_argument("tenant", metavar="TENANT")
    moving.add_argument(
        "--to",
        metavar="URL",
        help="the other database, postgresql://..., as its owner (else MITOSIS_TARGET_DATABASE_URL, which keeps a "
        "password from other users of this machine)",
    )
    moving.add_argument("--address", metavar="URL", help="where callers find the tenant then, for their 421")
    moving.add_argument("--subject", help="who does it, for the log (the user of this machine)")
    which = moving.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="go on with a move that ended before it was done")
    which.add_argument("--abort", action="store_true", help="call such a move off; the other database is not needed")
    which.add_argument("--dry-run", action="store_true", help="say whether it could be moved, and move nothing")
    moving.add_argument("--json", action="store_true", help="the outcome as one JSON object")
    moving.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    for fault, _ in page_faults(parsed.address or "https://example.com"):
        raise CannotMove(f"--address {fault}")
    _be_interruptible()
    try:
        with database(from_environment()) as url:
            work = _abort(url, parsed) if parsed.abort else _move(url, destination(parsed.to), parsed)
            outcome, sentence = asyncio.run(work)
    except (LogDamaged, Unfinished) as error:
        sys.stderr.write(f"mitosis: {_said(error)}\n")
        return DAMAGED if isinstance(error, LogDamaged) else UNFINISHED
    except KeyboardInterrupt:
        sys.stderr.write("mitosis: interrupted; it can be run again with --resume, or called off with --abort\n")
        raise
    sys.stdout.write((msgspec.json.encode(outcome).decode() if parsed.json else plain(sentence)) + "\n")
    return 0


def _be_interruptible() -> None:
    """Whoever ends it otherwise than by Ctrl-C, or loses the terminal, leaves no frozen tenant behind either."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # and is not ignored, as under nohup
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def _said(error: MitosisError) -> str:
    if isinstance(error, LogDamaged):
        return f"{error}; `mitosis audit verify` says more. The tenant goes on where it is"
    because = f" ({reason(error.__cause__)})" if error.__cause__ else ""
    return f"{error}{because}: run it again with --resume"


async def _move(url: str, target_url: str, parsed: argparse.Namespace) -> _Told:
    async with _journey(url, target_url, parsed) as journey:
        stage = await journeys.look(journey)
        if parsed.dry_run:
            return await _what_would_be(journey, stage)
        if stage in {Stage.FROZEN, Stage.BETWEEN} and not parsed.resume:
            raise CannotMove(f"a move of tenant {parsed.tenant} ended before it was done: say --resume or --abort")
        if stage is Stage.DONE and not parsed.resume:
            raise CannotMove(f"tenant {parsed.tenant} has moved to {journey.target_name} already")
        begun, first = time.monotonic(), (await log.head(journey.target, parsed.tenant)).position
        with progress(0, "records") as shown:
            shown.about(parsed.tenant)
            moved = await Move(journey, lambda done, total: shown.reach(done - first, total - first)).run()
        return _what_was(journey, moved, time.monotonic() - begun)


async def _abort(url: str, parsed: argparse.Namespace) -> _Told:
    name = name_of(url)
    async with connected(url, MOVER_ROLE, "tenant move") as source:
        await source.execute(PATIENCE)
        await journeys.claim_in(source, parsed.tenant)
        was_frozen = await call_off(source, name, parsed.tenant, operator(parsed.subject, ROLE))
    was = "the move is called off" if was_frozen else "it was not frozen to be moved"
    return (
        {"tenant_id": parsed.tenant, "in": name, "was_frozen": was_frozen},
        f"tenant {parsed.tenant} stays in {name}: {was}",
    )


@asynccontextmanager
async def _journey(url: str, target_url: str, parsed: argparse.Namespace) -> AsyncIterator[Journey]:
    source_name, target_name = name_of(url), name_of(target_url)
    async with (
        connected(url, MOVER_ROLE, "tenant move") as source,
        connected(target_url, MOVER_ROLE, "tenant move") as target,
    ):
        # within: the other session's context would take a failure of the one for its own
        with in_one_line({source_name: source, target_name: target}):
            for conn in (source, target):
                await conn.execute(PATIENCE)
            actor = operator(parsed.subject, ROLE)
            journey = Journey(parsed.tenant, source, target, source_name, target_name, actor, parsed.address)
            await journeys.claim(journey)
            yield journey


async def _what_would_be(journey: Journey, stage: Stage) -> _Told:
    source = await log.head(journey.source, journey.tenant_id)
    target = await log.head(journey.target, journey.tenant_id)
    left = max(source.position - target.position, 0)
    told = {
        "tenant_id": journey.tenant_id,
        "from": journey.source_name,
        "to": journey.target_name,
        "stage": stage.name.lower(),
        "records": source.position,
        "to_copy": left,
    }
    would = f"tenant {journey.tenant_id} would be moved to {journey.target_name}"
    return told, f"{would}: {left:,} of {source.position:,} records are to be copied; now {stage.value}"


def _what_was(journey: Journey, moved: Moved, took_s: float) -> _Told:
    told = {
        "tenant_id": journey.tenant_id,
        "from": journey.source_name,
        "to": journey.target_name,
        "position": moved.head.position,
        "digest": moved.head.digest.hex(),
        "frozen_s": None if moved.frozen_s is None else round(moved.frozen_s, 3),
        "took_s": round(took_s, 3),
    }
    where = f"tenant {journey.tenant_id} is in {journey.target_name}, with equal heads at position"
    head = f"{moved.head.position:,} ({moved.head.digest.hex()[:_SHOWN_DIGITS]}...)"
    frozen = "" if moved.frozen_s is None else f"; it took no changes for {moved.frozen_s * 1000:,.0f} ms"
    return told, f"{where} {head}, after {took_s:.1f} s{frozen}"
