"""Idempotency-Key on registration and clone: a retry gets the answer that was lost."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import ClientError, ClientSession

from events import log
from service import receipts
from service.app import build
from service.config import Config
from tests.callers import EXAMPLE, Api, Reply
from tests.conftest import Served
from tests.laws import check
from tests.processes import deployed, own_postgres

CLIENTS = "/admin/oauth/clients/"


def keyed(api: Api, key: str | None = None) -> Api:
    """The same caller, with an Idempotency-Key."""
    return api.with_headers(Idempotency_Key=key or f'"{uuid.uuid4()}"')


async def test_a_retry(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """The same request under the same key is answered to the letter as before, and happens once."""
    source = await api.register()
    caller = keyed(api)

    first, again = [await caller.clone(source["client_id"], json={"name": "copy"}) for _ in range(2)]

    assert first.status == again.status == 201
    assert first.body == again.body
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Cache-Control", "Pragma", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert len(await check(owner, tenant)) == 2


async def test_a_retry_of_a_registration(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A registration is retried as a clone is; how the JSON is laid out makes no difference."""
    caller = keyed(api)
    text = msgspec.json.encode(EXAMPLE)
    headers = {"Content-Type": "application/json"}

    first = await caller.post(CLIENTS, data=text, headers=headers)
    again = await caller.post(CLIENTS, data=msgspec.json.format(text, indent=4), headers=headers)

    assert first.body == again.body
    assert len(await check(owner, tenant)) == 1


async def test_a_retry_after_the_source_is_gone(api: Api) -> None:
    """What was answered is answered again, whatever became of the source."""
    source = await api.register()
    caller = keyed(api)
    first = await caller.clone(source["client_id"])
    await api.delete(CLIENTS + source["client_id"])

    assert (await caller.clone(source["client_id"])).body == first.body


