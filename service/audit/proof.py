"""The handlers for who wants proof: signed heads, the keys to check them with, and whole logs verified."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from events import chain, log
from events.database import borrowed
from events.verification.fault import Verdict
from service import fields
from service.audit.heads import HeadSigner, JwkSet
from service.audit.verifying import verify
from service.bearer import READERS, reach
from service.envelope import Answer, Instant, answer
from service.fairness import QueuedPlaces
from service.naming import is_tenant_id
from service.reading import decode
from service.refusals import (
    RETRY_AFTER_S,
    InvalidRequest,
    TooManyVerifications,
)
from service.requests import READS, TIMEOUT_S
from service.routes import CALLER, Route
from service.rules.validation import Violation

SIGNER = web.AppKey("signer", HeadSigner)
VERIFYING = web.AppKey("verifying", QueuedPlaces)

AT_ONCE = 2  # logs that a process verifies, each tenant one at a time
_LINE_S = 5.0  # for which a further one is waited with
_LONGEST_S = 300.0  # for one log

_Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256, in hexadecimal.")]
_Position = Annotated[int, Meta(ge=0, description="Of the last record; 0 where there is none.")]


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant's log ends. `head` says the same, signed: a JWS in compact form (RFC 7515) to be kept."""

    tenant_id: fields.TenantId
    position: _Position
    digest: _Digest
    time: Instant | UnsetType = UNSET
    head: Annotated[str, Meta(description="To be checked with the keys at `/.well-known/jwks.json`.")]


class HashChain(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's chain of digests: from `start_hash`, the digest before the first record, to `end_hash`."""

    tenant_id: fields.TenantId
    log_count: int
    start_hash: _Digest
    end_hash: _Digest
    is_valid: bool
    verified_at: Instant


class VerificationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whose log to verify."""

    tenant_id: fields.TenantId


class VerificationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say. Both hashes are digests of records; `broken_at` is the first faulty position."""

    valid: bool
    checked_count: int
    first_hash: _Digest | UnsetType = UNSET
    last_hash: _Digest | UnsetType = UNSET
    broken_at: int | UnsetType = UNSET
    message: str


async def head(request: web.Request) -> web.Response:
    """
    GET /admin/audit/head -> 200: where the tenant's log ends now, signed.

    Who keeps it can show later that newer records were cut off, or older ones rewritten.
    """
    tenant_id = request[CALLER].tenant_id
    async with borrowed(request.app[READS], request.app[TIMEOUT_S]) as connection:
        found = await log.head(connection, tenant_id)
    return answer(
        SignedHead(
            tenant_id=tenant_id,
            position=found.position,
            digest=found.digest.hex(),
            time=found.time if found.position else UNSET,
            head=request.app[SIGNER].sign(tenant_id, found),
        )
    )


async def keys(request: web.Request) -> web.Response:
    """GET /.well-known/jwks.json -> 200: the keys of signed heads, as a JWK Set (RFC 7517) in no envelope."""
    return web.Response(body=msgspec.json.encode(request.app[SIGNER].keys()), content_type="application/json")


async def hash_chain(request: web.Request) -> web.Response:
    """
    GET /admin/audit/hashchain/{tenant_id} -> 200: the tenant's chain, verified from its beginning to its end.

    This reads the whole log. Another tenant than the token's own is for a `super_admin`.
    """
    tenant_id = _reached(request, request.match_info["tenant_id"])
    verdict = await _verified(request, tenant_id)
    start = chain.genesis(tenant_id)
    return answer(
        HashChain(
            tenant_id=tenant_id,
            log_count=verdict.count,
            start_hash=start.hex(),
            end_hash=(verdict.last or start).hex(),
            is_valid=verdict.is_whole,
            verified_at=datetime.now(UTC),
        )
    )


async def verification(request: web.Request) -> web.Response:
    """
    POST /admin/audit/verifications -> 200: the tenant's log was verified, and this is what there is to say of it.

    This reads the whole log. Another tenant than the token's own is for a `super_admin`.
    """
    wanted = await decode(request, VerificationRequest)
    tenant_id = _reached(request, wanted.tenant_id)
    verdict = await _verified(request, tenant_id)
    first = verdict.faults[0] if verdict.faults else None
    return answer(
        VerificationResult(
            valid=verdict.is_whole,
            checked_count=verdict.count,
            first_hash=verdict.first.hex() if verdict.first else UNSET,
            last_hash=verdict.last.hex() if verdict.last else UNSET,
            broken_at=first.position if first else UNSET,
            message=first.message if first else "Every record is there as it was written.",
        )
    )


async def _verified(request: web.Request, tenant_id: str) -> Verdict:
    async with AsyncExitStack() as held:
        try:
            # whoever asks takes his own tenant's place, whichever tenant he looks into
            await held.enter_async_context(request.app[VERIFYING].place(request[CALLER].tenant_id, wait_s=_LINE_S))
        except TimeoutError:
            raise TooManyVerifications(headers={"Retry-After": str(RETRY_AFTER_S)}) from None
        connection = await held.enter_async_context(borrowed(request.app[READS], _LONGEST_S))
        return await verify(connection, tenant_id)


def _reached(request: web.Request, tenant_id: str) -> str:
    """
    *tenant_id*, as a value of the request's, where the caller may look into it.

    Raises:
        OtherTenant, InvalidRequest
    """
    reached = reach(request[CALLER], tenant_id)
    if not is_tenant_id(reached):
        fault = Violation("tenant_id", "must be 1 to 128 printable ASCII characters without spaces", "the README")
        raise InvalidRequest(violations=(fault,))
    return reached


_AUDIT = "/admin/audit"

ROUTES = [
    Route("GET", f"{_AUDIT}/head", head, "Where the log ends, signed", {HTTPStatus.OK: Answer[SignedHead]}, READERS),
    Route(
        "GET",
        f"{_AUDIT}/hashchain/{{tenant_id}}",
        hash_chain,
        "Verify a tenant's hash chain",
        {HTTPStatus.OK: Answer[HashChain]},
        READERS,
        refusals=(TooManyVerifications,),
    ),
    Route(
        "POST",
        f"{_AUDIT}/verifications",
        verification,
        "Verify a tenant's log and hear what is wrong with it",
        {HTTPStatus.OK: Answer[VerificationResult]},
        READERS,
        request=VerificationRequest,
        refusals=(TooManyVerifications,),
    ),
    Route("GET", "/.well-known/jwks.json", keys, "The keys of signed heads", {HTTPStatus.OK: JwkSet}, None),
]
