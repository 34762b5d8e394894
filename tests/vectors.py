"""
A log that holds every event there is, and what can be done to it: the vectors of docs/log-format.md.

The same each time. `python -m tests.vectors > docs/log-format-vectors.json` writes them anew.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from events import chain, cloudevent
from events.client import (
    ClientCloned,
    ClientDeactivated,
    ClientDeleted,
    ClientReactivated,
    ClientRegistered,
    ClientSettings,
    ClientSuspended,
    ClientUpdated,
    IssuedSecret,
    SecretAdded,
    SecretDeactivated,
    SecretDeleted,
    SecretRotated,
    SecretsErased,
    SettingsChange,
)
from events.log import Entry
from events.record import SCHEMA_VERSION, Actor, Happening, Record
from events.tenant import Rewrite, TenantArrived, TenantCopied, TenantFrozen, TenantMoved, TenantThawed
from events.verification.fault import Kind
from tests.damage import Log, altered, entry, rewritten

TENANT = "acme/eu"
PRIVATE = "a private part"
BEGINNING = datetime(2026, 11, 23, 5, 15, 24, tzinfo=UTC)
ODD = (
    '"quotes" \\ / \b\t\n\f\r\x00\x1f\x7f é e\u0301 漢字 \u2028\u2029\u200d\ufeff '
    "👩\u200d👧 \U0001d504 \U0010ffff </script> -0 1e400"
)


KEPT = (4, 9)  # positions whose heads somebody kept


def ulid(number: int) -> str:
    """An id that is the same each time."""
    return f"01KB{number:022}"


def secret(position: int, **more: Any) -> IssuedSecret:
    """The secret that the record of *position* issued."""
    return IssuedSecret(secret_id=ulid(position), last_four="a1B2", **more)


ORIGINAL, CLONE = f"app-{ulid(101)}".lower(), f"app-{ulid(102)}".lower()
SETTINGS = ClientSettings(
    name=ODD,
    redirect_uris=("https://app.example.com/callback?a=b&c=%20",),
    scopes=("openid", "profile"),
    grant_types=("authorization_code", "refresh_token"),
    client_auth_methods=("client_secret_basic",),
    cors_origins=(),
    is_confidential=True,
    website="https://app.example.com",
)
REWRITE = Rewrite(old="https://old.example", new="https://new.example")
MOMENT = BEGINNING + timedelta(hours=4, microseconds=306_852)
HAPPENED: list[tuple[str, Happening]] = [
    (ORIGINAL, ClientRegistered(id=ulid(101), status="active", settings=SETTINGS, secret=secret(1))),
    (
        CLONE,
        ClientCloned(
            id=ulid(102),
            source_id=ORIGINAL,
            source_version=1,
            status="active",
            settings=msgspec.structs.replace(SETTINGS, name="My Application (clone)"),
            secret=secret(2),
        ),
    ),
    (CLONE, ClientUpdated(changed=SettingsChange(name="\U0001d504", cors_origins=()), removed=("website",))),
    (CLONE, ClientSuspended()),
    (CLONE, ClientReactivated()),
    (CLONE, SecretAdded(secret=secret(6, description="second", expires_at=MOMENT))),
    (CLONE, SecretRotated(secret=secret(7), retired=ulid(2), retired_until=MOMENT, dropped=(ulid(3),))),
    (CLONE, SecretDeactivated(secret_id=ulid(6))),
    (CLONE, SecretDeleted(secret_id=ulid(6))),
    (CLONE, ClientDeactivated()),
    (ORIGINAL, ClientDeleted()),
    (ORIGINAL, SecretsErased(event_ids=(ulid(1),))),
    ("", TenantFrozen(reason="it moves")),
    ("", TenantThawed()),
    (
        "",
        TenantCopied(
            source_tenant="globex",
            source_position=7,
            source_digest="00" * 32,
            copied_at=MOMENT,
            rewrites=(REWRITE,),
            only_active=True,
        ),
    ),
    ("", TenantMoved(to="db.example.com:5432/mitosis", address="https://registry.example.com")),
    ("", TenantArrived(source="old.example.com:5432/mitosis")),
]


def record(position: int, client_id: str, event: Happening) -> Record:
    """What was written of *event*. The actor of the second one had no address that is known."""
    return Record(
        event_id=ulid(position),
        tenant_id=TENANT,
        position=position,
        schema_version=SCHEMA_VERSION,
        client_id=client_id,
        client_version=[other for other, _ in HAPPENED[:position]].count(client_id) if client_id else 0,
        time=BEGINNING + timedelta(seconds=position, microseconds=position % 2),
        actor=Actor(
            subject="eve@acme",
            role="admin",
            request_id=f"request-{position}",
            address=None if position == 2 else "192.0.2.7",
        ),
        data=event,
        sealed=chain.seal(PRIVATE) if isinstance(getattr(event, "secret", None), IssuedSecret) else None,
    )


def written() -> Log:
    """The whole log."""
    digest, log = chain.genesis(TENANT), Log()
    for position, (client_id, event) in enumerate(HAPPENED, 1):
        log.append(entry(record(position, client_id, event), digest))
        digest = log[-1].digest
    return log


class Damage(NamedTuple):
    """What was done to the log, the fault that it must be found to have, and what is left."""

    done: str
    kind: Kind
    position: int
    log: Log
    head: Entry


def damages(log: Log) -> list[Damage]:
    """Logs that are not whole any more."""
    end = log[-1]
    fork = rewritten(log, 8)
    foreign = entry(msgspec.structs.replace(log[3].record, client_id="app-evil"), log[2].digest)
    return [
        Damage("a body was altered", "altered", 3, [*log[:2], altered(log[2], client_version=7), *log[3:]], end),
        Damage("a digest was altered", "altered", 5, [*log[:4], log[4]._replace(digest=bytes(32)), *log[5:]], end),
        Damage("a body was altered, and its digest made anew", "altered", 4, [*log[:3], foreign, *log[4:]], end),
        Damage("a body is no record", "altered", 6, [*log[:5], log[5]._replace(body=b"gone"), *log[6:]], end),
        Damage("the first record was removed", "removed", 1, log[1:], end),
        Damage("two records were removed", "removed", 5, log[:4] + log[6:], end),
        Damage(
            "a record was inserted, and linked to the one before", "inserted", 4, [*log[:3], foreign, *log[3:]], end
        ),
        Damage("a record is there twice", "inserted", 9, [*log[:8], log[4], *log[8:]], end),
        Damage("two records changed places", "reordered", 3, [*log[:2], log[6], *log[3:6], log[2], *log[7:]], end),
        Damage("the newest records were cut off", "cut off", 10, log[:9], end),
        Damage("the newest records were cut off, and the head set back", "cut off", 7, log[:6], log[5]),
        Damage("all from position 8 on was rewritten, and the head too", "forked", 9, fork, fork[-1]),
    ]


# ------------------------------------------------------------------------------------------------------------- the file


def vectors() -> dict[str, Any]:
    """
    The vectors. Of `heads` the first is the log's own, and the others were kept.

    In a damaged log, a number stands for the record of that position.
    """
    log = written()
    kept = [log[position - 1] for position in KEPT]
    return {
        "tenant_id": TENANT,
        "genesis": chain.genesis(TENANT).hex(),
        "log": [_shown(log[0]), {**_shown(log[1]), "private": PRIVATE}, *map(_shown, log[2:])],
        "heads": _heads(log[-1], *kept),
        "line": cloudevent.encode(log[0])[1].decode(),
        "damaged": [
            {
                "done": damage.done,
                "kind": damage.kind,
                "position": damage.position,
                "log": [stored.position if stored in log else _shown(stored) for stored in damage.log],
                "heads": _heads(damage.head, *kept),
            }
            for damage in damages(log)
        ],
    }


def _shown(stored: Entry) -> dict[str, Any]:
    return {"position": stored.position, "body": stored.body.decode(), "digest": stored.digest.hex()}


def _heads(*ends: Entry) -> list[dict[str, Any]]:
    return [{"position": end.position, "digest": end.digest.hex()} for end in ends]


def text() -> str:
    """The vectors as the file has them: in ASCII, so that no editor changes an odd character."""
    return json.dumps(vectors(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
