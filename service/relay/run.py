"""`mitosis relay`: from a database and a broker's URL to a running consumer, and in order back to nothing."""

import asyncio
import signal
import sys
from pathlib import Path

import asyncpg

from events.consumer import Consumer
from events.database import borrowed
from events.errors import DatabaseAway
from service import logs, schema
from service.config import Config
from service.database import CONSUMER_ROLE, open_pool
from service.dsn import name_of, unusable
from service.relay.publisher import CannotRelay, Publisher

_POOL_SIZE = 5  # the doorbell's line, and the rest for reading and noting
_ATTEMPTS = 3  # what a publisher raises does not pass by itself
_AT_ONCE = 32  # tenants: each waits for one acknowledgement after the other


async def relay(  # noqa: PLR0913 (the command line's words)
    config: Config, url: str, *, database_url: str, name: str, stream: str, credentials: Path | None
) -> None:
    """
    Publish every record to the broker at *url* until SIGINT or SIGTERM; then note what is stored, and leave.

    A database or a broker that cannot be had at the start is an error, so that a wrong address shows at once; what goes
    away later is waited for.

    Args:
        config: how long the database may take.
        url: `nats://host:4222`; with user and password, or a token, where the server wants them.
        database_url: who it names may become mitosis_consumer.
        name: the consumer's. Relays of one name divide the tenants.
        stream: what a stream is called that must be made.
        credentials: a NATS credentials file.

    Raises:
        CannotRelay: it cannot start; the message says why.
    """
    logs.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    relaying = asyncio.create_task(_relay(config, url, database_url, name, stream, credentials))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({relaying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        relaying.cancel()
        await asyncio.wait({relaying})
    if not relaying.cancelled():
        relaying.result()


async def _relay(  # noqa: PLR0913, PLR0917
    config: Config, url: str, database_url: str, name: str, stream: str, credentials: Path | None
) -> None:
    timeout_s = config.database_timeout_s
    async with open_pool(database_url, size=_POOL_SIZE, timeout_s=timeout_s, role=CONSUMER_ROLE) as pool:
        await _check(pool, database_url, timeout_s)
        publisher = await _opened(url, stream, credentials)
        try:
            sys.stdout.write(
                f"Mitosis relays {name_of(database_url)} to {publisher.where} as {name}.\nCtrl-C stops it.\n"
            )
            sys.stdout.flush()
            consumer = Consumer(pool, name, concurrency=_AT_ONCE, attempts=_ATTEMPTS, timeout_s=timeout_s)
            await consumer.run(publisher.publish)
        finally:
            await publisher.close()


async def _check(pool: asyncpg.Pool, database_url: str, timeout_s: float) -> None:
    where = name_of(database_url)
    try:
        async with borrowed(pool, timeout_s) as connection:
            found = await schema.current(connection)
    except (DatabaseAway, asyncpg.PostgresError, ValueError) as error:
        why = unusable(error.__cause__ or error)
        raise CannotRelay(f"the database {where} cannot be used as {CONSUMER_ROLE}: {why}") from error
    if found < schema.version():
        raise CannotRelay(f"the schema of {where} is older than this program; start the service once")


async def _opened(url: str, stream: str, credentials: Path | None) -> Publisher:
    try:
        from service.relay.nats import JetStream  # noqa: PLC0415 (an extra: whoever relays nothing does without)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "nats":
            raise
        raise CannotRelay("NATS needs the package nats-py: pip install 'mitosis[nats]'") from None
    return await JetStream.open(url, stream=stream, credentials=credentials)
