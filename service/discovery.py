"""
Where an issuer publishes its keys (OpenID Connect Discovery 1.0), and those of them that can be used (RFC 7517).

The operator chose the address, so it may be on a private network; whatever is answered there is vetted all the same.
"""

import asyncio
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientSession

from service.fetch import NotFetched, fetch
from service.jose import PublicKey
from service.rules.jwks import jwks_faults
from service.rules.uris import key_source_faults

LONGEST_ANSWER = 256 * 1024  # bytes
MOST_KEYS = 100  # importing one costs about a millisecond

T = TypeVar("T", bound=msgspec.Struct)


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[Any]


async def published(session: ClientSession, *, name: str | None, jwks_url: str | None) -> tuple[PublicKey, ...]:
    """
    The keys at *jwks_url*; where that is None, at what the discovery document of the issuer *name* says.

    Raises:
        NotFetched, ClientError, OSError, TimeoutError, ValueError: they could not be had.
    """
    found = await _json(session, jwks_url or await _discovered(session, name or ""), _KeySet)
    # importing keys takes a while, and how many there are was not our choice
    return await asyncio.to_thread(_usable, found.keys[:MOST_KEYS])


async def _discovered(session: ClientSession, name: str) -> str:
    """
    Where the keys are, from the discovery document.

    Raises:
        NotFetched: that is another issuer's, or the place is none to take keys from.
    """
    # OpenID Connect Discovery section 4: a slash at the end is removed
    found = await _json(session, f"{name.removesuffix('/')}/.well-known/openid-configuration", _Discovered)
    if found.issuer != name:
        raise NotFetched("the discovery document names another issuer")
    for fault, _ in key_source_faults(found.jwks_uri):
        raise NotFetched(f"jwks_uri {fault}")
    return found.jwks_uri


async def _json(session: ClientSession, url: str, kind: type[T]) -> T:
    body = await fetch(session, url, LONGEST_ANSWER)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NotFetched("not the JSON that was asked for") from None


def _usable(jwks: list[Any]) -> tuple[PublicKey, ...]:
    """Those keys that would be registered for a client; others are passed over (RFC 7517 section 5)."""
    texts = (msgspec.json.encode({"keys": [jwk]}).decode() for jwk in jwks)
    return tuple(PublicKey(jwk) for jwk, text in zip(jwks, texts, strict=True) if not any(jwks_faults(text)))
