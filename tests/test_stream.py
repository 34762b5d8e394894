"""The stream of records: live, resumable, and the same bytes that were hashed."""

import asyncio
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp.test_utils import TestServer

from events import chain, log
from service.audit import followers, stream
from service.audit.cursor import pack
from service.audit.stream import TYPES
from service.fairness import Places
from tests.callers import NDJSON, Api
from tests.commands import Mitosis
from tests.laws import check
from tests.planting import tampered
from tests.streams import PATH, Seen, following
from tests.waiting import until


def verified(seen: list[Seen], tenant: str) -> list[Any]:
    """The records in *seen*, each of which follows from the one before."""
    digest, records = chain.genesis(tenant), []
    for one in seen:
        body = msgspec.json.decode(one.data, type=dict[str, msgspec.Raw])["data"]
        digest = chain.link(digest, bytes(body))
        assert one.event["digest"] == digest.hex()
        records.append(msgspec.json.decode(body))
    return records


async def test_an_event(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """The id is the position, the event the type, and the data a CloudEvent around the very bytes of the record."""
    client_id = (await api.register())["client_id"]

    async with following(api) as stream:
        (seen,) = await stream.take(1)

    (entry,) = [entry async for entry in log.read(owner, tenant)]
    assert (seen.id, seen.type) == ("1", "ClientRegistered")
    assert seen.event == {
        "specversion": "1.0",
        "id": entry.event_id,
        "source": f"/tenants/{tenant}",
        "type": "ClientRegistered",
        "subject": client_id,
        "time": seen.event["data"]["time"],
        "datacontenttype": "application/json",
        "digest": entry.digest.hex(),
        "data": msgspec.json.decode(entry.body),
    }
    assert entry.body.decode() in seen.data


async def test_headers(api: Api) -> None:
    """No cache keeps it, no proxy holds it back, and it has its request id like every answer."""
    async with following(api.with_headers(X_Request_ID="here-i-am")) as stream:
        headers = stream.response.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Request-ID"] == "here-i-am"


async def test_live(api: Api, tenant: str) -> None:
    """What happens while somebody follows arrives, in order, and the chain verifies."""
    async with following(api) as stream:
        source = await api.register()
        for _ in range(5):
            await api.clone(source["client_id"])
        await api.delete(f"/admin/oauth/clients/{source['client_id']}")
        seen = await stream.take(7)

    assert [one.id for one in seen] == ["1", "2", "3", "4", "5", "6", "7"]
    records = verified(seen, tenant)
    assert [record["data"]["type"] for record in records] == [
        "ClientRegistered",
        *["ClientCloned"] * 5,
        "ClientDeleted",
    ]


@pytest.mark.parametrize("header", [True, False])
async def test_resume(api: Api, header: bool) -> None:
    """Who comes back gets what comes after the id it had, and Last-Event-ID has precedence over the address."""
    source = (await api.register())["client_id"]
    for _ in range(4):
        await api.clone(source)

    resumed = following(api, last_id="3", after="1") if header else following(api, after="3")
    async with resumed as stream:
        assert [one.id for one in await stream.take(2)] == ["4", "5"]
        await api.clone(source)
        assert [one.id for one in await stream.take(1)] == ["6"]


async def test_a_long_way_behind(api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """History that no memory holds is read from the log and goes over into what is live, without a gap or a repeat."""
    monkeypatch.setattr("events.feed._KEPT_BYTES", 3000)
    monkeypatch.setattr("events.feed.PIECE", 7)
    source = (await api.register())["client_id"]
    await asyncio.gather(*(api.clone(source) for _ in range(60)))

    async with following(api) as stream:
        clones = asyncio.gather(*(api.clone(source) for _ in range(60)))
        seen = await stream.take(121)
        await clones

    assert [one.id for one in seen] == [str(position) for position in range(1, 122)]
    verified(seen, tenant)


async def test_types(api: Api) -> None:
    """Of the types that are named; a heartbeat says how far it has looked, so that no one looks there again."""
    source = (await api.register())["client_id"]
    await api.clone(source)
    await api.put(f"/admin/oauth/clients/{source}", json={"status": "suspended"})
    async with following(api, types="ClientSuspended,ClientDeleted") as stream:
        (seen,) = await stream.take(1)
        assert (seen.id, seen.type) == ("3", "ClientSuspended")


async def test_heartbeat(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes, a comment does, with the id of what was passed over."""
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    await api.register()

    async with following(api, types="ClientDeleted") as quiet:
        ended = asyncio.create_task(quiet.next())
        await until(lambda: len(quiet.comments) >= 3)
        ended.cancel()

    assert set(quiet.comments) == {"still here"}
    assert quiet.last_id == "1"


async def test_isolation(api: Api, tenant: str) -> None:
    """A tenant's stream has that tenant's records alone; another is for a super_admin, who says so."""
    await api.register()
    other = api.as_role("admin", f"{tenant}-other")
    await other.register()
    root = api.as_role("super_admin", f"{tenant}-root")

    for caller in (other, api.as_role("auditor", f"{tenant}-other")):
        for asked in (tenant, "*"):
            reply = await caller.get(PATH, params={"tenant_id": asked})
            assert (reply.status, reply.body["code"]) == (403, 403002)
        (line,) = (await caller.get(PATH)).body
        assert line["source"] == f"/tenants/{tenant}-other"
    for reply in (
        await root.get(PATH, params={"tenant_id": tenant}),
        await root.with_headers(X_Tenant_ID=tenant).get(PATH),
    ):
        (line,) = reply.body
        assert line["source"] == f"/tenants/{tenant}"
    assert (await root.get(PATH)).body == []


@pytest.mark.parametrize("role", ["admin", "auditor", "super_admin"])
async def test_a_tenant_called_all(api: Api, role: str) -> None:
    """No tenant is called as all of them are: who says that he is of that one is nobody."""
    reply = await api.as_role(role, "*").get(PATH)

    assert (reply.status, reply.body["code"]) == (401, 401002)


async def test_no_private_part(api: Api, tenant: str, owner: asyncpg.Connection, mitosis: Mitosis) -> None:
    """Neither stream nor page nor file has a private part: all that there are were looked for."""
    source = (await api.register())["client_id"]
    await api.clone(source)
    await api.post(f"/admin/oauth/clients/{source}/rotate-secret")
    await api.post(f"/admin/oauth/clients/{source}/secrets", json={})
    private = [row["private"] for row in await owner.fetch("select private from events where tenant_id = $1", tenant)]

    async with following(api) as stream:
        told = [one.data for one in await stream.take(len(private))]
    async with api.session.get(api.base + PATH, headers={**api.headers, "Accept": NDJSON}) as page:
        told.append(await page.text())
    tail = ("audit", "tail", "--url", api.base, "--tenant", tenant)
    told += [(await mitosis(*tail)).out, (await mitosis(*tail, "--json")).out]
    told.append(str((await api.get(f"/admin/oauth/clients/{source}/audit-logs")).body))

    assert len(private) == 4
    for part in private:
        salt, digest = part.split("$")[-2:]
        for text in told:
            assert part not in text
            assert salt not in text
            assert digest not in text


async def test_all_tenants(alone: Api, tenant: str) -> None:
    """A super_admin follows all tenants: each one's order holds, and an id leads on exactly behind what was seen."""
    admins = [alone.as_role("admin", f"{tenant}-{number}") for number in range(5)]
    root = alone.as_role("super_admin", tenant)
    ours = [f"/tenants/{tenant}-{number}" for number in range(5)]
    start = (await root.get(PATH, params={"tenant_id": "*", "after": "0", "limit": "1"})).headers["Last-Event-ID"]
    while True:
        page = await root.get(PATH, params={"tenant_id": "*", "limit": "1000", "after": start})
        if page.headers["Last-Event-ID"] == start:
            break
        start = page.headers["Last-Event-ID"]

    seen = list[Seen]()
    async with following(root, tenant_id="*", after=start) as stream:
        sources = [(await admin.register())["client_id"] for admin in admins]
        while len({one.event["source"] for one in seen} & set(ours)) < 5:
            seen += await stream.take(1)
    await asyncio.gather(*(admin.clone(source) for admin, source in zip(admins, sources, strict=True) for _ in "123"))
    async with following(root, tenant_id="*", last_id=seen[-1].id) as stream:
        while sum(one.event["source"] in ours for one in seen) < 20:
            seen += await stream.take(1)

    for source in ours:
        positions = [one.event["data"]["position"] for one in seen if one.event["source"] == source]
        assert positions == [1, 2, 3, 4]


async def test_more_tenants_than_a_cursor_holds(api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said before anything is sent: a stream that could not be resumed is none."""
    await api.register()
    monkeypatch.setattr("service.audit.cursor.LONGEST", 10)

    reply = await api.as_role("super_admin", tenant).get(PATH, params={"tenant_id": "*"})

    assert (reply.status, reply.body["code"]) == (400, 400010)


async def test_pages_of_all(alone: Api, tenant: str) -> None:
    """However short the pages are, no tenant's records wait for the end of another's."""
    root = alone.as_role("super_admin", tenant)
    for name in ("a", "b", "c"):
        for _ in range(3):
            await alone.as_role("admin", f"{tenant}-{name}").register()

    seen, after = list[str](), "0"
    for _ in range(9):
        reply = await root.get(PATH, params={"tenant_id": "*", "limit": "1", "after": after})
        after = reply.headers["Last-Event-ID"]
        (line,) = reply.body
        seen.append(line["data"]["tenant_id"][-1])

    assert seen == ["a", "b", "c"] * 3


async def test_pages(api: Api, tenant: str) -> None:
    """The same records as pages: each says what to ask for next, and says the same again when there is no more."""
    source = (await api.register())["client_id"]
    await asyncio.gather(*(api.clone(source) for _ in range(11)))

    lines, after = [], "0"
    while True:
        reply = await api.get(PATH, params={"limit": "5", "after": after})
        assert reply.headers["Content-Type"] == NDJSON
        lines.append(reply.body)
        if reply.headers["Last-Event-ID"] == after:
            break
        after = reply.headers["Last-Event-ID"]

    assert [[line["data"]["position"] for line in page] for page in lines] == [
        [1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10],
        [11, 12],
        [],
    ]
    async with following(api) as stream:
        assert [one.event for one in await stream.take(12)] == [line for page in lines for line in page]
    deleted = await api.get(PATH, params={"types": "ClientDeleted"})
    assert (deleted.body, deleted.headers["Last-Event-ID"]) == ([], "12")


TRAILING = urlsafe_b64encode(urlsafe_b64decode(pack({}, "") + "==") + b"more").rstrip(b"=").decode()


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 19, "1_0", pack({"a b": 1}, ""), TRAILING, "A" * 8001])
@pytest.mark.parametrize("tenant_id", ["", "*"])
async def test_no_place_to_go_on_from(api: Api, tenant: str, after: str, tenant_id: str) -> None:
    """What is no id is refused with the field named; nothing is sent from somewhere else instead."""
    root = api.as_role("super_admin", tenant)
    params = {"tenant_id": tenant_id} if tenant_id else {}
    for reply in (
        await root.get(PATH, params={**params, "after": after}),
        await root.get(PATH, params=params, headers={"Last-Event-ID": after}),
    ):
        assert (reply.status, reply.body["code"]) == (400, 400003)
        assert reply.body["violations"][0]["field"] == "after"


async def test_a_log_that_is_shorter(alone: Api, tenant: str) -> None:
    """Who was further than the log is hears of it: it was cut off, or is another log."""
    await alone.register()
    root = alone.as_role("super_admin", tenant)

    for reply in (
        await alone.get(PATH, params={"after": "2"}),
        await alone.get(PATH, headers={"Accept": "text/event-stream"}, params={"after": "2"}),
        await root.get(PATH, params={"tenant_id": "*", "after": pack({tenant: 2}, tenant)}),
    ):
        assert (reply.status, reply.body["code"]) == (409, 409004)


@pytest.mark.parametrize(
    "query", [{"types": "ClientCloned,"}, {"types": "Nothing"}, {"limit": "0"}, {"limit": "1001"}, {"tenant_id": ""}]
)
async def test_malformed_queries(api: Api, query: dict[str, str]) -> None:
    """Each is refused, and says which parameter it was."""
    reply = await api.get(PATH, params=query)

    assert (reply.status, reply.body["code"]) == (400, 400003)
    assert reply.body["violations"][0]["field"] == next(iter(query))


def test_every_type_can_be_asked_for() -> None:
    """There are as many types as kinds of event."""
    assert len(set(TYPES)) == len(TYPES) > 10
    assert "ClientCloned" in TYPES


async def test_the_end_of_a_token(api: Api, tenant: str) -> None:
    """Nobody follows for longer than the token is good; the same reader goes on with a new one."""
    await api.register()
    token = api.tokens.issue(subject="eve", tenant_id=tenant, role="auditor", ttl_s=2)
    eve = api.with_headers(Authorization=f"Bearer {token}")
    expires = time.time() + 2

    async with following(eve) as stream:
        assert len(await stream.take(1)) == 1
        assert await stream.next() is None

    assert time.time() > expires - 1
    assert (await eve.get(PATH)).status == 401


async def test_too_many(api: Api, server: TestServer, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant may take no more places than are left free, of all of them half; who leaves makes room."""
    followers = server.app[stream.FOLLOWERS]
    await until(lambda: not followers._places.taken)  # noqa: SLF001 (those of other tests, who are leaving)
    monkeypatch.setattr(followers, "_places", Places(4))
    other = api.as_role("admin", f"{tenant}-other")

    async with following(api), following(api):
        assert (await api.get(PATH)).body["code"] == 503005
        async with following(other):
            assert (await other.get(PATH)).body["code"] == 503005
            async with following(api.as_role("admin", f"{tenant}-third")):
                refused = await api.as_role("admin", f"{tenant}-fourth").get(PATH)
            assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, 503005, "1")

    async def let_in() -> bool:
        return (await api.get(PATH)).status == 200

    await until(let_in)


async def test_sent_home_while_one_ends() -> None:
    """The service stops while the time of one follower is just up: he ends, and so do all others."""
    everybody, ended, go_on = followers.Followers(4), list[str](), asyncio.Event()
    reader: Any = SimpleNamespace(behind=0)

    async def follow(name: str, left_s: float) -> None:
        async with everybody.until(left_s, reader):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)
                await go_on.wait()  # what is on its way to him

    following = [asyncio.create_task(follow("one", 0)), asyncio.create_task(follow("other", 60))]
    await until(lambda: ended == ["one"])

    everybody.send_home()
    await until(lambda: ended == ["one", "other"])

    go_on.set()
    await asyncio.gather(*following)
    assert not len(everybody)


async def test_who_does_not_read(
    api: Api, server: TestServer, tenant: str, owner: asyncpg.Connection, monkeypatch: Any
) -> None:
    """Who does not read is cut off and can go on; others get everything meanwhile, and nobody who writes waits."""
    monkeypatch.setattr(followers, "STALL_S", 2.0)
    source = (await api.register(jwks=None, website="https://example.com/" + "x" * 1900))["client_id"]
    await asyncio.gather(*(api.clone(source) for _ in range(100)))
    host, port = api.base.removeprefix("http://").split(":")

    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.headers['Authorization']}\r\n\r\n".encode())
    async with following(api) as healthy:
        reading = asyncio.create_task(healthy.take(1101))
        for _ in range(10):
            await asyncio.gather(*(api.clone(source) for _ in range(100)))
        seen = await reading

    await until(lambda: not len(server.app[stream.FOLLOWERS]))
    assert [int(one.id) for one in seen] == list(range(1, 1102))
    got = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            got += piece
    assert 0 < got.count(b"\nevent: ") < len(seen)
    writer.close()
    assert len(await check(owner, tenant)) == 1101


async def test_a_damaged_log(api: Api, tenant: str, owner: asyncpg.Connection) -> None:
    """A gap is never passed over in silence: who comes to it is told, in a failure that says nothing of its cause."""
    source = (await api.register())["client_id"]
    for _ in range(3):
        await api.clone(source)
    async with tampered(owner, tenant, "delete from events where tenant_id = $1 and position = 3"):
        assert [line["data"]["position"] for line in (await api.get(PATH, params={"limit": "2"})).body] == [1, 2]
        reply = await api.get(PATH, params={"after": "2"})
        assert (reply.status, reply.body["code"]) == (500, 500001)


async def test_a_damaged_log_among_all(alone: Api, alone_owner: asyncpg.Connection, tenant: str) -> None:
    """Who follows all tenants gets what the others have to say, and then hears that something is wrong."""
    source = (await alone.register())["client_id"]
    await alone.clone(source)
    root, other = alone.as_role("super_admin", tenant), alone.as_role("admin", f"{tenant}-other")
    await other.register()

    async with tampered(alone_owner, tenant, "delete from events where tenant_id = $1 and position = 1"):
        seen, after = [], "0"
        while (page := await root.get(PATH, params={"tenant_id": "*", "limit": "1000", "after": after})).status == 200:
            seen += [line["source"] for line in page.body]
            after = page.headers["Last-Event-ID"]

    assert (page.status, page.body["code"]) == (500, 500001)
    assert f"/tenants/{tenant}-other" in seen
    assert f"/tenants/{tenant}" not in seen
