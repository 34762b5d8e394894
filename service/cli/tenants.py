"""`mitosis tenant list`, `show`, `freeze` and `thaw`: how tenants stand, and whether they take changes."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from events import log
from events.log import Conn, Head
from events.tenant import TenantFrozen, TenantMoved
from projections.tenants import Tenant, tenants
from service import tenancy
from service.cli.acting import operator
from service.cli.connecting import connected, database
from service.cli.parser import Commands
from service.cli.printing import WIDE, plain
from service.cli.trouble import PATIENCE
from service.config import from_environment
from service.database import MOVER_ROLE
from service.tenancy import NoSuchTenant

T = TypeVar("T")


def add(actions: Commands) -> None:
    """Add the actions to `mitosis tenant`."""
    listing = actions.add_parser("list", help="list the tenants")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run=_list)

    showing = actions.add_parser("show", help="show one tenant")
    showing.add_argument("tenant", metavar="TENANT")
    showing.add_argument("--json", action="store_true", help="as one JSON object")
    showing.set_defaults(run=_show)

    freezing = actions.add_parser(
        "freeze",
        help="let a tenant take no changes",
        description="Let a tenant take no changes until it is thawed: they are answered with 503 and Retry-After. It "
        "can still be read, and its clients authenticate. A record in its log says so.",
    )
    freezing.add_argument("tenant", metavar="TENANT")
    freezing.add_argument("--reason", help="why, for the log")
    freezing.set_defaults(run=_freeze)

    thawing = actions.add_parser("thaw", help="let a frozen tenant take changes again")
    thawing.add_argument("tenant", metavar="TENANT")
    thawing.set_defaults(run=_thaw)
    for action in (freezing, thawing):
        action.add_argument("--subject", help="who does it, for the log (the user of this machine)")
        action.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        action.add_argument("--json", action="store_true", help="the outcome as one JSON object")


def _asked(what: str, ask: Callable[[Conn], Awaitable[T]]) -> T:
    async def answered(url: str) -> T:
        async with connected(url, MOVER_ROLE, f"tenant {what}") as connection:
            await connection.execute(PATIENCE)
            return await ask(connection)

    with database(from_environment()) as url:
        return asyncio.run(answered(url))


def _list(parsed: argparse.Namespace) -> None:
    found = _asked("list", tenants)
    if parsed.json:
        sys.stdout.writelines(msgspec.json.encode(_told(tenant)).decode() + "\n" for tenant in found)
        return
    if not found:
        sys.stdout.write("There is no tenant yet.\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("TENANT", "STATE"):
        table.add_column(heading, no_wrap=True)
    for heading in ("RECORDS", "CLIENTS"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("LAST RECORD", "MOVED TO"):
        table.add_column(heading, no_wrap=True)
    for tenant in found:
        last = f"{tenant.time:%Y-%m-%dT%H:%M:%SZ}" if tenant.position else "-"
        counted = (f"{tenant.position:,}", f"{tenant.clients:,}")
        cells = (tenant.tenant_id, tenant.state, *counted, last, tenant.moved_to or "")
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _show(parsed: argparse.Namespace) -> None:
    async def told(connection: Conn) -> dict[str, Any]:
        found = await tenants(connection, parsed.tenant)
        if not found:
            raise NoSuchTenant(f"there is no tenant {parsed.tenant}")
        head = await log.head(connection, parsed.tenant)
        return _told(found[0]) | await _why(connection, parsed.tenant, head)

    shown = _asked("show", told)
    if parsed.json:
        sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
        return
    width = max(map(len, shown))
    sys.stdout.writelines(f"{name:<{width}}  {plain(_text(value))}\n" for name, value in shown.items())


def _told(tenant: Tenant) -> dict[str, Any]:
    told = {**tenant._asdict(), "digest": tenant.digest.hex(), "time": tenant.time if tenant.position else None}
    return {name: value for name, value in told.items() if value is not None}


async def _why(connection: Conn, tenant_id: str, head: Head) -> dict[str, str]:
    """Who froze or moved the tenant, and what else its last record says of that."""
    if head.state not in {"frozen", "moved"}:
        return {}
    last = await tenancy.last_record(connection, tenant_id, head)
    match last.data:
        case TenantFrozen(reason=reason):
            said = {"reason": reason}
        case TenantMoved(to=to):
            said = {"moved_to_database": to}
        case _:
            return {}
    told = {**said, "by": f"{last.actor.subject} ({last.actor.role})"}
    return {name: value for name, value in told.items() if value is not None}


def _text(value: object) -> str:
    return str(msgspec.to_builtins(value))


def _freeze(parsed: argparse.Namespace) -> None:
    async def freeze(connection: Conn) -> Head:
        return await tenancy.freeze(connection, parsed.tenant, parsed.reason, operator(parsed.subject))

    _do(parsed, "frozen", freeze)


def _thaw(parsed: argparse.Namespace) -> None:
    async def thaw(connection: Conn) -> Head:
        return await tenancy.thaw(connection, parsed.tenant, operator(parsed.subject))

    _do(parsed, "thawed", thaw)


def _do(parsed: argparse.Namespace, done: str, act: Callable[[Conn], Awaitable[Head]]) -> None:
    async def attempt(connection: Conn) -> Head:
        transaction = connection.transaction()
        await transaction.start()
        head = await act(connection)
        await (transaction.rollback() if parsed.dry_run else transaction.commit())
        return head

    head = _asked(done, attempt)
    if parsed.json:
        told = {"tenant_id": parsed.tenant, "state": head.state, "position": head.position, "dry_run": parsed.dry_run}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    verb = f"would be {done}" if parsed.dry_run else f"is {done}"
    sys.stdout.write(f"tenant {plain(parsed.tenant)} {verb} at position {head.position:,}\n")
