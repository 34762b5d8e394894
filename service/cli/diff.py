"""`mitosis clients diff`: what differs in a client between two moments, field by field."""

import argparse
import asyncio
import re
import sys
from typing import Any, NamedTuple

import asyncpg
import msgspec

from events import log
from events.errors import MitosisError
from events.log import Conn
from projections import history
from projections.clients import Client
from service import as_of, fields
from service.as_of import Moment, NoMoment
from service.cli.connecting import connected, database
from service.cli.parser import Commands
from service.cli.printing import plain
from service.config import from_environment
from service.database import CONSUMER_ROLE, reason
from service.naming import is_tenant_id

# what names the client and counts its changes, and the secrets, which are compared one by one
_NOT_COMPARED = {"tenant_id", "client_id", "id", "version", "created_at", "updated_at", "settings", "secrets"}
_NOT_COMPARED_OF_SECRETS = {"secret_id", "created_at", "updated_at"}

_client_id = re.compile(fields.CLIENT_ID)


class CannotCompare(MitosisError):
    """There are no two states to compare. The message says why."""


class _State(NamedTuple):
    """A client, None where there was none yet, after the record of its tenant at a position."""

    position: int
    client: Client | None


class _Difference(NamedTuple):
    """A field that has another value; None where it has none."""

    field: str
    old: Any
    new: Any


def add(actions: Commands) -> None:
    """Add the command to the parser."""
    comparing = actions.add_parser(
        "diff",
        help="say what differs in a client between two moments",
        description="What differs in a client between two moments, field by field: its status, its settings, and what "
        "is known of its secrets. A moment is a position of the tenant's log, or a time such as 2026-03-01T09:30:00Z: "
        "the client as it was after the last record that is not later. Deleted clients can be compared too.",
    )
    comparing.add_argument("client_id", type=_id, metavar="CLIENT_ID", help="the client")
    comparing.add_argument("--tenant", required=True, help="whose client it is")
    comparing.add_argument("--from", dest="begin", type=_moment, required=True, metavar="MOMENT", help="as it was then")
    comparing.add_argument("--to", dest="end", type=_moment, metavar="MOMENT", help="and then (now)")
    comparing.add_argument("--json", action="store_true", help="as one JSON object")
    comparing.set_defaults(run=_diff)


def _id(text: str) -> str:
    if not _client_id.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a client id is 'app-' and 1 to 60 of a-z, 0-9 and '-', not {text!r}")
    return text


def _moment(text: str) -> Moment:
    try:
        return as_of.parse(text)
    except NoMoment as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _diff(parsed: argparse.Namespace) -> None:
    if not is_tenant_id(parsed.tenant):
        raise CannotCompare("--tenant must be 1 to 128 printable ASCII characters without spaces")
    with database(from_environment()) as url:
        old, new = asyncio.run(_states(url, parsed))
    if old.client is None and new.client is None:
        where = f"neither at position {old.position} nor at {new.position}"
        raise CannotCompare(f"there was no {parsed.client_id} in tenant {parsed.tenant}, {where}")
    found = _differences(old.client, new.client)
    if parsed.json:
        _say_json(parsed, old, new, found)
        return
    lines = [f"{parsed.client_id} in {parsed.tenant}: {_named(old)} -> {_named(new)}"]
    lines += [f"  {one.field}: {_value(one.old)} -> {_value(one.new)}" for one in found] or ["  nothing differs"]
    sys.stdout.write("".join(f"{plain(line)}\n" for line in lines))


async def _states(url: str, parsed: argparse.Namespace) -> tuple[_State, _State]:
    async with connected(url, CONSUMER_ROLE, "clients diff") as connection:
        try:
            # so that both are of one log, whatever is appended meanwhile
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                old = await _state(connection, parsed, "--from", parsed.begin)
                return old, await _state(connection, parsed, "--to", parsed.end)
        except asyncpg.PostgresError as error:
            raise CannotCompare(f"the database did not answer: {reason(error)}") from error


async def _state(conn: Conn, parsed: argparse.Namespace, option: str, moment: Moment | None) -> _State:
    try:
        if moment is None:
            position = (await log.head(conn, parsed.tenant)).position
        else:
            position = await as_of.reached(conn, parsed.tenant, moment)
    except NoMoment as error:
        raise CannotCompare(f"{option} {error}") from None
    return _State(position, await history.as_of(conn, parsed.tenant, parsed.client_id, position))


def _differences(old: Client | None, new: Client | None) -> list[_Difference]:
    before, after = _compared(old), _compared(new)
    return [
        _Difference(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _compared(client: Client | None) -> dict[str, Any]:
    """What is compared of a client, by the name under which it is told; what has no value is missing."""
    if client is None:
        return {}
    told = {name: value for name, value in msgspec.to_builtins(client).items() if name not in _NOT_COMPARED}
    told |= msgspec.to_builtins(client.settings)
    for secret in client.secrets:
        for name, value in msgspec.to_builtins(secret).items():
            if name not in _NOT_COMPARED_OF_SECRETS:
                told[f"secrets[{secret.secret_id}].{name}"] = value
    return told


def _named(state: _State) -> str:
    version = "not there" if state.client is None else f"version {state.client.version}"
    return f"{version} at position {state.position}"


def _value(value: Any) -> str:  # noqa: ANN401 (settings are of several types)
    return "-" if value is None else msgspec.json.encode(value).decode()


def _say_json(parsed: argparse.Namespace, old: _State, new: _State, found: list[_Difference]) -> None:
    told = {
        "tenant_id": parsed.tenant,
        "client_id": parsed.client_id,
        **{
            name: {"position": state.position, **({"version": state.client.version} if state.client else {})}
            for name, state in (("from", old), ("to", new))
        },
        "differs": [{"field": one.field, **_present(("from", one.old), ("to", one.new))} for one in found],
    }
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


def _present(*values: tuple[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values if value is not None}
