"""A service elsewhere, as auditors ask it: its stream, its heads and its keys, over HTTP with a token."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from events.errors import MitosisError
from service import fetch
from service.bearer import Tokens
from service.cli.printing import plain
from service.config import Config, ConfigError
from service.naming import ALL, is_tenant_id
from service.signing import load_key

_SILENCE_S = 45.0  # three heartbeats
_AGAIN_S = 1.0
_LINE_BYTES = 1024 * 1024
_PAGE = "1000"
_ANSWER_BYTES = 8 * 1024 * 1024  # a page has 1 MiB and one record more


class NoAnswer(MitosisError):
    """The service did not answer as it should. The message says how."""


class Unreachable(NoAnswer):
    """There is no connection to the service, or it was lost."""


class _HeadData(msgspec.Struct):
    position: int
    head: str


class _HeadAnswer(msgspec.Struct):
    data: _HeadData


class Remote:
    """
    A service at *url*, asked with *token*.

    Args:
        tenant_id: whose records: the token's own tenant's where it is None, ALL for every tenant's.
    """

    def __init__(self, url: str, token: str, tenant_id: str | None) -> None:
        self._url = url.rstrip("/")
        self._tenant = {} if tenant_id is None else {"tenant_id": tenant_id}
        self._acting = {"X-Tenant-ID": tenant_id} if tenant_id not in (None, ALL) else {}
        self._session = ClientSession(
            headers={"Authorization": f"Bearer {token}"},
            timeout=ClientTimeout(total=None, sock_read=_SILENCE_S, sock_connect=_SILENCE_S),
            read_bufsize=_LINE_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def head(self) -> tuple[int, str]:
        """The position at which the tenant's log ends, and the signed head."""
        async with self._asked("/admin/audit/head", {}, self._acting) as response:
            told = msgspec.json.decode(await _body(response), type=_HeadAnswer).data
            return told.position, told.head

    async def keys(self) -> list[dict[str, Any]]:
        """The keys of signed heads, as JWKs."""
        async with self._asked("/.well-known/jwks.json", {}, {}) as response:
            return list(msgspec.json.decode(await _body(response))["keys"])

    async def pages(self, after: str, types: str = "") -> AsyncIterator[tuple[str, list[bytes]]]:
        """Pages of CloudEvents behind the id *after* until there are no more, each with the id to go on behind."""
        while True:
            asked = {"after": after, "limit": _PAGE, **({"types": types} if types else {}), **self._tenant}
            accept = {"Accept": "application/x-ndjson"}
            async with self._asked("/admin/audit/stream", asked, accept) as response:
                lines = (await _body(response)).splitlines()
                behind = response.headers["Last-Event-ID"]
            if behind == after:
                return
            after = behind
            yield after, lines

    async def follow(self, after: str, types: str = "") -> AsyncIterator[bytes]:
        """CloudEvents behind the id *after* as they come, for ever. A connection that is lost is made again."""
        place = after
        while True:
            asked = {"after": place, **({"types": types} if types else {}), **self._tenant}
            try:
                async with self._asked("/admin/audit/stream", asked, {"Accept": "text/event-stream"}) as response:
                    async for behind, event in _events(response, place):
                        place = behind
                        if event:
                            yield event
            except Unreachable as error:
                sys.stderr.write(f"mitosis: {plain(str(error))}; trying again\n")
            await asyncio.sleep(_AGAIN_S)

    @asynccontextmanager
    async def _asked(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[ClientResponse]:
        try:
            async with self._session.get(self._url + path, params=query, headers=headers) as response:
                if response.status != 200:  # noqa: PLR2004 (OK)
                    kind = Unreachable if response.status >= 500 else NoAnswer  # noqa: PLR2004 (it may pass)
                    raise kind(f"{self._url} answered {response.status}: {_message(await _body(response))}")
                yield response
        except (KeyError, TypeError, RecursionError, msgspec.MsgspecError) as error:
            raise NoAnswer(f"{self._url} answered with what this program does not understand") from error
        except (ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise Unreachable(f"{self._url} cannot be reached: {str(error) or type(error).__name__}") from error


async def _events(response: ClientResponse, behind: str) -> AsyncIterator[tuple[str, bytes]]:
    """Events as the stream has them (WHATWG HTML section 9.2.6), each with its id; an id alone comes with nothing."""
    data = list[bytes]()
    async for line in response.content:
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            behind = value.decode()
        elif name == b"data":
            data.append(value)
        elif not name and not value:
            yield behind, b"\n".join(data)
            data = []


async def _body(response: ClientResponse) -> bytes:
    """
    What was answered, if it is not more than this program can deal with.

    Raises:
        NoAnswer
    """
    try:
        return await fetch.read(response, _ANSWER_BYTES)
    except fetch.NotFetched as error:
        raise NoAnswer(f"{response.url.origin()} answered with {error}") from None


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["message"])
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        return "with what this program does not understand"


def token(config: Config, file: Path | None, tenant_id: str | None) -> str:
    """
    The token to ask with: in *file*, else in MITOSIS_TOKEN, else signed with the local key for *tenant_id*.

    Raises:
        ConfigError: there is none.
    """
    if file is not None:
        return file.read_text(errors="replace").strip()
    if given := os.environ.get("MITOSIS_TOKEN", "").strip():
        return given
    if tenant_id is None or not config.key_file.exists():
        raise ConfigError("a token is needed: in MITOSIS_TOKEN or --token-file, or --tenant beside the local key")
    if tenant_id != ALL and not is_tenant_id(tenant_id):
        raise ConfigError("--tenant must be 1 to 128 printable ASCII characters without spaces")
    role, own = ("super_admin", "mitosis") if tenant_id == ALL else ("auditor", tenant_id)
    tokens = Tokens(load_key(config.key_file), config.audience)
    return tokens.issue(subject="mitosis audit", tenant_id=own, role=role, ttl_s=12 * 3600)


def here(config: Config) -> str:
    """Where the service of this configuration would be."""
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 (it is asked, not bound)
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"
