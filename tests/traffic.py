"""Callers who change a tenant that is moved under them, follow it, and hold the log against what they were told."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import argon2
import asyncpg
from aiohttp import ClientConnectorError, ClientError, ClientSession
from ulid import ULID

from events.record import Record
from service.bearer import Tokens
from tests.callers import EXAMPLE, Api, Reply

CLIENTS = "/admin/oauth/clients/"
NEVER_SENT = -1  # instead of a status: no connection
BROKEN = 0  # instead of a status: the connection ended without an answer
_BREATH_S = 0.05  # of a caller who is told to come back, and cannot wait for the second that he is told
_PATIENCE_S = 60.0
_IMPATIENCE = 0.05  # of the requests with a key, whose callers hang up before they are answered
_PATIENT_S = 0.01
_NOTHING_HAPPENED = {421001, 409003, 503001, 503003, 503006}
_PERHAPS = {503002}

_KINDS = ("register", "clone", "clone", "update", "update", "rotate", "delete")


@dataclass
class Try:
    """One request of an errand, by the id that its record repeats, and what was answered."""

    request_id: str
    status: int = BROKEN
    code: int = 0
    was_replayed: bool = False


@dataclass
class Errand:
    """
    Something that a caller wants done once. `key` is its Idempotency-Key, where such a request can have one.

    Without a key it is not tried again when its answer was lost: then it happened once or not at all.
    """

    kind: str
    key: str
    tries: list[Try] = field(default_factory=list)
    client_id: str = ""
    secret: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the caller was told that it happened."""
        return bool(self.tries) and self.tries[-1].status // 100 == 2


class Traffic:
    """
    Callers of one tenant, one request after the other, who begin at *address* and go where they are sent.

    A 503 is tried again, a 421 where its Location says, and a lost answer with the same key, where there is one.
    """

    def __init__(  # noqa: PLR0917 (what callers need)
        self, session: ClientSession, tokens: Tokens, address: str, tenant: str, random: Random, callers: int = 8
    ) -> None:
        self.errands: list[Errand] = []
        self.address = address
        self._random, self._callers = random, callers
        self._api = Api(session, "", tokens, {}).as_role("admin", tenant)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call()) for _ in range(self._callers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()  # a tenant that takes no changes would keep them for ever
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)

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
        """Wait until so many more errands are done."""
        goal = self.done + count
        await self.until(lambda: self.done >= goal)

    @property
    def done(self) -> int:
        """How many errands are known to be done."""
        return sum(errand.is_done for errand in self.errands)

    async def _call(self) -> None:
        mine: list[str] = []
        try:
            while not self._is_over:
                kind = self._random.choice(_KINDS) if mine else "register"
                errand = Errand(kind, str(uuid4()) if kind in {"register", "clone"} else "")
                self.errands.append(errand)
                client_id = self._random.choice(mine) if mine else ""
                await self._run(errand, client_id)
                if errand.is_done and errand.client_id:
                    mine.append(errand.client_id)
                if kind == "delete" or (kind in {"update", "rotate"} and not errand.is_done):
                    mine.remove(client_id)  # gone, or nobody knows in what state
        finally:
            self._news.set()

    async def _run(self, errand: Errand, client_id: str) -> None:
        while not errand.is_done:
            one = Try(str(ULID()))
            errand.tries.append(one)
            is_patient = not errand.key or self._random.random() > _IMPATIENCE
            reply = (
                await self._ask(errand, client_id, one) if is_patient else await self._hang_up(errand, client_id, one)
            )
            self._news.set()
            if reply is None:
                if not errand.key and one.status == BROKEN:
                    return
                await asyncio.sleep(_BREATH_S)
                continue
            one.status, one.code = reply.status, (reply.body or {"code": 0})["code"]
            one.was_replayed = "Idempotency-Replayed" in reply.headers
            if reply.status == 421:
                self.address = reply.headers["Location"]
            elif one.code in _PERHAPS and not errand.key:
                return
            elif reply.status in {409, 503} and one.code in _NOTHING_HAPPENED | _PERHAPS:
                assert reply.headers["Retry-After"] == "1"
                await asyncio.sleep(_BREATH_S)
            else:
                _note(errand, reply)
                return

    async def _hang_up(self, errand: Errand, client_id: str, one: Try) -> Reply | None:
        """Ask, and perhaps do not wait for the answer."""
        try:
            async with asyncio.timeout(self._random.uniform(0, _PATIENT_S)):
                return await self._ask(errand, client_id, one)
        except TimeoutError:
            return None

    async def _ask(self, errand: Errand, client_id: str, one: Try) -> Reply | None:
        headers = {**self._api.headers, "X-Request-ID": one.request_id}
        headers |= {"Idempotency-Key": errand.key} if errand.key else {}
        api = Api(self._api.session, self.address, self._api.tokens, headers)
        path = CLIENTS + client_id
        try:
            match errand.kind:
                case "register":
                    return await api.post(CLIENTS, json=EXAMPLE)
                case "clone":
                    return await api.clone(client_id)
                case "update":
                    return await api.put(path, json={"name": f"renamed by {one.request_id}"})
                case "rotate":
                    return await api.post(f"{path}/rotate-secret")
                case _:
                    return await api.delete(path)
        except ClientConnectorError:
            one.status = NEVER_SENT
        except ClientError:
            one.status = BROKEN
        return None


def _note(errand: Errand, reply: Reply) -> None:
    assert reply.status // 100 == 2 or (errand.kind == "rotate" and reply.status == 409), (errand, reply)
    if errand.kind in {"register", "clone"}:
        errand.client_id, errand.secret = reply.data["client_id"], reply.data["client_secret"]


async def settle(owner: asyncpg.Connection, records: list[Record], errands: list[Errand]) -> Counter[str]:
    """
    Hold *records*, a tenant's whole log, against what the callers were told. Returns how many were told what.

    What was acknowledged happened once, as it was said; what was refused did not; what was lost did once or not at all.
    Nothing else happened.
    """
    by_request: dict[str, Record] = {}
    for record in records:
        if record.client_id:
            assert record.actor.request_id not in by_request, f"happened twice: {record}"
            by_request[record.actor.request_id] = record
    rows = await owner.fetch("select event_id, private from events where tenant_id = $1", records[0].tenant_id)
    private = {row["event_id"]: row["private"] for row in rows}
    tally: Counter[str] = Counter()
    asked = set[str]()
    for errand in errands:
        asked |= {one.request_id for one in errand.tries}
        happened = [by_request[one.request_id] for one in errand.tries if one.request_id in by_request]
        assert len(happened) == errand.is_done or (not errand.is_done and len(happened) <= 1), (errand, happened)
        for one in errand.tries:
            if one.status in {NEVER_SENT, 409} or one.code in _NOTHING_HAPPENED or one.was_replayed:
                assert one.request_id not in by_request, f"happened all the same: {errand}"
            tally[str(one.code or one.status)] += 1
        tally[f"{errand.kind}: {'done' if errand.is_done else 'not known'}"] += 1
        tally["answers given again"] += errand.tries[-1].was_replayed
        if errand.secret:
            assert happened[0].client_id == errand.client_id
            argon2.PasswordHasher().verify(private[happened[0].event_id], errand.secret)
    assert by_request.keys() <= asked, "what nobody asked for happened"
    return tally


def told(tally: Counter[str]) -> dict[str, Any]:
    """*tally* in an order that can be read."""
    return dict(sorted(tally.items()))
