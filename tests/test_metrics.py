"""/metrics: what is counted, how things are, and that it names nobody."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector
from prometheus_client.parser import text_string_to_metric_families

from service.app import build
from service.audit.followers import Followers
from service.audit.readers import OneTenant
from service.config import Config
from service.embedded import Embedded
from service.metrics.families import Family, Sample, families, lasting, merged
from service.metrics.instruments import Instruments
from service.metrics.measuring import measured
from service.metrics.site import exposed
from service.routes import TOKENS
from service.serving.listening import address, bound
from tests.callers import Api
from tests.conftest import Served
from tests.leaks import WITNESS
from tests.processes import Service, deployed, is_alive, own_postgres, workers
from tests.test_serve import home, leftovers, run
from tests.waiting import until

__all__ = ["home"]  # a fixture

REGISTER = "/admin/oauth/clients/"
CLONE = "/admin/oauth/clients/{client_id}/clone"


class Scrape:
    """What `/metrics` told, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.samples if (sample.name, sample.labels) == (name, labels))

    def labels(self, name: str, label: str) -> set[str]:
        """The values that *label* has."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}

    def requests(self) -> float:
        """All requests."""
        return sum(sample.value for sample in self.samples if sample.name == "mitosis_requests_total")


class Prometheus:
    """Who asks a service for its metrics."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session, self.url = session, url

    async def scrape(self) -> Scrape:
        async with self._session.get(self.url) as response:
            assert response.status == 200
            assert response.content_type == "text/plain"
            text = await response.text()
        WITNESS.answer("GET /metrics", response.headers, text)
        return Scrape(text)


class Watched(Api):
    """An administrator's view of a service, and its metrics."""

    prometheus: Prometheus


@pytest.fixture
async def watched(config: Config, tenant: str) -> AsyncIterator[Watched]:
    """A service that nobody else uses, and its metrics on a port of their own."""
    server = Served(build(config))
    await server.start_server()
    measure = partial(measured, server.app, ask_database=True)
    async with bound("127.0.0.1", 0) as sockets, exposed(measure, sockets), ClientSession() as session:
        base = str(server.make_url("")).rstrip("/")
        plain = Api(session, base, server.app[TOKENS], {}).as_role("admin", tenant)
        api = Watched(session, base, plain.tokens, plain.headers)
        api.prometheus = Prometheus(session, f"{address(sockets)}/metrics")
        yield api
    await server.close()


async def test_requests(watched: Watched) -> None:
    """Each request counts once, under its method, its route's template and its status, and so does its duration."""
    client = await watched.register()
    for _ in range(3):
        assert (await watched.clone(client["client_id"])).status == 201
    assert (await watched.clone("app-none")).status == 404

    scrape = await watched.prometheus.scrape()

    assert scrape("mitosis_requests_total", method="POST", route=REGISTER, status="201") == 1
    assert scrape("mitosis_requests_total", method="POST", route=CLONE, status="201") == 3
    assert scrape("mitosis_requests_total", method="POST", route=CLONE, status="404") == 1
    assert scrape("mitosis_request_duration_seconds_count", method="POST", route=CLONE) == 4
    assert scrape("mitosis_request_duration_seconds_bucket", method="POST", route=CLONE, le="+Inf") == 4
    assert scrape.requests() == 5


async def test_what_is_no_route(watched: Watched) -> None:
    """Whatever paths are tried, they are one label."""
    for number in range(20):
        assert (await watched.get(f"/{number}/wp-admin")).status == 404
        assert (await watched.send("PATCH", "/healthz")).status == 405

    scrape = await watched.prometheus.scrape()

    assert scrape.labels("mitosis_requests_total", "route") == {"unknown"}
    assert scrape.requests() == 40


def test_what_is_no_method() -> None:
    """A method may be any word; those that are nothing to HTTP are one label."""
    instruments = Instruments()
    for number in range(20):
        instruments.answered(f"FROB{number}", None, 405, 0.001)

    (requests,) = [each for each in instruments.registry.collect() if each.name == "mitosis_requests"]

    (sample,) = [each for each in requests.samples if each.name.endswith("_total")]
    assert (sample.labels["method"], sample.value) == ("other", 20)


async def test_turns(watched: Watched) -> None:
    """The desk's turns are counted with the commands that they took."""
    await asyncio.gather(*(watched.register() for _ in range(12)))

    scrape = await watched.prometheus.scrape()

    # the first command of a tenant has a turn more, before there is a head
    assert scrape("mitosis_desk_turn_commands_sum") >= 12
    assert 1 <= scrape("mitosis_desk_turn_commands_count") <= 24
    assert scrape("mitosis_desk_turn_duration_seconds_count") == scrape("mitosis_desk_turn_commands_count")


