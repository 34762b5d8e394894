"""schema.sql: apply it, and ask whether it is applied."""

import re
import sys
from pathlib import Path

from events.log import Conn

_BESIDE = Path(__file__).parent.parent / "schema.sql"
_INSTALLED = Path(sys.prefix) / "share" / "mitosis" / "schema.sql"


def text() -> str:
    """The whole of schema.sql: from the checkout, or from where a wheel puts it."""
    return (_BESIDE if _BESIDE.exists() else _INSTALLED).read_text()


def version() -> int:
    """The schema version that this code needs: the number in the first line of schema.sql."""
    match = re.match(r"-- mitosis schema (\d+)\n", text())
    if match is None:
        raise ValueError("schema.sql does not say its version in its first line")
    return int(match[1])


async def current(connection: Conn) -> int:
    """The schema version of the database; 0 for none."""
    if await connection.fetchval("select to_regclass('schema_state')") is None:
        return 0
    return int(await connection.fetchval("select version from schema_state"))


async def apply(owner: Conn) -> None:
    """
    Bring the database that *owner* is connected to up to this schema version.

    One that is current or newer is left alone: applying it again would change nothing, but lock tables for a moment.
    """
    if await current(owner) < version():
        await owner.execute(text())
