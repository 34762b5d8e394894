"""What cannot be read afterwards, and is counted when it happens: requests, and the desk's turns."""

from typing import NamedTuple

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = hdrs.METH_ALL


class _Request(NamedTuple):
    """The counters of one kind of request, which are looked up once and not at every request."""

    answered: Counter
    duration: Histogram


class Instruments:
    """
    The counters and histograms of one application, in a registry of its own.

    Their labels are the routes as they are written, and never what a caller made up: there are so many and no more.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "mitosis_requests",
            "Requests that were answered; `unknown` is every path that is no route.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._request_s = Histogram(
            "mitosis_request_duration_seconds",
            "From a request to its answer; of the stream, for as long as it was followed.",
            ["method", "route"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._turn_commands = Histogram(
            "mitosis_desk_turn_commands",
            "Commands that a turn of the desk took.",
            registry=self.registry,
            buckets=_COMMANDS,
        )
        self._turn_s = Histogram(
            "mitosis_desk_turn_duration_seconds",
            "How long a turn of the desk took, in the database for the most part.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._kinds: dict[tuple[str, str | None, int], _Request] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def answered(self, method: str, route: str | None, status: int, duration_s: float) -> None:
        """A request was answered. *route* is its template, None where there is none."""
        kind = self._kinds.get((method, route, status)) or self._kind(method, route, status)
        kind.answered.inc()
        kind.duration.observe(duration_s)

    def turned(self, commands: int, duration_s: float) -> None:
        """The desk had a turn."""
        self._turn_commands.observe(commands)
        self._turn_s.observe(duration_s)

    def _kind(self, method: str, route: str | None, status: int) -> _Request:
        known = method in _METHODS  # a method may be any word
        name, path = method if known else "other", route or "unknown"
        kind = _Request(self._requests.labels(name, path, str(status)), self._request_s.labels(name, path))
        if known:
            self._kinds[method, route, status] = kind
        return kind


INSTRUMENTS = web.AppKey("instruments", Instruments)
