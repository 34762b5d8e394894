"""Every rule of the contract on settings: what is refused, where the answer points, and what must not be refused."""

import json
import sys
from time import process_time

import msgspec
import pytest

from events.client import ClientSettings
from service.rules.validation import Violation, violations
from tests.settings_table import (
    BAD,
    BAD_IN_TWO_FIELDS,
    BASE,
    CONTRACT_EXAMPLE,
    GOOD,
    KEYED,
    RSA,
    Bad,
    Good,
    changed,
    key_set,
)


def law(row: Bad | Good) -> str:
    return row.law


@pytest.mark.parametrize("row", BAD, ids=law)
def test_refused(row: Bad) -> None:
    """A broken rule is answered with the field it broke and the rule, and blames no other field."""
    found = violations(changed(row.changes))

    assert any(violation.field == row.field and row.reference in violation.reference for violation in found)
    assert {violation.field for violation in found} == {row.field}


@pytest.mark.parametrize("row", BAD_IN_TWO_FIELDS, ids=law)
def test_refused_in_two_fields(row: Bad) -> None:
    """A rule is answered as well where breaking it breaks another."""
    found = violations(changed(row.changes))

    assert any(violation.field == row.field and row.reference in violation.reference for violation in found)


@pytest.mark.parametrize("row", GOOD, ids=law)
def test_accepted(row: Good) -> None:
    """What no rule forbids is accepted."""
    assert violations(changed(row.changes)) == ()


def test_contract_example() -> None:
    """The clone's example in the contract can be registered."""
    assert violations(CONTRACT_EXAMPLE) == ()


@pytest.mark.parametrize("row", BAD + BAD_IN_TWO_FIELDS, ids=law)
def test_messages_are_fit_to_show(row: Bad) -> None:
    """A message is short printable ASCII, whatever the input held: no terminal or log can be attacked by it."""
    for violation in violations(changed(row.changes)):
        for text in (violation.field, violation.message, violation.reference):
            assert text
            assert text.isascii()
            assert text.isprintable()
            assert len(text) <= 400


def test_messages_keep_passwords_to_themselves() -> None:
    """User info may be a credential: no message repeats it."""
    settings = changed(
        {"redirect_uris": ("https://user:hunter2@app.example.com/",), "cors_origins": ("https://hunter2@a.example",)}
    )

    assert violations(settings)
    assert "hunter2" not in repr(violations(settings))


def test_every_fault_in_one_answer() -> None:
    """One answer names all faults, in the order of the fields, so that nobody mends a registration fault by fault."""
    settings = ClientSettings(
        name="",
        redirect_uris=("http://evil.example/#", "https://ok.example/", "myapp:/cb"),
        scopes=("a b",),
        grant_types=("implicit", "client_credentials", "magic"),
        client_auth_methods=("client_secret_jwt", "none", "private_key_jwt"),
        cors_origins=("*",),
        is_confidential=False,
        fapi_profile="fapi2",
        jwks=key_set({**RSA, "d": "AQAB"}, {"kty": "oct", "k": "AQAB"}),
        jwks_uri="http://127.0.0.1/jwks.json",
        logo_url="javascript:alert(1)",
        privacy_policy="/privacy",
    )

    assert [violation.field for violation in violations(settings)] == [
        "name",
        "redirect_uris[0]",
        "redirect_uris[0]",
        "redirect_uris[2]",
        "scopes[0]",
        "grant_types[0]",
        "grant_types[1]",
        "grant_types[2]",
        "client_auth_methods[0]",
        "client_auth_methods[1]",
        "client_auth_methods[2]",
        "cors_origins[0]",
        "redirect_uris[0]",
        "redirect_uris[2]",
        "client_auth_methods",
        "is_confidential",
        "jwks",
        "jwks.keys[0].d",
        "jwks.keys[1].k",
        "jwks.keys[1].kty",
        "jwks_uri",
        "jwks_uri",
        "logo_url",
        "privacy_policy",
    ]


def test_every_fault_of_one_uri() -> None:
    """A URI that breaks several rules is told all of them."""
    found = violations(changed({"redirect_uris": ("http://user@*.evil.example/../x y#top",)}))

    assert [violation.reference for violation in found] == [
        "RFC 3986 2",
        "RFC 6749 3.1.2.3",
        "RFC 6749 3.1.2",
        "RFC 3986 6.2.2.3",
        "RFC 3986 3.2.1",
        "RFC 8252 7.3, 8.3",
    ]


