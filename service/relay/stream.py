"""The stream of JetStream that keeps the records: the one that takes their subjects, or one that is made."""

import logging
from itertools import zip_longest

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from service.relay.publisher import CannotRelay

SUBJECTS = "mitosis.>"
_SHAPE = ("mitosis", "*", "*")  # the tenant, the type
_WINDOW_S = 3600.0  # within which a message that comes twice is dropped
_LEAST_WINDOW_S = 60.0

_logger = logging.getLogger(__name__)


async def settled(jetstream: JetStreamContext, name: str) -> StreamConfig:
    """
    The stream that takes the records, as it is; where none does, a new one called *name*.

    Raises:
        CannotRelay: the one that takes some does not take all, or acknowledges none; or none can be made.
    """
    try:
        try:
            found = await jetstream.find_stream_name_by_subject(SUBJECTS)
        except NotFoundError:
            made = StreamConfig(name=name, subjects=[SUBJECTS], storage=StorageType.FILE, duplicate_window=_WINDOW_S)
            config = (await jetstream.add_stream(made)).config
            _logger.info("stream_made", extra={"stream": name})
        else:
            config = (await jetstream.stream_info(found)).config
    except ServiceUnavailableError as error:
        raise CannotRelay("NATS has no JetStream, or this user none of it") from error
    except APIError as error:
        raise CannotRelay(f"JetStream has no stream for {SUBJECTS}: {error.description}") from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise CannotRelay("JetStream does not answer: the README says what a relay's user must be allowed") from error
    except ValueError as error:
        raise CannotRelay(f"--stream: {name!r} cannot be a stream's name") from error
    _require_fit(config)
    return config


def _require_fit(config: StreamConfig) -> None:
    if not any(_covers(subject) for subject in config.subjects or []):
        raise CannotRelay(f"the stream {config.name} takes some of {SUBJECTS} and not all of it, so none can be made")
    if config.no_ack:
        raise CannotRelay(f"the stream {config.name} acknowledges nothing (no_ack), so nothing is known to be stored")
    if (config.duplicate_window or 0) < _LEAST_WINDOW_S:
        # not refused: a relay that is alone asks the stream; only one that takes over from another may be too quick
        window = {"stream": config.name, "window_s": config.duplicate_window, "least_s": _LEAST_WINDOW_S}
        _logger.warning("duplicate_window_is_short", extra=window)


def _covers(pattern: str) -> bool:
    """Whether every subject of ours matches *pattern*."""
    for theirs, ours in zip_longest(pattern.split("."), _SHAPE):
        if theirs == ">":
            return True
        if theirs not in {"*", ours}:
            return False
    return True
