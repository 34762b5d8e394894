"""
What a URL among a client's settings may look like: redirects, key set locations, origins and pages.

A URL is read twice. RFC 3986 decides how it is written, on the text as it came; the WHATWG parser decides what a
browser would make of it. Where the two disagree the URL is refused, because that gap is where redirects are stolen.
Nothing here looks a name up or opens a connection.
"""

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from string import ascii_letters, digits, hexdigits
from typing import NamedTuple

import ada_url

Fault = tuple[str, str]
"""What is wrong, for people, and the rule that says so."""

LONGEST_URL = 2048
LONGEST_HOST = 253
LONGEST_LABEL = 63
PORTS = range(65_536)
LONGEST_PORT = 5  # digits

URI_CHARACTERS = frozenset(ascii_letters + digits + "-._~:/?#[]@!$&'()*+,;=%")  # RFC 3986 section 2
SCHEME_CHARACTERS = frozenset(ascii_letters + digits + "+-.")  # RFC 3986 section 3.1
OCTETS = frozenset(high + low for high in hexdigits for low in hexdigits)
NO_OCTET = -1
CONTROL_CODES = frozenset({*range(0x20), 0x7F})
LABEL_CHARACTERS = frozenset(ascii_letters + digits + "-_")  # RFC 1123 section 2.1, and the underscore that is in use

SCRIPTING_SCHEMES = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})
WEB_SCHEMES = frozenset({"http", "https"})

# RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and a name many resolvers answer with 127.0.0.1
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".localdomain")
GLOBAL_UNICAST = IPv6Network("2000::/3")


class Parts(NamedTuple):
    """A URI's components (RFC 3986 appendix B) as they were written. An absent one is None, an empty one is ""."""

    scheme: str | None  # lower-cased: the only component whose case never matters
    authority: str | None
    path: str
    fragment: str | None


def split(uri: str) -> Parts:
    """
    The components of *uri*, with nothing stripped, decoded or resolved.

    `urllib.parse.urlsplit` drops tabs, newlines and leading blanks, which is what an attacker would count on.
    """
    rest, hash_mark, fragment = uri.partition("#")
    rest = rest.partition("?")[0]
    name, colon, tail = rest.partition(":")
    is_scheme = colon and name[:1] in ascii_letters and name and SCHEME_CHARACTERS.issuperset(name)
    path = tail if is_scheme else rest
    authority = None
    if path.startswith("//"):
        authority, slash, tail = path[2:].partition("/")
        path = slash + tail
    return Parts(name.lower() if is_scheme else None, authority, path, fragment if hash_mark else None)


def redirect_faults(uri: str) -> Iterator[Fault]:
    """What forbids *uri* as a place to send authorization codes (RFC 6749 3.1.2, RFC 8252 7)."""
    parts = split(uri)
    yield from _writing_faults(uri)
    if not CONTROL_CODES.isdisjoint(_escaped(uri)):
        yield "holds a percent-encoded control character", "RFC 3986 2.1"
    if "*" in uri:
        yield "holds a '*': redirect URIs are compared exactly and wildcards do not exist", "RFC 6749 3.1.2.3"
    if parts.fragment is not None:
        yield "has a fragment (everything from '#' on)", "RFC 6749 3.1.2"
    if _has_dot_segment(parts.path):
        yield "has a '.' or '..' path segment, plain or percent-encoded", "RFC 3986 6.2.2.3"

    if parts.scheme is None:
        yield "is not an absolute URI: it must begin with a scheme such as https:", "RFC 6749 3.1.2"
    elif parts.scheme in SCRIPTING_SCHEMES:
        yield (
            f"uses the scheme {parts.scheme}:, which runs or reads content instead of reaching a client",
            "RFC 9700 4.1",
        )
    elif parts.scheme in WEB_SCHEMES:
        yield from _host_faults(uri, parts)
        if parts.scheme == "http" and not _is_loopback(_host_and_port(parts)[0]):
            yield "uses http with a host that is not loopback; use https", "RFC 8252 7.3, 8.3"
    else:
        yield from _private_use_faults(parts, parts.scheme)


