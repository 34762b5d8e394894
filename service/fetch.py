"""
Documents that others publish, fetched: so many bytes, by a plain request.

Who may be asked at all is for whoever opens the session. Whatever is answered is a stranger's.
"""

from aiohttp import BaseConnector, ClientConnectorError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from events.errors import MitosisError

_HEADERS = {
    "Accept": "application/jwk-set+json, application/json",
    "Accept-Encoding": "identity",  # what is not compressed cannot grow
    "User-Agent": "mitosis",
}
_OK = 200


class NotFetched(MitosisError):
    """A document could not be had. The message says why, and nothing of what was answered."""


def open_session(timeout_s: float, connector: BaseConnector | None = None) -> ClientSession:
    """What fetches without cookies or a proxy; *timeout_s* is from looking a name up to the last byte."""
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        trust_env=False,  # no proxy, which would do the connecting
        auto_decompress=False,
        timeout=ClientTimeout(total=timeout_s),
        headers=_HEADERS,
    )


async def fetch(session: ClientSession, url: str, limit_bytes: int) -> bytes:
    """
    What is at *url*.

    Raises:
        NotFetched, ClientError, OSError, TimeoutError, ValueError: it could not be had, or is longer.
    """
    # a redirect is an answer like any other that is not 200
    async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
        if response.status != _OK:
            raise NotFetched(f"status {response.status}")
        return await read(response, limit_bytes)


async def read(response: ClientResponse, limit_bytes: int) -> bytes:
    """
    What was answered, if it is not longer.

    Raises:
        NotFetched, ClientError, TimeoutError: it could not be had, or is longer.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            raise NotFetched(f"more than {limit_bytes:,} bytes")
    return bytes(body)


def reason(error: BaseException) -> str:
    """Why a fetch failed, for the log: nothing of the URL, which may hold what its owner keeps to itself."""
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    return str(cause) if isinstance(cause, NotFetched) else type(cause).__name__
