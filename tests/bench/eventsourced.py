"""
The `eventsourcing` package on the same PostgreSQL, with the same payload: appending, and reading.

    python -m tests.bench.eventsourced append SECONDS CALLERS
    python -m tests.bench.eventsourced read COUNT

It is told where its database is by its own environment variables, and prints events a second.
"""

import asyncio
import sys
import threading
import time
from asyncio.subprocess import PIPE
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from events.client import ClientCloned, ClientSettings, IssuedSecret
from events.record import SCHEMA_VERSION, Actor, Record, encode
from tests.bench.servers import ROOT, Cluster
from tests.callers import EXAMPLE

_PAGE = 1000
_AT_ONCE = 100  # aggregates that are saved at once; with many more the driver waits for ever


class Client(Aggregate):
    """One that was cloned, and that is all."""

    @event("Cloned")
    def __init__(self, body: str) -> None:
        self.body = body


def payload() -> str:
    """What the service writes of a clone."""
    settings = msgspec.convert(EXAMPLE, ClientSettings)
    record = Record(
        event_id="0" * 26,
        tenant_id="bench",
        position=1,
        schema_version=SCHEMA_VERSION,
        client_id=f"app-{'0' * 26}",
        client_version=1,
        time=datetime(2026, 11, 26, tzinfo=UTC),
        actor=Actor(subject="admin@bench", role="admin", request_id="0" * 26),
        data=ClientCloned(
            id="0" * 26,
            source_id="app-source",
            source_version=1,
            status="active",
            settings=settings,
            secret=IssuedSecret(secret_id="0" * 26, last_four="abcd"),
        ),
    )
    return encode(record).decode()


def append(seconds: float, callers: int) -> float:
    """Events a second, from so many threads at once."""
    app = Application[UUID]()
    body, counts = payload(), [0] * callers
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < until:
            app.save(Client(body))
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.close()
    return sum(counts) / seconds


def read(count: int) -> float:
    """Events a second, each decoded, of *count* that are written first."""
    app = Application[UUID]()
    body = payload()
    for _ in range(0, count, _AT_ONCE):
        app.save(*(Client(body) for _ in range(_AT_ONCE)))
    began, place = time.perf_counter(), 1
    while notifications := app.recorder.select_notifications(place, _PAGE, inclusive_of_start=True):
        for notification in notifications:
            app.mapper.to_domain_event(notification)
        place = notifications[-1].id + 1
    app.close()
    return (place - 1) / (time.perf_counter() - began)


async def measure(cluster: Cluster, *arguments: str) -> float:
    """What the command says, in a new database."""
    database = f"eventsourcing_{arguments[0]}_{time.monotonic_ns()}"
    url = urlsplit(await cluster.create(database))
    environment = {
        "PATH": "/usr/bin:/bin",
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": database,
        "POSTGRES_HOST": parse_qs(url.query)["host"][0],
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "none",
        "POSTGRES_POOL_SIZE": "40",
        "POSTGRES_MAX_OVERFLOW": "0",
    }
    command = (sys.executable, "-m", "tests.bench.eventsourced", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment, cwd=ROOT)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the baseline failed")
    return float(said)


async def reading(cluster: Cluster, count: int) -> float:
    """Events a second."""
    return await measure(cluster, "read", str(count))


async def appending(cluster: Cluster, seconds: float, callers: int) -> float:
    """Events a second."""
    return await measure(cluster, "append", str(seconds), str(callers))


if __name__ == "__main__":
    if sys.argv[1] == "append":
        print(append(float(sys.argv[2]), int(sys.argv[3])))  # noqa: T201
    else:
        print(read(int(sys.argv[2])))  # noqa: T201