async def test_another_request_under_the_key(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A key is for one request: another body, source or route is 422, and nothing happens."""
    one, other = await api.register(), await api.register()
    caller = keyed(api)
    await caller.clone(one["client_id"])

    for reply in (
        await caller.clone(one["client_id"], json={"name": "copy"}),
        await caller.clone(other["client_id"]),
        await caller.post(CLIENTS, json=EXAMPLE),
    ):
        assert (reply.status, reply.body["code"]) == (422, 422001)
    assert len(await check(owner, tenant)) == 3


async def test_another_tenants_key(api: Api, tenant: str) -> None:
    """The same key of another tenant is another key."""
    key = str(uuid.uuid4())
    mine = await keyed(api, key).post(CLIENTS, json=EXAMPLE)
    theirs = await keyed(api.as_role("admin", f"{tenant}-other"), key).post(CLIENTS, json=EXAMPLE)

    assert mine.status == theirs.status == 201
    assert mine.data["client_secret"] != theirs.data["client_secret"]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", 201),
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', 201),
        ('"with spaces, and \\"quotes\\" in it"', 201),
        ("x" * 22, 201),
        ("x" * 255, 201),
        ("x" * 21, 400),
        (f'"{"x" * 21}"', 400),
        ("x" * 256, 400),
        ("", 400),
        ('"unterminated-and-long-enough', 400),
        ("bare with spaces, long enough", 400),
        ("schlüssel-die-lang-genug-sind", 400),
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324";a=1', 400),
    ],
)
async def test_forms_of_a_key(api: Api, key: str, status: int) -> None:
    """A key is a quoted Structured Field string or bare, and long enough to be a secret."""
    reply = await keyed(api, key or " ").post(CLIENTS, json=EXAMPLE)

    assert reply.status == status
    if status == 400:
        assert reply.body["code"] == 400009


async def test_quoted_or_bare(api: Api) -> None:
    """A key is the same key with quotes and without."""
    key = str(uuid.uuid4())

    first = await keyed(api, key).post(CLIENTS, json=EXAMPLE)
    again = await keyed(api, f'"{key}"').post(CLIENTS, json=EXAMPLE)

    assert first.body == again.body


async def test_a_refusal_is_not_kept(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """What was refused has not happened: mended, it may be sent under the same key."""
    caller = keyed(api)

    assert (await caller.post(CLIENTS, json={**EXAMPLE, "name": ""})).status == 400
    assert (await caller.clone("app-nobody")).status == 404
    assert (await caller.post(CLIENTS, json=EXAMPLE)).status == 201
    assert len(await check(owner, tenant)) == 1


async def test_a_retry_storm(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """50 at once under one key: one client, one event, and 50 equal answers or 409s."""
    source = await api.register()
    caller = keyed(api)

    replies = await asyncio.gather(*(caller.clone(source["client_id"]) for _ in range(50)))

    answered = [reply for reply in replies if reply.status == 201]
    assert {reply.status for reply in replies} <= {201, 409}
    assert {reply.body["code"] for reply in replies if reply.status == 409} <= {409003}
    assert answered
    assert all(reply.body == answered[0].body for reply in answered)
    assert len(await check(owner, tenant)) == 2
    assert (await caller.clone(source["client_id"])).body == answered[0].body


async def test_a_retry_storm_through_two_processes(
    api: Api, tenant: str, owner: asyncpg.Connection, config: Config
) -> None:
    """What two applications on one database are asked under one key happens once, and both answer the same."""
    source = await api.register()
    key = str(uuid.uuid4())
    async with Served(build(config)) as other:
        second = Api(api.session, str(other.make_url("")).rstrip("/"), api.tokens, api.headers)
        replies = await asyncio.gather(
            *(keyed(caller, key).clone(source["client_id"]) for caller in (api, second) for _ in range(10))
        )

    answered = [reply for reply in replies if reply.status == 201]
    assert {reply.status for reply in replies} <= {201, 409}
    assert all(reply.body == answered[0].body for reply in answered)
    assert len(await check(owner, tenant)) == 2


async def test_a_kill_between_commit_and_answer(binaries: Path | None, tenant: str) -> None:
    """Killed when the event is there and the answer may not be out: the retry gets that client, and it is one."""
    async with (
        own_postgres(binaries) as postgres,
        deployed(postgres.running, 1) as deployment,
        ClientSession() as session,
    ):
        (service,) = deployment.services
        owner = await asyncpg.connect(postgres.running.url("postgres"))
        for number in range(1, 6):
            api = Api(session, service.base, deployment.tokens, {}).as_role("admin", tenant)
            caller = keyed(api)
            lost = asyncio.create_task(caller.post(CLIENTS, json=EXAMPLE))
            while (await log.head(owner, tenant)).position < number:
                pass
            await service.kill()
            outcome = (await asyncio.gather(lost, return_exceptions=True))[0]
            await service.start()
            again = Api(session, service.base, deployment.tokens, caller.headers)

            reply = await again.post(CLIENTS, json=EXAMPLE)

            assert (reply.status, reply.headers.get("Idempotency-Replayed")) == (201, "true")
            records = await check(owner, tenant)
            assert len(records) == number
            assert records[-1].client_id == reply.data["client_id"]
            assert isinstance(outcome, ClientError) or (isinstance(outcome, Reply) and outcome.body == reply.body)
        await owner.close()


async def test_what_is_kept_reveals_nothing(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A receipt holds neither the key nor the secret nor the client's id in plain."""
    key = str(uuid.uuid4())
    data = (await keyed(api, key).post(CLIENTS, json=EXAMPLE)).data

    kept = await owner.fetchrow("select * from receipts where tenant_id = $1", tenant)

    assert kept is not None
    for value in kept.values():
        for secret in (key, data["client_secret"], data["client_id"]):
            assert secret not in (value.decode("latin-1") if isinstance(value, bytes) else str(value))


async def test_a_receipt_has_its_time(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """After its time a key is free again, whether its receipt was swept or not; what is swept is what expired."""
    caller = keyed(api)
    first = await caller.post(CLIENTS, json=EXAMPLE)
    await keyed(api).post(CLIENTS, json=EXAMPLE)
    expire = "update receipts set expires_at = now() where tenant_id = $1 and answer = $2"
    kept = await owner.fetchval("select answer from receipts where tenant_id = $1 order by expires_at limit 1", tenant)
    await owner.execute(expire, tenant, kept)

    second = await caller.post(CLIENTS, json=EXAMPLE)

    assert second.data["client_id"] != first.data["client_id"]
    await owner.execute("update receipts set expires_at = now() - interval '1 s' where tenant_id = $1", tenant)
    while await receipts.sweep(owner):
        pass
    assert await owner.fetchval("select count(*) from receipts where tenant_id = $1", tenant) == 0
    assert (await check(owner, tenant))[2:]


async def test_a_failed_turn_keeps_no_receipt(
    api: Api, tenant: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt and the event are one: where one cannot be written, neither is."""

    async def crash(*_: Any) -> None:
        raise RuntimeError

    caller = keyed(api)
    with monkeypatch.context() as broken:
        broken.setattr(receipts, "save", crash)
        assert (await caller.post(CLIENTS, json=EXAMPLE)).status == 500

    assert await check(owner, tenant) == []
    assert (await caller.post(CLIENTS, json=EXAMPLE)).status == 201


async def test_sweeping(config: Config, tenant: str, owner: asyncpg.Connection) -> None:
    """The application sweeps by itself what has expired, and nothing else."""
    insert = "insert into receipts values ($1, $2, $2, '', now() + $3)"
    await owner.execute(insert, tenant, b"1" * 32, timedelta(seconds=-1))
    await owner.execute(insert, tenant, b"2" * 32, timedelta(hours=1))

    async with Served(build(config)):
        while await owner.fetchval("select count(*) from receipts where tenant_id = $1", tenant) == 2:
            pass

    assert await owner.fetchval("select key_digest from receipts where tenant_id = $1", tenant) == b"2" * 32
