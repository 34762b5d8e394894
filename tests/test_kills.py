"""kill -9 under load: what was answered is there, and nothing is there twice."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random, SystemRandom

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from tests.load import Load, settle, sources
from tests.processes import Deployment, Postgres, deployed, own_postgres

TENANTS = 4


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=pytest.mark.torture)])
async def test_kills(binaries: Path | None, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whenever a service or its PostgreSQL is killed, it comes back by itself and has kept its word.

    Every 201 that a caller received is in the log after the restart, once, and "nothing was changed" is true.
    """
    seed = SystemRandom().getrandbits(32)
    random, total, started = Random(seed), Counter[str](), time.monotonic()
    victims = ["service", "postgres"] * (kills // 2)
    random.shuffle(victims)
    try:
        async with own_postgres(binaries) as postgres, deployed(postgres.running, 2) as deployment:
            for number, victim in enumerate(victims):
                total += await one_round(postgres, deployment, victim, number, random)
                total[f"kills of {victim}"] += 1
    except BaseException:
        print(f"\nseed {seed}, after {dict(total)}")  # noqa: T201 (pytest shows it with the failure)
        raise
    assert total["acknowledged"] > 10 * kills
    with capsys.disabled():
        if kills > 10:
            print(f"\n{dict(total)}, {time.monotonic() - started:.0f} s, seed {seed}")  # noqa: T201


async def one_round(
    postgres: Postgres, deployment: Deployment, victim: str, number: int, random: Random
) -> Counter[str]:
    """One kill amid the load on tenants of its own; returns what the callers were told, once it was proved."""
    names = [f"kill-{number}-{tenant}" for tenant in range(TENANTS)]
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        tenants = await sources(session, deployment.tokens, deployment.services[0], names)
        async with Load(session, deployment.tokens, deployment.services, tenants, random=random) as load:
            await load.more(random.randrange(150))
            for _ in range(random.randrange(60)):
                await asyncio.sleep(0)
            if victim == "service":
                service = random.choice(deployment.services)
                await service.kill()
                await service.start()
            else:
                await postgres.kill()
                await postgres.start()
            await load.recovered()
    owner = await asyncpg.connect(postgres.running.url("postgres"))
    try:
        return await settle(owner, tenants, load.answers)
    finally:
        await owner.close()
