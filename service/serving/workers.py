"""
The processes that serve, as many as are wanted: all accept on the same sockets, and one that dies is replaced.

Each is a Python of its own, started anew rather than forked: when one is replaced this process has an event loop,
threads and the lock on the home, none of which a fork may have. What it serves, passwords included, it is told on a
pair of sockets that is its standard input, so no command line or file holds it. The same line tells each side that the
other is gone, however that came about: the kernel closes it.
"""

import asyncio
import logging
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

from prometheus_client import ProcessCollector

from service.config import Config
from service.metrics.families import Family, counter, families, gauge, lasting, merged
from service.metrics.measuring import DATABASE_S
from service.serving import CannotServe, line
from service.serving.accepting import ANSWER_S
from service.serving.sharing import Shares

_MAIN = "import sys; sys.path[:] = sys.argv[1:]; from service.serving.worker import main; main()"
_START_S = 60.0
_LATE_S = ANSWER_S + 15  # the database and the hashes have their own limits, within which a worker ends
_MEASURED_S = DATABASE_S + 1  # for all of them together
_PAUSE_S = 1.0  # between the starts of a worker and of the one that replaces it
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # who lived so long did not die of starting

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def working(config: Config, sockets: Sequence[socket.socket]) -> AsyncIterator["Workers"]:
    """
    As many workers as *config* wants, all of which serve on *sockets*; in the end they answer what is in flight.

    Raises:
        CannotServe: one of them could not start.
    """
    workers = Workers(config, sockets)
    try:
        await workers.start()
        yield workers
    finally:
        await workers.stop()


