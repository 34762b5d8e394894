"""`mitosis consumers`: how they stand, and what an operator does about one that has stopped."""

import argparse
import asyncio
import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events import checkpoints
from events.checkpoints import Standing
from events.errors import MitosisError
from service.cli.connecting import connected, database
from service.cli.parser import Commands, position
from service.cli.printing import WIDE, plain
from service.config import from_environment
from service.database import CONSUMER_ROLE


class NotThere(MitosisError):
    """What a command names is not there, or not so."""


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    consumers = commands.add_parser(
        "consumers",
        help="list consumers, resume or reset one",
        description="How far each consumer is in each tenant's log, which process has it, and where it is parked. "
        "Works on the database of MITOSIS_DATABASE_URL, or on the embedded one in MITOSIS_HOME.",
    )
    consumers.add_argument("--json", action="store_true", help="one JSON object a line")
    consumers.set_defaults(run=_list)
    actions = consumers.add_subparsers(metavar="ACTION")

    resume = actions.add_parser("resume", help="let a parked tenant go on, at the record at which it stopped")
    resume.add_argument("name", metavar="NAME", help="the consumer")
    resume.add_argument("--tenant", required=True, help="the tenant that is parked")
    resume.set_defaults(run=_resume)

    reset = actions.add_parser(
        "reset",
        help="let a consumer begin again",
        description="Set a consumer to the beginning or to a position, in one tenant or in all. Whichever process runs "
        "it is handed the records behind that and none before. To go past a record that cannot be handled, name its "
        "position.",
    )
    reset.add_argument("name", metavar="NAME", help="the consumer")
    reset.add_argument("--tenant", help="in this tenant alone")
    reset.add_argument(
        "--to", type=position, default=0, metavar="POSITION", help="the last record that counts as done (0)"
    )
    reset.add_argument("--dry-run", action="store_true", help="say what would be set, and set nothing")
    reset.set_defaults(run=_reset)


def _list(parsed: argparse.Namespace) -> None:
    async def standings(url: str) -> list[Standing]:
        async with connected(url, CONSUMER_ROLE, "consumers") as connection:
            return await checkpoints.standings(connection)

    with database(from_environment()) as url:
        found = asyncio.run(standings(url))
    if parsed.json:
        for one in found:
            line = {**one._asdict(), "lag": one.lag}
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        return
    if not found:
        sys.stdout.write("No consumer has run yet.\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("CONSUMER", "left"), ("TENANT", "left"), ("POSITION", "right"), ("LAG", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # rich's own literals
    table.add_column("PROCESS", no_wrap=True)
    table.add_column("PARKED", overflow="fold")
    for one in found:
        parked = f"{one.parked_at:%Y-%m-%dT%H:%M:%SZ} {one.parked_because}" if one.parked_at else ""
        cells = (one.consumer, one.tenant_id, str(one.position), str(one.lag), one.place or "-", parked)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _resume(parsed: argparse.Namespace) -> None:
    async def resume(url: str) -> bool:
        async with connected(url, CONSUMER_ROLE, "consumers resume") as connection:
            return await checkpoints.resume(connection, parsed.name, parsed.tenant)

    with database(from_environment()) as url:
        if not asyncio.run(resume(url)):
            raise NotThere(f"{parsed.name} is not parked in tenant {parsed.tenant}")
    sys.stdout.write(f"{parsed.name} goes on in tenant {parsed.tenant}.\n")


def _reset(parsed: argparse.Namespace) -> None:
    async def reset(url: str) -> dict[str, tuple[int, int]]:
        async with connected(url, CONSUMER_ROLE, "consumers reset") as connection:
            before = {
                one.tenant_id: one.position
                for one in await checkpoints.standings(connection)
                if one.consumer == parsed.name and parsed.tenant in (None, one.tenant_id)
            }
            attempt = connection.transaction()
            await attempt.start()
            after = await checkpoints.reset(connection, parsed.name, parsed.tenant, parsed.to)
            await (attempt.rollback() if parsed.dry_run else attempt.commit())
            return {tenant: (before.get(tenant, 0), position) for tenant, position in after.items()}

    with database(from_environment()) as url:
        moved = asyncio.run(reset(url))
    if not moved:
        raise NotThere(f"{parsed.name} has no place in {parsed.tenant or 'any tenant'}")
    for tenant, (before, after) in sorted(moved.items()):
        sys.stdout.write(f"{'would set' if parsed.dry_run else 'set'} {tenant} from {before} to {after}\n")
