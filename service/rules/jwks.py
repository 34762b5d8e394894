"""
What the text of a client's JWK Set may be: public keys that can be used, and nothing that has to stay secret.

The log keeps what it is given for ever, so a private key is refused here: later it could only be erased, not unread.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from string import ascii_letters, digits
from typing import Any, cast

import msgspec
from joserfc.jwk import DictKey, JWKRegistry

Fault = tuple[str, str, str]
"""The path below `jwks`, what is wrong there, for people, and the rule that says so."""

Jwk = Mapping[str, Any]
"""A public key that nothing here forbids."""

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None

LONGEST_SET = 65_536  # characters: no request is larger
MOST_KEYS = 50  # importing one costs about a millisecond
MOST_LEVELS = 16  # of arrays and objects in each other; a usual set has four
RSA_BITS = range(2048, 16_384 + 1)  # RFC 7518 3.3 below; OpenSSL verifies nothing above
EXPONENT_BITS = 64  # a longer one makes each signature cost more, and is in no use

PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")  # RFC 7518 6.2.2, 6.3.2, 6.4.1
PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
COORDINATE_OCTETS = {  # RFC 7518 6.2.1, RFC 8812 3.1, RFC 8037 2
    "EC": {"P-256": 32, "P-384": 48, "P-521": 66, "secp256k1": 32},
    "OKP": {"Ed25519": 32, "Ed448": 57, "X25519": 32, "X448": 56},
}
BASE64URL = frozenset(ascii_letters + digits + "-_")


@lru_cache(maxsize=256)
def jwks_faults(text: str) -> tuple[Fault, ...]:
    """
    What forbids *text* as a client's JWK Set (RFC 7517 5). Never raises, whatever the text.

    Importing many keys takes milliseconds; the answers for the last 256 texts are kept.
    """
    return tuple(_faults(text))


def _faults(text: str) -> Iterator[Fault]:
    if len(text) > LONGEST_SET:
        yield "", f"is longer than {LONGEST_SET:,} characters", "contract: jwks"
        return
    try:
        msgspec.json.decode(text)  # refuses what `json` lets pass: NaN and escaped lone surrogates
        key_set: Json = json.loads(text, object_pairs_hook=_unambiguous)  # and `json` alone can see names that repeat
    except (ValueError, RecursionError, msgspec.DecodeError):
        yield "", "is not JSON (RFC 8259) with unique member names", "RFC 7517 5"
        return
    if _levels(key_set) > MOST_LEVELS:  # who reads it later may have less room than there is here
        yield "", f"is nested more than {MOST_LEVELS} levels deep", "contract: jwks"
        return
    if not isinstance(key_set, dict) or not isinstance(keys := key_set.get("keys"), list) or not keys:
        yield "", "is not a JWK Set: an object whose 'keys' is an array with at least one key", "RFC 7517 5"
    if isinstance(key_set, dict):
        yield from _secret_faults("", key_set)
        yield from _keys_faults(key_set.get("keys"))


def _levels(value: Json) -> int:
    """How many arrays and objects are in each other; however many, and if more than MOST_LEVELS, one more."""
    inside, levels = [value], 0
    while inside and levels <= MOST_LEVELS:
        within = [member for member in inside if isinstance(member, dict | list)]
        inside = [each for member in within for each in (member.values() if isinstance(member, dict) else member)]
        levels += bool(within)
    return levels


def _unambiguous(members: list[tuple[str, Json]]) -> dict[str, Json]:
    """
    The object of *members*: a name that stands twice would let two readers see two different keys (RFC 7517 4).

    Raises:
        ValueError: a name stands twice.
    """
    unique = dict(members)
    if len(unique) != len(members):
        raise ValueError("duplicate member name")
    return unique


def _secret_faults(path: str, members: dict[str, Json]) -> Iterator[Fault]:
    for name in PRIVATE_MEMBERS:
        if name in members:
            yield f"{path}.{name}", "is a private or symmetric key's member; register public keys only", "RFC 7517 9.2"
    for name, value in members.items():
        # what no reader asks for is kept for ever all the same: a private key does not hide there
        if (name.lower() in PRIVATE_MEMBERS and name not in PRIVATE_MEMBERS) or (
            name != "keys" and _hides_a_secret(value)
        ):
            yield path, "holds a private or symmetric key where none is looked for", "RFC 7517 9.2"


def _hides_a_secret(value: Json) -> bool:
    if isinstance(value, dict):
        return any(name.lower() in PRIVATE_MEMBERS or _hides_a_secret(member) for name, member in value.items())
    if isinstance(value, list):
        return any(map(_hides_a_secret, value))
    return isinstance(value, str) and "PRIVATE KEY-----" in value


def _keys_faults(keys: Json) -> Iterator[Fault]:
    """What is wrong with the keys, one by one and beside each other."""
    if not isinstance(keys, list):
        return
    if len(keys) > MOST_KEYS:
        yield ".keys", f"has more than {MOST_KEYS} keys", "contract: jwks"
    first_with: dict[str, int] = {}
    for index, key in enumerate(keys[:MOST_KEYS]):
        path = f".keys[{index}]"
        if not isinstance(key, dict):
            yield path, "is not a key: a JSON object", "RFC 7517 5"
            continue
        yield from _key_faults(path, key)
        kid = key.get("kid")
        if isinstance(kid, str) and (first := first_with.setdefault(kid, index)) != index:
            yield f"{path}.kid", f"repeats that of jwks.keys[{first}]", "RFC 7517 4.5"


def _key_faults(path: str, key: dict[str, Json]) -> Iterator[Fault]:
    """What is wrong with one key. The import comes last, and only if nothing else is wrong: it explains least."""
    faults = [*_secret_faults(path, key), *_member_faults(path, key)]
    yield from faults
    if not faults and not _is_importable(key):
        yield path, "is not a key that can be used", "RFC 7518 6"


def _member_faults(path: str, key: dict[str, Json]) -> Iterator[Fault]:
    kty = key.get("kty")
    if not isinstance(key.get("kid", ""), str):
        yield f"{path}.kid", "is not a string", "RFC 7517 4.5"
    if kty == "oct":
        yield f"{path}.kty", "is 'oct', a symmetric key: whoever reads it can sign with it", "contract: jwks"
    elif not isinstance(kty, str) or kty not in PUBLIC_MEMBERS:
        yield f"{path}.kty", "is not one of the key types RSA, EC and OKP", "RFC 7517 4.1"
    elif kty == "RSA":
        yield from _rsa_faults(path, key)
    else:
        yield from _curve_faults(path, key, kty)


def _rsa_faults(path: str, key: dict[str, Json]) -> Iterator[Fault]:
    for name in PUBLIC_MEMBERS["RSA"]:
        octets = _octets(key.get(name))
        if octets is None:
            yield f"{path}.{name}", "is not a base64url number without padding", "RFC 7518 6.3.1"
        elif name == "n" and (bits := int.from_bytes(octets).bit_length()) not in RSA_BITS:
            yield f"{path}.n", f"has {bits:,} bits; {RSA_BITS[0]:,} to {RSA_BITS[-1]:,} are accepted", "RFC 7518 3.3"
        elif name == "e" and (bits := int.from_bytes(octets).bit_length()) > EXPONENT_BITS:
            yield f"{path}.e", f"has {bits:,} bits; up to {EXPONENT_BITS} are accepted", "contract: jwks"


def _curve_faults(path: str, key: dict[str, Json], kty: str) -> Iterator[Fault]:
    curves, curve = COORDINATE_OCTETS[kty], key.get("crv")
    if not isinstance(curve, str) or curve not in curves:
        yield f"{path}.crv", f"is not a curve of {kty} keys: {', '.join(curves)}", "RFC 7518 6.2.1.1"
        return
    for name in PUBLIC_MEMBERS[kty][1:]:
        octets = _octets(key.get(name))
        if octets is None or len(octets) != curves[curve]:
            yield f"{path}.{name}", f"is not {curves[curve]} octets in base64url without padding", "RFC 7518 6.2.1.2"


def _octets(member: Json) -> bytes | None:
    """The octets of a base64url *member* (RFC 7515 2); None for anything else, and for none at all."""
    if not isinstance(member, str) or not member or not BASE64URL.issuperset(member) or len(member) % 4 == 1:
        return None
    return urlsafe_b64decode(member + "=" * (-len(member) % 4))


def _is_importable(key: dict[str, Json]) -> bool:
    """Whether the library that will verify with *key* takes it: a point on its curve, an odd exponent, a known use."""
    # Its errors share no ancestor (KeyError for an unknown use, TypeError for a use that is a list), and which of
    # them it is says nothing to a caller.
    with suppress(Exception):
        JWKRegistry.import_key(cast("DictKey", key))
        return True
    return False
