"""
A record as a CloudEvent (CloudEvents 1.0, JSON format): what feeds, files and message brokers carry.

`data` is the record's body, byte for byte as it was hashed; `digest` is the record's, in hexadecimal. The private part
is in none of them: an `Entry` that was read for a feed does not have it, and nothing here would write it.
"""

from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import UNSET, UnsetType

from events.errors import NoCloudEvent, NoRecord
from events.log import Entry

MEDIA_TYPE = "application/cloudevents+json"
_SOURCE = "/tenants/"


class _Kind(msgspec.Struct):
    type: str


class _Outline(msgspec.Struct):
    """What the envelope repeats of a body. The rest is passed on unread, so a later version's record is too."""

    event_id: str
    time: str
    data: _Kind
    client_id: str | UnsetType = UNSET


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """
    The members, in the order in which they are written. `source` and `id` together name the event.

    `subject` is the client; what happened to the tenant as a whole has none.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    digest: str
    data: msgspec.Raw


class _Placed(msgspec.Struct):
    position: int


_outline = msgspec.json.Decoder(_Outline).decode
_decode = msgspec.json.Decoder(CloudEvent).decode
_place = msgspec.json.Decoder(_Placed).decode
_encode = msgspec.json.Encoder().encode


@lru_cache  # of a tenant there are many
def source(tenant_id: str) -> str:
    """The URI reference that names a tenant's log."""
    return _SOURCE + quote(tenant_id, safe="")


def encode(entry: Entry) -> tuple[str, bytes]:
    """
    The type of the event in *entry*, and the CloudEvent: one line of JSON.

    Raises:
        NoRecord: the body is none, so the log is damaged.
    """
    try:
        outline = _outline(entry.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NoRecord(f"there is no record at position {entry.position} of tenant {entry.tenant_id}") from None
    if b"\n" in entry.body or b"\r" in entry.body:
        raise NoRecord(f"the record at position {entry.position} of tenant {entry.tenant_id} is not in canonical form")
    return outline.data.type, _encode(
        CloudEvent(
            id=outline.event_id,
            source=source(entry.tenant_id),
            type=outline.data.type,
            subject=outline.client_id,
            time=outline.time,
            digest=entry.digest.hex(),
            data=msgspec.Raw(entry.body),
        )
    )


def decode(line: bytes | str) -> Entry:
    """
    The record that a CloudEvent carries, as somebody says it is: nothing of it is proven.

    Raises:
        NoCloudEvent: *line* is no CloudEvent with a record in it.
    """
    try:
        event = _decode(line)
        digest = bytes.fromhex(event.digest)
        position = _place(event.data).position
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoCloudEvent(f"no CloudEvent with a record: {error}") from None
    if not event.source.startswith(_SOURCE):
        raise NoCloudEvent("no CloudEvent of a tenant's log: its source is another")
    return Entry(unquote(event.source.removeprefix(_SOURCE)), position, event.id, digest, bytes(event.data))
