"""`mitosis clients diff`: what an operator is told of a client between two moments."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from projections import history
from service.embedded import Embedded
from tests.callers import Api
from tests.commands import Mitosis, Said
from tests.laws import check
from tests.planting import defenceless, plant
from tests.waiting import until

CLIENTS = "/admin/oauth/clients/"
NOBODYS = "app-00000000000000000000000000"


@pytest.fixture
def compare(mitosis: Mitosis, tenant: str) -> Any:
    """`compare(client_id, begin, end, ...)` in the test's own tenant; without an end, with what is now."""

    async def run(client_id: str, begin: Any, end: Any = None, *more: str) -> Said:
        moments = ("--from", str(begin), *(() if end is None else ("--to", str(end))))
        return await mitosis("clients", "diff", client_id, "--tenant", tenant, *moments, *more)

    return run


@pytest.fixture
async def story(api: Api) -> str:
    """A client that was registered, changed, rotated and deleted, at positions 1 to 5; another one came at 6."""
    client_id = str((await api.register())["client_id"])
    change: dict[str, Any] = {"name": "other", "scopes": [], "website": None, "status": "suspended"}
    assert (await api.put(CLIENTS + client_id, json=change)).status == 200
    assert (await api.post(f"{CLIENTS}{client_id}/rotate-secret")).status == 200
    assert (await api.delete(CLIENTS + client_id)).status == 204
    await api.register()
    return client_id


async def test_field_by_field(story: str, compare: Any, tenant: str) -> None:
    """Each field that differs is a line, old and new as JSON; what has no value is a dash."""
    said = await compare(story, 1, 3)

    assert (said.status, said.err) == (0, "")
    assert said.lines == [
        f"{story} in {tenant}: version 1 at position 1 -> version 3 at position 3",
        '  status: "active" -> "suspended"',
        '  name: "My Application" -> "other"',
        '  scopes: ["openid","profile","email"] -> []',
        '  website: "https://app.example.com" -> -',
    ]


async def test_the_other_way_round(story: str, compare: Any) -> None:
    """Moments may be in any order: what it was later is then the old side."""
    said = await compare(story, 3, 1)

    assert '  name: "other" -> "My Application"' in said.lines
    assert '  website: - -> "https://app.example.com"' in said.lines


async def test_secrets(story: str, compare: Any, owner: asyncpg.Connection, tenant: str) -> None:
    """Of a secret it is told what is known of it, each by its id; never a secret or a hash."""
    records = await check(owner, tenant)
    old, new = records[0].event_id, records[3].event_id
    last_four = records[3].data.secret.last_four  # type: ignore[union-attr]  # it is a rotation

    told = (await compare(story, 3, 4)).lines[1:]

    assert [line.split(":")[0].strip() for line in told] == [
        *(f"secrets[{old}].{name}" for name in ("status", "expires_at")),
        *(f"secrets[{new}].{name}" for name in ("last_four", "status")),
    ]
    assert told[0].endswith('"active" -> "retired"')
    assert told[2].endswith(f'- -> "{last_four}"')


async def test_to_now(story: str, compare: Any) -> None:
    """Without --to it is compared with what is now: here, that it was deleted. Nothing may differ, and that is said."""
    deleted, same = await compare(story, 4), await compare(story, 5)

    assert deleted.lines[0].endswith("version 4 at position 4 -> version 5 at position 6")
    assert [line.split(":")[0] for line in deleted.lines[1:]] == ["  deleted_at"]
    assert (same.status, same.lines[1:]) == (0, ["  nothing differs"])


async def test_by_time(story: str, compare: Any, owner: asyncpg.Connection, tenant: str) -> None:
    """A time is the position of the last record that is not later."""
    first, *_, deletion, _ = [record.time for record in await check(owner, tenant)]
    before = (deletion - timedelta(microseconds=1)).isoformat()

    assert (await compare(story, first.isoformat(), before)).lines == (await compare(story, 1, 4)).lines
    now = datetime.now(UTC).isoformat()
    assert (await compare(story, first.isoformat(), now)).lines == (await compare(story, 1)).lines


async def test_what_was_not_there_yet(story: str, compare: Any, tenant: str) -> None:
    """Of a client that came between the moments all is told that it came with."""
    said = await compare(story, 0, 1)

    assert said.status == 0
    assert said.lines[0] == f"{story} in {tenant}: not there at position 0 -> version 1 at position 1"
    assert '  status: - -> "active"' in said.lines
    assert '  name: - -> "My Application"' in said.lines