def test_origin_says_what_browsers_send() -> None:
    """An origin that would never match is answered with the one that would."""
    (violation,) = violations(changed({"cors_origins": ("https://A.example:443/",)}))

    assert "https://a.example" in violation.message
    assert ":443" not in violation.message


@pytest.mark.filterwarnings("error")
def test_weak_key_is_silent() -> None:
    """A weak key is a violation, not a warning on the server's terminal."""
    weak = next(row for row in BAD if row.law == "jwks: weak RSA")
    violations.cache_clear()

    assert violations(changed(weak.changes))


def test_nested_json_deep_in_the_stack() -> None:
    """A JWK Set nested as deeply as its size allows is refused, also where little of the stack is left."""
    bombs = [opening * 30_000 for opening in ("[", '{"a":')] + [
        f'{{"keys":{"[" * n}{"]" * n}}}' for n in range(900, 1100, 7)
    ]

    def deep(levels: int, bomb: str) -> tuple[Violation, ...]:
        return deep(levels - 1, bomb) if levels else violations(changed({"jwks": bomb}))

    assert all(deep(sys.getrecursionlimit() // 2, bomb) for bomb in bombs)


def test_answers_are_remembered() -> None:
    """The same settings are judged once; equal settings built anew count as the same."""
    violations.cache_clear()

    assert violations(changed(KEYED)) is violations(msgspec.structs.replace(BASE, **KEYED))
    assert violations.cache_info().misses == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": tuple(f"https://a.example/{'%41' * 100}/{n}" for n in range(200))},
        {"redirect_uris": tuple("*" for _ in range(20_000))},
        {"redirect_uris": ("%" * 65_000,)},
        {"redirect_uris": ("https://" + "a." * 32_000,)},
        {"redirect_uris": ("https://" + "@" * 64_000,)},
        {"redirect_uris": ("https://a.example" + "/.." * 21_000,)},
        {"scopes": tuple(f"{n}" for n in range(10_000))},
        {"grant_types": ("authorization_code", *(f"{n}" for n in range(10_000)))},
        {"cors_origins": tuple(f"https://{'a' * 60}.{n}.example" for n in range(900))},
        {"jwks": key_set(*[{**RSA, "kid": str(n)} for n in range(150)])},
        {"jwks": key_set({**RSA, "n": "____" * 680, "e": "____" * 16_000})},
        {"jwks": key_set(*[{**RSA, "n": "____" * 500, "e": "____" * 400}] * 15)},
        {"jwks": '{"keys":[' + "{}," * 20_000 + "{}]}"},
        {"name": "\U0001f600" * 16_000},
    ],
    ids=lambda changes: ascii(changes)[:50],
)
def test_work_is_bounded(changes: dict[str, object]) -> None:
    """No settings that fit a request hold up the write path: a fraction of a second, and a bounded answer."""
    violations.cache_clear()
    settings = changed(changes)

    start = process_time()
    found = violations(settings)

    assert process_time() - start < 0.25
    assert len(found) <= 1_000


@pytest.mark.parametrize(
    "hidden",
    [
        {"d": "AAAA"},
        {"extra": {"kty": "RSA", "D": "AAAA"}},
        {"x5c": ["-----BEGIN PRIVATE KEY-----"]},
        {"notes": [[{"k": "AAAA"}]]},
    ],
    ids=str,
)
def test_private_keys_that_hide(hidden: dict[str, object]) -> None:
    """A private key is refused wherever it stands: what is registered is kept for ever."""
    public = json.loads(key_set(RSA))
    in_key = {"keys": [{**public["keys"][0], **hidden}]}

    for jwks in (in_key, {**public, **hidden}):
        faults = violations(changed({"jwks": json.dumps(jwks), "jwks_uri": None}))
        assert [fault for fault in faults if fault.field.startswith("jwks")]


def test_settings_are_bounded_together() -> None:
    """What many requests could build up is bounded as what one request brings."""
    uris = tuple(f"https://app.example.com/{number}/{'x' * 1900}" for number in range(50))

    assert [fault.field for fault in violations(changed({"redirect_uris": uris}))] == ["redirect_uris"]
