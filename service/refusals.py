"""
What a request can be refused with, and what can go wrong with one: the one table from errors to answers.

A code is the HTTP status followed by a reason number. Codes are stable: a number is never used again for something
else.
"""

from collections.abc import Mapping
from typing import ClassVar

from events.errors import DatabaseAway, OutcomeUnknown, Refused
from service.receipts import Kept
from service.rules.validation import Violation


class Refusal(Refused):
    """A refusal with its stable `code`; the first line of the class's docstring is the message to the caller."""

    code: ClassVar[int]

    def __init__(self, *, violations: tuple[Violation, ...] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(self.code)
        self.violations = violations
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        """The message, for whoever runs a command."""
        return MESSAGES[self.code]


class MalformedBody(Refusal):
    """The body is not a JSON object."""

    code = 400001


class MalformedClientId(Refusal):
    """The client id is malformed: it is 'app-' and 1 to 60 of a-z, 0-9 and, between these, '-'."""

    code = 400002


class InvalidRequest(Refusal):
    """The request breaks the rules named in 'violations'."""

    code = 400003


class MalformedTenant(Refusal):
    """X-Tenant-ID is malformed: it is 1 to 128 printable ASCII characters without spaces."""

    code = 400004


class MalformedRequest(Refusal):
    """The request is not valid HTTP."""

    code = 400005


class NoSecretUsed(Refusal):
    """None of the client's authentication methods uses a secret."""

    code = 400006


class LastSecret(Refusal):
    """The client's last secret cannot be deleted; rotate it, or delete the client."""

    code = 400007


class MalformedPrecondition(Refusal):
    """If-Match is malformed: it is * or the entity tags of versions, such as "3"."""

    code = 400008


class MalformedKey(Refusal):
    """The Idempotency-Key is malformed: it is 22 to 255 printable ASCII characters, such as a UUID, quoted or bare."""

    code = 400009


class TooManyTenants(Refusal):
    """There are more tenants than one cursor can hold; follow them one by one, or with a consumer."""

    code = 400010


class Unauthenticated(Refusal):
    """Authentication is required: send a valid bearer token."""

    code = 401001


class InvalidToken(Refusal):
    """The bearer token is invalid or has expired."""

    code = 401002


class InvalidClient(Refusal):
    """The client could not be authenticated (invalid_client)."""

    code = 401003

    def __init__(self, reason: str) -> None:
        """*reason* is for the log: a caller is never told which part was wrong (RFC 6749 section 5.2)."""
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="mitosis", error="invalid_client"'})
        self.reason = reason


class NotPermitted(Refusal):
    """The token's role does not permit this."""

    code = 403001


class OtherTenant(Refusal):
    """The token is for another tenant than X-Tenant-ID names."""

    code = 403002


class ClientNotFound(Refusal):
    """The client does not exist or belongs to another tenant."""

    code = 404001


class SecretNotFound(Refusal):
    """The client has no such secret."""

    code = 404003


class NoSuchRoute(Refusal):
    """There is nothing at this path."""

    code = 404002


class MethodNotAllowed(Refusal):
    """The path does not take this method."""

    code = 405001


class BodyTooSlow(Refusal):
    """The body did not arrive in time."""

    code = 408001


class ClientExists(Refusal):
    """There is a client with this id already."""

    code = 409001


class TooManySecrets(Refusal):
    """The client has two active secrets already; deactivate or delete one first."""

    code = 409002


class StillRunning(Refusal):
    """A request with this Idempotency-Key is being answered; try again shortly."""

    code = 409003

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(RETRY_AFTER_S)})


class LogShorter(Refusal):
    """The log ends before the place to go on from: it was cut off, or it is another log."""

    code = 409004


class VersionMoved(Refusal):
    """The client has changed since the version in If-Match."""

    code = 412001


class KeyReused(Refusal):
    """The Idempotency-Key was used for another request."""

    code = 422001


class BodyTooLarge(Refusal):
    """The body is larger than 64 KiB."""

    code = 413001


class UnsupportedMediaType(Refusal):
    """The body must be sent as application/json, without a Content-Encoding."""

    code = 415001


class ExpectationFailed(Refusal):
    """The only expectation that can be met is 100-continue."""

    code = 417001


class MovedAway(Refusal):
    """The tenant has moved to another service."""

    code = 421001

    def __init__(self, moved_to: str | None) -> None:
        """*moved_to* is the address of that service, where it is known."""
        super().__init__(headers={"Location": moved_to} if moved_to else None)


class TooManyHashes(Refusal):
    """Too many credentials are being made or checked at this moment; try again shortly."""

    code = 429001


class TooManyVerifications(Refusal):
    """Other logs are being verified at this moment; try again shortly."""

    code = 429002


class LineFull(Refusal):
    """Too many changes are waiting at this moment; try again shortly."""

    code = 503003


class IssuerAway(Refusal):
    """The keys of the token's issuer cannot be had at this moment; try again shortly."""

    code = 503004


class TooManyFollowers(Refusal):
    """Too many readers follow the records at this moment; try again shortly."""

    code = 503005


class TakesNoChanges(Refusal):
    """The tenant takes no changes at this moment; try again shortly."""

    code = 503006

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(RETRY_AFTER_S)})


class CredentialNeeded(Refused):
    """
    The client needs a secret and the command brought none.

    The handler mints one and asks again; no caller sees this.
    """


class HappenedBefore(Refused):
    """A command with this Idempotency-Key was carried out; `kept` is its receipt. No caller sees this."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept


REFUSALS: Mapping[int, type[Refusal]] = {refusal.code: refusal for refusal in Refusal.__subclasses__()}

CRASHED = 500001
FAILURES: Mapping[type[Exception], int] = {DatabaseAway: 503001, OutcomeUnknown: 503002}
RETRY_AFTER_S = 1

MESSAGES: Mapping[int, str] = {
    **{code: (refusal.__doc__ or "").splitlines()[0] for code, refusal in REFUSALS.items()},
    CRASHED: "An internal error occurred.",
    503001: "The database is not available; nothing was changed. Try again shortly.",
    503002: "The database went away while it saved the change; look whether it was made before trying again.",
}
