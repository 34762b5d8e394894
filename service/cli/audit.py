"""`mitosis audit`: the commands of auditors."""

import asyncio
from pathlib import Path

from service.audit.stream import TYPES
from service.cli import tail, verify
from service.cli.parser import Commands


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    audit = commands.add_parser("audit", help="verify a log, or watch it")
    actions = audit.add_subparsers(metavar="ACTION", required=True)
    _add_verify(actions)
    _add_tail(actions)


def _add_verify(actions: Commands) -> None:
    verifying = actions.add_parser(
        "verify",
        help="verify a tenant's log",
        description="Verify a tenant's log from its first record to its last: in the database, in a file, or at a "
        "service; and that it passes through heads that were kept. Says what is wrong and where: altered, removed, "
        "inserted, reordered, cut off or forked. Exit status 3 if anything is. A file needs no database.",
    )
    verifying.add_argument("--tenant", help="whose log; a file says so itself")
    source = verifying.add_mutually_exclusive_group()
    source.add_argument(
        "--file", type=Path, help="CloudEvents, one a line, as the stream's pages are, or an archive; - for stdin"
    )
    source.add_argument("--url", help="the service to ask")
    verifying.add_argument(
        "--head",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="signed heads that were kept, one a line or as /admin/audit/head answers; may be given several times",
    )
    verifying.add_argument(
        "--jwks",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="keys that the heads were signed with, as /.well-known/jwks.json answers; may be given several times",
    )
    verifying.add_argument("--token-file", type=Path, metavar="FILE", help="a token for --url (else MITOSIS_TOKEN)")
    verifying.add_argument("--json", action="store_true", help="the verdict as one JSON object")
    verifying.set_defaults(run=lambda parsed: asyncio.run(verify.run(parsed)))


def _add_tail(actions: Commands) -> None:
    tailing = actions.add_parser(
        "tail",
        help="watch a tenant's log",
        description="The newest records of a tenant's log, one a line, from a service over HTTP. The token is that in "
        "MITOSIS_TOKEN or --token-file; without one, the local key signs one for --tenant.",
    )
    tailing.add_argument("--url", help="the service to ask (the one on this machine)")
    tailing.add_argument("--tenant", help="whose log (the token's own tenant's; * for all, as a super_admin)")
    tailing.add_argument("--token-file", type=Path, metavar="FILE", help="the token")
    tailing.add_argument("--after", metavar="ID", help="all behind this position, 0 for all there are (the last ten)")
    tailing.add_argument("--type", action="append", choices=TYPES, metavar="TYPE", help="only records of this type")
    tailing.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    tailing.add_argument("--json", action="store_true", help="CloudEvents, one a line")
    tailing.set_defaults(run=lambda parsed: asyncio.run(tail.run(parsed)))
