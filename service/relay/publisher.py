"""What a relay asks of a message broker. Who adds one writes a `Publisher` and a line in `service.relay.run`."""

from typing import Protocol

from events.errors import MitosisError
from events.log import Entry


class CannotRelay(MitosisError):
    """The relay cannot start. The message says why, in one line, without credentials."""


class NeverTaken(MitosisError):
    """The broker will never take a record as it is. The message says why."""


class Publisher(Protocol):
    """
    A message broker, as it takes records: of one tenant one after the other, in their order, of several at once.

    `where` says where they go, for people, without credentials.
    """

    where: str

    async def publish(self, entry: Entry) -> None:
        """
        Publish *entry*. It is stored by the broker when this returns, once, however often this was asked for it.

        A broker that is away, or takes nothing for now, is waited for: a minute or a week, with a line in the log for
        each try. Who is cancelled meanwhile does not know whether the record is stored, and may ask again.

        Raises:
            NeverTaken: waiting does not help.
            NoRecord: the body is none, so the log is damaged.
        """

    async def close(self) -> None:
        """Leave the broker."""
