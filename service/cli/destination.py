"""The database that a tenant is moved to: how it is said, and what it is called without telling a password."""

import os
from urllib.parse import parse_qsl, unquote, urlsplit

from events.errors import MitosisError

VARIABLE = "MITOSIS_TARGET_DATABASE_URL"
_DEFAULT_PORT = "5432"


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


def called(url: str) -> str | None:
    """
    The database that *url* names, as host:port/database, to people and in the log; None where that cannot be told.

    A password with a letter in it that should have been encoded ends up in other parts of the URL. So what is not as
    it should be is not told at all.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        return None
    user, _, place = parts.netloc.rpartition("@")
    path = parts.path.removeprefix("/")
    is_clean = (
        parts.scheme in {"postgresql", "postgres"}
        and not parts.fragment
        and "@" not in user + path + parts.query
        and not {"/", ":"} & set(path)
    )
    if not is_clean:
        return None
    hosts = (place or query.get("host") or "localhost").split(",")
    told = [_host(host, query.get("port") or _DEFAULT_PORT) for host in hosts]
    name = unquote(path) or query.get("dbname") or query.get("user") or unquote(user.partition(":")[0])
    return None if None in told else f"{','.join(filter(None, told))}/{name}"


def _host(host: str, port: str) -> str | None:
    """A host with its port, or the directory of a socket with it; None where it is neither."""
    if unquote(host).startswith("/"):
        return f"{unquote(host)}:{port}" if port.isdecimal() else None
    name, _, own = host.rpartition(":") if host.rpartition(":")[2].isdecimal() else (host, "", port)
    is_name = (name.startswith("[") and name.endswith("]")) or ":" not in name
    return f"{name}:{own}" if name and is_name and own.isdecimal() else None
