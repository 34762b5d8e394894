"""`mitosis serve`: from a configuration to a running service, and in order back to nothing."""

import asyncio
import signal
import sys
from contextlib import ExitStack

import asyncpg
import msgspec
from aiohttp import web

from events.database import borrowed
from events.errors import DatabaseAway, MitosisError
from service import demo, embedded, home, logs, schema
from service.app import build
from service.bearer import Tokens
from service.config import Config
from service.database import reason
from service.dsn import name_of
from service.requests import READS
from service.routes import TOKENS
from service.runner import Runner

_OLDEST = 15  # major version of PostgreSQL
_DEMO_TOKEN_S = 12 * 3600
_ANSWER_S = 30  # for requests in flight when the service is told to stop


class CannotServe(MitosisError):
    """The service cannot start. The message says why, in one line."""


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
            asyncio.run(_serve(config, plant=False))
            return
        held = stack.enter_context(home.hold(config.home))
        postgres = embedded.start(held)
        stack.callback(postgres.stop)
        stack.callback(_deafen)
        own = msgspec.structs.replace(
            config, database_url=postgres.url("mitosis_service"), owner_database_url=postgres.url("postgres")
        )
        asyncio.run(_serve(own, plant=True))


def _deafen() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


async def _serve(config: Config, *, plant: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await _prepare(config, login=plant)
    app = build(config)
    runner = Runner(app, access_log=None, shutdown_timeout=_ANSWER_S)
    await runner.setup()
    try:
        await _check(app, config)
        is_demo = plant and await demo.plant(app)
        site = web.TCPSite(runner, config.host, config.port)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotServe(f"{config.host}:{config.port} cannot be listened on: {reason}") from error
        _greet(runner, config, app[TOKENS], has_demo=is_demo)
        await stop.wait()
    finally:
        await runner.cleanup()


async def _prepare(config: Config, *, login: bool) -> None:
    """Bring the schema up to date, as the owner. *login*: let the service's role connect as itself."""
    url = config.owner_database_url or config.database_url or ""
    try:
        connection = await asyncpg.connect(url, timeout=config.database_timeout_s)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotServe(f"the database {name_of(url)} cannot be connected to: {reason(error)}") from error
    try:
        if connection.get_server_version().major < _OLDEST:
            raise CannotServe(f"the database {name_of(url)} is older than PostgreSQL {_OLDEST}")
        await schema.apply(connection)
        if login:
            await connection.execute("alter role mitosis_service login")
    except asyncpg.PostgresError as error:
        raise CannotServe(f"schema.sql cannot be applied to {name_of(url)}: {reason(error)}") from error
    finally:
        await connection.close(timeout=config.database_timeout_s)


async def _check(app: web.Application, config: Config) -> None:
    """Whether the service's own user can work: a wrong one is told now, and not at the first request."""
    try:
        async with borrowed(app[READS], config.database_timeout_s) as connection:
            await connection.fetchval("select from clients, heads, events limit 0")
    except (DatabaseAway, asyncpg.PostgresError) as error:
        cause = error.__cause__ or error
        url = config.database_url or ""
        raise CannotServe(f"the service cannot use the database {name_of(url)}: {reason(cause)}") from error


def _greet(runner: web.AppRunner, config: Config, tokens: Tokens, *, has_demo: bool) -> None:
    host, port = runner.addresses[0][:2]
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = [f"Mitosis serves {base} (documentation: {base}/docs)"]
    if has_demo:
        token = tokens.issue(subject="ops@demo", tenant_id=demo.TENANT_ID, role="admin", ttl_s=_DEMO_TOKEN_S)
        lines += [
            f"The data is in {config.home.resolve()}. Clone the demo client (the token is good for 12 hours):",
            "",
            f"  curl -sS -X POST {base}{config.base_path}/admin/oauth/clients/{demo.CLIENT_ID}/clone \\",
            f"    -H 'Authorization: Bearer {token}'",
            "",
        ]
    sys.stdout.write("\n".join([*lines, "Ctrl-C stops it."]) + "\n")
    sys.stdout.flush()