async def test_the_desks_line(watched: Watched, owner: asyncpg.Connection, tenant: str) -> None:
    """Commands whose head somebody else holds are seen to wait, and then are gone."""
    await watched.register()
    async with owner.transaction():
        await owner.execute("select from heads where tenant_id = $1 for update", tenant)
        waiting = [asyncio.create_task(watched.register()) for _ in range(3)]
        await until(lambda: _tells(watched.prometheus, "mitosis_desk_waiting", 3))
    await asyncio.gather(*waiting)

    assert (await watched.prometheus.scrape())("mitosis_desk_waiting") == 0


async def _tells(prometheus: Prometheus, name: str, value: float) -> bool:
    return (await prometheus.scrape())(name) == value


async def test_pools_and_hashes(watched: Watched) -> None:
    """Each pool has its size, what is idle of it and its limit; nobody hashes when nobody asks."""
    await watched.register()

    scrape = await watched.prometheus.scrape()

    assert scrape.labels("mitosis_pool_size", "pool") == {"reads", "writes", "feeds"}
    for pool in ("reads", "writes"):
        size, idle = scrape("mitosis_pool_size", pool=pool), scrape("mitosis_pool_idle", pool=pool)
        assert 1 <= idle <= size <= scrape("mitosis_pool_limit", pool=pool)
    assert scrape("mitosis_hashes_running") + scrape("mitosis_hashes_waiting") == 0
    assert 0 <= scrape("mitosis_credentials_ready") <= 32


async def test_the_log(watched: Watched, owner: asyncpg.Connection) -> None:
    """How long the logs of all tenants are, together."""
    before = await watched.prometheus.scrape()
    client = await watched.register()
    await watched.clone(client["client_id"])

    after = await watched.prometheus.scrape()

    assert after("mitosis_database_up") == 1
    assert after("mitosis_log_records") == before("mitosis_log_records") + 2
    assert after("mitosis_tenants") == before("mitosis_tenants") + 1


async def test_followers(watched: Watched) -> None:
    """Who follows is counted for as long as he does."""
    headers = {**watched.headers, "Accept": "text/event-stream"}
    async with watched.session.get(f"{watched.base}/admin/audit/stream", headers=headers) as response:
        assert response.status == 200
        await until(lambda: _tells(watched.prometheus, "mitosis_followers", 1))

    await until(lambda: _tells(watched.prometheus, "mitosis_followers", 0))


async def test_how_far_followers_lag() -> None:
    """The one that is furthest behind counts."""
    followers = Followers(10)

    class _Tail:
        last = 50

    first, second = (OneTenant(None, _Tail, position) for position in (48, 20))  # type: ignore[arg-type]
    async with followers.until(60, first), followers.until(60, second):
        assert (len(followers), followers.lag) == (2, 30)
    assert (len(followers), followers.lag) == (0, 0)


async def test_nobody_is_named(watched: Watched, tenant: str) -> None:
    """No tenant, client, subject or secret is anywhere in the text."""
    client = await watched.register()
    clone = (await watched.clone(client["client_id"])).data
    await watched.get(f"/admin/oauth/clients/{client['client_id']}?as_of=1")
    await watched.get(f"/{client['client_id']}/{tenant}")
    token = watched.headers["Authorization"].split()[1]

    text = (await watched.prometheus.scrape()).text

    keys = ("id", "client_id", "client_secret")
    named = [tenant, token, *(data[key] for data in (client, clone) for key in keys)]
    assert not [each for each in named if each in text]
    assert "@" not in text
    labels = {name for line in text.splitlines() if line[0] != "#" for name in re.findall(r'(\w+)="', line)}
    assert labels <= {"method", "route", "status", "le", "pool", "implementation", "version", *_PYTHON}


_PYTHON = {"major", "minor", "patchlevel"}


async def test_many_at_once(watched: Watched) -> None:
    """However many ask, all are answered, and the service is asked for little more than once."""
    await watched.register()
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        prometheus = Prometheus(session, watched.prometheus.url)
        scrapes = await asyncio.gather(*(prometheus.scrape() for _ in range(200)))

    assert {scrape.requests() for scrape in scrapes} == {1}


# --------------------------------------------------------------------------------------------- processes of their own


@asynccontextmanager
async def _asked(service: Service) -> AsyncIterator[Prometheus]:
    """Where the service says that its metrics are."""
    assert service.process.stdout is not None
    line = (await service.process.stdout.readline()).decode()
    assert line.startswith("Metrics: http://127.0.0.1:")
    async with ClientSession() as session:
        yield Prometheus(session, line.split()[1])