async def test_json(story: str, compare: Any, tenant: str) -> None:
    """The same as one JSON object; a side without a value is left out."""
    said = await compare(story, 1, 3, "--json")

    assert json.loads(said.out) == {
        "tenant_id": tenant,
        "client_id": story,
        "from": {"position": 1, "version": 1},
        "to": {"position": 3, "version": 3},
        "differs": [
            {"field": "status", "from": "active", "to": "suspended"},
            {"field": "name", "from": "My Application", "to": "other"},
            {"field": "scopes", "from": ["openid", "profile", "email"], "to": []},
            {"field": "website", "from": "https://app.example.com"},
        ],
    }
    new = json.loads((await compare(story, 0, 1, "--json")).out)
    assert new["from"] == {"position": 0}
    assert {"field": "is_confidential", "to": True} in new["differs"]
    assert json.loads((await compare(story, 6, 6, "--json")).out)["differs"] == []


async def test_what_cannot_be_compared(story: str, compare: Any, mitosis: Mitosis, tenant: str) -> None:
    """What is not there, or has not come, is said in one line, with status 1."""
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for said, reason in (
        (await compare(NOBODYS, 1, 6), f"there was no {NOBODYS} in tenant {tenant}, neither at position 1 nor at 6"),
        (await compare(story, 0, 0), f"there was no {story} in tenant {tenant}, neither at position 0 nor at 0"),
        (await compare(story, 7), "--from is a position that the log has not reached: it ends at 6"),
        (await compare(story, 1, 7), "--to is a position that the log has not reached: it ends at 6"),
        (await compare(story, 1, future), "--to is in the future"),
        (
            await mitosis("clients", "diff", story, "--tenant", f"{tenant}-other", "--from", "0"),
            f"there was no {story} in tenant {tenant}-other, neither at position 0 nor at 0",
        ),
        (
            await mitosis("clients", "diff", story, "--tenant", "a b", "--from", "0"),
            "--tenant must be 1 to 128 printable ASCII characters without spaces",
        ),
    ):
        assert (said.status, said.out, said.err) == (1, "", f"mitosis: {reason}\n")


@pytest.mark.parametrize("arguments", [(NOBODYS, "yesterday"), ("demo", "1"), ("app-\udcff", "1"), (NOBODYS, "1", "x")])
async def test_what_is_not_understood(compare: Any, arguments: tuple[str, ...]) -> None:
    """A client id or a moment that can be none is a command that was not understood: status 2, in one line."""
    said = await compare(*arguments)

    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1)


async def test_a_damaged_log(story: str, compare: Any, owner: asyncpg.Connection, tenant: str) -> None:
    """Where a record is missing nothing is made up; the line says which could not follow."""
    async with defenceless(owner):
        await owner.execute("delete from events where tenant_id = $1 and position = 2", tenant)

    said = await compare(story, 1, 3)

    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(f"mitosis: position 3 of tenant {tenant}: ")


async def test_what_a_terminal_would_obey(compare: Any, owner: asyncpg.Connection, tenant: str) -> None:
    """A name that would move the cursor or turn the direction of writing does neither."""
    client = await plant(owner, tenant, name="\x1b[2J\u202eevil")

    said = await compare(client.client_id, 0, 1)

    assert said.status == 0
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out


async def test_the_role_it_reads_in(story: str, compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads as a consumer, to whom the database shows no private part and no client."""
    forbidden = list[str]()

    async def look(connection: asyncpg.Connection, *key: Any) -> Any:
        for query in ("select private from events limit 1", "select state from clients limit 1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.fetch(query)
            forbidden.append(query)
        return await as_of(connection, *key)

    as_of = history.as_of
    with monkeypatch.context() as patch:
        patch.setattr(history, "as_of", look)
        said = await compare(story, 1, 3)

    assert (said.status, len(said.lines), len(forbidden)) == (0, 5, 4)


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_a_database_that_goes_away(
    story: str, compare: Any, owner: asyncpg.Connection, postgres: Embedded, function: str
) -> None:
    """Cut off in the middle, it says so in one line."""
    ours = "from pg_stat_activity where application_name = 'mitosis clients diff'"
    holder = await asyncpg.connect(postgres.url("postgres"))
    async with holder.transaction():
        await holder.execute("lock table events in access exclusive mode")
        comparing = asyncio.create_task(compare(story, 1, 3))
        await until(lambda: owner.fetchval(f"select exists (select {ours} and wait_event_type = 'Lock')"))
        await owner.fetch(f"select {function}(pid) {ours}")

        said = await comparing
    await holder.close()

    assert (said.status, said.out, len(said.err.splitlines())) == (1, "", 1)
