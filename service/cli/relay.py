"""`mitosis relay`: a consumer that passes every record on to a message broker."""

import argparse
import asyncio
import os
from pathlib import Path

from service.cli.connecting import CannotConnect, running_database
from service.cli.parser import Commands
from service.config import from_environment
from service.relay.publisher import CannotRelay
from service.relay.run import relay


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    relaying = commands.add_parser(
        "relay",
        help="pass every record on to NATS JetStream",
        description="Publish every record of every tenant to NATS JetStream as a CloudEvent, with the subject "
        "mitosis.<tenant>.<type>, each once and each tenant's in order, until Ctrl-C. Several of one name divide the "
        "tenants. Works on the database of MITOSIS_DATABASE_URL, or on the embedded one of a running service.",
    )
    relaying.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        default=os.environ.get("MITOSIS_NATS_URL"),
        help="nats://host:4222, or tls://user:password@host:4222 (MITOSIS_NATS_URL, which other users do not see)",
    )
    relaying.add_argument("--name", default="relay", help="the consumer's name (%(default)s)")
    relaying.add_argument("--stream", default="MITOSIS", help="what a stream is called that must be made (%(default)s)")
    relaying.add_argument("--creds", type=Path, metavar="FILE", help="a NATS credentials file")
    relaying.set_defaults(run=_relay)


def _relay(parsed: argparse.Namespace) -> None:
    if parsed.url is None:
        raise CannotRelay("the broker is to be named: mitosis relay nats://host:4222, or MITOSIS_NATS_URL")
    config = from_environment()
    url = running_database(config)
    if url is None:
        raise CannotConnect(f"no service runs in {config.home}: start it, or name a database in MITOSIS_DATABASE_URL")
    asyncio.run(
        relay(
            config,
            parsed.url,
            database_url=url,
            name=parsed.name,
            stream=parsed.stream,
            credentials=parsed.creds,
        )
    )
