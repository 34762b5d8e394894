"""
What is accepted is harmless, judged by other means than the rules use.

Inputs are good ones with a few cuts and insertions, so that a fair share is accepted: each law counts and asserts that
share, because a law about accepted settings says nothing where none are.
"""

import json
import re
import unicodedata
import warnings
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

import ada_url
import msgspec
import yarl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc.jwk import KeySet, RSAKey

from events.client import ClientSettings
from service.rules.validation import GRANTS, METHODS, violations
from tests.settings_table import (
    BASE,
    EC,
    GOOD_KEY_SET_LOCATIONS,
    GOOD_NAMES,
    GOOD_ORIGINS,
    GOOD_PAGES,
    GOOD_REDIRECTS,
    OKP,
    PAGE_FIELDS,
    RSA,
    WEAK_MODULUS,
    changed,
    key_set,
)

FAIR_SHARE = 0.05  # of the inputs must be accepted for a law about accepted ones to mean something
SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

anything = st.text(st.characters(exclude_categories=()), max_size=40)  # with surrogates, controls and unassigned
optional = st.none() | anything
arrays = st.lists(anything, max_size=5).map(tuple)
arbitrary_settings = st.builds(
    ClientSettings,
    name=anything,
    redirect_uris=arrays,
    scopes=arrays,
    grant_types=arrays | st.lists(st.sampled_from([*GRANTS, "implicit"])).map(tuple),
    client_auth_methods=arrays | st.lists(st.sampled_from([*METHODS, "tls_client_auth"])).map(tuple),
    cors_origins=arrays,
    is_confidential=st.booleans(),
    fapi_profile=optional | st.sampled_from(["fapi1", "fapi1_advanced", "fapi2"]),
    jwks=optional,
    jwks_uri=optional,
    logo_url=optional,
    website=optional,
    terms_url=optional,
    privacy_policy=optional,
)

PIECES = [
    *("", "", "a", "B", "7", "-", "_", ".", "~", "/", ":", "?", "&x=1", "%41", "cb", "x.y", ":8443", "/more"),
    *(
        "*",
        "@",
        "u:p@",
        "\\",
        "#",
        "%2e",
        "%2E%2e/",
        "%",
        "%0a",
        "%00",
        "..",
        "/../",
        "/./",
        " ",
        "\t",
        "\n",
        "\x00",
        "\x7f",
    ),
    *(
        "//",
        "[",
        "]",
        "[::1]",
        "127.0.0.1",
        "0x7f.1",
        "localhost",
        ".local",
        ".internal",
        "10.0.0.1",
        "javascript:",
        "data:",
    ),
    *(
        "\u0430",
        "\uff0e",
        "\u3002",
        "\u00ad",
        "\u200b",
        "\ud800",
        "\u202e",
        '"',
        "<",
        "{",
        "|",
        "^",
        "`",
        ";",
        ",",
        "=",
    ),
]


@st.composite
def nearly(draw: st.DrawFn, good: list[str], most: int = 2) -> str:
    """One of *good* after at most *most* cuts and insertions."""
    text = draw(st.sampled_from([text for text in good if len(text) < 500]))
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 2))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[start + cut :]
    return text


def yarl_host(url: str) -> str:
    """The host that aiohttp would connect to."""
    return (yarl.URL(url, encoded=True).raw_host or "").lower()


def assert_fair(accepted: Counter[bool]) -> None:
    assert accepted.total() > 100
    assert accepted[True] >= FAIR_SHARE * accepted.total(), accepted
    assert accepted[False] >= FAIR_SHARE * accepted.total(), accepted


