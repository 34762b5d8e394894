"""
The error tree.

    MitosisError
    ├── DatabaseAway          the database did not answer in time; nothing was done
    │   └── OutcomeUnknown    it went away during COMMIT, and it could not be asked since
    ├── LogDamaged            what the log holds cannot be so
    │   ├── OutOfOrder        an event cannot follow the state before it
    │   └── ChainBroken       a record's digest does not follow from the one before
    └── Refused               a request that the rules refuse (service.refusals)
"""


class MitosisError(Exception):
    """Whatever this project raises by its own decision."""


class DatabaseAway(MitosisError):
    """The database is away or stuck. Nothing was done; the same call may work in a moment."""


class OutcomeUnknown(DatabaseAway):
    """The database went away while it committed, and did not come back in time to be asked for the outcome."""


class LogDamaged(MitosisError):
    """The log holds something that cannot be so."""


class OutOfOrder(LogDamaged):
    """An event cannot follow the state that the events before it lead to."""


class ChainBroken(LogDamaged):
    """A record's digest does not follow from the record and the digest before it."""


class Refused(MitosisError):
    """The rules refuse a request. It can be mended by whoever sent it, and nothing was done."""
