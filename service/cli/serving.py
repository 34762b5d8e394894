"""`mitosis serve` and `mitosis token`."""

import argparse
import sys

import msgspec

from service import serve
from service.bearer import ROLES, Tokens
from service.cli.parser import Commands
from service.config import ConfigError, from_environment, seconds
from service.naming import is_tenant_id
from service.signing import load_key


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    serving = commands.add_parser(
        "serve",
        help="serve the HTTP API",
        description="Serve the HTTP API, on a PostgreSQL of its own unless MITOSIS_DATABASE_URL names another. "
        "With MITOSIS_METRICS_PORT it answers Prometheus on that port, at /metrics. "
        "All further configuration is in the environment; the README lists it.",
    )
    serving.add_argument("--host", help="the address to listen on (MITOSIS_HOST, 127.0.0.1)")
    serving.add_argument("--port", type=int, help="the port to listen on, 0 for any that is free (PORT, 8080)")
    serving.add_argument("--workers", type=int, help="how many processes serve (MITOSIS_WORKERS, one for each core)")
    serving.set_defaults(run=_serve)

    token = commands.add_parser(
        "token",
        help="print a bearer token",
        description="Print a JWT for the API, signed with the local key in MITOSIS_HOME or MITOSIS_SIGNING_KEY_FILE.",
    )
    token.add_argument("--tenant", required=True, help="the tenant it is for")
    token.add_argument("--role", required=True, choices=ROLES, help="what its bearer may do: %(choices)s")
    token.add_argument("--subject", help="who its bearer is (ops@TENANT)")
    token.add_argument("--ttl", default="1h", help="how long it is good for, such as 15m (%(default)s)")
    token.set_defaults(run=_token)


def _serve(parsed: argparse.Namespace) -> None:
    names = ("host", "port", "workers")
    given = {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}
    for name, least, most in (("port", 0, 65535), ("workers", 1, 256)):
        if not least <= given.get(name, least) <= most:
            raise ConfigError(f"--{name} must be from {least} to {most}, not {given[name]}")
    serve.run(msgspec.structs.replace(from_environment(), **given))


def _token(parsed: argparse.Namespace) -> None:
    config = from_environment()
    if not is_tenant_id(parsed.tenant):
        raise ConfigError("--tenant must be 1 to 128 printable ASCII characters without spaces")
    token = Tokens(load_key(config.key_file), config.audience).issue(
        subject=parsed.subject or f"ops@{parsed.tenant}",
        tenant_id=parsed.tenant,
        role=parsed.role,
        ttl_s=seconds(parsed.ttl, "--ttl"),
    )
    sys.stdout.write(f"{token}\n")