def _listening(pid: int) -> int:
    """On how many ports the process listens."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[9] for row in rows if row[3] == "0A"}
    links = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return sum(link.removeprefix("socket:[").rstrip("]") in listening for link in links)


async def test_not_configured(postgres: Embedded) -> None:
    """Without a port for them there are no metrics; on the public port there never are."""
    async with deployed(postgres, 1) as deployment, ClientSession() as session:
        (service,) = deployment.services
        assert _listening(service.process.pid) == 1
        async with session.get(f"{service.base}/metrics") as response:
            assert response.status == 404


def test_a_taken_port(home: Path) -> None:
    """A port for the metrics that is taken is said in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run(home, "serve", MITOSIS_METRICS_PORT=str(port))

    assert refused.returncode == 1
    (said,) = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert said.startswith(f"mitosis: 127.0.0.1:{port} cannot be listened on: ")
    assert leftovers(home) == []


async def test_a_database_that_is_away(binaries: Path | None) -> None:
    """The rest is told all the same."""
    async with own_postgres(binaries) as postgres:
        deploying = deployed(postgres.running, 1, MITOSIS_METRICS_PORT="0")
        async with deploying as deployment, _asked(deployment.services[0]) as prometheus:
            assert (await prometheus.scrape())("mitosis_database_up") == 1
            await postgres.kill()

            scrape = await prometheus.scrape()

            assert scrape("mitosis_database_up") == 0
            assert "mitosis_log_records" not in scrape.text
            assert scrape("mitosis_pool_limit", pool="reads") == 10
        await postgres.start()


async def test_two_workers(postgres: Embedded, tenant: str) -> None:
    """One scrape is about all workers; what a dead one had counted stays, and what it was is gone."""
    async with deployed(postgres, 1, MITOSIS_WORKERS="2", MITOSIS_METRICS_PORT="0") as deployment:
        (service,) = deployment.services
        async with _asked(service) as prometheus, ClientSession(connector=TCPConnector(limit=0)) as session:
            api = Api(session, service.base, deployment.tokens, {}).as_role("admin", tenant)
            await asyncio.gather(*(api.register() for _ in range(16)))

            scrape = await prometheus.scrape()

            assert scrape("mitosis_requests_total", method="POST", route=REGISTER, status="201") == 16
            assert scrape("mitosis_request_duration_seconds_bucket", method="POST", route=REGISTER, le="+Inf") == 16
            assert scrape("mitosis_workers") == 2
            assert scrape("mitosis_pool_limit", pool="reads") == 20
            assert scrape("mitosis_database_up") == 1

            victim = workers(service.process.pid)[0]
            os.kill(victim, signal.SIGKILL)
            await until(lambda: not is_alive(victim))
            await until(lambda: _tells(prometheus, "mitosis_workers_replaced_total", 1))
            await until(lambda: _tells(prometheus, "mitosis_workers", 2))

            scrape = await prometheus.scrape()
            assert scrape.requests() == 16
            assert scrape("mitosis_pool_limit", pool="reads") == 20


async def test_a_worker_that_stands_still(postgres: Embedded) -> None:
    """It holds the others' answer up for a moment; what it counted counts, and it is not among those that serve."""
    async with deployed(postgres, 1, MITOSIS_WORKERS="2", MITOSIS_METRICS_PORT="0") as deployment:
        (service,) = deployment.services
        async with _asked(service) as prometheus:
            await prometheus.scrape()
            stopped = workers(service.process.pid)[0]
            os.kill(stopped, signal.SIGSTOP)

            scrape = await prometheus.scrape()
            os.kill(stopped, signal.SIGCONT)

            assert scrape("mitosis_workers") == 1
            assert scrape("mitosis_pool_limit", pool="reads") == 10
            await until(lambda: _tells(prometheus, "mitosis_workers", 2))


def test_added_up() -> None:
    """Counters and amounts are added; of a lag the most counts, of a start the first; a dead process has no state."""

    def told(count: float, lag: float, start: float) -> list[Family]:
        return [
            Family("c", "", "counter", [Sample("c_total", (("route", "/"),), count)]),
            Family("mitosis_follower_lag_records", "", "gauge", [Sample("mitosis_follower_lag_records", (), lag)]),
            Family("process_start_time_seconds", "", "gauge", [Sample("process_start_time_seconds", (), start)]),
        ]

    both = merged([told(3, 7, 100), told(4, 2, 50)])

    assert [family.samples[0].value for family in both] == [7, 7, 50]
    assert [family.name for family in lasting(both)] == ["c"]
    assert families([]) == []