class Workers:
    """The workers, made by `working`."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self._config = config
        self._sockets = sockets
        self._shares = Shares.of(config.workers)
        self._alive: set[_Worker] = set()
        self._counted: list[Family] = []  # by those that are gone
        self._replaced = 0
        self._questions = count()
        self._keeping: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """
        Start them, and wait until all serve.

        Raises:
            CannotServe: one of them ended instead, or none did for a while.
        """
        first = [asyncio.get_running_loop().create_future() for _ in range(self._config.workers)]
        self._keeping = [asyncio.create_task(self._keep(number, each)) for number, each in enumerate(first)]
        starting = set(first)
        try:
            while starting:
                done, starting = await asyncio.wait(starting, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    raise CannotServe(f"{len(starting)} workers do not serve {_START_S:.0f} s after the others")
                for error in [each.exception() for each in done]:  # all are asked: one left out would be logged
                    if error is not None:
                        raise error
        finally:
            for each in starting:
                each.cancel()

    async def stop(self) -> None:
        """Nobody is accepted any more; what is in flight is answered, and no worker is left."""
        self._ending.set()
        for each in self._sockets:
            each.close()
        for worker in self._alive:
            worker.terminate()
        await asyncio.wait(self._keeping, timeout=_LATE_S)
        for worker in self._alive:
            worker.kill()
        await asyncio.gather(*self._keeping)

    async def measured(self) -> list[Family]:
        """
        What all of them have to say, as if they were one.

        What a worker had counted until it was last asked stays counted when it is gone. One that does not answer in
        time counts as it did the last time, and is not among those that serve.
        """
        number = next(self._questions)
        serving = [worker for worker in self._alive if worker.is_serving]
        # the database is asked once, for all
        answers = [worker.ask(line.Question(number, ask_database=worker is serving[0])) for worker in serving]
        if answers:
            await asyncio.wait(answers, timeout=_MEASURED_S)
        here = [worker.measured for worker in self._alive if worker.answered == number]
        late = [lasting(worker.measured) for worker in self._alive if worker.answered != number]
        ours = [
            *families(ProcessCollector(registry=None).collect()),
            gauge("mitosis_workers", "Workers that serve.", len(here)),
            counter("mitosis_workers_replaced", "Workers that ended and were replaced.", self._replaced),
        ]
        return merged([*here, *late, self._counted, ours])

    async def _keep(self, number: int, first: "asyncio.Future[None]") -> None:
        """Have a worker *number*, and another one whenever it dies. *first* is for how the first one started."""
        clock = asyncio.get_running_loop().time
        pause_s = _PAUSE_S
        while not self._ending.is_set():
            began = clock()
            try:
                why = await self._attend(await self._started(number), first)
            except OSError as error:  # there are too many processes, or no memory
                why = error.strerror or str(error)
            except Exception as error:  # what it said is nothing that a worker says: the next one may
                _logger.exception("worker_lost")
                why = type(error).__name__
            self._shares.leave(number)
            if self._ending.is_set():
                break
            if not first.done():
                first.set_exception(CannotServe(why))
                return
            lived_s = clock() - began
            pause_s = _PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._replaced += 1
            wait_s = max(pause_s - lived_s, 0)
            _logger.error("worker_ended", extra={"reason": why, "replaced_in_s": round(wait_s, 3)})
            await self._rest(wait_s)
        first.cancel()

    async def _started(self, number: int) -> "_Worker":
        """A new worker, which was told what to do."""
        sockets = [each.fileno() for each in self._sockets]
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", _MAIN, *sys.path),
                    stdin=theirs.fileno(),
                    stdout=DEVNULL,
                    pass_fds=[*sockets, self._shares.descriptor],
                    start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which stops them in order
                )
            except BaseException:
                ours.close()
                raise
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=line.LONGEST_BYTES)
            writer.write(line.encode(line.Order(self._config, sockets, self._shares.descriptor, number)))
        except BaseException:
            process.kill()
            raise
        return _Worker(process, reader, writer)

    async def _attend(self, worker: "_Worker", first: "asyncio.Future[None]") -> str:
        """Until *worker* ends; returns why it did."""
        self._alive.add(worker)
        try:
            if self._ending.is_set():
                worker.terminate()
            why = None
            while (said := await worker.word()) is not None:
                match said:
                    case line.Cannot():
                        why = said.reason
                    case line.Serving():
                        worker.is_serving = True
                        if not first.done():
                            first.set_result(None)
                    case line.Measured():
                        worker.told(said)
            status = await worker.end()
            return why or f"worker {worker.pid} ended with status {status}"
        finally:
            worker.abandon()  # unless it has ended: of one that nobody attends to nobody would hear
            self._alive.discard(worker)
            self._counted = merged([self._counted, lasting(worker.measured)])

    async def _rest(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._ending.wait()
        except TimeoutError:
            pass


class _Worker:
    """One of them, and the line to it."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_serving = False
        self.measured: list[Family] = []  # as it told the last time
        self.answered: int | None = None  # which question that was
        self._asked: tuple[int, asyncio.Future[None]] | None = None
        self._process = process
        self._reader = reader
        self._writer = writer

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, question: line.Question) -> "asyncio.Future[None]":
        """Ask for its metrics; what is returned is done when they are here, or never will be."""
        self._writer.write(line.encode(question))
        answer = asyncio.get_running_loop().create_future()
        self._asked = (question.number, answer)
        return answer

    def told(self, measured: line.Measured) -> None:
        """It answered, perhaps what it was asked before."""
        self.measured, self.answered = measured.families, measured.number
        self._settle(measured.number)

    def _settle(self, number: int | None = None) -> None:
        if self._asked is not None and number in {None, self._asked[0]} and not self._asked[1].done():
            self._asked[1].set_result(None)

    async def word(self) -> line.Word | None:
        """What it says next; None when it has ended."""
        try:
            said = await self._reader.readline()
        except ConnectionError:
            return None
        return line.decode_word(said) if said.endswith(b"\n") else None

    async def end(self) -> int:
        """Its exit status, once it has one."""
        self._settle()
        self._writer.close()
        return await self._process.wait()

    def abandon(self) -> None:
        """End it, and hear no more of it."""
        self.kill()
        self._settle()
        self._writer.close()

    def terminate(self) -> None:
        """Tell it to stop."""
        if self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()
