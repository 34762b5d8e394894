"""Logs that were never in a database, and everything that can be done to one."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from events import chain
from events.client import (
    ClientReactivated,
    ClientRegistered,
    ClientSettings,
    ClientSuspended,
    ClientUpdated,
    Event,
    SettingsChange,
)
from events.log import Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, decode, encode
from events.verification.fault import Kind
from tests.callers import EXAMPLE

TENANT = "acme"
BEGINNING = datetime(2026, 11, 23, tzinfo=UTC)
GARBAGE = [b"", b"null", b"{}", b"\xff", b"[" * 5000, b'{"tenant_id":"\xff"}', b'{"tenant_id":"acme","position":1e400}']
COLUMNS: dict[str, dict[str, Any]] = {
    "position": {"position": 99},
    "event_id": {"event_id": "E-evil"},
    "tenant_id": {"tenant_id": "globex"},
    "private": {"private": "another"},
}

Log = list[Entry]


def event(version: int, client: int) -> Event:
    """What happened to a client as its change number *version*."""
    settings = msgspec.convert(EXAMPLE, ClientSettings)
    return (
        ClientUpdated(changed=SettingsChange(name=f"client {client} {version}")),
        ClientRegistered(id=f"{client:026}", status="active", settings=settings),
        ClientSuspended(),
        ClientReactivated(),
    )[version if version < 4 else 0]


def written(clients: Sequence[int], tenant_id: str = TENANT) -> Log:
    """A log in which something happens to these clients, one after the other."""
    digest, log, versions = chain.genesis(tenant_id), Log(), Counter[int]()
    for position, client in enumerate(clients, 1):
        versions[client] += 1
        version = versions[client]
        record = Record(
            event_id=f"E{position:025}",
            tenant_id=tenant_id,
            position=position,
            schema_version=SCHEMA_VERSION,
            client_id=f"app-{client}",
            client_version=version,
            time=BEGINNING + timedelta(seconds=position),
            actor=Actor(subject="eve@acme", role="admin", request_id=f"request-{position}"),
            data=event(version, client),
        )
        log.append(entry(record, digest))
        digest = log[-1].digest
    return log


def entry(record: Record, before: bytes) -> Entry:
    """A record as it is stored after one with the digest *before*."""
    body = encode(record)
    return Entry(record.tenant_id, record.position, record.event_id, chain.link(before, body), body)


def head_of(log: Log, tenant_id: str = TENANT) -> Head:
    """Where a log ends."""
    digest = log[-1].digest if log else chain.genesis(tenant_id)
    return Head(len(log), digest, BEGINNING)


def before(log: Log, position: int) -> bytes:
    """The digest before the record of *position*."""
    return log[position - 2].digest if position > 1 else chain.genesis(TENANT)


def renumbered(log: Log) -> Log:
    """With position columns that run 1, 2, 3, whatever the records say."""
    return [entry._replace(position=place) for place, entry in enumerate(log, 1)]


def rechained(log: Log, start: int) -> Log:
    """With the digests from position *start* on made anew."""
    log = list(log)
    for position in range(start, len(log) + 1):
        body = log[position - 1].body
        log[position - 1] = log[position - 1]._replace(digest=chain.link(before(log, position), body))
    return log


def altered(entry: Entry, **changes: object) -> Entry:
    """With another body, in the columns of the record that it was."""
    return entry._replace(body=encode(msgspec.structs.replace(decode(entry.body), **changes)))


def rewritten(log: Log, start: int) -> Log:
    """The history from position *start* on as somebody would rather have it, with digests to go with it."""
    return rechained([*log[: start - 1], altered(log[start - 1], client_id="app-evil"), *log[start:]], start)


# ------------------------------------------------------------------------------------------------------------- one edit


class Edit(NamedTuple):
    """
    A log to which something was done.

    Attributes:
        log: what is left.
        kind: the fault that it now has.
        positions: where; more than one where these cannot be told apart.
        is_columns: whether it was done to the columns, which therefore stay as they are.
    """

    log: Log
    kind: Kind
    positions: set[int]
    is_columns: bool = False


@st.composite
def bodies(draw: DrawFn, entry: Entry) -> bytes:
    """Another body in place of the one of *entry*."""
    record = decode(entry.body)
    other: Record = draw(
        st.sampled_from(
            [
                msgspec.structs.replace(record, client_id="app-evil"),
                msgspec.structs.replace(record, event_id="E-evil"),
                msgspec.structs.replace(record, tenant_id="globex"),
                msgspec.structs.replace(record, position=record.position + 1),
                msgspec.structs.replace(record, position=max(1, record.position - 1), client_id="app-evil"),
                msgspec.structs.replace(record, position=record.position + 1000),
            ]
        )
    )
    return draw(st.just(encode(other)) | st.sampled_from(GARBAGE))


@st.composite
def altered_body(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A body was altered. Its own digest still stands and the next one is built on that, so the place is certain."""
    at = draw(st.integers(low, high))
    log = list(log)
    log[at - 1] = log[at - 1]._replace(body=draw(bodies(log[at - 1])))
    return Edit(log, "altered", {at})


