"""
What registration, update and clone refuse: the rules of the wire contract, each with its source.

The rules look at settings and at nothing else: no clock, no network, no database. The same settings always give the
same answer, which is therefore remembered.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import msgspec

from events.client import ClientSettings
from service.rules.jwks import jwks_faults
from service.rules.uris import Fault, key_set_faults, origin_faults, page_faults, redirect_faults, split

LONGEST_NAME = 255
LONGEST_SCOPE = 255
MOST_ENTRIES = 200  # of one array; what stands behind them is not looked at
LONGEST_QUOTE = 40
MOST_CHARACTERS = 81_920  # of all settings together: what one request may bring, and some more

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})  # Unicode general categories
BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SCOPE_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F))) - {'"', "\\"}  # %x21 / %x23-5B / %x5D-7E

GRANTS = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:openid:params:grant-type:ciba",
)
REFUSED_GRANTS = {
    "implicit": ("is 'implicit', which OAuth 2.1 removed; use authorization_code with PKCE", "OAuth 2.1 10.1"),
    "password": ("is 'password', which OAuth 2.1 removed; use authorization_code with PKCE", "OAuth 2.1 10"),
}
REDIRECTING_GRANTS = {"authorization_code", "implicit"}

METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "self_signed_tls_client_auth", "none")
KEY_METHODS = {"private_key_jwt": "RFC 7523 3", "self_signed_tls_client_auth": "RFC 8705 2.2"}
REFUSED_METHODS = {
    "client_secret_jwt": (
        "is 'client_secret_jwt', an HMAC: it cannot be checked, because secrets are kept as one-way hashes",
        "contract: client_auth_methods",
    ),
    "tls_client_auth": (
        "is 'tls_client_auth', which needs the certificate's subject, and no field holds one",
        "RFC 8705 2.1.2",
    ),
}


class FapiProfile(msgspec.Struct, frozen=True):
    """What a profile of the Financial-grade API asks of a client beyond OAuth."""

    methods: str  # the section that asks for private_key_jwt
    redirects: str  # the section that asks for https
    clients: str  # the section that asks for confidential clients
    alone: bool  # whether other methods may not stand beside private_key_jwt


FAPI_PROFILES = {
    "fapi1": FapiProfile(
        "FAPI 1.0 Baseline 5.2.2-4", "FAPI 1.0 Baseline 5.2.2-20", "contract: fapi_profile", alone=False
    ),
    "fapi1_advanced": FapiProfile(
        "FAPI 1.0 Advanced 5.2.2-14", "FAPI 1.0 Baseline 5.2.2-20", "FAPI 1.0 Advanced 5.2.2-16", alone=True
    ),
    "fapi2": FapiProfile("FAPI 2.0 5.3.2.1", "FAPI 2.0 5.3.2.2-8", "FAPI 2.0 5.3.2.1", alone=True),
}


class Violation(msgspec.Struct, frozen=True):
    """A fault: the path of the field (`redirect_uris[2]`), what is wrong, for people, and the rule that says so."""

    field: str
    message: str
    reference: str


@lru_cache(maxsize=128)
def violations(settings: ClientSettings) -> tuple[Violation, ...]:
    """
    Every fault of *settings*, in the order of its fields; empty when a client may have them.

    Never raises, whatever the strings hold. Costs well under a millisecond for usual settings; the answers for the last
    128 settings are kept.
    """
    sizes = {name: _size(getattr(settings, name)) for name in ClientSettings.__struct_fields__}
    if (size := sum(sizes.values())) > MOST_CHARACTERS:
        # each request is bounded, and so is what many can build up; what is over that is not looked at
        said = f"makes the settings too large: {size:,} characters together, of {MOST_CHARACTERS:,} that are kept"
        return (Violation(max(sizes, key=lambda name: sizes[name]), said, "contract: settings"),)
    return tuple(
        violation
        for rule in (
            _name,
            _redirect_uris,
            _scopes,
            _grant_types,
            _client_auth_methods,
            _cors_origins,
            _fapi,
            _keys,
            _pages,
        )
        for violation in rule(settings)
    )


def _size(value: object) -> int:
    """The characters of a setting."""
    if isinstance(value, tuple):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


def _name(settings: ClientSettings) -> Iterator[Violation]:
    name = settings.name
    categories = {unicodedata.category(character) for character in set(name)}
    if categories <= INVISIBLE:
        yield Violation("name", "has no visible character", "contract: name")
    if len(name) > LONGEST_NAME:
        yield Violation("name", f"is longer than {LONGEST_NAME} characters", "contract: name")
    if not categories.isdisjoint({"Cc", "Zl", "Zp"}):
        yield Violation("name", "holds a control character or a line separator", "contract: name")
    if "Cs" in categories:
        yield Violation("name", "holds a lone surrogate, which cannot be written as UTF-8", "RFC 3629 3")
    if not BIDI_OVERRIDES.isdisjoint(name):
        yield Violation(
            "name", "holds a bidirectional control, by which one name can look like another", "contract: name"
        )


def _redirect_uris(settings: ClientSettings) -> Iterator[Violation]:
    uris = settings.redirect_uris
    if not uris and not REDIRECTING_GRANTS.isdisjoint(settings.grant_types):
        yield Violation("redirect_uris", "is empty, though one of the grants redirects", "RFC 6749 3.1.2.2")
    yield from _entries("redirect_uris", uris, redirect_faults)


def _scopes(settings: ClientSettings) -> Iterator[Violation]:
    yield from _entries("scopes", settings.scopes, _scope_faults)


def _scope_faults(scope: str) -> Iterator[Fault]:
    if not scope:
        yield "is empty", "RFC 6749 3.3"
    if not SCOPE_CHARACTERS.issuperset(scope):
        yield "holds a character outside %x21 / %x23-5B / %x5D-7E", "RFC 6749 3.3"
    if len(scope) > LONGEST_SCOPE:
        yield f"is longer than {LONGEST_SCOPE} characters", "contract: scopes"


def _grant_types(settings: ClientSettings) -> Iterator[Violation]:
    grants = settings.grant_types

    def faults(grant: str) -> Iterator[Fault]:
        if grant in REFUSED_GRANTS:
            yield REFUSED_GRANTS[grant]
        elif grant not in GRANTS:
            yield f"is {_quoted(grant)}, which is not a grant type known here: {', '.join(GRANTS)}", "RFC 7591 2"
        elif grant == "client_credentials" and not settings.is_confidential:
            yield "is 'client_credentials', which only a confidential client may use", "RFC 6749 4.4"

    if not grants:
        yield Violation("grant_types", "is empty: such a client could never obtain a token", "RFC 7591 2")
    yield from _entries("grant_types", grants, faults)
    if set(grants) == {"refresh_token"}:
        yield Violation("grant_types", "has refresh_token alone: no other grant could issue one", "RFC 6749 1.5")


def _client_auth_methods(settings: ClientSettings) -> Iterator[Violation]:
    methods = settings.client_auth_methods

    def faults(method: str) -> Iterator[Fault]:
        if method in REFUSED_METHODS:
            yield REFUSED_METHODS[method]
        elif method not in METHODS:
            yield f"is {_quoted(method)}, which is not a method known here: {', '.join(METHODS)}", "RFC 7591 2"
        elif method == "none":
            if settings.is_confidential:
                yield "is 'none', but a confidential client authenticates", "RFC 6749 2.3"
            if set(methods) != {"none"}:
                yield "is 'none' beside other methods, which it would make pointless", "RFC 7591 2"
        elif not settings.is_confidential:
            yield (
                f"is {_quoted(method)}, but a public client can keep no credential; its method is none",
                "RFC 6749 2.1",
            )
        if method in KEY_METHODS and settings.jwks is None and settings.jwks_uri is None:
            yield f"is {_quoted(method)}, which needs jwks or jwks_uri", KEY_METHODS[method]

    if not methods:
        yield Violation("client_auth_methods", "is empty; a client that does not authenticate says none", "RFC 7591 2")
    yield from _entries("client_auth_methods", methods, faults)


def _cors_origins(settings: ClientSettings) -> Iterator[Violation]:
    yield from _entries("cors_origins", settings.cors_origins, origin_faults)


def _fapi(settings: ClientSettings) -> Iterator[Violation]:
    if settings.fapi_profile is None:
        return
    profile = FAPI_PROFILES.get(settings.fapi_profile)
    if profile is None:
        message = f"is {_quoted(settings.fapi_profile)}, which is not a profile known here: {', '.join(FAPI_PROFILES)}"
        yield Violation("fapi_profile", message, "contract: fapi_profile")
        return
    for index, uri in enumerate(settings.redirect_uris[:MOST_ENTRIES]):
        if split(uri).scheme != "https":
            yield Violation(
                f"redirect_uris[{index}]", f"is not https, which {settings.fapi_profile} requires", profile.redirects
            )
    methods = set(settings.client_auth_methods)
    if "private_key_jwt" not in methods:
        message = f"lacks private_key_jwt, which {settings.fapi_profile} requires"
        yield Violation("client_auth_methods", message, profile.methods)
    if profile.alone and methods - {"private_key_jwt"}:
        message = f"has methods beside private_key_jwt, which {settings.fapi_profile} does not allow"
        yield Violation("client_auth_methods", message, profile.methods)
    if not settings.is_confidential:
        message = f"is false, but {settings.fapi_profile} is for confidential clients"
        yield Violation("is_confidential", message, profile.clients)


def _keys(settings: ClientSettings) -> Iterator[Violation]:
    if settings.jwks is not None:
        if settings.jwks_uri is not None:
            yield Violation("jwks", "stands together with jwks_uri; a client has one of them", "RFC 7591 2")
        yield from (Violation(f"jwks{path}", message, rule) for path, message, rule in jwks_faults(settings.jwks))
    if settings.jwks_uri is not None:
        yield from (Violation("jwks_uri", *fault) for fault in key_set_faults(settings.jwks_uri))


def _pages(settings: ClientSettings) -> Iterator[Violation]:
    pages = {
        "logo_url": settings.logo_url,
        "website": settings.website,
        "terms_url": settings.terms_url,
        "privacy_policy": settings.privacy_policy,
    }
    for field, url in pages.items():
        if url is not None:
            yield from (Violation(field, *fault) for fault in page_faults(url))


def _entries(field: str, values: tuple[str, ...], faults: Callable[[str], Iterable[Fault]]) -> Iterator[Violation]:
    """The faults of each of *values*, and those that repeat an earlier one."""
    if len(values) > MOST_ENTRIES:
        yield Violation(field, f"has more than {MOST_ENTRIES} entries", f"contract: {field}")
    first_with: dict[str, int] = {}
    for index, value in enumerate(values[:MOST_ENTRIES]):
        path = f"{field}[{index}]"
        yield from (Violation(path, *fault) for fault in faults(value))
        if (first := first_with.setdefault(value, index)) != index:
            yield Violation(path, f"repeats {field}[{first}]", f"contract: {field}")


def _quoted(text: str) -> str:
    """*text* so that it can stand in a message: escaped, ASCII and short."""
    escaped = ascii(text[:LONGEST_QUOTE])  # which may be ten times as long: "\\U0001f600"
    is_whole = len(text) <= LONGEST_QUOTE and len(escaped) <= LONGEST_QUOTE + len("''")
    return escaped if is_whole else f"{escaped[:LONGEST_QUOTE]}..."
