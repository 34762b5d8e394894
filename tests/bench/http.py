"""Requests: what a service answers in a second, how long somebody waits, and what the same would be without it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import cycle

import asyncpg

from tests.bench import baselines, eventsourced, replay
from tests.bench.records import fill
from tests.bench.report import Row
from tests.bench.servers import CHEAP, Cluster, serving
from tests.bench.wire import Callers, Load, Make, data, request, together
from tests.callers import EXAMPLE

CLIENTS = "/admin/oauth/clients/"
CALLERS = 32
WATCHERS = 4  # who look at clients while others clone
PACE, WATCHED = 10, 20  # requests a second
_ALONE = ("-m", "tests.bench.alone")
_CREATED, _OK = 201, 200
_METHODS = {"client_auth_methods": ["client_secret_basic", "client_secret_post"], "fapi_profile": None}
_SETTINGS = {name: value for name, value in (EXAMPLE | _METHODS).items() if value is not None and name != "jwks_uri"}
_CONSTANT = request("GET", "/healthz", "")

Tell = Callable[[str], None]
Work = Callable[[float], Awaitable[Load]]


class Tenant:
    """One with a client, and what is asked about that."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._name, self._tokens = name, cluster.tokens
        self._token = self._issued("admin")
        self.source, self.secret = "", ""

    async def begin(self, callers: Callers) -> None:
        """Register the client."""
        made = data(await callers.one(request("POST", CLIENTS, self._token, _SETTINGS)))
        self.source, self.secret = made["client_id"], made["client_secret"]

    @property
    def clone(self) -> bytes:
        return request("POST", f"{CLIENTS}{self.source}/clone", self._token)

    @property
    def show(self) -> bytes:
        return request("GET", f"{CLIENTS}{self.source}", self._token)

    @property
    def authenticate(self) -> bytes:
        presented = {"client_id": self.source, "client_secret": self.secret}
        return request("POST", "/internal/oauth/clients/authenticate", self._issued("service"), presented)

    def _issued(self, role: str) -> str:
        return self._tokens.issue(subject=f"{role}@{self._name}", tenant_id=self._name, role=role, ttl_s=12 * 3600)


async def tenants(cluster: Cluster, callers: Callers, *names: str) -> list[Tenant]:
    """Those of *names*, each with a client."""
    made = [Tenant(cluster, name) for name in names]
    for tenant in made:
        await tenant.begin(callers)
    return made


def in_turn(requests: Sequence[bytes]) -> Make:
    """One of *requests* after the other."""
    turn = cycle(requests)
    return lambda _number: next(turn)


def closed(callers: Callers, requests: Sequence[bytes], expect: int) -> Work:
    """All callers, in a closed loop."""
    return lambda seconds: callers.closed(in_turn(requests), seconds, expect=expect)


async def side_by_side(seconds: float, rounds: int, *works: Work) -> list[Load]:
    """Each for *seconds*, one after the other, and that *rounds* times: what befalls the machine befalls them all."""
    loads: list[list[Load]] = [[] for _ in works]
    for _ in range(rounds):
        for work, found in zip(works, loads, strict=True):
            found.append(await work(seconds))
    return [together(found) for found in loads]


def faster(work: str, ours: Load, base: Load, what: str, least: float) -> Row:
    """How many times as many answers a second as the baseline gives."""
    ratio = ours.rate / base.rate
    return Row(
        work,
        f"{ours.rate:,.0f}/s, p50 {ours.p50_ms:.1f} ms, p99 {ours.p99_ms:.1f} ms",
        f"{what}: {base.rate:,.0f}/s",
        f"{ratio:.2f}",
        f"at least {least:g}",
        ratio >= least,
    )


async def writing(cluster: Cluster, seconds: float, rounds: int, tell: Tell) -> list[Row]:
    """Clones whose hash costs nothing: what the desk does, and what it would do one transaction at a time."""
    async with AsyncExitStack() as stack:
        ours, theirs = [
            await stack.enter_async_context(Callers(service.host, service.port, CALLERS))
            for service in [
                await stack.enter_async_context(serving(cluster, **CHEAP)),
                await stack.enter_async_context(serving(cluster, *_ALONE, **CHEAP)),
            ]
        ]
        rows = list[Row]()
        for names, least in ((["hot"], 6), ([f"one-of-64-{number}" for number in range(64)], 3)):
            what = f"clone, {len(names)} tenant{'s' * (len(names) > 1)}, {CALLERS} callers"
            tell(what)
            clones = [tenant.clone for tenant in await tenants(cluster, ours, *names)]
            works = [closed(callers, clones, _CREATED) for callers in (ours, theirs)]
            mine, base = await side_by_side(seconds, rounds, *works)
            rows.append(faster(what, mine, base, "one transaction a request", least))
            if len(names) == 1:
                tell("eventsourcing: appending")
                appended = await eventsourced.appending(cluster, seconds * rounds, CALLERS)
                told = Load(1.0, [0.0] * round(appended))
                rows.append(faster(what, mine, told, "`eventsourcing` appending, without HTTP", least))
        return rows


