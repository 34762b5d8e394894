"""`mitosis audit tail`: the stream in a terminal, a line a record."""

import argparse
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from service.cli.printing import plain
from service.cli.remote import NoAnswer, Remote, here, token
from service.config import from_environment
from service.naming import ALL

_LAST = 10  # records, where nobody says from where on
_COLOURS = {
    "ClientRegistered": "green",
    "ClientCloned": "bold green",
    "ClientReactivated": "green",
    "ClientUpdated": "cyan",
    "ClientSuspended": "yellow",
    "ClientDeactivated": "yellow",
    "ClientDeleted": "bold red",
    "SecretAdded": "magenta",
    "SecretRotated": "magenta",
    "SecretDeactivated": "yellow",
    "SecretDeleted": "red",
    "SecretsErased": "red",
    **dict.fromkeys(("TenantFrozen", "TenantThawed", "TenantMoved", "TenantArrived", "TenantCopied"), "bold blue"),
}


async def run(parsed: argparse.Namespace) -> None:
    """Print what is there and, with `--follow`, what comes."""
    config = from_environment()
    url, types = parsed.url or here(config), ",".join(parsed.type or ())
    write = _Writer(as_json=parsed.json, has_tenant=parsed.tenant == ALL)
    async with Remote(url, token(config, parsed.token_file, parsed.tenant), parsed.tenant) as remote:
        place = parsed.after or await _recent(remote, parsed.tenant)
        async for behind, lines in remote.pages(place, types):
            place = behind
            for line in lines:
                write(line)
        if parsed.follow:
            async for line in remote.follow(place, types):
                write(line)


async def _recent(remote: Remote, tenant_id: str | None) -> str:
    if tenant_id == ALL:
        return "0"
    return str(max((await remote.head())[0] - _LAST, 0))


class _Writer:
    """Writes a record as one line: in colour on a terminal, as plain text elsewhere."""

    def __init__(self, *, as_json: bool, has_tenant: bool) -> None:
        self._as_json = as_json
        self._has_tenant = has_tenant
        self._console = Console(highlight=False, soft_wrap=True)

    def __call__(self, line: bytes) -> None:
        if self._as_json:
            sys.stdout.write(line.decode() + "\n")
            sys.stdout.flush()
            return
        try:
            self._console.print(_line(msgspec.json.decode(line)["data"], has_tenant=self._has_tenant))
        except (msgspec.MsgspecError, KeyError, TypeError):
            raise NoAnswer("the service sent what is no record") from None


def _line(record: dict[str, Any], *, has_tenant: bool) -> Text:
    kind, actor = record["data"]["type"], record["actor"]
    parts = [
        (f"{record['time'][:19]}Z  ", "dim"),
        *([(f"{record['tenant_id']}  ", "blue")] if has_tenant else []),
        (f"{record['position']:>6}  ", ""),
        (f"{kind:<17}  ", _COLOURS.get(kind, "")),
        (f"{record.get('client_id', '-')}  ", ""),
        (f"{actor['subject']} ({actor['role']})", "dim"),
        (f" from {actor['address']}" if "address" in actor else "", "dim"),
    ]
    return Text.assemble(*((plain(text), style) for text, style in parts))
