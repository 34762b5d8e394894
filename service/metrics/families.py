"""Metrics as plain values: what a worker sends, and what is added up to one answer for all of them."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from prometheus_client import Metric, generate_latest

_ADDED_UP = ("counter", "histogram")
# of what is no amount, the sum says nothing
_MOST, _LEAST = {"mitosis_follower_lag_records", "python_info"}, {"process_start_time_seconds"}

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric, and its numbers for all combinations of its labels."""

    name: str
    help: str
    kind: str
    samples: list[Sample]


def gauge(name: str, text: str, value: float) -> Family:
    """A gauge with one number."""
    return Family(name, text, "gauge", [Sample(name, (), value)])


def counter(name: str, text: str, value: float) -> Family:
    """A counter with one number."""
    return Family(name, text, "counter", [Sample(f"{name}_total", (), value)])


def families(metrics: Iterable[Metric]) -> list[Family]:
    """*metrics* as plain values, without the times at which each counter was made."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [
                Sample(sample.name, tuple(sample.labels.items()), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ],
        )
        for metric in metrics
    ]


def lasting(measured: Iterable[Family]) -> list[Family]:
    """What of *measured* stays true when its process is gone: what was counted, and not how things are."""
    return [family for family in measured if family.kind in _ADDED_UP]


def merged(parts: Iterable[Sequence[Family]]) -> list[Family]:
    """The numbers of several processes as those of one."""
    found: dict[str, Family] = {}
    numbers: dict[str, dict[tuple[str, Labels], float]] = {}
    for family in (family for part in parts for family in part):
        found.setdefault(family.name, family)
        known = numbers.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, sample.labels)
            known[key] = _together(family.name, known[key], sample.value) if key in known else sample.value
    return [
        Family(name, family.help, family.kind, [Sample(*key, value) for key, value in numbers[name].items()])
        for name, family in found.items()
    ]


def _together(name: str, one: float, other: float) -> float:
    if name in _MOST:
        return max(one, other)
    return min(one, other) if name in _LEAST else one + other


def text(measured: Iterable[Family]) -> bytes:
    """*measured* in Prometheus's text format."""
    return generate_latest(_Collected(measured))


class _Collected:
    def __init__(self, measured: Iterable[Family]) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        for family in self._measured:
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric
