"""The one form of every answer: success, list and failure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from events.errors import DatabaseAway
from service import languages
from service.refusals import CRASHED, FAILURES, MESSAGES, RETRY_AFTER_S, Refusal
from service.rules.validation import Violation

T = TypeVar("T")
Instant = Annotated[datetime, Meta(tz=True)]

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A success: `code` is 0 whatever the status."""

    code: Literal[0] = 0
    message: str
    timestamp: Instant
    data: T


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    """Which page this is, and what there is besides."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_next: bool
    has_prev: bool


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A success that is a list."""

    code: Literal[0] = 0
    message: str
    timestamp: Instant
    items: list[T]
    total: int
    pagination: Pagination


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failure: `code` is the HTTP status followed by a reason number, stable; `message` is for people."""

    code: Annotated[int, Meta(ge=400_000, le=599_999)]
    message: str
    timestamp: Instant
    violations: list[Violation] | UnsetType = UNSET


_NAMED_LIMIT = 200  # violations: an answer must not be many times what was sent

_encode = msgspec.json.Encoder().encode


def _response(body: msgspec.Struct, status: int, headers: Mapping[str, str] | None) -> web.Response:
    return web.Response(
        body=_encode(body),
        status=status,
        headers={**languages.HEADERS, **(headers or {})},
        content_type="application/json",
    )


def answer(
    data: msgspec.Struct,
    *,
    message: str = "OK",
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A success with *data*."""
    return _response(Answer(message=message, timestamp=datetime.now(UTC), data=data), status, headers)


def listing(items: list[T], *, page: int, page_size: int, total: int) -> web.Response:
    """A success with one page of *items*, of *total* in all."""
    total_pages = -(-total // page_size)
    pagination = Pagination(
        page=page,
        page_size=page_size,
        total=total,
        total_pages=total_pages,
        has_next=page < total_pages,
        has_prev=page > 1,
    )
    body = Listing(message="OK", timestamp=datetime.now(UTC), items=items, total=total, pagination=pagination)
    return _response(body, HTTPStatus.OK, None)


def failure(error: Exception) -> web.Response:
    """What a caller is told of *error*: code, message and violations of a refusal; nothing of the cause of others."""
    headers: Mapping[str, str] | None = None
    violations: list[Violation] | UnsetType = UNSET
    if isinstance(error, Refusal):
        code, headers = error.code, error.headers
        violations = list(error.violations[:_NAMED_LIMIT]) or UNSET
    elif isinstance(error, DatabaseAway):
        code, headers = FAILURES[type(error)], {"Retry-After": str(RETRY_AFTER_S)}
    else:
        code = CRASHED
    body = Failure(code=code, message=MESSAGES[code], timestamp=datetime.now(UTC), violations=violations)
    return _response(body, code // 1000, headers)