def test_never_raises() -> None:
    """Whatever the strings hold, the answer is a tuple of short, printable faults, and the same every time."""

    @settings(max_examples=400)
    @given(arbitrary_settings)
    @example(changed({"jwks": "[" * 100_000}))
    @example(changed({"jwks": '{"keys": [' + '{"kty":' * 50_000}))
    @example(changed({"redirect_uris": ("https://[" * 10_000,), "cors_origins": ("https://[::" + ":" * 10_000 + "]",)}))
    @example(changed({"jwks_uri": "https://[fe80::1%\ud800]/", "website": "https://[::1%\x00]"}))
    def law(arbitrary: ClientSettings) -> None:
        found = violations(arbitrary)

        assert found == violations.__wrapped__(arbitrary)
        for violation in found:
            assert violation.message.isascii()
            assert violation.message.isprintable()
            assert len(violation.message) <= 400
            assert hasattr(ClientSettings, re.split(r"[.\[]", violation.field)[0])

    law()


def test_accepted_redirects() -> None:
    """
    An accepted redirect URI is absolute, without fragment, user info, wildcard, dot segment or odd character.

    Three URL parsers agree on the host it names, so none of them can be led elsewhere.
    """
    accepted: Counter[bool] = Counter()

    @settings(max_examples=1_500)
    @given(nearly(list(GOOD_REDIRECTS.values())))
    def law(uri: str) -> None:
        is_accepted = not violations(changed({"redirect_uris": (uri,)}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        assert re.fullmatch(r"[!-~]{1,2048}", uri)
        assert not re.search(r'[*\\#"<>^`{|}]', uri)
        assert not re.search(r"%(?![0-9A-Fa-f]{2})|%[01]|%7[fF]", uri)
        parts = urlsplit(uri)
        assert parts.fragment == ""
        assert "@" not in parts.netloc
        assert not {".", ".."} & set(re.split(r"[/\\]", unquote(parts.path)))
        if parts.scheme in {"http", "https"}:
            host = parts.hostname
            assert host
            assert uri.lower().startswith(f"{parts.scheme}://{parts.netloc.lower()}")
            assert ada_url.URL(uri).hostname.strip("[]") == host
            assert yarl_host(uri) == host
            if parts.scheme == "http":
                assert host == "localhost" or ip_address(host).is_loopback
        else:
            assert re.fullmatch(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+", parts.scheme)
            assert uri[len(parts.scheme) :].startswith(":/")

    law()
    assert_fair(accepted)


def test_accepted_key_set_locations() -> None:
    """An accepted `jwks_uri` is https and names a host that can be meant for the whole internet."""
    accepted: Counter[bool] = Counter()

    @settings(max_examples=1_000)
    @given(nearly(list(GOOD_KEY_SET_LOCATIONS.values())))
    def law(uri: str) -> None:
        is_accepted = not violations(changed({"jwks_uri": uri}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        read = ada_url.URL(uri)
        assert read.protocol == "https:"
        assert read.username == read.password == read.hash == ""
        assert "#" not in uri
        host = read.hostname.strip("[]").rstrip(".")
        assert yarl_host(uri) == read.hostname.strip("[]")
        if read.host_type == ada_url.HostType.DEFAULT:
            assert "." in host
            assert not re.search(r"(^|\.)(localhost|local|internal|localdomain|home\.arpa)$", host)
        else:
            assert not is_inward(ip_address(host))

    law()
    assert_fair(accepted)


@settings(max_examples=500)
@given(st.ip_addresses())
@example(IPv6Address("::ffff:169.254.169.254"))
@example(IPv6Address("2002:a9fe:a9fe::"))
def test_addresses_as_key_set_locations(address: IPv4Address | IPv6Address) -> None:
    """No address that points inwards is accepted, in any notation of it."""
    if not is_inward(address):
        return
    literals = (
        [f"[{address}]", f"[{address.exploded}]"]
        if address.version == 6
        else [str(address), str(int(address)), hex(int(address))]
    )
    for literal in literals:
        assert violations(changed({"jwks_uri": f"https://{literal}/jwks.json"}))


def is_inward(address: IPv4Address | IPv6Address) -> bool:
    """Whether *address*, or one that it carries, is anything but public."""
    carried = (
        [] if isinstance(address, IPv4Address) else [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    )
    return any(
        (not each.is_global or each.is_private or each.is_loopback or each.is_link_local or each.is_multicast)
        for each in (address, *carried)
        if each is not None
    )


def test_accepted_origins() -> None:
    """An accepted origin is, character for character, what a browser would send."""
    accepted: Counter[bool] = Counter()

    @settings(max_examples=800)
    @given(st.sampled_from(list(GOOD_ORIGINS.values())) | nearly(list(GOOD_ORIGINS.values()), most=1))
    def law(origin: str) -> None:
        is_accepted = not violations(changed({"cors_origins": (origin,)}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        assert ada_url.URL(origin).origin == origin
        parts = urlsplit(origin)
        assert origin == f"{parts.scheme}://{parts.netloc}" == origin.lower()
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert parts.username is parts.password is None
        assert parts.port != {"http": 80, "https": 443}[parts.scheme]
        assert str(yarl.URL(origin).origin()) == origin

    law()
    assert_fair(accepted)


def test_accepted_pages() -> None:
    """An accepted page is http or https, and no parser can be led to another host."""
    accepted: Counter[bool] = Counter()

    @settings(max_examples=800)
    @given(st.sampled_from(PAGE_FIELDS), nearly(list(GOOD_PAGES.values())))
    def law(field: str, url: str) -> None:
        is_accepted = not violations(changed({field: url}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        parts = urlsplit(url)
        assert parts.scheme in {"http", "https"}
        assert parts.username is None
        assert url.isascii()
        assert url.isprintable()
        assert " " not in url
        assert ada_url.URL(url).hostname.strip("[]") == parts.hostname == yarl_host(url)

    law()
    assert_fair(accepted)


def test_accepted_names() -> None:
    """An accepted name can be written, seen, and read in one direction on one line."""
    accepted: Counter[bool] = Counter()
    names = (
        nearly(list(GOOD_NAMES.values()))
        | st.text(st.characters(), max_size=5)
        | st.sampled_from(["\u2028", " ", "x" * 256])
    )

    @settings(max_examples=500)
    @given(names)
    def law(name: str) -> None:
        is_accepted = not violations(changed({"name": name}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        assert name.encode()
        assert 1 <= len(name) <= 255
        assert name.strip()
        assert name.splitlines() == [name]
        assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
        assert not any(
            unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF"} for character in name
        )
        assert not any(unicodedata.bidirectional(character) in {"LRI", "RLI", "FSI", "PDI"} for character in name)

    law()
    assert_fair(accepted)


def test_accepted_scopes() -> None:
    """Accepted scopes survive being written as RFC 6749 3.3 writes them: joined by spaces, read back by splitting."""
    accepted: Counter[bool] = Counter()
    tokens = nearly(["openid", "read:all", "https://api.example.com/read", "a"])

    @settings(max_examples=500)
    @given(st.lists(tokens, max_size=3).map(tuple))
    def law(scopes: tuple[str, ...]) -> None:
        is_accepted = not violations(changed({"scopes": scopes}))
        accepted[is_accepted] += 1
        if is_accepted:
            assert tuple(" ".join(scopes).split()) == scopes
            assert len(set(scopes)) == len(scopes)
            assert all(re.fullmatch(r"[\x21\x23-\x5B\x5D-\x7E]{1,255}", scope) for scope in scopes)

    law()
    assert_fair(accepted)


members: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from([*sorted(SECRET_MEMBERS), "kid", "use", "alg", "kty", "crv", "x", "y", "n", "e", "note"]),
    st.sampled_from(
        ["AQAB", "sig", "RS256", "RSA", "EC", "oct", "P-384", "", WEAK_MODULUS, 1, None, [], {}, ["sig"], "\ud800"]
    ),
    max_size=1,
)
keys = st.builds(lambda key, changes: {**key, **changes}, st.sampled_from([RSA, EC, OKP]), st.just({}) | members)


def test_accepted_key_sets() -> None:
    """An accepted JWK Set holds public keys only, and the library that verifies takes all, without a warning."""
    accepted: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(st.lists(keys, min_size=0, max_size=3), st.just({}) | members)
    def law(several: list[dict[str, Any]], beside: dict[str, Any]) -> None:
        text = key_set(*several, **beside)
        is_accepted = not violations(changed({"jwks": text}))
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        read = json.loads(text)
        assert not SECRET_MEMBERS & set(read)
        assert not any(SECRET_MEMBERS & set(key) for key in read["keys"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            imported = KeySet.import_key_set(read)
        assert len(imported.keys) == len(read["keys"]) >= 1
        assert not any(key.is_private for key in imported.keys)
        assert all(key.raw_value.key_size >= 2048 for key in imported.keys if isinstance(key, RSAKey))
        kids = [key["kid"] for key in read["keys"] if "kid" in key]
        assert len(kids) == len(set(kids))

    law()
    assert_fair(accepted)


def test_accepted_combinations() -> None:
    """Accepted grants, methods and profile fit each other and the kind of client."""
    accepted: Counter[bool] = Counter()
    grants = st.lists(st.sampled_from(GRANTS), max_size=3, unique=True)
    methods = st.lists(st.sampled_from(METHODS), min_size=1, max_size=2)
    sets = st.sampled_from([key_set(RSA), key_set(RSA), None])
    profiles = st.sampled_from([None, None, None, "fapi1", "fapi1_advanced", "fapi2"])
    https = ("https://app.example.com/",)
    redirects = st.sampled_from([https, https, (), ("http://[::1]/",), ("com.example.app:/",)])

    @settings(max_examples=800)
    @given(
        st.builds(
            ClientSettings,
            name=st.just("x"),
            redirect_uris=redirects,
            scopes=st.just(()),
            grant_types=grants.map(tuple),
            client_auth_methods=methods.map(tuple) | st.sampled_from([("none",), ("private_key_jwt",)]),
            cors_origins=st.just(()),
            is_confidential=st.booleans(),
            fapi_profile=profiles,
            jwks=sets,
        )
    )
    def law(client: ClientSettings) -> None:
        is_accepted = not violations(client)
        accepted[is_accepted] += 1
        if not is_accepted:
            return

        used = set(client.client_auth_methods)
        assert used
        assert len(used) == len(client.client_auth_methods)
        assert (used == {"none"}) is ("none" in used) is (not client.is_confidential)
        assert client.jwks or not used & {"private_key_jwt", "self_signed_tls_client_auth"}
        assert set(client.grant_types) - {"refresh_token"}
        assert client.is_confidential or "client_credentials" not in client.grant_types
        assert client.redirect_uris or "authorization_code" not in client.grant_types
        if client.fapi_profile:
            assert client.is_confidential
            assert "private_key_jwt" in used
            assert used == {"private_key_jwt"} or client.fapi_profile == "fapi1"
            assert all(uri.startswith("https://") for uri in client.redirect_uris)

    law()
    assert_fair(accepted)


@settings(max_examples=300)
@given(
    st.builds(
        lambda uri, name, url: changed({"redirect_uris": (uri,), "name": name, "website": url}),
        nearly(list(GOOD_REDIRECTS.values())),
        nearly(list(GOOD_NAMES.values())),
        nearly(list(GOOD_PAGES.values())),
    )
)
def test_accepted_settings_can_be_stored(client: ClientSettings) -> None:
    """Accepted settings survive the log: they are written as JSON in UTF-8 without NUL, which Postgres refuses."""
    if violations(client):
        return

    written = msgspec.json.encode(client)

    assert msgspec.json.decode(written, type=ClientSettings) == client
    assert b"\\u0000" not in written


@settings(max_examples=200)
@given(st.lists(nearly(list(GOOD_REDIRECTS.values())), min_size=1, max_size=4), st.data())
def test_order_does_not_matter(uris: list[str], data: st.DataObject) -> None:
    """Whether redirect URIs are accepted does not depend on their order."""
    shuffled = data.draw(st.permutations(uris))

    first, second = (violations(msgspec.structs.replace(BASE, redirect_uris=tuple(some))) for some in (uris, shuffled))

    assert len(first) == len(second)
