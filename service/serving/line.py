"""What the process that was started and its workers say to one another: JSON, a line each, on a pair of sockets."""

from pathlib import Path
from typing import Any

import msgspec

from service.config import Config
from service.metrics.families import Family

LONGEST_BYTES = 16 * 1024 * 1024  # of a line


class Order(msgspec.Struct, frozen=True):
    """
    The first line to a worker: what it serves, and which one it is.

    `sockets` are the descriptors of those that it listens on, `shares` is that of `service.serving.sharing`; both it
    inherited.
    """

    config: Config
    sockets: list[int]
    shares: int
    number: int


class Serving(msgspec.Struct, frozen=True, tag=True):
    """The worker accepts requests."""


class Question(msgspec.Struct, frozen=True):
    """Every further line to a worker: it is asked for its metrics. `number` is for telling a late answer."""

    number: int
    ask_database: bool


class Measured(msgspec.Struct, frozen=True, tag=True):
    """The answer to the question of that number."""

    number: int
    families: list[Family]


class Cannot(msgspec.Struct, frozen=True, tag=True):
    """The worker cannot start, and ends."""

    reason: str


def encode(said: msgspec.Struct) -> bytes:
    """*said* as a line."""
    return msgspec.json.encode(said, enc_hook=str) + b"\n"


def decode_order(line: bytes) -> Order:
    """What a worker is told to do."""
    return msgspec.json.decode(line, type=Order, dec_hook=_path)


def _path(kind: type, text: Any) -> Path:  # noqa: ANN401 (what the line had there)
    if kind is not Path:
        raise NotImplementedError(kind)
    return Path(text)


Word = Serving | Cannot | Measured

decode_question = msgspec.json.Decoder(Question).decode
decode_word = msgspec.json.Decoder(Word).decode
