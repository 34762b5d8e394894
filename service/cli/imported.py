"""What came of an import, as people and machines are told."""

import sys
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from service.archive.importing import Imported
from service.archive.withheld import Needy
from service.cli.printing import plain


class Outcome(NamedTuple):
    """
    What came of it.

    Attributes:
        imported: what the database has now.
        records: how many are in the archive.
        needy: clients that need new secrets.
        is_proven: whether the archive's signed head is one that a known key signed.
        is_dry_run: whether it was taken back.
        took_s: seconds in all.
    """

    imported: Imported
    records: int
    needy: int
    is_proven: bool
    is_dry_run: bool
    took_s: float


async def say_needy(needy: AsyncIterator[Needy], *, as_json: bool) -> int:
    """Name the clients that need new secrets, and return how many that are."""
    count = 0
    async for one in needy:
        count += 1
        if as_json:
            _say_json(one._asdict())
        else:
            secrets = "a secret" if one.secrets == 1 else f"{one.secrets} secrets"
            name = plain(f"{one.client_id} ({one.name})")
            sys.stdout.write(f"{name} needs a new secret: {secrets} cannot be checked here\n")
    return count


def say(tenant_id: str, outcome: Outcome, *, as_json: bool) -> None:
    """The outcome: one JSON object, or a few sentences."""
    imported = outcome.imported
    count, rate = imported.head.position - imported.begun, round(outcome.records / outcome.took_s)
    if as_json:
        told: dict[str, Any] = {
            "tenant_id": tenant_id,
            "position": imported.head.position,
            "digest": imported.head.digest.hex(),
            "state": imported.head.state,
            "imported": count,
            "credentials": imported.credentials,
            "withheld": imported.withheld,
            "need_new_secrets": outcome.needy,
            "is_head_proven": outcome.is_proven,
            "is_dry_run": outcome.is_dry_run,
            "took_s": round(outcome.took_s, 3),
            "records_per_s": rate,
        }
        _say_json(told)
        return
    verb = "would be" if outcome.is_dry_run else "are"
    what = f"{count:,} records {verb} imported behind position {imported.begun:,}"
    credentials = f"with {imported.credentials:,} credentials" if imported.credentials else "without credentials"
    lines = [f"tenant {tenant_id}: {what}, {credentials}, in {outcome.took_s:.1f} s ({rate:,}/s)"]
    if not count:
        lines = [f"tenant {tenant_id}: all {outcome.records:,} records of this archive are here already"]
    if outcome.needy:
        lines.append(f"{outcome.needy:,} clients need new secrets")
    if imported.head.state != "open":
        lines.append(f"it takes no changes, as its records say, until `mitosis tenant thaw {tenant_id}`")
    if not outcome.is_proven:
        lines.append("its head is proven by no key that is known here; --jwks names more")
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _say_json(told: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
