"""
A moment of a tenant's log, as callers and operators name it.

It is a position, and then the state after the record there is meant; or a time, and then that after the last record
which is not later. Only what has come can be named: what was then does not change any more.
"""

import re
from datetime import UTC, datetime

from events import excerpts, log
from events.errors import MitosisError
from events.log import Conn

Moment = int | datetime

_POSITION = "(0|[1-9][0-9]{0,17})"  # digits of a bigint
_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,12})?"
_OFFSET = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
PATTERN = f"^({_POSITION}|{_DATE}[Tt]{_TIME}{_OFFSET})$"  # RFC 3339 section 5.6, without leap seconds

_position, _moment = re.compile(_POSITION), re.compile(PATTERN)


class NoMoment(MitosisError):
    """A text names no moment of the log, or one that has not come. The message says why, to go behind what named it."""


def parse(text: str) -> Moment:
    """
    The moment that *text* names: a position, or a time in UTC.

    The log's times are in microseconds, and what is finer is cut off: that leaves out no record that is not later.

    Raises:
        NoMoment: it is neither.
    """
    if _position.fullmatch(text):
        return int(text)
    try:
        if _moment.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the 30th of February, or before the year 1
    raise NoMoment("is neither a position nor a time such as 2026-03-01T09:30:00Z")


async def reached(conn: Conn, tenant_id: str, moment: Moment) -> int:
    """
    The position of *tenant_id* at *moment*, 0 for before its first record.

    Of the very last moments, what is being committed as this is asked is not there yet; a position leaves no doubt.

    Raises:
        NoMoment: it has not come, so what could be said of it might turn out to be wrong.
        RecordMissing: the search for a time came to a place where there is none.
    """
    head = await log.head(conn, tenant_id)
    if isinstance(moment, datetime):
        # another process's clock may be ahead of this one's: what it wrote has happened all the same
        if moment > max(datetime.now(UTC), head.time):
            raise NoMoment("is in the future")
        return await excerpts.position_at(conn, tenant_id, moment)
    if moment > head.position:
        raise NoMoment(f"is a position that the log has not reached: it ends at {head.position}")
    return moment
