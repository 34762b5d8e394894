"""The composition root: from a configuration to the application. Nothing in it but this opens a pool."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from events.doorbell import Doorbell
from events.feed import Feed
from service import client_secrets, clients, health, idempotency, requests, routes
from service.access import labelled, observed
from service.ahead import Ahead
from service.audit import logs, proof, stream
from service.audit.followers import Followers
from service.audit.heads import HeadSigner
from service.authentication import handlers as authentication
from service.authentication.authenticator import Authenticator
from service.authentication.fetching import KeySets
from service.authentication.remembered import Remembered
from service.authentication.usage import Usage
from service.bearer import Tokens
from service.config import Config
from service.console import site as console
from service.credentials import Hasher
from service.database import open_pool
from service.desk import PATIENCE_S, POOL_SIZE, Desk
from service.document import handlers as document
from service.fairness import QueuedPlaces
from service.issuer import open_issuer
from service.lookup import Lookup
from service.metrics.instruments import INSTRUMENTS, Instruments
from service.metrics.state import STATE, State
from service.reading import BODY_LIMIT
from service.recent import Recent
from service.signing import load_key
from service.sweeping import sweep_now_and_then

_logger = logging.getLogger(__name__)

FEED_POOL_SIZE = 5  # the doorbell's line, what is new for all, and the rest for those who are behind


def sessions(config: Config) -> int:
    """How many sessions with the database all workers have at most."""
    return config.workers * (config.pool_size + POOL_SIZE + FEED_POOL_SIZE)


def _heard(task: asyncio.Task[None]) -> None:
    """What runs beside the requests ends with the application; when it ends before, somebody should know."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("background_ended", exc_info=error)


def build(config: Config, *, key_sets: Callable[[], KeySets] = KeySets) -> web.Application:
    """
    The application that *config* describes; its database is connected to when it is first needed.

    *key_sets* makes what fetches the clients' JWK Sets; it is called when the loop runs.

    Raises:
        ConfigError: the signing key cannot be used.
    """
    app = web.Application(middlewares=[observed], client_max_size=BODY_LIMIT)
    key = load_key(config.key_file)
    app[INSTRUMENTS] = Instruments()
    app[requests.TIMEOUT_S] = config.database_timeout_s
    app[client_secrets.GRACE_S] = config.rotation_grace_s
    app[idempotency.TTL_S], app[idempotency.RUNNING] = config.idempotency_ttl_s, set()

    async def resources(app: web.Application) -> AsyncIterator[None]:
        if config.database_url is None:
            raise ValueError("the application needs a database_url")
        timeout_s = config.database_timeout_s
        hasher = Hasher(
            time_cost=config.argon2_time_cost,
            memory_kib=config.argon2_memory_kib,
            parallelism=config.argon2_parallelism,
            threads=config.hash_threads,
            line_limit=config.hash_line,
        )
        async with (
            open_pool(config.database_url, size=config.pool_size, timeout_s=timeout_s, by_key=True) as reads,
            open_pool(
                config.database_url, size=POOL_SIZE, timeout_s=timeout_s, lock_timeout_s=PATIENCE_S, by_key=True
            ) as writes,
            open_pool(config.database_url, size=FEED_POOL_SIZE, timeout_s=timeout_s) as feeds,
            open_issuer(config) as issuer,
        ):
            app[routes.TOKENS] = Tokens(key, config.audience, issuer)
            # a quarter is for what a handler looks up before
            doorbell = Doorbell(feeds, timeout_s=timeout_s)
            app[requests.RECENT] = recent = Recent()
            desk = Desk(
                writes,
                timeout_s=timeout_s * 3 / 4,
                line_limit=config.desk_line,
                ring=doorbell.ring,
                seen=recent.note,
                turned=app[INSTRUMENTS].turned,
            )
            app[requests.READS], app[requests.DESK], app[requests.HASHER] = reads, desk, hasher
            app[requests.AHEAD] = ahead = Ahead(hasher, limit=0 if hasher.is_cheap else config.credentials_ready)
            app[requests.LOOKUP] = lookup = Lookup(reads, timeout_s=timeout_s)
            usage, fetcher = Usage(reads, timeout_s=timeout_s), key_sets()
            app[authentication.AUTHENTICATOR] = Authenticator(
                reads, timeout_s=timeout_s, hasher=hasher, usage=usage, key_sets=fetcher, remembered=Remembered()
            )
            app[STATE] = State(desk, hasher, ahead, followers, {"reads": reads, "writes": writes, "feeds": feeds})
            app[stream.FEED] = feed = Feed(feeds, doorbell, timeout_s=timeout_s)
            background = [
                asyncio.create_task(work)
                for work in (sweep_now_and_then(reads, timeout_s=timeout_s), doorbell.run(), feed.run(), ahead.run())
            ]
            for task in background:
                task.add_done_callback(_heard)
            yield
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            await desk.close()
            await lookup.close()
            await fetcher.close()
            await usage.close()
            await asyncio.to_thread(hasher.close)  # a hash that nobody waits for has to end first

    app[proof.SIGNER], app[proof.VERIFYING] = HeadSigner(key), QueuedPlaces(proof.AT_ONCE, share=1)
    app[logs.COUNTING] = QueuedPlaces(logs.AT_ONCE, share=1)
    app[requests.PASTS] = QueuedPlaces(requests.PASTS_AT_ONCE, share=requests.PASTS_SHARE)
    app[stream.FOLLOWERS] = followers = Followers(config.followers)

    async def send_home(_app: web.Application) -> None:
        followers.send_home()

    app.on_response_prepare.append(labelled)
    app.on_shutdown.append(send_home)
    app.cleanup_ctx.append(resources)
    table = (
        clients.ROUTES
        + client_secrets.ROUTES
        + stream.ROUTES
        + logs.ROUTES
        + proof.ROUTES
        + authentication.ROUTES
        + health.ROUTES
        + document.ROUTES
    )
    app[document.PAGES] = document.pages(table, config.base_path)
    routes.add(app, table, config.base_path)
    console.add(app, config)  # it is for people, and no part of the API that the document is about
    return app
