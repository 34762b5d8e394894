"""Who writes to the log without a service, in transactions that end in every way there is."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import msgspec
from ulid import ULID

from events import chain, log
from events.client import ClientRegistered, ClientSettings, IssuedSecret
from events.database import is_away
from events.doorbell import CHANNEL
from events.log import Conn, Entry, Head
from events.record import SCHEMA_VERSION, Actor, Record, encode
from projections.clients import apply, save
from tests.callers import EXAMPLE

NAME = "a writer"  # of its sessions
_FATES = {"committed": 6, "rolled back": 1, "slow": 1, "cut at once": 1, "cut at commit": 1}  # how likely each is
_MOST = 30  # records of one transaction
_SLOW_S = 0.4  # the longest that one is held open
_PRIVATE = "$argon2id$a-hash-of-nothing"


async def append(connection: Conn, tenant_id: str, count: int, **changes: Any) -> set[str]:
    """
    *count* new clients of a tenant that has a head, in the transaction that is open; returns their events' ids.

    Each has the contract's example settings with *changes*, which nobody checked.
    """
    head = (await log.lock(connection, [tenant_id], wait=True))[tenant_id]
    settings = msgspec.convert({**EXAMPLE, **changes}, ClientSettings)
    entries, clients = [], []
    for _ in range(count):
        ulid, event_id = str(ULID()), str(ULID())
        secret = IssuedSecret(secret_id=event_id, last_four="abcd")
        record = Record(
            event_id=event_id,
            tenant_id=tenant_id,
            position=head.position + 1,
            schema_version=SCHEMA_VERSION,
            client_id=f"app-{ulid.lower()}",
            client_version=1,
            time=max(datetime.now(UTC), head.time),
            actor=Actor(subject="writer", role="system", request_id="none"),
            data=ClientRegistered(id=ulid, status="active", settings=settings, secret=secret),
            sealed=chain.seal(_PRIVATE),
        )
        body = encode(record)
        head = Head(record.position, chain.link(head.digest, body), record.time)
        entries.append(Entry(tenant_id, record.position, event_id, head.digest, body, _PRIVATE))
        clients.append(apply(None, record))
    await log.append(connection, entries, {tenant_id: head})
    await save(connection, clients)
    return {entry.event_id for entry in entries}


class Writer:
    """
    Writes as the owner, one transaction after the other, each on a random tenant and of a random fate.

    `kept` are the ids of events that were certainly written, `undone` those that certainly were not; of the others
    nobody said what became of them.
    """

    def __init__(self, url: str, admin: asyncpg.Pool, tenants: list[str], random: Random) -> None:
        self.kept, self.undone = set[str](), set[str]()
        self.tally = Counter[str]()
        self._url, self._admin, self._tenants, self._random = url, admin, tenants, random
        self._connection: asyncpg.Connection | None = None

    async def write(self) -> int:
        """One transaction; how many records it certainly wrote."""
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url, server_settings={"application_name": NAME})
        (fate,) = self._random.choices(list(_FATES), list(_FATES.values()))
        self.tally[fate] += 1
        try:
            return await self._write(self._connection, fate)
        except Exception as error:
            if not is_away(error):
                raise
            self.tally["connections lost"] += 1
            self.close()
            return 0

    def close(self) -> None:
        """Nothing is open after that."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _write(self, connection: asyncpg.Connection, fate: str) -> int:
        tenant_id, count = self._random.choice(self._tenants), self._random.randint(1, _MOST)
        cutting = None
        try:
            transaction = connection.transaction()
            await transaction.start()
            if fate == "cut at once":
                cutting = self._cut(connection)
            ids = await append(connection, tenant_id, count)
            if fate == "rolled back":
                await transaction.rollback()
                self.undone |= ids
                return 0
            if fate == "slow":
                await asyncio.sleep(self._random.random() * _SLOW_S)
            if fate == "cut at commit":
                cutting = self._cut(connection)
            await transaction.commit()
        finally:
            if cutting is not None:
                await cutting
        self.kept |= ids
        if self._random.random() < 0.5:  # of the others nobody hears, so they are looked for
            await connection.execute("select pg_notify($1, $2)", CHANNEL, msgspec.json.encode([tenant_id]).decode())
        return count

    def _cut(self, connection: asyncpg.Connection) -> asyncio.Task[str]:
        pid = connection.get_server_pid()
        return asyncio.create_task(self._admin.execute("select pg_terminate_backend($1)", pid))
