"""The database that a tenant is moved to, as it is said."""

import os

from events.errors import MitosisError
from service.dsn import called

VARIABLE = "MITOSIS_TARGET_DATABASE_URL"


class NoDestination(MitosisError):
    """It is not said where to, or not in a way that can be understood. The message quotes nothing: it may be secret."""


def destination(given: str | None) -> str:
    """
    The DSN that was *given* as an argument, where everybody on the machine sees it, or else in the environment.

    Raises:
        NoDestination
    """
    url = given or os.environ.get(VARIABLE, "").strip()
    if not url:
        raise NoDestination(f"where to? Say --to, or {VARIABLE} in the environment, which nobody else sees")
    if called(url) is None:
        raise NoDestination(
            f"{'--to' if given else VARIABLE} is no URL such as postgresql://user@host:5432/database; what is special "
            "in a name or a password is percent-encoded: @ is %40 and / is %2F"
        )
    return url
