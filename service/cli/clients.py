"""`mitosis clients`: what operators do about clients that the API does not."""

import argparse
import asyncio
import sys

from events import log
from events.errors import MitosisError, Refused
from service import erasure
from service.cli import diff
from service.cli.acting import operator
from service.cli.connecting import connected, database
from service.cli.parser import Commands
from service.config import from_environment
from service.database import ERASER_ROLE
from service.erasure import Sealed


class NotErased(MitosisError):
    """Some tenants could not be erased. The message says how many."""


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    clients = commands.add_parser("clients", help="compare a client with what it was; erase deleted ones' hashes")
    actions = clients.add_subparsers(metavar="ACTION", required=True)
    diff.add(actions)
    erase = actions.add_parser(
        "erase-sealed",
        help="erase the hashes of deleted clients' secrets",
        description="Erase the sealed hashes of the secrets of clients that are deleted. Each client's erasure is an "
        "event in its tenant's log; the chain still verifies, since it covers what the records say and not the hashes. "
        "It may be interrupted and run again. Old row versions are gone when PostgreSQL has vacuumed the table.",
    )
    which = erase.add_mutually_exclusive_group(required=True)
    which.add_argument("--tenant", action="append", help="in this tenant; may be given several times")
    which.add_argument("--all-tenants", action="store_true", help="in every tenant")
    erase.add_argument("--subject", help="who does it, for the log (the user of this machine)")
    erase.add_argument("--dry-run", action="store_true", help="say what would be erased, and erase nothing")
    erase.set_defaults(run=_erase)


def _erase(parsed: argparse.Namespace) -> None:
    with database(from_environment()) as url:
        asyncio.run(_erase_all(url, parsed))


async def _erase_all(url: str, parsed: argparse.Namespace) -> None:
    actor = operator(parsed.subject)
    clients = hashes = failed = 0
    async with connected(url, ERASER_ROLE, "clients erase-sealed") as connection:
        tenants = parsed.tenant or list(await log.all_positions(connection, limit=2**31 - 1))
        for tenant_id in tenants:
            after = ""
            while found := await erasure.sealed(connection, tenant_id, after=after):
                after = found[-1].client_id
                doomed = [one for one in found if one.event_ids]
                if doomed and not parsed.dry_run:
                    try:
                        doomed = await erasure.erase(connection, tenant_id, doomed, actor)
                    except Refused as refused:  # frozen, or moved: others need not wait for it
                        sys.stderr.write(f"mitosis: {tenant_id}: {refused}\n")
                        failed += 1
                        break
                for one in doomed:
                    _say(tenant_id, one, dry_run=parsed.dry_run)
                clients += len(doomed)
                hashes += sum(len(one.event_ids) for one in doomed)
    verb = "would be erased" if parsed.dry_run else "erased"
    sys.stdout.write(f"{_counted(hashes, 'hash', 'hashes')} of {_counted(clients, 'client', 'clients')} {verb}\n")
    if failed:
        raise NotErased(f"{_counted(failed, 'tenant takes', 'tenants take')} no changes; nothing was erased there")


def _say(tenant_id: str, one: Sealed, *, dry_run: bool) -> None:
    sys.stdout.write(
        f"{'would erase' if dry_run else 'erased'} {len(one.event_ids)} of {one.client_id} in {tenant_id}\n"
    )
    sys.stdout.flush()


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
