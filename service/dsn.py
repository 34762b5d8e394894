"""What a database is called, to people and in the log, without telling a password."""

from urllib.parse import parse_qsl, unquote, urlsplit

from service.database import reason

_DEFAULT_PORT = "5432"
_NAMELESS = "of MITOSIS_DATABASE_URL"


def name_of(url: str) -> str:
    """The database that *url* names, or where the name is that cannot be told."""
    return called(url) or _NAMELESS


def unusable(error: BaseException) -> str:
    """Why a database cannot be connected to; what the driver says of a malformed URL may quote its password."""
    return "its URL is malformed" if isinstance(error, ValueError) else reason(error)


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
