"""The fold of a log, whatever was asked for: every prefix has one, in however many steps it is made."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import log
from events.client import ClientSettings, SettingsChange
from events.errors import OutOfOrder, Refused
from events.record import SCHEMA_VERSION, Actor, Record
from events.tenant import TenantFrozen
from projections.clients import Client, apply
from projections.folding import is_about_client
from service.commands import (
    AddSecret,
    CloneClient,
    Command,
    DeactivateSecret,
    DeleteClient,
    DeleteSecret,
    EraseSealed,
    RegisterClient,
    RotateSecret,
    SealedSecret,
    UpdateClient,
)
from service.turn import Turn
from tests.damage import BEGINNING

TENANT = "acme"
ACTOR = Actor(subject="s", role="admin", request_id="r")
SEALED = SealedSecret(hash="$argon2id$", last_four="abcd")
SETTINGS = ClientSettings(
    name="plain",
    redirect_uris=("https://app.example.com/callback",),
    scopes=("openid",),
    grant_types=("authorization_code",),
    client_auth_methods=("client_secret_basic",),
    cors_origins=(),
    is_confidential=True,
)
Wish = tuple[str, int, int]  # what, to which client, and a number that it makes of what it likes
KINDS = ("register", "clone", "update", "status", "delete", "rotate", "add", "deactivate", "drop", "erase")
wishes = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 3)), max_size=40)
Clients = dict[str, Client]


def written(wished: Iterable[Wish]) -> list[Record]:
    """The records of a log in which all this was asked for, one after the other, and refused where the rules do."""
    turn = Turn({TENANT: log.beginning(TENANT)}, {}, {})
    for fresh, (what, which, number) in enumerate([("register", 0, 0), *wished]):
        ids = [client_id for _, client_id in turn.changed]
        client_id = ids[which % len(ids)] if ids and (what, number) != ("register", 0) else f"app-{fresh}"
        command = _command(what, client_id, number, turn.changed.get((TENANT, client_id)), fresh)
        with suppress(Refused):
            turn.take(command)
    records = [entry.record for entry in turn.entries]
    assert {client_id: client for (_, client_id), client in turn.changed.items()} == fold(records)
    return records


def _command(what: str, client_id: str, number: int, client: Client | None, fresh: int) -> Command:  # noqa: PLR0911
    told: dict[str, Any] = {"tenant_id": TENANT, "actor": ACTOR, "reads": client_id}
    secrets = [secret.secret_id for secret in client.secrets] if client else []
    secret_id = secrets[number % len(secrets)] if secrets else "none"
    match what:
        case "register":
            return RegisterClient(**told, id=f"{fresh:026}", settings=SETTINGS, sealed=SEALED)
        case "clone":
            return CloneClient(**told, id=f"{fresh:026}", client_id=f"app-{fresh}", sealed=SEALED)
        case "update":
            changed = SettingsChange(name=f"name {number}", website="https://app.example.com")
            return UpdateClient(**told, changed=changed, removed=("logo_url",))
        case "status":
            return UpdateClient(**told, status=("active", "suspended", "inactive", "active")[number])
        case "delete":
            return DeleteClient(**told)
        case "rotate":
            return RotateSecret(**told, sealed=SEALED, grace_s=number * 3600)
        case "add":
            return AddSecret(**told, sealed=SEALED)
        case "deactivate":
            return DeactivateSecret(**told, secret_id=secret_id)
        case "drop":
            return DeleteSecret(**told, secret_id=secret_id)
        case _:
            return EraseSealed(**told, event_ids=("01",))


def fold(records: Iterable[Record], clients: Mapping[str, Client] | None = None) -> Clients:
    """What *records* make of *clients*."""
    folded = dict(clients or {})
    for record in records:
        if is_about_client(record):
            folded[record.client_id] = apply(folded.get(record.client_id), record)
    return folded


@given(wishes)
def test_any_prefix(wished: list[Wish]) -> None:
    """A log can be folded up to any of its records."""
    records = written(wished)

    folded: Clients = {}
    for position, record in enumerate(records, 1):
        folded = fold([record], folded)
        assert folded == fold(records[:position])


@given(wishes, st.integers(0, 60))
def test_two_steps(wished: list[Wish], first: int) -> None:
    """To fold a log in two steps is to fold it in one."""
    records = written(wished)

    assert fold(records[first:], fold(records[:first])) == fold(records)


@given(wishes)
def test_client_by_client(wished: list[Wish]) -> None:
    """To fold one client after the other is to fold them as their records come."""
    records = written(wished)
    by_client = sorted(records, key=lambda record: (record.client_id, record.position))

    assert fold(by_client) == fold(records)


@given(wishes, st.integers(0, 60))
def test_out_of_order(wished: list[Wish], at: int) -> None:
    """A record that is left out, or comes twice, is noticed as soon as its client's next one comes."""
    records = written(wished)
    record = records[at % len(records)]
    of_client = [other for other in records if other.client_id == record.client_id]
    place = of_client.index(record)

    with pytest.raises(OutOfOrder) as damage:
        fold([*of_client[: place + 1], record])
    assert damage.value.position == record.position
    if place + 1 < len(of_client):
        with pytest.raises(OutOfOrder) as damage:
            fold([*of_client[:place], *of_client[place + 1 :]])
        assert damage.value.position == of_client[place + 1].position


def test_about_no_client() -> None:
    """What happened to the tenant as a whole is in no client; what happened to a client names it."""
    frozen = Record(
        event_id="01",
        tenant_id=TENANT,
        position=7,
        schema_version=SCHEMA_VERSION,
        time=BEGINNING,
        actor=ACTOR,
        data=TenantFrozen(),
    )
    (registered,) = written([])

    assert fold([frozen]) == {}
    with pytest.raises(OutOfOrder, match="position 1 of tenant acme: ClientRegistered of no client"):
        fold([Record(**{**{name: getattr(registered, name) for name in Record.__struct_fields__}, "client_id": ""})])
    with pytest.raises(OutOfOrder, match="position 7"):
        fold([Record(**{**{name: getattr(frozen, name) for name in Record.__struct_fields__}, "client_id": "app-0"})])
