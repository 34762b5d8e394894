"""
A tenant's log as a file that can be put away and brought back: an *archive*. Pure: lines in, lines out.

It is one JSON object a line. First the manifest, which says what is in it; then the records, each as the CloudEvent
that feeds carry; last the trailer, without which the file was cut off. Private parts, where they were asked for, are in
lines of credentials, each before the records that it is for: so nobody has to hold more than one of them. What such a
line has is encrypted, and the whole is compressed; that is undone elsewhere, for the libraries that it takes.

Nothing that an archive says is proven by it. Its records are, by their chain, and that by a head that was kept.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, BinaryIO, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events.errors import MitosisError, NoRecord

VERSION: Final = 1
LINE_LIMIT: Final = 4 * 1024 * 1024  # bytes: what a reader holds at most

T = TypeVar("T")

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Moment = Annotated[datetime, Meta(tz=True)]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Tenant = Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]


class NoArchive(MitosisError):
    """A file is no archive, or not a whole one, or of a version that this program does not know. It says which."""


class ArchivedHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log ended: `digest` in hexadecimal, and the `time` of the record at `position`."""

    position: _Count
    digest: _Digest
    time: _Moment


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the credentials are encrypted, and how many there are.

    `key` is what they were encrypted to, an age identity made for this archive alone, as an armored age file: encrypted
    itself to a passphrase, or to the public keys of whoever may bring the archive back.
    """

    count: _Count
    to: Literal["passphrase", "recipients"]
    key: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an archive says of itself, in its first line.

    `clients` counts those that ever were. `signed_head` is a JWS (see docs/log-format.md), where there was a key to
    sign with; `credentials` is missing where the private parts were left out.
    """

    format: Literal["mitosis-archive"] = "mitosis-archive"
    version: Literal[1] = VERSION
    tenant_id: _Tenant
    created_at: _Moment
    records: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    clients: _Count
    head: ArchivedHead
    signed_head: str | UnsetType = UNSET
    credentials: Protection | UnsetType = UNSET


class Credentials(msgspec.Struct, frozen=True):
    """Private parts of records that come behind this line, as an age file; in it, a JSON object by event id."""

    credentials: bytes


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """The last line: nothing is missing before it."""

    end: Literal["mitosis-archive"] = "mitosis-archive"
    records: _Count
    credentials: _Count


class _Versioned(msgspec.Struct):
    format: Literal["mitosis-archive"]
    version: int


_encode = msgspec.json.Encoder().encode
_manifest = msgspec.json.Decoder(Manifest).decode
_versioned = msgspec.json.Decoder(_Versioned).decode
_credentials = msgspec.json.Decoder(Credentials).decode
_trailer = msgspec.json.Decoder(Trailer).decode
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_RECORD, _CREDENTIALS, _TRAILER = b'{"specversion"', b'{"credentials"', b'{"end"'


def line(said: Manifest | Credentials | Trailer | bytes) -> bytes:
    """
    A line of an archive, with its end; bytes are a record as `events.cloudevent` writes it.

    Raises:
        NoRecord: it is longer than any that a reader takes.
    """
    text = said if isinstance(said, bytes) else _encode(said)
    if len(text) >= LINE_LIMIT:
        raise NoRecord(f"a record of {len(text)} bytes is too long for an archive")
    return text + b"\n"


class Reader:
    """
    Reads an archive's text from *file*, a line at a time, each once.

    Attributes:
        manifest: what its first line says.

    Raises:
        NoArchive: the first line is no manifest.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0  # of the line that was read last
        first = self._next()
        try:
            version = _versioned(first).version
        except _MALFORMED:
            raise NoArchive("this is no archive: it does not begin with a manifest") from None
        if version != VERSION:
            raise NoArchive(f"this archive is of version {version}, and this program knows {VERSION}")
        try:
            self.manifest = _manifest(first)
        except _MALFORMED as error:
            raise NoArchive(f"the manifest of this archive is damaged: {error}") from None
        if self.manifest.records != self.manifest.head.position:
            raise NoArchive("the manifest of this archive is damaged: its head is not where its records end")

    def __iter__(self) -> Iterator[bytes | Credentials | Trailer]:
        """
        What comes behind the manifest: records, as CloudEvents with the line's end, and credentials; last the trailer.

        Raises:
            NoArchive: a line is neither, there are more records than the manifest says, credentials that it does not
                speak of, or that are of no record, or something is behind the end.
        """
        records, promised = 0, self.manifest.records
        may_be_credentials = has_credentials = self.manifest.credentials is not UNSET
        while True:
            text = self._next()
            if text.startswith(_RECORD):
                records += 1
                if records > promised:
                    raise NoArchive(f"this archive has more records than the {promised} that its manifest says")
                may_be_credentials = has_credentials
                yield text
            elif text.startswith(_CREDENTIALS):
                if not may_be_credentials:  # else a small file could keep a reader busy for ever
                    raise NoArchive(f"line {self._number} has credentials of no record")
                may_be_credentials = False
                yield self._decoded(text, _credentials)
            else:
                yield self._end(text, records)
                return

    def _end(self, text: bytes, records: int) -> Trailer:
        if not text.startswith(_TRAILER):
            raise NoArchive(f"line {self._number} is nothing that an archive has")
        trailer = self._decoded(text, _trailer)
        if not records == trailer.records == self.manifest.records:
            raise NoArchive(f"this archive has {records} records, and should have {self.manifest.records}")
        if self._file.read(1):
            raise NoArchive("there is something behind the end of this archive")
        return trailer

    def _next(self) -> bytes:
        text = self._file.readline(LINE_LIMIT)
        self._number += 1
        if text.endswith(b"\n"):
            return text
        if len(text) == LINE_LIMIT:
            raise NoArchive(f"line {self._number} is longer than any that an archive has")
        raise NoArchive(f"this archive was cut off in line {self._number}" if text else "this archive was cut off")

    def _decoded(self, text: bytes, decode: Callable[[bytes], T]) -> T:
        try:
            return decode(text)
        except _MALFORMED:
            raise NoArchive(f"line {self._number} is damaged") from None
