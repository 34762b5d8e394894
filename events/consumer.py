"""
Named consumers, for Python programs: every record of every tenant, at least once, in each tenant's order.

    pool = asyncpg.create_pool(url, server_settings={"role": "mitosis_consumer"})
    async with pool, Consumer(pool, "billing") as consumer:
        async for entry in consumer:
            await tell_billing(entry.record)

Any number of processes may run the consumer of one name: they divide the tenants, and when one dies the others take its
tenants over within seconds (see `events.checkpoints`). What a process had not yet noted as done when it died is handed
out again. With `run_in_transaction`, where the handler writes to this database, nothing counts twice.

A handler that fails is asked again, later each time; then the tenant is parked for this consumer, with the error, until
`mitosis consumers resume`. Other tenants go on. A database that is away parks nobody.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from types import TracebackType
from typing import Self

import asyncpg

from events import checkpoints, log
from events.database import borrowed
from events.doorbell import Doorbell
from events.errors import DatabaseAway, Fenced, HandlerFailed
from events.log import Conn, Entry
from events.share import Share, is_cancelled

TICK_S = 1.0  # between two signs of life, and two looks for what the doorbell did not say
BATCH = 100  # records that are read, and noted as done, at once
_RUSH_S = 0.05  # between two looks when the bell rings on and on

Handler = Callable[[Entry], Awaitable[None]]
TransactionHandler = Callable[[Entry, Conn], Awaitable[None]]
_Work = Callable[[str, list[Entry]], Awaitable[None]]

_logger = logging.getLogger(__name__)


class Consumer:
    """
    One process of the consumer *name*.

    Args:
        pool: sessions in the role mitosis_consumer; one is kept for the doorbell, so it takes two or more.
        concurrency: tenants that are handled at once.
        attempts: how often a handler is asked before its tenant is parked.
        backoff_s: before the second attempt; twice as long before each further one.
        timeout_s: the longest wait for the database.
        transaction_s: the longest that a handler in a transaction may take.
    """

    def __init__(  # noqa: PLR0913 (each is a promise to whoever runs one)
        self,
        pool: asyncpg.Pool,
        name: str,
        *,
        concurrency: int = 8,
        attempts: int = 5,
        backoff_s: float = 0.2,
        timeout_s: float = 5.0,
        transaction_s: float = 60.0,
    ) -> None:
        self.name = name
        self._pool = pool
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._timeout_s = timeout_s
        self._transaction_s = transaction_s
        self._doorbell = Doorbell(pool, timeout_s=timeout_s)
        self._share = Share(pool, name, timeout_s=timeout_s)
        self._busy: set[str] = set()
        self._rung: set[str] = set()
        self._news = asyncio.Event()
        self._records_of: AsyncGenerator[Entry, None] | None = None

    async def run(self, handle: Handler) -> None:
        """
        Hand every record to *handle*, until cancelled. One is done when *handle* has returned.

        Raises:
            ExceptionGroup: of why it cannot go on: DatabaseAway where the pool was closed, whatever a statement fails
                for that the role may not execute.
        """

        async def work(tenant_id: str, entries: list[Entry]) -> None:
            begun = done = self._share.claims[tenant_id].position
            try:
                for entry in entries:
                    log.require_next(done, entry)
                    await self._persist(entry, handle)
                    done = entry.position
            finally:
                # on the way out too, whatever for: what was done shall not be done again
                if done > begun:
                    await self._share.move(tenant_id, done)

        await self._run(work)

    async def run_in_transaction(self, handle: TransactionHandler) -> None:
        """
        Hand every record to *handle*, until cancelled, with a connection in the transaction that notes it as done.

        What *handle* writes on that connection is there once, whatever dies when. Raises as `run`.
        """
        clock = asyncio.get_running_loop().time

        async def in_transaction(entry: Entry) -> None:
            claim, begun = self._share.claims[entry.tenant_id], clock()
            log.require_next(claim.position, entry)
            try:
                async with borrowed(self._pool, self._transaction_s) as connection, connection.transaction():
                    claim = await checkpoints.move(connection, self.name, claim, entry.position)
                    await _handled(handle(entry, connection), connection)
            except DatabaseAway as error:
                if clock() - begun >= self._transaction_s:
                    raise HandlerFailed(f"it took longer than {self._transaction_s} s") from error
                raise
            self._share.claims[entry.tenant_id] = claim

        async def work(_tenant_id: str, entries: list[Entry]) -> None:
            for entry in entries:
                await self._persist(entry, in_transaction)

        await self._run(work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._records_of is not None:
            await self._records_of.aclose()

    def __aiter__(self) -> AsyncIterator[Entry]:
        """Every record, one after the other. One is done when the next is asked for."""
        self._records_of = self._records()
        return self._records_of

    async def _records(self) -> AsyncGenerator[Entry, None]:
        offers: asyncio.Queue[tuple[Entry, asyncio.Future[None]]] = asyncio.Queue(1)

        async def offer(entry: Entry) -> None:
            done = asyncio.get_running_loop().create_future()
            await offers.put((entry, done))
            await done

        running = asyncio.create_task(self.run(offer))
        try:
            while True:
                offered = asyncio.create_task(offers.get())
                try:
                    await asyncio.wait({offered, running}, return_when=asyncio.FIRST_COMPLETED)
                    if running.done():
                        await running
                    entry, done = await offered
                finally:
                    offered.cancel()
                yield entry
                if not done.done():  # or it failed meanwhile, which is told now
                    done.set_result(None)
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _run(self, work: _Work) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                with self._doorbell.heard_by(self._hear):
                    bell = group.create_task(self._doorbell.run())
                    try:
                        await self._attend(group, work)
                    finally:
                        bell.cancel()
        finally:
            await self._share.leave()

    async def _attend(self, group: asyncio.TaskGroup, work: _Work) -> None:
        """See to it that each tenant of ours that has news is worked on."""
        clock = asyncio.get_running_loop().time
        divided, next_tick = 0.0, clock()
        while True:
            due, self._rung = self._rung & self._share.claims.keys(), self._rung & self._busy
            if clock() >= next_tick:
                divided, next_tick = clock(), clock() + TICK_S
                try:
                    due |= await self._share.divide(self._busy)
                except DatabaseAway as error:
                    if self._pool.is_closing():
                        raise  # nobody brings that back
                    _logger.warning("consumer_waits", exc_info=error, extra={"consumer": self.name})
            for tenant_id in due & self._share.claims.keys() - self._busy:
                self._busy.add(tenant_id)
                group.create_task(self._work_on(tenant_id, work))
            try:
                async with asyncio.timeout(max(next_tick - clock(), 0)):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            if any(self._share.has(tenant_id) for tenant_id in self._rung - self._share.claims.keys()):
                next_tick = min(next_tick, divided + _RUSH_S)

    async def _work_on(self, tenant_id: str, work: _Work) -> None:
        """Deal with a tenant's news as long as there are some and it is ours."""
        told = {"consumer": self.name, "tenant": tenant_id}
        try:
            while self._share.has(tenant_id):
                position = self._share.claims[tenant_id].position
                async with borrowed(self._pool, self._timeout_s) as connection:
                    news = await log.news(connection, {tenant_id: position}, limit=BATCH)
                if not news:
                    break
                await work(tenant_id, news[tenant_id])
        except Fenced as error:
            _logger.info("tenant_lost", exc_info=error, extra=told)
            del self._share.claims[tenant_id]
        except DatabaseAway as error:
            _logger.warning("consumer_waits", exc_info=error, extra=told)
        except Exception as error:
            _logger.error("tenant_parked", exc_info=error, extra=told)  # noqa: TRY400 (as all logs)
            await self._share.park(tenant_id, error.__cause__ or error)
        finally:
            self._busy.discard(tenant_id)
            if tenant_id in self._rung:
                self._news.set()  # it rang after the last look

    async def _persist(self, entry: Entry, handle: Handler) -> None:
        """
        Have *entry* handled, however often it takes.

        Raises:
            Fenced: the tenant is somebody else's by now.
            Exception: what the handler raised the last time.
        """
        failures, pause_s = 0, self._backoff_s
        while True:
            try:
                async with self._slots:
                    return await handle(entry)
            except Fenced:
                raise
            except Exception as error:
                if is_cancelled():
                    raise asyncio.CancelledError from error
                failures += not isinstance(error, DatabaseAway)
                if failures >= self._attempts:
                    raise
                _logger.warning(
                    "record_not_handled", exc_info=error, extra={"consumer": self.name, "tenant": entry.tenant_id}
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._backoff_s * 2**self._attempts)

    def _hear(self, tenants: Collection[str] | None) -> None:
        if tenants is not None:
            self._rung |= set(tenants)
        self._news.set()


async def _handled(handling: Awaitable[None], connection: Conn) -> None:
    """Tell a handler's own failure, whatever it is, from the loss of the connection that it was handed."""
    try:
        await handling
    except Exception as error:
        if connection.is_closed():
            raise
        raise HandlerFailed(str(error)) from error
