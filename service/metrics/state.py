"""How things are at this moment, read when somebody asks."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import asyncpg
from aiohttp import web
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from service.ahead import Ahead
from service.audit.followers import Followers
from service.credentials import Hasher
from service.desk import Desk


class State(NamedTuple):
    """What is looked at; a collector of Prometheus's."""

    desk: Desk
    hasher: Hasher
    ahead: Ahead
    followers: Followers
    pools: Mapping[str, asyncpg.Pool]

    def collect(self) -> Iterator[Metric]:
        """The gauges. Whatever else can be read from the application has its line here."""
        yield _gauge("desk_waiting", "Commands that wait for the desk's answer.", self.desk.waiting)
        yield _gauge("hashes_running", "Hashes that have a core.", self.hasher.running)
        yield _gauge("hashes_waiting", "Hashes that wait for a core.", self.hasher.waiting)
        yield _gauge("credentials_ready", "Credentials that are ready to be handed out.", self.ahead.ready)
        yield _gauge("followers", "Streams that are being followed.", len(self.followers))
        yield _gauge(
            "follower_lag_records",
            "How far the last of those who follow one tenant is behind that tenant's log.",
            self.followers.lag,
        )
        pools = self.pools.items()
        yield _by_pool("size", "Connections that are there.", {name: pool.get_size() for name, pool in pools})
        yield _by_pool("idle", "Connections that nobody uses.", {name: pool.get_idle_size() for name, pool in pools})
        yield _by_pool("limit", "Connections that there may be.", {name: pool.get_max_size() for name, pool in pools})


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mitosis_{name}", text, value)


def _by_pool(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"mitosis_pool_{name}", text, labels=["pool"])
    for pool, value in values.items():
        family.add_metric([pool], value)
    return family


STATE = web.AppKey("state", State)
