"""How the application is run: what it needs before, the sockets that it accepts on, and the processes that serve it."""

from events.errors import MitosisError


class CannotServe(MitosisError):
    """The service cannot start. The message says why, in one line."""
