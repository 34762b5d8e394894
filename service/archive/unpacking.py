"""What an archive holds, a batch at a time, each verified before it is handed on."""

from datetime import UTC, datetime
from typing import NamedTuple

from events import chain, cloudevent
from events.archive import Credentials, NoArchive, Reader, Trailer
from events.client import SecretsErased
from events.errors import LogDamaged, NoCloudEvent
from events.log import Entry, Head, State
from events.record import Record
from events.tenant import TenantArrived, TenantFrozen, TenantMoved, TenantThawed
from events.verification.fault import KeptHead
from events.verification.verifier import Verification
from projections.folding import require_whole
from service.archive.sealing import Opener

_RECORDS = 2000  # in a batch, at most
_BYTES = 8 * 1024 * 1024
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)  # no time zone takes these out of what a datetime can be
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)


class Batch(NamedTuple):
    """Records in a row, with the private parts that came, and the same decoded."""

    entries: list[Entry]
    records: list[Record]

    def after(self, position: int) -> "Batch":
        """Those behind *position*."""
        known = max(position - self.entries[0].position + 1, 0)
        return Batch(self.entries[known:], self.records[known:]) if known else self

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return sum(len(entry.body) for entry in self.entries)

    @property
    def withheld(self) -> list[str]:
        """The ids of those whose private part did not come."""
        pairs = zip(self.entries, self.records, strict=True)
        return [entry.event_id for entry, record in pairs if record.sealed is not None and entry.private is None]

    @property
    def erased(self) -> list[str]:
        """The ids of records, of this batch or before, whose private parts these say were erased."""
        acts = [record.data for record in self.records if isinstance(record.data, SecretsErased)]
        return [event_id for act in acts for event_id in act.event_ids]


class Unpacking:
    """
    Reads and verifies an archive to its end.

    Args:
        reader: its text.
        opener: decrypts its credentials; None leaves them out.
    """

    def __init__(self, reader: Reader, opener: Opener | None) -> None:
        self.manifest = manifest = reader.manifest
        self._lines = iter(reader)
        self._opener = opener
        self._head = Head(manifest.records, bytes.fromhex(manifest.head.digest), manifest.head.time)
        self._verification = Verification(manifest.tenant_id, [KeptHead(*self._head[:2], "the manifest")])
        self._private = dict[str, str]()  # of records that are still to come
        self._promised = 0 if opener is None or not manifest.credentials else manifest.credentials.count
        self._time = _EARLIEST
        self._state: State = "open"
        self.credentials = 0
        self._is_at_end = False

    def next(self) -> Batch:
        """
        The next records; none at the end.

        Raises:
            NoArchive, LogDamaged: something is wrong with them.
        """
        batch, size = Batch([], []), 0
        while not self._is_at_end and len(batch.entries) < _RECORDS and size < _BYTES:
            said = next(self._lines)
            if isinstance(said, bytes):
                self._take(said, batch)
                size += len(said)
            elif isinstance(said, Credentials):
                self._open(said)
            else:
                self._finish(said)
        if not self._verification.is_sound:
            require_whole(self._verification, self._head)
        return batch

    def end(self) -> Head:
        """
        Where the log ends, and whether its records say that the tenant takes changes, once all of it was read.

        A tenant that was frozen, or had moved on, stays frozen until somebody thaws it, which is a record of its own.

        Raises:
            LogDamaged: it does not end where the manifest says.
        """
        require_whole(self._verification, self._head)
        if self._time != self._head.time:
            raise NoArchive("this archive is damaged: its head has another time than its last record")
        return self._head._replace(state=self._state)

    def _take(self, line: bytes, batch: Batch) -> None:
        try:
            entry = cloudevent.decode(line)
        except NoCloudEvent as error:
            raise NoArchive(f"this archive is damaged: {error}") from None
        self._verification.take(entry)
        record = entry.record
        self._require_in_time(record)
        private = self._private.pop(entry.event_id, None)
        if private is not None:
            if record.sealed != chain.seal(private):
                raise LogDamaged(f"the private part of the record at position {entry.position} is not the sealed one")
            entry = Entry(*entry[:-1], private)
            self.credentials += 1
        match record.data:
            case TenantFrozen() | TenantMoved():
                self._state = "frozen"
            case TenantThawed() | TenantArrived():
                self._state = "open"
            case _:
                pass
        batch.entries.append(entry)
        batch.records.append(record)

    def _require_in_time(self, record: Record) -> None:
        """A log's times never go back, and each is one that says its zone."""
        if record.time.tzinfo is None or not self._time <= record.time <= _LATEST:
            raise LogDamaged(f"the record at position {record.position} has a time that cannot be", record.position)
        self._time = record.time

    def _open(self, sealed: Credentials) -> None:
        if self._opener is None:
            return
        self._require_none_left()
        self._private = self._opener.open(sealed.credentials)

    def _finish(self, trailer: Trailer) -> None:
        self._is_at_end = True
        self._require_none_left()
        if self._opener is not None and not self.credentials == trailer.credentials == self._promised:
            raise NoArchive(
                f"this archive has the private parts of {self.credentials} records, and should have {self._promised}"
            )

    def _require_none_left(self) -> None:
        if self._private:
            raise NoArchive("this archive has private parts of records that are not in it")
