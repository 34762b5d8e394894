"""Writers without manners: some at the doors of services, some in transactions of their own, at the same tenants."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Self

import asyncpg
from aiohttp import ClientError, ClientSession

from service.bearer import Tokens
from tests import transactions
from tests.callers import Api, Reply
from tests.load import Door
from tests.transactions import Writer
from tests.waiting import until

_CLIENTS = "/admin/oauth/clients/"
_FORESEEN = {200, 201, 204, 404, 412, 503}
_BREATH_S = 0.02  # of a caller whose service is gone, or who was told to come back later
_PATIENCE_S = 300


class Fire:
    """
    Writers who go on until *goal* records are written: one at each of *doors*, and *raw* ones on the database itself.

    Args:
        doors: services; one that has several callers is named several times.
        url: of the database, as its owner.
        tenants: whom it is about (tenant: a client to clone).
    """

    def __init__(
        self,
        session: ClientSession,
        tokens: Tokens,
        doors: Sequence[Door],
        url: str,
        tenants: Mapping[str, str],
        *,
        raw: int,
        goal: int,
        random: Random,
    ) -> None:
        self.written = 0
        self.tally = Counter[str]()
        self._api = Api(session, "", tokens, {})
        self._doors, self._tenants, self._goal, self._random = doors, tenants, goal, random
        self._admin = asyncpg.create_pool(url, min_size=0, max_size=2)
        self._writers = [Writer(url, self._admin, list(tenants), random) for _ in range(raw)]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def kept(self) -> set[str]:
        """The ids of the events that a transaction of its own certainly wrote."""
        return {event_id for writer in self._writers for event_id in writer.kept}

    @property
    def undone(self) -> set[str]:
        """The ids of those that were rolled back."""
        return {event_id for writer in self._writers for event_id in writer.undone}

    async def __aenter__(self) -> Self:
        await self._admin
        works = [self._call(door) for door in self._doors] + [self._write(writer) for writer in self._writers]
        self._tasks = [asyncio.create_task(work) for work in works]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._goal = 0
        await asyncio.gather(*self._tasks)
        await self._admin.close()
        self.tally += sum((writer.tally for writer in self._writers), Counter())

    async def reached(self, count: int) -> None:
        """Wait until *count* records are written."""
        await until(lambda: self.written >= count or any(map(_has_failed, self._tasks)), patience_s=_PATIENCE_S)
        for task in filter(_has_failed, self._tasks):
            task.result()

    async def cut_lines(self) -> None:
        """End every session that listens to the doorbell."""
        self.tally["lines cut"] += len(await self._admin.fetch(_CUT_LINES, transactions.NAME))

    async def _write(self, writer: Writer) -> None:
        try:
            while self.written < self._goal:
                count = await writer.write()
                self.written += count
        finally:
            writer.close()

    async def _call(self, door: Door) -> None:
        while self.written < self._goal:
            tenant_id = self._random.choice(list(self._tenants))
            admin = self._api.as_role("admin", tenant_id)
            admin.base = door.base
            try:
                await self._story(admin, self._tenants[tenant_id])
            except ClientError:
                self.tally["broken"] += 1
                await asyncio.sleep(_BREATH_S)

    async def _story(self, admin: Api, source: str) -> None:
        """A clone's life: made, changed, not changed by one who was too late, deleted, and not there any more."""
        made = self._told(await admin.clone(source))
        if made.status != 201:
            await asyncio.sleep(_BREATH_S)
            return
        client_id = made.data["client_id"]
        if self._random.random() < 0.5:
            change = {"name": f"renamed {client_id}"}
            self._told(await admin.with_headers(If_Match='"1"').put(_CLIENTS + client_id, json=change))
            self._told(await admin.with_headers(If_Match='"99"').put(_CLIENTS + client_id, json=change))
        if self._random.random() < 0.3:
            self._told(await admin.delete(_CLIENTS + client_id))
            self._told(await admin.clone(client_id))

    def _told(self, reply: Reply) -> Reply:
        assert reply.status in _FORESEEN, reply.body
        self.tally[str(reply.status)] += 1
        self.written += reply.status < 300
        return reply


_CUT_LINES = """
select pg_terminate_backend(pid)
from pg_stat_activity
where application_name <> $1 and query ~ '^(LISTEN |select pg_notify|select$)'
"""


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and task.exception() is not None
