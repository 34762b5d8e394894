"""Logs: one JSON object a line, on standard error."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

# whose messages quote the texts of errors, and the arguments of whatever was called
_QUOTING = {"asyncio": "asyncio_complained", "py.warnings": "python_warned"}

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """
    A record as one line of JSON.

    Of an error it says the type and where it came from, never its text: that may quote what a caller sent, a row of the
    database or a hash.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": _QUOTING.get(record.name) or record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN and value is not None}
        if record.exc_info and record.exc_info[1]:
            line["error"] = _chain(record.exc_info[1])
        return msgspec.json.encode(line, enc_hook=str).decode()


def _chain(error: BaseException) -> list[dict[str, Any]]:
    """*error* and what caused it, nearest first."""
    told: list[dict[str, Any]] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < 8:  # noqa: PLR2004 (a chain that is longer says nothing more)
        frames = traceback.extract_tb(cause.__traceback__)
        told.append(
            {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
                **({"sqlstate": cause.sqlstate} if isinstance(cause, asyncpg.PostgresError) else {}),
            }
        )
        cause = cause.__cause__ or cause.__context__
    return told


def start() -> None:
    """Send all logs of this process through `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # aiohttp's own lines quote requests; ours say what is needed of them
    for name in ("aiohttp.access", "aiohttp.server", "aiohttp.web"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
