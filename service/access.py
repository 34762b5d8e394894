"""Around every request: its id, its log line, and the envelope for whatever goes wrong in it."""

import logging
import re
import time

from aiohttp import web
from aiohttp.typedefs import Handler
from ulid import ULID

from events.errors import DatabaseAway, Refused
from service.envelope import failure
from service.languages import negotiated, translate
from service.metrics.instruments import INSTRUMENTS
from service.refusals import BodyTooLarge, ExpectationFailed, MalformedRequest, MethodNotAllowed, NoSuchRoute
from service.routes import CALLER, REQUEST_ID, ROUTE

_logger = logging.getLogger("mitosis.access")
_request_id = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")

_HTTP_REFUSALS = {404: NoSuchRoute, 405: MethodNotAllowed, 413: BodyTooLarge, 417: ExpectationFailed}


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give *request* its id, answer whatever is raised in the envelope, and write one line about it."""
    started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if _request_id.fullmatch(given) else str(ULID())
    try:
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 (the last one who can answer)
        response = failed(request, error)
    translate(response, negotiated(",".join(request.headers.getall("Accept-Language", []))))
    caller, duration_s = request.get(CALLER), time.perf_counter() - started
    request.app[INSTRUMENTS].answered(request.method, request.get(ROUTE), response.status, duration_s)
    _logger.info(
        "request",
        extra={
            "method": request.method,
            "route": request.get(ROUTE),
            "status": response.status,
            "duration_ms": round(duration_s * 1000, 3),
            "tenant": caller and caller.tenant_id,
            "subject": caller and caller.subject,
            "request_id": request[REQUEST_ID],
        },
    )
    return response


async def labelled(request: web.Request, response: web.StreamResponse) -> None:
    """Give *response* the headers that all have, before the first byte of it is sent."""
    if REQUEST_ID in request:  # what is refused before the middlewares has none
        response.headers["X-Request-ID"] = request[REQUEST_ID]
    response.headers["X-Content-Type-Options"] = "nosniff"


def failed(request: web.BaseRequest, error: Exception) -> web.Response:
    """The answer to a request that ended in *error*; what was not foreseen is logged."""
    if isinstance(error, web.HTTPException):
        kind = _HTTP_REFUSALS.get(error.status, MalformedRequest)
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return failure(kind(headers=allowed))
    if isinstance(error, DatabaseAway):
        _logger.warning("database_away", exc_info=error, extra={"request_id": request[REQUEST_ID]})
    elif not isinstance(error, Refused):
        _logger.error("request_failed", exc_info=error, extra={"request_id": request[REQUEST_ID]})
    return failure(error)