def key_set_faults(url: str) -> Iterator[Fault]:
    """What forbids *url* as a `jwks_uri`: whoever fetches it must not be led into a private network."""
    parts = split(url)
    yield from _writing_faults(url)
    if parts.fragment is not None:
        yield "has a fragment (everything from '#' on)", "contract: jwks_uri"
    if parts.scheme != "https":
        yield "is not an https URL", "contract: jwks_uri"
    if parts.scheme in WEB_SCHEMES:
        yield from _host_faults(url, parts)
        host = _host_and_port(parts)[0]
        if host and not _is_public(host):
            yield "names a host that is loopback, private, link-local or otherwise not public", "contract: jwks_uri"


def key_source_faults(url: str) -> Iterator[Fault]:
    """What forbids *url* as a place that the operator takes keys from: https, or a host that is this machine."""
    parts = split(url)
    yield from _writing_faults(url)
    if parts.fragment is not None:
        yield "has a fragment (everything from '#' on)", "RFC 8414 2"
    if parts.scheme not in WEB_SCHEMES:
        yield "is not an https URL", "RFC 8414 2"
    else:
        yield from _host_faults(url, parts)
        if parts.scheme == "http" and not _is_loopback(_host_and_port(parts)[0]):
            yield "uses http with a host that is not loopback; use https", "RFC 8414 2"


def page_faults(url: str) -> Iterator[Fault]:
    """What forbids *url* as a page or an image shown to people."""
    parts = split(url)
    yield from _writing_faults(url)
    if parts.scheme in WEB_SCHEMES:
        yield from _host_faults(url, parts)
    else:
        yield "is not an absolute http or https URL", "RFC 7591 2"


def origin_faults(origin: str) -> Iterator[Fault]:
    """What forbids *origin* as the exact text of an `Origin` header (RFC 6454 7): anything else would never match."""
    if "*" in origin:
        yield "holds a '*': origins are compared exactly and wildcards do not exist", "RFC 6454 5"
    elif origin.lower() == "null":
        yield "is 'null', the origin of every sandboxed page and local file", "RFC 6454 7.3"
    elif any(_writing_faults(origin)):
        yield from _writing_faults(origin)
    elif split(origin).scheme not in WEB_SCHEMES:
        yield "is not an http or https origin: scheme, host and optional port", "RFC 6454 6.2"
    elif any(_host_faults(origin, split(origin))):
        yield from _host_faults(origin, split(origin))
    elif (sent := ada_url.URL(origin).origin) != origin:
        yield f"is not written as browsers send it: {sent}", "RFC 6454 6.2"


def _writing_faults(uri: str) -> Iterator[Fault]:
    """What is wrong with the characters of *uri*, whatever it names."""
    if len(uri) > LONGEST_URL:
        yield f"is longer than {LONGEST_URL:,} characters", "contract: URLs"
    strange = set(uri) - URI_CHARACTERS
    if not CONTROL_CODES.isdisjoint(map(ord, strange)):
        yield "holds a control character", "RFC 3986 2"
    if " " in strange:
        yield "holds a space; write it as %20", "RFC 3986 2"
    if "\\" in strange:
        yield "holds a backslash, which browsers read as a slash", "RFC 3986 2"
    if not uri.isascii():
        yield "holds a non-ASCII character; write it percent-encoded, or as punycode in a host", "RFC 3986 2"
    if strange & set('"<>^`{|}'):
        yield "holds a character that no URI may hold", "RFC 3986 2"
    if NO_OCTET in _escaped(uri):
        yield "has a '%' that two hexadecimal digits do not follow", "RFC 3986 2.1"


def _escaped(uri: str) -> set[int]:
    """The octets that *uri* holds percent-encoded, with NO_OCTET among them if some escape is none."""
    return {int(pair, 16) if pair in OCTETS else NO_OCTET for pair in {piece[:2] for piece in uri.split("%")[1:]}}


def _has_dot_segment(path: str) -> bool:
    """Whether *path* climbs, also for a reader that decodes dots and slashes before it resolves them."""
    decoded = path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("\\", "/")
    return not {".", ".."}.isdisjoint(decoded.split("/"))


