"""A record: an event with its place in a tenant's log, as the bytes that are hashed."""

from datetime import datetime

import msgspec

from events.client import Event
from events.errors import LogDamaged, NoRecord, UnknownVersion
from events.tenant import AnyTenantEvent
from events.upcasting import Json, upcast

SCHEMA_VERSION = 1

Happening = Event | AnyTenantEvent


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who did it: the token's subject and role, the address it came from, and the request's id."""

    subject: str
    role: str
    request_id: str
    address: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One entry of a tenant's log.

    `position` counts from 1 without a gap within the tenant; `client_version` counts from 1 within the client; `time`
    never goes back within the tenant. `sealed` commits to the private part, where there is one (see
    `events.chain.seal`). A record of what happened to the tenant as a whole has no `client_id` and no
    `client_version`.
    """

    event_id: str
    tenant_id: str
    position: int
    schema_version: int
    client_id: str = ""
    client_version: int = 0
    time: datetime
    actor: Actor
    data: Happening
    sealed: str | None = None


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """
    The canonical bytes of *record*: JCS (RFC 8785).

    Sorted keys and msgspec's number and string forms are JCS for all that a record can hold (no floats, member names in
    ASCII); a test holds it against an independent implementation.
    """
    return _encoder.encode(record)


def decode(body: bytes | str, *, tenant_id: str | None = None, position: int | None = None) -> Record:
    """
    The record that *body* holds, brought up to the current schema version where it is of an older one.

    *tenant_id* and *position* are where it stands, for errors; None leaves it to the body to say so.

    Raises:
        UnknownVersion: it is of a version that this program does not know.
        NoRecord: it is none, or what happened in it is of a type that this program does not know.
    """
    try:
        record = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _decode_other(body, error, tenant_id, position)
    if record.schema_version != SCHEMA_VERSION:
        return _decode_other(body, None, tenant_id, position)
    return record


def _decode_other(body: bytes | str, error: Exception | None, tenant_id: str | None, position: int | None) -> Record:
    """The record of another version that *body* holds; *error* says why it is none of the current one, if it is not."""
    said: Json = {}
    kind: type[LogDamaged] = NoRecord
    try:
        said = msgspec.json.decode(body, type=Json)
        if error is not None and said.get("schema_version") == SCHEMA_VERSION:
            raise error
        return msgspec.convert(upcast(said, SCHEMA_VERSION), Record)
    except UnknownVersion as unknown:
        kind, reason = UnknownVersion, str(unknown)
    except (msgspec.MsgspecError, RecursionError, LookupError, TypeError, ValueError) as malformed:
        reason = f"there is no record, since {malformed}"
    tenant = said.get("tenant_id", "?") if tenant_id is None else tenant_id
    place = said.get("position") if position is None else position
    place = place if isinstance(place, int) else 0
    raise kind(f"position {place} of tenant {tenant}: {reason}", place)
