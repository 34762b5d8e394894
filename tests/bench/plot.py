"""A plot: how long a clone takes at a rate, until there is no more to be had."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from tests.bench.http import CALLERS, in_turn, tenants
from tests.bench.servers import CHEAP, Cluster, serving
from tests.bench.wire import Callers

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the most that there is
_CREATED = 201


async def latencies(cluster: Cluster, file: Path, seconds: float, tell: Callable[[str], None]) -> None:
    """Write *file*, a PNG: p50 and p99 at some rates, with a hash that costs nothing and with the default one."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for label, settings in (("hash that costs nothing", CHEAP), ("default hash", {})):
        async with (
            serving(cluster, **settings) as service,
            Callers(service.host, service.port, CALLERS) as callers,
        ):
            (tenant,) = await tenants(cluster, callers, f"plotted-{len(settings)}")
            make = in_turn([tenant.clone])
            most = (await callers.closed(make, seconds, expect=_CREATED)).rate
            rates = [most * share for share in _SHARES]
            tell(f"latency against load, {label}, up to {rates[-1]:.0f} a second")
            loads = [await callers.opened(make, rate, seconds, expect=_CREATED) for rate in rates]
        (line,) = axes.plot(rates, [load.p50_ms for load in loads], marker="o", label=f"{label}: p50")
        axes.plot(
            *(rates, [load.p99_ms for load in loads]),
            marker="^",
            linestyle="--",
            color=line.get_color(),
            label=f"{label}: p99",
        )
    axes.set(xlabel="clones a second", ylabel="ms from when it was due to its answer", xscale="log", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