async def hashing(cluster: Cluster, seconds: float, rounds: int, tell: Tell) -> list[Row]:
    """Clones with the hash as it is by default: sustained, at a moderate rate, and what others wait meanwhile."""
    async with (
        serving(cluster) as service,
        Callers(service.host, service.port, CALLERS) as callers,
        Callers(service.host, service.port, WATCHERS) as watchers,
    ):
        (tenant,) = await tenants(cluster, callers, "hashed")
        tell("clone with the default hash, sustained")
        cloned, hashed = await side_by_side(
            seconds, rounds, closed(callers, [tenant.clone], _CREATED), baselines.hashing
        )
        rows = [faster("clone, default hash, sustained", cloned, hashed, "argon2 alone", 0.9)]

        tell("clone with the default hash, at a moderate rate")
        async with baselines.inserting(cluster, PACE) as bare:
            paced, inserted = await side_by_side(
                2 * seconds,
                rounds,
                lambda for_s: callers.opened(in_turn([tenant.clone]), PACE, for_s, expect=_CREATED),
                bare,
            )
        for name, took, base, most in (
            ("p50", paced.p50_ms, inserted.p50_ms, 3),
            ("p99", paced.p99_ms, inserted.p99_ms, 10),
        ):
            ratio = took / base
            rows.append(
                Row(
                    f"clone, default hash, {PACE} a second: {name}",
                    f"{took:.1f} ms",
                    f"INSERT and COMMIT: {base:.1f} ms",
                    f"{ratio:.2f}",
                    f"at most {most}",
                    ratio <= most,
                )
            )

        tell("GET while clones saturate the cores")
        cloning = asyncio.create_task(callers.closed(in_turn([tenant.clone]), seconds * rounds, expect=_CREATED))
        seen = await watchers.opened(in_turn([tenant.show]), WATCHED, seconds * rounds, expect=_OK)
        await cloning
        what = f"GET, {WATCHED} a second, while {CALLERS} callers clone"
        measured = f"p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms"
        return [*rows, Row(what, measured, target="p99 at most 50 ms", is_met=seen.p99_ms <= 50)]


async def reading(cluster: Cluster, seconds: float, rounds: int, tell: Tell) -> list[Row]:
    """What costs no hash, against the same application answering a constant."""
    async with serving(cluster, **CHEAP) as service, Callers(service.host, service.port, CALLERS) as callers:
        (tenant,) = await tenants(cluster, callers, "read")
        tell("GET, and authenticate with a secret seen within the minute")
        shown, known, constant = await side_by_side(
            seconds,
            rounds,
            closed(callers, [tenant.show], _OK),
            closed(callers, [tenant.authenticate], _OK),
            closed(callers, [_CONSTANT], _OK),
        )
    return [
        faster("GET a client", shown, constant, "a constant answer", 0.3),
        faster("authenticate, secret seen within the minute", known, constant, "a constant answer", 0.25),
    ]


async def growing(cluster: Cluster, seconds: float, rounds: int, tell: Tell) -> list[Row]:
    """One caller's clones in the large tenant (see `tests.bench.replay`), and in one with 1,000 records."""
    owner = await asyncpg.connect(cluster.url())
    await fill(owner, "small", 1000)
    large = await owner.fetchval("select position from heads where tenant_id = $1", replay.TENANT)
    await owner.close()
    async with serving(cluster, **CHEAP) as service, Callers(service.host, service.port, 1) as callers:
        tell("clone in a large log and in a small one")
        clones = [tenant.clone for tenant in await tenants(cluster, callers, replay.TENANT, "small")]
        works = [closed(callers, [clone], _CREATED) for clone in clones]
        much, little = await side_by_side(seconds / 2, 2 * rounds, *works)
    ratio = much.p50_ms / little.p50_ms
    return [
        Row(
            f"clone, {large:,} records in the log: p50",
            f"{much.p50_ms:.2f} ms",
            f"1,000 records: {little.p50_ms:.2f} ms",
            f"{ratio:.2f}",
            "at most 1.2",
            ratio <= 1.2,
        )
    ]