@st.composite
def altered_digest(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A digest was altered. The next one is built on the one that the body gives."""
    at = draw(st.integers(low, high))
    log = list(log)
    log[at - 1] = log[at - 1]._replace(digest=draw(st.binary(min_size=32, max_size=32)))
    return Edit(log, "altered", {at})


@st.composite
def altered_both(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """
    A body was altered and its digest made anew.

    What the next record was built on is gone, so it may as well be that one which was altered.
    """
    at = draw(st.integers(low, high))
    edit = draw(altered_body(log, at, at))
    edit.log[at - 1] = edit.log[at - 1]._replace(digest=chain.link(before(log, at), edit.log[at - 1].body))
    return Edit(edit.log, "altered", {at, min(at + 1, len(log))})


@st.composite
def altered_column(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A column says something else than the body."""
    at = draw(st.integers(low, high))
    log = list(log)
    position = st.integers(-5, 50).filter(lambda place: place != at)
    changes = draw(st.sampled_from(list(COLUMNS.values())) | st.fixed_dictionaries({"position": position}))
    log[at - 1] = log[at - 1]._replace(**changes)
    return Edit(log, "altered", {at}, is_columns=True)


@st.composite
def altered_position(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A position column was altered, and the database reads the record in another place."""
    at = draw(st.integers(low, high))
    place = draw(st.integers(-5, 0) | st.integers(len(log) + 1, len(log) + 5))
    log = list(log)
    log[at - 1] = log[at - 1]._replace(position=place)
    return Edit(sorted(log, key=lambda entry: entry.position), "altered", {at}, is_columns=True)


@st.composite
def removed(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """Records were removed, and there are some behind them."""
    first = draw(st.integers(low, min(high, len(log) - 1)))
    last = draw(st.integers(first, min(high, len(log) - 1)))
    return Edit(log[: first - 1] + log[last:], "removed", {first})


@st.composite
def inserted(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A record was written that never happened, linked to the one before it or not; it may say any position."""
    at = draw(st.integers(low, high))
    says = draw(st.just(at) | st.integers(low, len(log) + 3))
    record = msgspec.structs.replace(
        decode(log[0].body),
        position=says,
        event_id="E-evil",
        tenant_id=draw(st.sampled_from([TENANT, "globex"])),
    )
    foreign = entry(record, draw(st.just(before(log, at)) | st.binary(min_size=32, max_size=32)))
    return Edit([*log[: at - 1], foreign, *log[at - 1 :]], "inserted", {at})


@st.composite
def repeated(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A record is there twice. Where the two are neighbours, either may be the one too many."""
    which, at = draw(st.integers(low, high)), draw(st.integers(low, high + 1))
    return Edit([*log[: at - 1], log[which - 1], *log[at - 1 :]], "inserted", {at, at + 1} if which == at else {at})


@st.composite
def swapped(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """Two records changed places."""
    one, other = sorted(draw(st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True)))
    log = list(log)
    log[one - 1], log[other - 1] = log[other - 1], log[one - 1]
    return Edit(log, "reordered", {one})


@st.composite
def moved(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """A record stands elsewhere."""
    here, there = draw(st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True))
    log = list(log)
    log.insert(there - 1, log.pop(here - 1))
    return Edit(log, "reordered", {min(here, there)})


@st.composite
def shuffled(draw: DrawFn, log: Log, low: int, high: int) -> Edit:
    """Many records stand elsewhere."""
    order = draw(st.permutations(range(low, high + 1)).filter(lambda order: list(order) != sorted(order)))
    first = next(position for position, other in enumerate(order, low) if position != other)
    return Edit([*log[: low - 1], *(log[at - 1] for at in order), *log[high:]], "reordered", {first})


EDITS: list[Callable[[Log, int, int], st.SearchStrategy[Edit]]] = [
    altered_body,
    altered_digest,
    altered_both,
    altered_column,
    removed,
    inserted,
    repeated,
    swapped,
    moved,
    shuffled,
]
