"""`mitosis db status`: how the database is."""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Iterator

import asyncpg
import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from service.cli.connecting import CannotConnect, database
from service.cli.parser import Commands
from service.cli.printing import WIDE, plain
from service.cli.trouble import in_one_line
from service.config import from_environment
from service.dsn import name_of
from service.vitals import HIDDEN, Vitals, vitals

OTHER_SCHEMA = 3  # exit status
_CONNECT_S = 10.0
# nobody's role: who comes as the owner sees more of the others
_SETTINGS = {"application_name": "mitosis db status", "default_transaction_read_only": "on"}


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    db = commands.add_parser("db", help="look at the database")
    actions = db.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser(
        "status",
        help="how the database is",
        description="The schema's version, the sizes of the tables, how far consumers are behind, the oldest open "
        "transaction and the connections. Nothing is changed and nothing is locked. Exit status 3 if the schema is not "
        "the one that this program needs.",
    )
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.set_defaults(run=_status)


def _status(parsed: argparse.Namespace) -> int:
    async def asked(url: str) -> Vitals:
        with in_one_line({name: None}):
            try:
                connection = await asyncpg.connect(url, timeout=_CONNECT_S, server_settings=_SETTINGS)
            except ValueError:  # what it says may quote a password
                raise CannotConnect(f"the database {name} cannot be used: its URL is malformed") from None
            try:
                return await vitals(connection)
            finally:
                await connection.close(timeout=_CONNECT_S)

    with database(from_environment()) as url:
        name = name_of(url)
        found = asyncio.run(asked(url))
    if parsed.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.writelines(f"{plain(line)}\n" for line in _lines(name, found))
        _print(("TABLE", "SIZE", "ROWS, ABOUT"), ((t.name, decimal(t.bytes), f"{t.rows:,}") for t in found.tables))
        behind = ((c.consumer, f"{c.tenants:,}", f"{c.records:,}", f"{c.parked:,}") for c in found.consumers)
        _print(("CONSUMER", "TENANTS BEHIND", "RECORDS", "PARKED"), behind)
        sessions = ((s.application or "-", s.state, f"{s.count:,}") for s in found.sessions)
        _print(("SESSIONS OF", "STATE", "COUNT"), sessions)
    return 0 if found.schema_version == found.needed_version else OTHER_SCHEMA


def _lines(name: str, found: Vitals) -> Iterator[str]:
    yield f"{name}: PostgreSQL {found.server_version}, {decimal(found.bytes)}"
    is_ours = found.schema_version == found.needed_version
    needed = "as this program needs it" if is_ours else f"and this program needs {found.needed_version}"
    yield f"schema: {found.schema_version}, {needed}"
    yield f"tenants: {', '.join(f'{count:,} {state}' for state, count in found.tenants.items()) or 'none'}"
    yield f"connections: {found.connections:,} of {found.max_connections:,}, the whole server's"
    oldest = found.oldest_transaction
    if oldest is None:
        said = "none"
    else:
        whose = f"of {oldest.application or 'somebody'} (pid {oldest.pid}, {oldest.state})"
        said = f"{oldest.age_s:,.1f} s, {whose}"
    hidden = sum(sessions.count for sessions in found.sessions if sessions.state == HIDDEN)
    yield f"oldest open transaction: {said}"
    if hidden:
        yield f"sessions whose transactions are not shown to this user: {hidden:,} (grant pg_read_all_stats)"


def _print(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table, where it has rows: text on the left, numbers on the right."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        is_text = heading in {"TABLE", "CONSUMER", "SESSIONS OF", "STATE"}
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    if table.row_count:
        sys.stdout.write("\n")
        sys.stdout.flush()
        console.print(table)
