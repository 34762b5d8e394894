"""
NATS JetStream as a `Publisher`.

A record is a message on the subject `mitosis.<tenant>.<type>`: a CloudEvent in the structured mode of the CloudEvents
NATS binding, with the event's id as `Nats-Msg-Id`, by which the stream drops what comes twice within its window.
"""

import asyncio
import logging
from pathlib import Path
from typing import NamedTuple, Self

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from events import cloudevent
from events.errors import MitosisError, NoCloudEvent
from events.log import Entry
from service.relay.address import Address
from service.relay.connection import FIRST_PAUSE_S, LONGEST_PAUSE_S, Connection
from service.relay.publisher import NeverTaken
from service.relay.stream import settled

_SPECIAL = {ord(character): f"%{ord(character):02X}" for character in "%.*>"}
_ANSWER_S = 5.0
_TRUST_S = 30.0  # what is known of a stream's end is looked up again after that: another relay may have had the tenant
_NO_MESSAGE = 10037  # error codes of JetStream
_TOO_LONG = 10054

_logger = logging.getLogger(__name__)


class NotKept(MitosisError):
    """The stream dropped a message as one it has had, and does not have it: it was purged. In a while it takes it."""


class _End(NamedTuple):
    """The last record of a tenant in the stream: position (0 for none) and digest, good until then (loop time)."""

    position: int
    digest: bytes
    until: float


def subject(tenant_id: str, kind: str) -> str:
    """The subject for a tenant and an event's type, of exactly three tokens whatever the tenant is called."""
    return f"mitosis.{_token(tenant_id)}.{_token(kind)}"


def _token(text: str) -> str:
    return text.translate(_SPECIAL)


class JetStream:
    """A stream of JetStream, to publish to. `open` makes one."""

    def __init__(self, connection: Connection, stream: StreamConfig, where: str) -> None:
        self.where = where
        self._connection = connection
        self._stream = stream.name or ""
        self._keeps = stream.retention == "limits"
        self._ends: dict[str, _End] = {}

    @classmethod
    async def open(cls, url: str, *, stream: str, credentials: Path | None) -> Self:
        """
        Connect to the server at *url*, and find its stream for records, or make one called *stream*.

        Raises:
            CannotRelay
        """
        address = Address.of(url)
        connection = Connection(address, credentials)
        try:
            config = await settled(_jetstream(await connection.open()), stream)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, config, f"{address.url} (stream {config.name})")

    async def publish(self, entry: Entry) -> None:
        """Publish *entry*, as `Publisher` says."""
        kind, event = cloudevent.encode(entry)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._connection.asking() as client:
                    if not await self._has(client, entry):
                        await self._store(client, entry, subject(entry.tenant_id, kind), event)
            except (nats.errors.Error, OSError, TimeoutError, NotKept) as error:
                # whether it is stored is not known
                self._ends.pop(entry.tenant_id, None)
                code = {"code": error.err_code} if isinstance(error, APIError) else {}
                _logger.warning("nats_waited_for", exc_info=error, extra={"tenant": entry.tenant_id, **code})
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Leave the server."""
        await self._connection.close()

    async def _has(self, client: Client, entry: Entry) -> bool:
        """
        Whether the stream has *entry*, by the last record of the tenant that it has.

        The stream drops what comes twice by itself, but within its window alone. Who was killed before it noted what
        it had published may come back later than that. So the stream is asked at a tenant's first record, and at each
        that does not follow the one before.
        """
        now = asyncio.get_running_loop().time()
        end = self._ends.get(entry.tenant_id)
        if end is None or end.until < now or end.position + 1 != entry.position:
            end = self._ends[entry.tenant_id] = await self._look_up(client, entry.tenant_id, now + _TRUST_S)
            if self._keeps and end.position + 1 < entry.position:
                # it was purged, or made anew, or the operator had us pass over something; only a reset fills the gap
                gap = {"stream": self._stream, "after": end.position, "before": entry.position}
                _logger.warning("stream_lacks_records", extra={"tenant": entry.tenant_id, **gap})
        if entry.position == end.position and entry.digest != end.digest:
            raise NeverTaken(f"the stream {self._stream} has another record at position {end.position}: of another log")
        return entry.position <= end.position

    async def _look_up(self, client: Client, tenant_id: str, until: float) -> _End:
        try:
            # not the direct way, which any replica answers: one that is behind would let a record in twice
            last = await _jetstream(client).get_last_msg(self._stream, f"mitosis.{_token(tenant_id)}.*")
        except NotFoundError as error:
            if error.err_code != _NO_MESSAGE:
                raise
            return _End(0, b"", until)
        if not last.data:
            return _End(0, b"", until)  # the server's marker of messages that are too old
        try:
            record = cloudevent.decode(last.data)
        except NoCloudEvent:
            raise NeverTaken(f"the last message on {last.subject} of the stream {self._stream} is not ours") from None
        return _End(record.position, record.digest, until)

    async def _store(self, client: Client, entry: Entry, to: str, event: bytes) -> None:
        """Have *event* stored as the tenant's last."""
        headers = {
            "Nats-Msg-Id": entry.event_id,
            "Nats-Expected-Stream": self._stream,
            "Content-Type": cloudevent.MEDIA_TYPE,
        }
        size = _size(headers, event)
        # a server that is sent more than that cuts the connection, for all tenants
        if size > client.max_payload:
            raise NeverTaken(f"a message of {size} bytes; NATS takes {client.max_payload} (max_payload)")
        until = asyncio.get_running_loop().time() + _TRUST_S
        try:
            acknowledged = await _jetstream(client).publish(to, event, headers=headers)
        except APIError as error:
            if error.err_code == _TOO_LONG:
                raise NeverTaken(f"a message of {size} bytes; the stream takes less (max_msg_size)") from None
            raise
        if acknowledged.duplicate and self._keeps:
            raise NotKept
        self._ends[entry.tenant_id] = _End(entry.position, entry.digest, until)


def _jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=_ANSWER_S)


def _size(headers: dict[str, str], payload: bytes) -> int:
    """The length of a message as the server counts it: `NATS/1.0`, a line a header, an empty line, the payload."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{name}: {value}\r\n") for name, value in headers.items()) + len(payload)
