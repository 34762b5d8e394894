"""
Records of every version that was ever written can be read, and what is no record is never guessed at.

A golden record is one that some version wrote. They are kept in tests/golden, a file a schema version and a line a
record, and once a version was released they are never written anew: what was hashed stays as it was. Before that,
`python -m tests.test_versions > tests/golden/version-1.ndjson` does it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events import chain
from events.errors import LogDamaged, NoRecord, UnknownVersion
from events.log import Entry
from events.record import SCHEMA_VERSION, Actor, Happening, Record, decode, encode
from events.upcasting import UPCASTERS, Json
from projections.clients import Client, apply
from tests import vectors
from tests.damage import GARBAGE

FOLDER = Path(__file__).parent / "golden"
VERSIONS = range(1, SCHEMA_VERSION + 1)
TAGS = {str(kind.__struct_config__.tag) for kind in get_args(Happening)}
RECORD = vectors.written()[0].record
CURRENT = replace(RECORD, actor=Actor(subject="eve", role="admin", request_id="request-1"))

_encode = msgspec.json.Encoder(order="deterministic").encode
_client = msgspec.json.Decoder(Client).decode


class Golden(NamedTuple):
    """
    A record as it was written: its type, its exact bytes, and the digests before it and with it, in hexadecimal.

    `client` and `state` are the client before and after it, as a row of `clients` has them; None where there is none.
    """

    type: str
    body: str
    before: str
    digest: str
    client: str | None
    state: str | None


def state(client: Client) -> str:
    """*client* as the table has it."""
    return _encode(client).decode()


def golden(version: int) -> list[Golden]:
    """The golden records of *version*."""
    return [Golden(**json.loads(line)) for line in (FOLDER / f"version-{version}.ndjson").read_text().splitlines()]


def lines() -> Iterator[str]:
    """The vectors as golden records: what a new type of event needs, where it is not there yet."""
    before, clients = chain.genesis(vectors.TENANT), dict[str, Client]()
    for entry in vectors.written():
        record = entry.record
        client = after = clients.get(record.client_id)
        if record.client_id:
            after = clients[record.client_id] = apply(client, record)
        one = Golden(
            type=str(record.data.__struct_config__.tag),
            body=entry.body.decode(),
            before=before.hex(),
            digest=entry.digest.hex(),
            client=None if client is None else state(client),
            state=None if after is None else state(after),
        )
        before = entry.digest
        yield json.dumps(one._asdict())


# ------------------------------------------------------------------------------------------------------ golden records


def test_every_type_is_golden() -> None:
    """There is a golden record of each type of event that this version can write."""
    missing = TAGS - {one.type for one in golden(SCHEMA_VERSION)}

    assert not missing, "\n".join(line for line in lines() if json.loads(line)["type"] in missing)


def test_every_version_is_golden() -> None:
    """There are golden records of each version, and an upcaster for each but the current one."""
    assert all(golden(version) for version in VERSIONS)
    assert sorted(UPCASTERS) == list(VERSIONS)[:-1]


@pytest.mark.parametrize(
    ("version", "one"),
    [(version, one) for version in VERSIONS for one in golden(version)],
    ids=lambda given: given.type if isinstance(given, Golden) else str(given),
)
def test_golden(version: int, one: Golden) -> None:
    """What was written is read, does to its client what it ever did, and is the same bytes when it is written again."""
    body = one.body.encode()
    record = decode(body)

    assert chain.link(bytes.fromhex(one.before), body).hex() == one.digest
    assert json.loads(body)["schema_version"] == version
    if version == SCHEMA_VERSION:
        assert record.data.__struct_config__.tag == one.type
        assert encode(record) == body
    if record.client_id:
        after = apply(_client(one.client) if one.client else None, record)
        assert state(after) == one.state


# ------------------------------------------------------------------------------------------------------- older versions


def from_minus_one(record: Json) -> Json:
    """In version -1, which never was, who did it was one word."""
    return {**record, "actor": {"subject": record["actor"], "role": "admin", "request_id": "request-1"}}


def from_zero(record: Json) -> Json:
    """In version 0, which never was, a client was born, and its name stood beside its settings."""
    data = {**record["data"], "type": "ClientRegistered"}
    settings = {**data["settings"], "name": data.pop("name")}
    return {**record, "data": {**data, "settings": settings}}


def older() -> Json:
    """A record as version -1 would have written it."""
    said = dict(json.loads(encode(CURRENT)), schema_version=-1, actor=CURRENT.actor.subject)
    said["data"]["name"] = said["data"]["settings"].pop("name")
    said["data"]["type"] = "ClientBorn"
    return said


@pytest.fixture
def upcasters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTERS, -1, from_minus_one)
    monkeypatch.setitem(UPCASTERS, 0, from_zero)


def test_upcasting(upcasters: None) -> None:
    """A record of an older version is read as one of the current version, step by step."""
    oldest = older()
    old = {**from_minus_one(oldest), "schema_version": 0}

    assert decode(json.dumps(oldest)) == CURRENT
    assert decode(json.dumps(old)) == CURRENT
    assert decode(json.dumps(oldest)).schema_version == SCHEMA_VERSION


def test_upcasting_what_looks_current(upcasters: None) -> None:
    """It is the version that counts, even where the current one could be read into a record of an older version."""
    looks_current = dict(json.loads(encode(RECORD)), schema_version=0)
    looks_current["data"]["name"] = "as version 0 has it"

    record = decode(json.dumps(looks_current))

    assert record.data.settings.name == "as version 0 has it"  # type: ignore[union-attr]


def test_upcasting_in_the_log(upcasters: None) -> None:
    """What is stored stays as it was: the entry has the old bytes, and only what they say is brought up."""
    body = json.dumps(older()).encode()
    entry = Entry(RECORD.tenant_id, 1, RECORD.event_id, chain.link(chain.genesis(RECORD.tenant_id), body), body)

    assert entry.record == CURRENT
    assert entry.body == body


# ---------------------------------------------------------------------------------------------------- what is not known

UNKNOWN: dict[str, tuple[type[LogDamaged], dict[str, Any], str]] = {
    "a newer version": (UnknownVersion, {"schema_version": 2}, "its schema version is 2, and this program knows none"),
    "a version without an upcaster": (UnknownVersion, {"schema_version": 0}, "there is no upcaster"),
    "no version": (UnknownVersion, {"schema_version": None}, "it says no schema version"),
    "a version in words": (UnknownVersion, {"schema_version": "one"}, "it says no schema version"),
    "an unknown type": (NoRecord, {"data": {"type": "ClientEaten"}}, "ClientEaten"),
    "no type": (NoRecord, {"data": {}}, "type"),
    "a member that is missing": (NoRecord, {"actor": {}}, "subject"),
    "a member of another kind": (NoRecord, {"event_id": 7}, "event_id"),
}


@pytest.mark.parametrize(("kind", "changes", "reason"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown(kind: type[LogDamaged], changes: dict[str, Any], reason: str) -> None:
    """What is not known is an error that says where it stands and what is wrong with it."""
    body = json.dumps({**json.loads(encode(RECORD)), **changes})

    with pytest.raises(kind, match=f"^position 1 of tenant {vectors.TENANT}: .*{reason}"):
        decode(body)


@pytest.mark.parametrize("body", [*GARBAGE, b"7", b"[]", b'{"schema_version":1}', b'{"schema_version":true}'])
def test_garbage(body: bytes) -> None:
    """What is no record at all is said to be none, at the place where it stands, since it says none itself."""
    with pytest.raises(LogDamaged, match=r"^position 17 of tenant acme: "):
        _ = Entry("acme", 17, "E", bytes(32), body).record


@pytest.mark.parametrize("changes", [{"data": {"settings": 7}}, {"data": 7}, {"actor": 7}])
def test_malformed_for_an_upcaster(upcasters: None, changes: dict[str, Any]) -> None:
    """An old record that its upcaster stumbles over, or makes none of, is none."""
    with pytest.raises(NoRecord, match=r"^position 1 of tenant"):
        decode(json.dumps({**older(), **changes}))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(Record.__struct_fields__), values, max_size=3), values)
def test_anything(changes: Json, other: object) -> None:
    """Whatever stands there, it is read as what it says or is an error of the log, and nothing in between."""
    for body in (json.dumps({**json.loads(encode(RECORD)), **changes}), json.dumps(other)):
        try:
            record = decode(body)
        except LogDamaged:
            continue
        assert record.schema_version == SCHEMA_VERSION
        assert decode(encode(record)) == record


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
