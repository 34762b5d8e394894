"""
The connection to NATS. Whenever it is lost another one is made, for ever.

That is not left to the client library: its own way back ends for good after some errors of the server's, credentials
that expired for one, and begins by sending once more what it had buffered, however old that is by then.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from service.database import reason
from service.relay import credentials
from service.relay.address import Address
from service.relay.publisher import CannotRelay

_CONNECT_S = 2
_PING_S = 10  # a server that left two of these unanswered is gone
_CLOSE_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # between two tries

_logger = logging.getLogger(__name__)


class Connection:
    """The way to the server at *address*. *credentials_file* is read anew for each connection."""

    def __init__(self, address: Address, credentials_file: Path | None) -> None:
        self._address = address
        self._credentials_file = credentials_file
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._questions: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Client]:
        """
        A client to ask something, as soon as one is connected, with a line in the log for each try.

        Raises:
            TimeoutError: the connection was lost meanwhile, so no answer will come.
        """
        client = await self._connected()
        async with asyncio.timeout(None) as question:
            self._questions.add(question)
            try:
                yield client
            finally:
                self._questions.discard(question)

    async def _connected(self) -> Client:
        async with self._opening:
            pause_s = FIRST_PAUSE_S
            while self._client is None or not self._client.is_connected:
                try:
                    await self.open()
                except CannotRelay as error:
                    _logger.warning("nats_away", exc_info=error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                else:
                    _logger.info("nats_connected")
            return self._client

    async def open(self) -> Client:
        """
        Try to connect, once.

        Raises:
            CannotRelay
        """
        # the other servers of its cluster, of which the last one told
        others = [server.geturl() for server in self._client.discovered_servers] if self._client else []
        await self.close()
        self._client = await _connect(self._address, self._credentials_file, others, self._give_up)
        return self._client

    async def close(self) -> None:
        """Leave the server, if there is a connection."""
        if self._client is not None:
            await _leave(self._client)

    async def _give_up(self) -> None:
        for question in self._questions:
            if not question.expired():
                question.reschedule(asyncio.get_running_loop().time())


async def _connect(
    address: Address, credentials_file: Path | None, others: Sequence[str], lost: Callable[[], Awaitable[None]]
) -> Client:
    client, context = Client(), ssl.create_default_context()
    failures: list[Exception] = []

    async def note(error: Exception) -> None:
        if client.is_connected:
            _logger.warning("nats_error", exc_info=error)
        else:
            failures.append(error)

    def require_encryption() -> None:
        if address.is_encrypted and not context.session_stats()["connect_good"]:
            raise CannotRelay(f"{address.url} does not use TLS")

    who = _who(address, credentials_file, require_encryption)
    try:
        await client.connect(
            [address.url, *others],
            name="mitosis relay",
            error_cb=note,
            closed_cb=lost,
            tls=context,
            connect_timeout=_CONNECT_S,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # with 0 it tries for ever
            reconnect_time_wait=0,
            dont_randomize=True,
            ping_interval=_PING_S,
            pending_size=0,  # nothing is kept for later, and no full buffer swallows a cancellation
            **who,
        )
        require_encryption()
    except BaseException as error:
        await _leave(client)
        if not isinstance(error, (nats.errors.Error, OSError, TimeoutError, ValueError)):
            raise
        # after servers that could not be reached it only says that there are no more
        cause = failures[-1] if failures and isinstance(error, nats.errors.NoServersError) else error
        raise CannotRelay(f"{address.url} cannot be connected to: {reason(cause)}") from cause
    if not client.is_connected:
        raise CannotRelay(f"{address.url} hung up")
    return client


def _who(address: Address, credentials_file: Path | None, require_encryption: Callable[[], None]) -> dict[str, Any]:
    """
    What the client says of us, told when it is about to say it.

    A client that was given a tls:// address goes on in clear where the server does not ask for TLS; not with a secret.
    """

    def guarded(tell: Callable[..., Any]) -> Callable[..., Any]:
        def told(*arguments: str) -> object:
            require_encryption()
            return tell(*arguments)

        return told

    if credentials_file is not None:
        loaded = credentials.load(credentials_file)
        return {"user_jwt_cb": guarded(loaded.jwt.encode), "signature_cb": guarded(loaded.sign)}
    secrets = {"user": address.user, "password": address.password, "token": address.token}
    return {name: guarded(lambda secret=secret: secret) for name, secret in secrets.items() if secret is not None}


async def _leave(client: Client) -> None:
    # a server that does not hear it finds out
    with suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
