"""A record: an event with its place in a tenant's log, as the bytes that are hashed."""

from datetime import datetime

import msgspec

from events.client import Event

SCHEMA_VERSION = 1


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
    `events.chain.seal`).
    """

    event_id: str
    tenant_id: str
    position: int
    schema_version: int
    client_id: str
    client_version: int
    time: datetime
    actor: Actor
    data: Event
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


def decode(body: bytes | str) -> Record:
    """
    The record that *body* holds.

    Raises:
        msgspec.ValidationError: *body* is no record of this schema version.
    """
    return _decoder.decode(body)
