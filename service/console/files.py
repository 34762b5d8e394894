"""The console's files as they are sent: read once, compressed once."""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class File(NamedTuple):
    """A file: its bytes, the same compressed, what it is, and an entity tag for each of the two."""

    plain: bytes
    compressed: bytes
    kind: str
    plain_tag: str
    compressed_tag: str


def load() -> Mapping[str, File]:
    """All there are, by their path below the console's."""
    return dict(_found(files("service.console"), ""))


def made(content: bytes, kind: str) -> File:
    """*content*, which is of this media type, as a file."""
    tag = hashlib.sha256(content).hexdigest()[:32]
    # without a time in it, so that each worker sends the same bytes
    return File(content, gzip.compress(content, mtime=0), kind, tag, f"{tag}-gzip")


def _found(place: Traversable, path: str) -> list[tuple[str, File]]:
    found = []
    for entry in place.iterdir():
        if entry.is_dir():
            found += _found(entry, f"{path}{entry.name}/")
        elif kind := _KINDS.get(entry.name[entry.name.rfind(".") :]):
            found.append((path + entry.name, made(entry.read_bytes(), kind)))
    return found
