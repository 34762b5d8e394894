"""`mitosis replay`: the clients, made anew from the log or held against it."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from events.errors import LogDamaged
from events.log import Conn
from projections import checking, rebuild, replaced
from projections.folding import Note
from projections.outcome import Damage, Outcome
from service.cli import outcomes
from service.cli.connecting import connected, database
from service.cli.outcomes import Act, Report
from service.cli.parser import Commands
from service.cli.progress import progress
from service.config import from_environment
from service.database import OPERATOR_ROLE
from service.tenancy import NoSuchTenant

_READINGS = 2  # of each record

_Work = Callable[[Conn, str, Note], Awaitable[Outcome]]


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    replay = commands.add_parser("replay", help="rebuild the clients from the log, or hold them against it")
    actions = replay.add_subparsers(metavar="ACTION", required=True)
    rebuilding = actions.add_parser(
        "rebuild",
        help="make the clients what their events add up to",
        description="Verify each tenant's log, fold its clients anew beside the live table, and replace the rows that "
        "differ. The service goes on meanwhile; in the end a tenant's writers wait for a moment. The rows that were "
        "replaced are kept in clients_replaced until the tenant is rebuilt again. It may be interrupted and run again. "
        "Exit status 3 if a tenant's log is damaged, whose clients are left as they are; 4 if --check finds a "
        "difference.",
    )
    rebuilding.add_argument("--tenant", action="append", help="of this tenant and no other; may be given several times")
    acts = rebuilding.add_mutually_exclusive_group()
    acts.add_argument(
        "--check", action="store_true", help="prove that the clients are what the log says, change nothing"
    )
    acts.add_argument("--discard-old", action="store_true", help="delete what was replaced and kept, rebuild nothing")
    rebuilding.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    rebuilding.add_argument("--json", action="store_true", help="what came of it as one JSON object")
    rebuilding.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    act = _discard if parsed.discard_old else _replay
    with database(from_environment()) as url:
        return asyncio.run(act(url, parsed))


async def _replay(url: str, parsed: argparse.Namespace) -> int:
    act: Act = "check" if parsed.check else "dry run" if parsed.dry_run else "rebuild"
    work: _Work = rebuild.rebuild if act == "rebuild" else checking.check
    report, begun = Report(act), time.monotonic()
    async with connected(url, OPERATOR_ROLE, f"replay {act}") as connection:
        tenants = await rebuild.tenants(connection, parsed.tenant)
        for unknown in set(parsed.tenant or ()) - tenants.keys():
            raise NoSuchTenant(f"there is no tenant {unknown}")
        try:
            with progress(_READINGS * sum(tenants.values()), "records read") as shown:
                for tenant_id in tenants:
                    shown.about(tenant_id)
                    report.tenants.append(await _outcome(work, connection, tenant_id, shown.advance))
        except BaseException:
            sys.stderr.write(f"mitosis: stopped after {len(report.tenants)} of {len(tenants)} tenants; ")
            sys.stderr.write("what was not replaced is as it was\n")
            raise
        report.elapsed_s = round(time.monotonic() - begun, 3)
        outcomes.say(report, as_json=parsed.json)
    return outcomes.status(report)


async def _outcome(work: _Work, conn: Conn, tenant_id: str, note: Note) -> Outcome:
    """What *work* comes to. One tenant's damaged log is no reason to stop for the others."""
    try:
        return await work(conn, tenant_id, note)
    except LogDamaged as damage:
        return Outcome(tenant_id=tenant_id, damage=Damage(damage.position, str(damage)))


async def _discard(url: str, parsed: argparse.Namespace) -> int:
    async with connected(url, OPERATOR_ROLE, "replay discard") as connection:
        kept = await replaced.kept(connection, parsed.tenant)
        if not parsed.dry_run:
            kept = {tenant_id: await replaced.discard(connection, tenant_id) for tenant_id in kept}
    outcomes.say_discarded(kept, dry_run=parsed.dry_run, as_json=parsed.json)
    return 0
