"""
The compression of archives: Zstandard (RFC 8878), from the standard library where that has it.

It is read in a memory of its own size, whatever the file says: no more than a window of 8 MiB is kept of what came
before, and no more is unpacked than is asked for. So a file that is small and unpacks to no end costs time alone, and
that only while its lines are those of an archive.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from events.archive import NoArchive
from events.errors import MitosisError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC = b"\x28\xb5\x2f\xfd"
_LEVEL = 1  # records have long ids in common places; the next levels take more time and more room for them
_WINDOW_LOG = 23  # 8 MiB, and so what every level up to 19 makes
_PIECE = 128 * 1024  # bytes


class Unreadable(MitosisError):
    """A file cannot be read, whatever is in it. The message says why."""


def is_compressed(file: io.BufferedReader) -> bool:
    """Whether *file* goes on as one that is compressed. Nothing is read off it."""
    return file.peek(len(MAGIC))[: len(MAGIC)] == MAGIC


class Compressed:
    """Writes to *file* what is written to this, compressed."""

    def __init__(self, file: BinaryIO) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: _LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._file = file
        self._compressor = zstd.ZstdCompressor(options=options)

    def write(self, text: bytes) -> None:
        """Write *text*, or keep it until there is more of it."""
        self._file.write(self._compressor.compress(text))

    def end(self) -> None:
        """Write what was kept, and a checksum."""
        self._file.write(self._compressor.flush())


@contextmanager
def compressing(file: BinaryIO) -> Iterator[Compressed]:
    """What is written to this goes to *file*, compressed. It has an end only if nothing was raised."""
    compressed = Compressed(file)
    yield compressed
    compressed.end()


def decompressed(file: BinaryIO) -> BinaryIO:
    """
    What is compressed in *file*. What is whole before a damaged place is read first.

    Reading it raises:
        NoArchive: it is damaged, or ends too early.
        Unreadable
    """
    return io.BufferedReader(_Decompressed(file), _PIECE)


class _Decompressed(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = zstd.ZstdFile(file, "rb", options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        try:
            return self._file.readinto1(buffer)
        except EOFError:
            raise NoArchive("this archive was cut off") from None
        except zstd.ZstdError as error:
            raise NoArchive(f"this archive is damaged: {error}") from None
        except OSError as error:
            raise Unreadable(f"the archive cannot be read: {error.strerror}") from error
