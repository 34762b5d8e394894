"""Callers who never rest, and what their answers promise of the log."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import argon2
from aiohttp import ClientConnectorError, ClientError, ClientSession
from ulid import ULID

from events.client import ClientCloned, ClientRegistered
from events.log import Conn
from service.bearer import Tokens
from tests.callers import EXAMPLE, Api, Reply
from tests.laws import check

_PATIENCE_S = 60
_BREATH_S = 0.02  # of a caller who was told to come back later

NEVER_SENT = -1  # instead of a status: no connection
BROKEN = 0  # instead of a status: the connection ended without an answer


class Door(Protocol):
    """Where a service can be reached at this moment."""

    base: str


class Answer(NamedTuple):
    """What became of one command: the status and code of its answer, and what it handed out."""

    request_id: str
    tenant_id: str
    door: Door
    began: float
    elapsed_s: float
    status: int
    code: int = 0
    client_id: str = ""
    secret: str = ""
    retry_after: str = ""


class Load:
    """
    Callers at *doors* who clone and register in *tenants* (tenant: a client to clone), one request after the other.

    Every request has an id of its own, which its record repeats.
    """

    def __init__(
        self,
        session: ClientSession,
        tokens: Tokens,
        doors: Sequence[Door],
        tenants: Mapping[str, str],
        *,
        random: Random,
        callers: int = 16,
    ) -> None:
        self.answers: list[Answer] = []
        self._doors, self._tenants, self._random, self._callers = doors, tenants, random, callers
        self._api = Api(session, "", tokens, {})
        self._admins = {tenant: self._api.as_role("admin", tenant) for tenant in tenants}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call(self._doors[n % len(self._doors)])) for n in range(self._callers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is looked at after every answer."""
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()
                for task in self._tasks:
                    if task.done():
                        task.result()

    async def more(self, count: int) -> None:
        """Wait for *count* more answers, whatever they say."""
        goal = len(self.answers) + count
        await self.until(lambda: len(self.answers) >= goal)

    async def recovered(self) -> None:
        """Wait until every door has answered 201 to a request that began after now."""
        now = asyncio.get_running_loop().time()
        await self.until(
            lambda: all(
                any(answer.door is door and answer.status == 201 and answer.began > now for answer in self.answers)
                for door in self._doors
            )
        )

    async def _call(self, door: Door) -> None:
        try:
            while not self._is_over:
                tenant_id = self._random.choice(list(self._tenants))
                answer = await ask(
                    self._admins[tenant_id], tenant_id, door, self._random.choice([None, self._tenants[tenant_id]])
                )
                self.answers.append(answer)
                self._news.set()
                if answer.status != 201:
                    await asyncio.sleep(_BREATH_S)
        finally:
            self._news.set()


async def ask(admin: Api, tenant_id: str, door: Door, source_id: str | None) -> Answer:
    """Clone *source_id*, or register a client where it is None."""
    loop = asyncio.get_running_loop()
    request_id, began = str(ULID()), loop.time()
    api = Api(admin.session, door.base, admin.tokens, {**admin.headers, "X-Request-ID": request_id})
    status, reply = BROKEN, None
    try:
        reply = await (_register(api) if source_id is None else api.clone(source_id))
    except ClientConnectorError:
        status = NEVER_SENT
    except ClientError:
        pass
    answer = Answer(request_id, tenant_id, door, began, loop.time() - began, status)
    if reply is None:
        return answer
    created = reply.data if reply.status == 201 else {}
    return answer._replace(
        status=reply.status,
        code=reply.body["code"],
        client_id=created.get("client_id", ""),
        secret=created.get("client_secret", ""),
        retry_after=reply.headers.get("Retry-After", ""),
    )


async def _register(api: Api) -> Reply:
    return await api.post("/admin/oauth/clients/", json=EXAMPLE)


async def sources(session: ClientSession, tokens: Tokens, door: Door, tenants: Sequence[str]) -> dict[str, str]:
    """A client to clone in each of *tenants*."""
    api = Api(session, door.base, tokens, {})
    return {tenant: (await api.as_role("admin", tenant).register())["client_id"] for tenant in tenants}


async def settle(
    owner: Conn, tenants: Mapping[str, str], answers: Sequence[Answer], *, others: bool = False
) -> Counter[str]:
    """
    Hold the log of *tenants* (tenant: its client from before, if any) against what the callers were told.

    Returns how many were told what.

    Answered 201: it happened once, as it was said, and the secret fits its hash. Answered 503 with "nothing was
    changed", or never sent: it did not happen. Unknown: once or not at all. Nothing else is answered, every law of a
    tenant holds and, unless *others* asked for something too, nothing else happened.
    """
    records = {tenant: await check(owner, tenant) for tenant in tenants}
    clients = {tenant: [record.client_id for record in found] for tenant, found in records.items()}
    everything = [record for found in records.values() for record in found]
    assert all(len(set(ids)) == len(ids) for ids in clients.values())
    asked = [record for record in everything if record.client_id not in tenants.values()]
    happened = {record.actor.request_id: record for record in asked}
    assert len(happened) == len(asked), "a request happened twice"
    assert others or happened.keys() <= {answer.request_id for answer in answers}, "what nobody asked for happened"
    rows = await owner.fetch("select event_id, private from events where tenant_id = any($1::text[])", list(tenants))
    private = {row["event_id"]: row["private"] for row in rows}
    tally: Counter[str] = Counter()
    for answer in answers:
        record = happened.get(answer.request_id)
        match answer.status, answer.code:
            case 201, 0:
                tally["acknowledged"] += 1
                assert record is not None, f"lost: {answer}"
                assert (record.tenant_id, record.client_id) == (answer.tenant_id, answer.client_id)
                assert isinstance(record.data, ClientRegistered | ClientCloned)
                assert record.data.secret is not None
                assert record.data.secret.secret_id == record.event_id
                argon2.PasswordHasher().verify(private[record.event_id], answer.secret)
            case (503, 503001 | 503003) | (-1, _):
                tally["nothing changed" if answer.code else "never sent"] += 1
                assert record is None, f"happened all the same: {answer}"
            case (503, 503002) | (0, _):
                tally["unknown" if answer.code else "broken"] += 1
                tally["unknown or broken that happened"] += record is not None
            case _:
                raise AssertionError(f"an answer that must not be: {answer}")
    secrets = [answer.secret for answer in answers if answer.secret]
    assert len(set(secrets)) == len(secrets)
    return tally
