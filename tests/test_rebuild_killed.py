"""A rebuild that is killed, interrupted or large: the table is whole at every moment, and memory has a bound."""

import asyncio
import os
import signal
import sys
import time
import tracemalloc
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import SystemRandom

import asyncpg
import pytest

from events.log import Conn
from projections import checking, rebuild
from projections.folding import Note
from projections.outcome import Outcome
from service.database import OPERATOR_ROLE
from service.embedded import Embedded
from tests.callers import Api
from tests.commands import Said
from tests.laws import check
from tests.leaks import WITNESS
from tests.rebuilding import dump, grow, nothing, writers
from tests.waiting import until

SIZE = 600  # clients, three records each
RUINED = SIZE // 2  # of them
_RUIN = """
update clients set state = (state::jsonb - 'updated_at')::json, name_folded = 'nobody'
where tenant_id = $1 and client_id ~ '^app-[0-9]*[13579]$'
"""
_IS_WAITING = """
select exists (
    select from pg_stat_activity where application_name = 'mitosis replay rebuild' and wait_event_type = 'Lock'
)
"""
Work = Callable[[Conn, str, Note], Awaitable[Outcome]]
_COMMAND = """
import sys
from service.cli import main, replay
print("ready", flush=True)
raise SystemExit(main(sys.argv[1:]))
"""


async def begun(postgres: Embedded, *arguments: str) -> Process:
    """The command as a process of its own, at the moment when it begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, "replay", "rebuild", *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env={"PATH": os.defpath, "MITOSIS_DATABASE_URL": postgres.url("postgres")},
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def ended(process: Process) -> Said:
    """What it said, and its exit status."""
    out, err = (said.decode() for said in await process.communicate())
    WITNESS.log("mitosis replay rebuild", out + err)
    assert process.returncode is not None
    return Said(process.returncode, out, err)


async def ruin(owner: Conn, tenant: str) -> None:
    """Alter half of the clients that a log of some size leads to."""
    assert await owner.execute(_RUIN, tenant) == f"UPDATE {RUINED}"


async def length_s(postgres: Embedded, tenant: str) -> float:
    """How long the command takes for *tenant*, once it has begun."""
    process = await begun(postgres, "--tenant", tenant, "--check")
    start = time.monotonic()
    await ended(process)
    return time.monotonic() - start


async def require_whole(owner: Conn, tenant: str) -> bool:
    """Assert that all that was ruined is so still, or nothing; returns whether nothing is."""
    outcome = await checking.check(owner, tenant, nothing)
    assert outcome.differing in {0, RUINED}
    assert {one.fields for one in outcome.differences} <= {("updated_at", "name_folded")}
    return outcome.differing == 0


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.torture)])
async def test_killed(api: Api, owner: asyncpg.Connection, postgres: Embedded, tenant: str, kills: int) -> None:
    """
    Whenever it is killed, every row that differed differs still, or none does; then it can be run again.

    Callers write meanwhile, and all that they write is there.
    """
    await grow(owner, tenant, [client for _ in range(3) for client in range(SIZE)])
    source = str((await api.register())["client_id"])
    random, limit_s = SystemRandom(), await length_s(postgres, tenant)

    async with writers(api, source, 2) as statuses:
        await ruin(owner, tenant)
        for _ in range(kills):
            process = await begun(postgres, "--tenant", tenant)
            await asyncio.sleep(random.uniform(0, 1.2 * limit_s))
            if process.returncode is None:
                process.kill()
            await ended(process)
            if await require_whole(owner, tenant):
                await ruin(owner, tenant)
        said = await ended(await begun(postgres, "--tenant", tenant))

    assert said.status == 0, said
    assert f"{RUINED} clients differed and were replaced" in said.out
    assert {*statuses} == {200, 201}
    await check(owner, tenant)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param("lock table clients_shadow in share mode", id="while it folds"),
        pytest.param("select from heads for update", id="while it waits to replace"),
    ],
)
async def test_interrupted(owner: asyncpg.Connection, postgres: Embedded, tenant: str, held: str) -> None:
    """Ctrl-C leaves nothing half done and says so; run again, it is as if it had not been run before."""
    await grow(owner, tenant, [client for _ in range(3) for client in range(SIZE)])
    await ruin(owner, tenant)

    holder = await asyncpg.connect(postgres.url("postgres"))
    async with holder.transaction():
        await holder.execute(held)
        process = await begun(postgres, "--tenant", tenant)
        await until(lambda: owner.fetchval(_IS_WAITING))
        process.send_signal(signal.SIGINT)
        said = await ended(process)
    await holder.close()

    stopped = "mitosis: stopped after 0 of 1 tenants; what was not replaced is as it was\n"
    assert said == Said(130, "", stopped)
    assert not await require_whole(owner, tenant)
    again = await ended(await begun(postgres, "--tenant", tenant))
    assert (again.status, await require_whole(owner, tenant)) == (0, True)
    assert (await dump(owner, tenant, tables=["clients_shadow"])) == {"clients_shadow": []}
    await check(owner, tenant)


BOUNDS = ("folding.BATCH", "rebuild.BATCH", "checking.BATCH", "rebuild.AT_ONCE", "shadow._COMPARED")


@pytest.mark.parametrize("work", [rebuild.rebuild, checking.check])
async def test_memory(
    postgres: Embedded, owner: asyncpg.Connection, tenant: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the records, and ten times the clients that all differ, take no more memory."""
    for name in BOUNDS:
        monkeypatch.setattr(f"projections.{name}", 100)
    small, large = f"{tenant}-small", f"{tenant}-large"
    for name, clients in ((small, 500), (large, 5000)):
        await grow(owner, name, [client for _ in range(4) for client in range(clients)])
        await owner.execute("update clients set name_folded = '' where tenant_id = $1", name)
    operator = await asyncpg.connect(postgres.url("postgres"), server_settings={"role": OPERATOR_ROLE})
    peaks = list[int]()

    for name in (small, small, large):  # the first time is for what is made once
        tracemalloc.start()
        outcome = await work(operator, name, nothing)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        if name == small:
            await owner.execute("update clients set name_folded = '' where tenant_id = $1", name)

    await operator.close()
    assert (outcome.differing, outcome.clients, outcome.position) == (5000, 5000, 20000)
    assert peaks[2] < 2 * peaks[1], peaks
