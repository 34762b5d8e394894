"""`mitosis serve`: from a configuration to a running service, and in order back to nothing."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial

import msgspec

from service import demo, embedded, home, logs
from service.app import sessions
from service.bearer import Tokens
from service.config import Config
from service.console.site import PATH as CONSOLE
from service.metrics.measuring import measured
from service.metrics.site import Measure, exposed
from service.serving.accepting import accepting
from service.serving.listening import address, bound
from service.serving.preparing import prepare
from service.serving.workers import working
from service.signing import load_key

_DEMO_TOKEN_S = 12 * 3600
_OTHER_SESSIONS = 80  # of the embedded PostgreSQL: for commands, consumers and those who look into it


def run(config: Config) -> None:
    """
    Serve until SIGINT or SIGTERM; then answer what is in flight, and leave nothing behind.

    Raises:
        MitosisError: it cannot start; the message says why.
    """
    logs.start()
    # until the loop takes both signals over, they end whatever is being started
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        # nothing may interrupt the way down, or a PostgreSQL would be left behind
        stack.callback(_deafen)
        if config.database_url is not None:
            asyncio.run(_serve(config, is_ours=False))
            return
        held = stack.enter_context(home.hold(config.home))
        postgres = embedded.start(held, settings={"max_connections": str(sessions(config) + _OTHER_SESSIONS)})
        stack.callback(postgres.stop)
        stack.callback(_deafen)
        own = msgspec.structs.replace(
            config, database_url=postgres.url("mitosis_service"), owner_database_url=postgres.url("postgres")
        )
        asyncio.run(_serve(own, is_ours=True))


def _deafen() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


async def _serve(config: Config, *, is_ours: bool) -> None:
    """Serve until a signal comes; one that comes before anybody is served gives up what is being started."""
    stop, ready = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(_serve_until(stop, ready, config, is_ours=is_ours))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set() and not ready.is_set():
        serving.cancel()
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve_until(stop: asyncio.Event, ready: asyncio.Event, config: Config, *, is_ours: bool) -> None:
    has_demo = await prepare(config, is_ours=is_ours)
    async with AsyncExitStack() as stack:
        sockets = await stack.enter_async_context(bound(config.host, config.port))
        base, metrics = address(sockets), None
        if config.metrics_port is not None:
            asked_on = await stack.enter_async_context(bound(config.metrics_host, config.metrics_port))
            metrics = f"{address(asked_on)}/metrics"
        measure = await stack.enter_async_context(_served(config, sockets))
        if metrics is not None:
            await stack.enter_async_context(exposed(measure, asked_on))
        ready.set()
        if not stop.is_set():
            _greet(base, metrics, config, has_demo=has_demo)
        await stop.wait()


@asynccontextmanager
async def _served(config: Config, sockets: list[socket.socket]) -> AsyncIterator[Measure]:
    """Served by this process or by workers, until the end; what is said of all that is for the metrics."""
    if config.workers == 1:
        async with accepting(config, sockets) as app:
            yield partial(measured, app, ask_database=True)
    else:
        async with working(config, sockets) as workers:
            yield workers.measured


def _greet(base: str, metrics: str | None, config: Config, *, has_demo: bool) -> None:
    lines = [f"Mitosis serves {base} (documentation: {base}/docs, console: {base}{CONSOLE})"]
    if metrics is not None:
        lines += [f"Metrics: {metrics}"]
    if has_demo:
        tokens = Tokens(load_key(config.key_file), config.audience)
        token = tokens.issue(subject="ops@demo", tenant_id=demo.TENANT_ID, role="admin", ttl_s=_DEMO_TOKEN_S)
        lines += [
            f"The console, signed in for 12 hours: {base}{config.base_path}{CONSOLE}#token={token}",
            "",
            f"The data is in {config.home.resolve()}. Clone the demo client (with the same token):",
            "",
            f"  curl -sS -X POST {base}{config.base_path}/admin/oauth/clients/{demo.CLIENT_ID}/clone \\",
            f"    -H 'Authorization: Bearer {token}'",
            "",
        ]
    sys.stdout.write("\n".join([*lines, "Ctrl-C stops it."]) + "\n")
    sys.stdout.flush()
