"""
The error tree.

    MitosisError
    ├── DatabaseAway          the database did not answer in time; nothing was done
    │   └── OutcomeUnknown    it went away during COMMIT, and it could not be asked since
    ├── LogDamaged            what the log holds cannot be so
    │   ├── OutOfOrder        an event cannot follow the state before it
    │   ├── RecordMissing     a position has no record, though later ones have
    │   ├── NoRecord          what stands at a position is no record
    │   └── UnknownVersion    a record is of a schema version that is not known
    ├── NoCloudEvent          a text is no CloudEvent with a record in it
    ├── CursorAhead           a reader was further than the log is
    ├── Fenced                another process has taken a tenant over for a consumer
    ├── HandlerFailed         a consumer's handler did, in its transaction
    └── Refused               a request that the rules refuse (service.refusals)
"""


class MitosisError(Exception):
    """Whatever this project raises by its own decision."""


class DatabaseAway(MitosisError):
    """The database is away or stuck. Nothing was done; the same call may work in a moment."""


class OutcomeUnknown(DatabaseAway):
    """The database went away while it committed, and did not come back in time to be asked for the outcome."""


class LogDamaged(MitosisError):
    """The log holds something that cannot be so. `position` is where it shows; 0 where that was not said."""

    def __init__(self, message: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class OutOfOrder(LogDamaged):
    """An event cannot follow the state that the events before it lead to."""


class RecordMissing(LogDamaged):
    """A position has no record, though later ones have."""


class NoRecord(LogDamaged):
    """What stands at a position of the log is no record."""


class UnknownVersion(LogDamaged):
    """A record is of a schema version that this program does not know: a newer program wrote it."""


class NoCloudEvent(MitosisError):
    """A text is no CloudEvent with a record in it. The message says why."""


class CursorAhead(MitosisError):
    """A reader was at a position that the log has not reached: it was cut off, or is another log."""


class Fenced(MitosisError):
    """Another process has taken a tenant over for this consumer: what this one did since is not counted."""


class HandlerFailed(MitosisError):
    """A consumer's handler failed in its transaction, for a reason of its own: the cause."""


class Refused(MitosisError):
    """The rules refuse a request. It can be mended by whoever sent it, and nothing was done."""
