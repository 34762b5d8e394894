"""
Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): a retry gets the answer that was lost.

The answer holds a secret, so it is kept sealed, under a key that is derived from the Idempotency-Key. The service keeps
neither: its database alone reveals nothing, and who has the Idempotency-Key sent the request.
"""

import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from events.database import borrowed
from projections.clients import Client
from service import receipts
from service.as_of import Moment
from service.receipts import Kept, Receipt
from service.refusals import HappenedBefore, KeyReused, MalformedKey, StillRunning
from service.requests import READS, TIMEOUT_S
from service.routes import CALLER, ROUTE

TTL_S = web.AppKey("idempotency_ttl_s", float)
RUNNING = web.AppKey("idempotency_running", set)

LEAST = 22  # characters: base64 of 128 bits; a UUID has 36
MOST = 255  # characters
_NONCE_LENGTH = 12  # bytes (NIST SP 800-38D)

BARE = r"[!#-+\--:<-\[\]-~]*"  # printable, without what would end or quote it: space " , ; \
QUOTED = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'  # a Structured Field string (RFC 8941 section 3.3.3)

_bare, _quoted = re.compile(BARE), re.compile(QUOTED)


class Answered(msgspec.Struct, frozen=True):
    """An answer as it is sent."""

    status: int
    body: bytes
    headers: dict[str, str]


class IdempotencyKey:
    """
    A caller's key, and what is derived from it: a digest to find its receipt by, and a cipher for that.

    Args:
        text: the key.
        tenant_id: whose request it is; the same key of another tenant has nothing in common with it.
        request_digest: SHA-256 of what is asked.
    """

    def __init__(self, text: str, tenant_id: str, request_digest: bytes) -> None:
        derived = HKDF(SHA256(), 64, b"mitosis/idempotency/v1", tenant_id.encode()).derive(text.encode())
        self.digest, self._cipher = derived[:32], AESGCM(derived[32:])
        self.tenant_id, self.request_digest = tenant_id, request_digest

    def seal(self, answered: Answered) -> bytes:
        """*answered*, readable with this key alone: a nonce and AES-256-GCM over it, bound to what was asked."""
        nonce = os.urandom(_NONCE_LENGTH)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(answered), self.request_digest)

    def unseal(self, kept: Kept) -> Answered:
        """
        The answer that was kept.

        Raises:
            KeyReused: it is the answer to something else.
        """
        if kept.request_digest != self.request_digest:
            raise KeyReused
        nonce, sealed = kept.answer[:_NONCE_LENGTH], kept.answer[_NONCE_LENGTH:]
        return msgspec.json.decode(self._cipher.decrypt(nonce, sealed, self.request_digest), type=Answered)


def key_of(request: web.Request, asked: msgspec.Struct, moment: Moment | None = None) -> IdempotencyKey | None:
    """
    The key that *request* brings for what it asks of a client, as it was at *moment*; None where it brings none.

    Raises:
        MalformedKey: it is neither a quoted string nor a bare one, or too short to be a secret.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    quoted = _quoted.fullmatch(given[0].strip())
    text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given[0].strip()
    if len(given) > 1 or not LEAST <= len(text) <= MOST or not (quoted or _bare.fullmatch(text)):
        raise MalformedKey
    parts = (request[ROUTE], request.match_info.get("client_id", ""), request.headers.get("If-Match", ""))
    what = msgspec.json.encode([*parts, asked, *([] if moment is None else [moment])], order="sorted")
    return IdempotencyKey(text, request[CALLER].tenant_id, hashlib.sha256(what).digest())


ReceiptFor = Callable[[Callable[[Client], web.Response]], Receipt | None]


async def once(
    request: web.Request, key: IdempotencyKey | None, make: Callable[[ReceiptFor], Awaitable[web.Response]]
) -> web.Response:
    """
    What *make* answers; for a *key* that was answered before, that answer again, to the letter.

    *make* is handed a function that takes how a client is answered with, and gives the receipt for the command.

    Raises:
        KeyReused: the key was for another request.
        StillRunning: a request with this key is being answered.
    """
    if key is None:
        return await make(lambda _: None)
    async with _running(request, key):
        kept = await _look_up(request, key)
        if kept is not None:
            return _again(key.unseal(kept))
        expires_at = datetime.now(UTC) + timedelta(seconds=request.app[TTL_S])
        sealed: list[web.Response] = []

        def receipt_for(answered: Callable[[Client], web.Response]) -> Receipt:
            def seal(client: Client) -> bytes:
                sealed.append(answered(client))
                return key.seal(_as_sent(sealed[-1]))

            return Receipt(
                key_digest=key.digest,
                request_digest=key.request_digest,
                expires_at=expires_at,
                seal=seal,
            )

        try:
            response = await make(receipt_for)
        except HappenedBefore as before:  # another process was faster
            return _again(key.unseal(before.kept))
        # what was kept and what is sent are one, also where a turn was tried twice: then the last is what was committed
        return sealed[-1] if sealed else response


async def _look_up(request: web.Request, key: IdempotencyKey) -> Kept | None:
    found = (key.tenant_id, key.digest)
    async with borrowed(request.app[READS], request.app[TIMEOUT_S] / 8) as connection:
        return (await receipts.load(connection, [found])).get(found)


def _as_sent(response: web.Response) -> Answered:
    if not isinstance(response.body, bytes):
        raise TypeError(type(response.body))
    return Answered(response.status, response.body, dict(response.headers))


def _again(answered: Answered) -> web.Response:
    headers = {**answered.headers, "Idempotency-Replayed": "true"}
    return web.Response(status=answered.status, body=answered.body, headers=headers)


@asynccontextmanager
async def _running(request: web.Request, key: IdempotencyKey) -> AsyncIterator[None]:
    running = request.app[RUNNING]
    if key.digest in running:
        raise StillRunning
    running.add(key.digest)
    try:
        yield
    finally:
        running.discard(key.digest)
