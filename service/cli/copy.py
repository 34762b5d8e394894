"""`mitosis tenant copy`: a tenant once more, for staging, splits and merges."""

import argparse
import asyncio
import sys

import msgspec

from events.errors import MitosisError
from events.tenant import Rewrite
from service.cli.acting import operator
from service.cli.connecting import connected, database
from service.cli.parser import Commands
from service.cli.progress import progress
from service.config import from_environment
from service.copying import Copied, Copy
from service.database import MOVER_ROLE
from service.naming import is_tenant_id
from service.rewriting import Rules
from service.rules.uris import page_faults


class CannotCopy(MitosisError):
    """What the command is told does not do. The message says why."""


def add(actions: Commands) -> None:
    """Add the action to `mitosis tenant`."""
    copying = actions.add_parser(
        "copy",
        help="copy a tenant under another name",
        description="Write a tenant's records once more as another tenant's, in a chain of its own whose first record "
        "says where it came from. Secrets are left behind, and the clients that then need one are listed, unless "
        "--with-secrets is given.",
    )
    copying.add_argument("tenant", metavar="TENANT")
    copying.add_argument("--as", dest="target", required=True, metavar="NEW", help="the new tenant")
    copying.add_argument(
        "--rewrite",
        type=_rewrite,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="URLs that begin with OLD (a whole host, or path) begin with NEW; may be given several times",
    )
    copying.add_argument("--only-active", action="store_true", help="leave out clients that are not active")
    copying.add_argument("--with-secrets", action="store_true", help="let the clients' secrets work in the copy too")
    copying.add_argument("--subject", help="who does it, for the log (the user of this machine)")
    copying.add_argument("--dry-run", action="store_true", help="say what would be copied, and copy nothing")
    copying.add_argument("--json", action="store_true", help="the outcome as one JSON object")
    copying.set_defaults(run=_copy)


def _rewrite(text: str) -> Rewrite:
    old, is_one, new = text.partition("=")
    for url in (old, new):
        for fault, _ in page_faults(url):
            raise argparse.ArgumentTypeError(f"{url!r} {fault}")
    if not is_one:
        raise argparse.ArgumentTypeError("it takes two URLs, OLD=NEW")
    return Rewrite(old=old.rstrip("/"), new=new.rstrip("/"))


def _copy(parsed: argparse.Namespace) -> None:
    if not is_tenant_id(parsed.target):
        raise CannotCopy("--as must be 1 to 128 printable ASCII characters without spaces")
    with database(from_environment()) as url:
        copied = asyncio.run(_copied(url, parsed))
    if parsed.json:
        told = {
            "source": parsed.tenant,
            "tenant_id": parsed.target,
            "position": copied.head.position,
            "digest": copied.head.digest.hex(),
            "need_a_secret": copied.without_secret,
        }
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    sys.stdout.writelines(f"{client_id} needs a secret: rotate it\n" for client_id in copied.without_secret)
    verb = "would be copied" if parsed.dry_run else "is copied"
    sys.stdout.write(f"tenant {parsed.tenant} {verb} to {parsed.target} with {copied.head.position} records\n")


async def _copied(url: str, parsed: argparse.Namespace) -> Copied:
    rules = Rules(parsed.target, tuple(parsed.rewrite), with_secrets=parsed.with_secrets)
    async with connected(url, MOVER_ROLE, "tenant copy") as connection:
        copy = Copy(connection, parsed.tenant, rules, operator(parsed.subject), only_active=parsed.only_active)
        with progress(0, "records") as shown:
            return await copy.make(shown.reach, dry_run=parsed.dry_run)