def _host_and_port(parts: Parts) -> tuple[str, str | None]:
    """The host in lower case, brackets kept, and the port as written; None where no colon announces one."""
    place = (parts.authority or "").rpartition("@")[2]
    bracketed, bracket, rest = place.partition("]")
    host, colon, port = rest.partition(":") if bracket else place.partition(":")
    return (bracketed + bracket + host if bracket else host).lower(), port if colon else None


def _host_faults(url: str, parts: Parts) -> Iterator[Fault]:
    """What is wrong with the authority of an http or https URL."""
    host, port = _host_and_port(parts)
    if not host:
        yield "names no host: http and https URLs are written scheme://host", "RFC 9110 4.2"
        return
    if "@" in (parts.authority or ""):
        yield "has user info (everything before '@')", "RFC 3986 3.2.1"
    if port == "":
        yield "has a ':' without a port after the host", "RFC 3986 3.2.3"
    if any(_writing_faults(url)):
        return  # the parser would strip or rewrite what was just reported
    try:
        read = ada_url.URL(url).hostname
    except ValueError:
        yield "has a host or a port that no client can read", "WHATWG URL 4.4"
        return
    if read != host:
        yield f"names a host in a form that clients rewrite, to {_shortened(read)}; write that", "WHATWG URL 3.5"
    elif not host.startswith("[") and not _is_host_name(host):
        yield "names a host that is neither a domain name nor an address", "RFC 1123 2.1"


def _private_use_faults(parts: Parts, scheme: str) -> Iterator[Fault]:
    """What is wrong with a redirect to a native app: `com.example.app:/callback`."""
    if "." not in scheme:
        yield "uses a scheme that is neither https, loopback http nor a reverse domain name with a dot", "RFC 8252 7.1"
    elif not all(scheme.split(".")):
        yield "uses a scheme that is not a reverse domain name: it has an empty label", "RFC 8252 7.1"
    elif parts.authority is None and not parts.path.startswith("/"):
        # without this, a web URL that lost its "https://" would pass: app.example.com:8443/callback
        yield "has no '/' after its private-use scheme", "RFC 8252 7.1"
    if "@" in (parts.authority or ""):
        yield "has user info (everything before '@')", "RFC 3986 3.2.1"
    host, port = _host_and_port(parts)
    if (host and not _is_host_name(host)) or (port is not None and not (host and _is_port(port or "0"))):
        yield "has a host or a port that URL readers do not agree on", "RFC 3986 3.2.2"


def _is_port(port: str) -> bool:
    return port.isdecimal() and len(port) <= LONGEST_PORT and int(port) in PORTS


def _is_host_name(host: str) -> bool:
    """Whether *host* is a domain name, with or without the root's dot."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= LONGEST_HOST and all(
        0 < len(label) <= LONGEST_LABEL and LABEL_CHARACTERS.issuperset(label) and label.strip("-") == label
        for label in labels
    )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address *host* is in its only accepted spelling, or None for a name."""
    try:
        return IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except AddressValueError:
        return None


def _is_loopback(host: str) -> bool:
    """Whether *host*, as written, never leaves the machine: 127.0.0.0/8, [::1] or localhost (RFC 8252 7.3, 8.3)."""
    address = _address(host)
    return host in {"localhost", "[::1]"} or (isinstance(address, IPv4Address) and address.is_loopback)


def _is_public(host: str) -> bool:
    """Whether *host* can be meant for the whole internet. What a name resolves to is for the fetcher to check."""
    name = host.removesuffix(".")
    address = _address(name)
    if address is not None:
        return is_public_address(address)
    return "." in name and not f".{name}".endswith(PRIVATE_SUFFIXES)


def is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """
    Whether *address* is reachable from anywhere.

    Only 2000::/3 is handed out, so mapped, translated, link-local and multicast IPv6 fall away with the rest.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    relayed = address.sixtofour
    return address in GLOBAL_UNICAST and address.is_global and (relayed is None or is_public_address(relayed))


def _shortened(text: str) -> str:
    """*text*, which is ASCII, cut to what is pleasant to read."""
    return text if len(text) <= LONGEST_LABEL else text[:LONGEST_LABEL] + "..."
