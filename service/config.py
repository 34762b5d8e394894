"""The configuration: one Struct, read from the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from events.errors import MitosisError
from service.rules.uris import key_source_faults

_LONGEST_S = 3650 * 86400
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class ConfigError(MitosisError):
    """A setting cannot be used. The message names it and says why."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """
    What can be configured. A setting's variable is its name in capitals after `MITOSIS_`; times end in s, m or h.

    `database_url` is who the service connects as, `owner_database_url` who applies the schema (the same where it is not
    given). Without a `database_url` the service runs a PostgreSQL of its own under `home`. `issuer` and `jwks_url` are
    https URLs, or http ones of this machine; both claims are names, or paths with dots. `pool_size`, both lines and
    `followers` are those of each of the `workers`.
    """

    home: Path = Path(".mitosis")
    database_url: str | None = None
    owner_database_url: str | None = None
    database_timeout_s: float = 5
    rotation_grace_s: float = 4 * 3600
    idempotency_ttl_s: float = 24 * 3600
    pool_size: int = 10
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = msgspec.field(default_factory=cores)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    base_path: str = ""
    signing_key_file: Path | None = None
    audience: str = "mitosis"
    issuer: str | None = None
    jwks_url: str | None = None
    tenant_claim: str = "tenant_id"
    role_claim: str = "role"
    console_client_id: str | None = None
    argon2_memory_kib: int = 19456
    argon2_time_cost: int = 2
    argon2_parallelism: int = 1
    hash_line: int = 256
    credentials_ready: int = 32
    desk_line: int = 4096
    followers: int = 1000

    @property
    def key_file(self) -> Path:
        """Where the local signing key lives."""
        return self.signing_key_file or self.home / "signing-key.pem"

    @property
    def hash_threads(self) -> int:
        """How many hashes a worker makes at once: its share of the cores."""
        return max(cores() // self.workers, 1)


def from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """
    The configuration that *environment* asks for; unset and empty variables leave the defaults.

    Raises:
        ConfigError: a value cannot be used.
    """
    values: dict[str, object] = {}
    for name, key in _VARIABLES.items():
        if text := environment.get(name, "").strip():
            values[key] = _value(name, key, text)
    return Config(**values)  # type: ignore[arg-type]  # each value was made for its field


_VARIABLES = {
    "PORT" if key == "port" else f"MITOSIS_{key.removesuffix('_s').upper()}": key for key in Config.__struct_fields__
}
_LEAST = {"port": 0, "metrics_port": 0, "argon2_memory_kib": 8, "hash_line": 0, "credentials_ready": 0}
_MOST = {"port": 65535, "metrics_port": 65535, "workers": 256}


def _value(name: str, key: str, text: str) -> object:
    if key.endswith("_s"):
        return seconds(text, name)
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == key)
    if kind in {int, int | None}:
        least, most = _LEAST.get(key, 1), _MOST.get(key, 2**31 - 1)
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ConfigError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
        return int(text)
    if key == "base_path":
        return _base_path(name, text)
    if key in {"issuer", "jwks_url"}:
        return _key_source(name, text)
    return Path(text) if key in {"home", "signing_key_file"} else text


def _key_source(name: str, text: str) -> str:
    # the text is not quoted: a URL that is refused for its user info holds a password
    for fault, _ in key_source_faults(text):
        raise ConfigError(f"{name} {fault}")
    if name == "MITOSIS_ISSUER" and "?" in text:
        raise ConfigError(f"{name} has a query (everything from '?' on); an issuer has none")
    return text


def _base_path(name: str, text: str) -> str:
    path = "/" + text.strip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+|/", path):
        raise ConfigError(f"{name} must be a path such as /api/v1, not {text!r}")
    return path.rstrip("/")


def seconds(text: str, name: str) -> float:
    """
    The seconds that *text* says: `5`, `5s`, `500ms`, `15m`, `4h` or `1d`. *name* is what the value is for.

    Raises:
        ConfigError: *text* is no positive length of time.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?", text.strip(), re.ASCII)
    length_s = float(match[1]) * _UNITS_S[match[2] or "s"] if match else 0
    if not 0 < length_s <= _LONGEST_S:
        raise ConfigError(f"{name} must be a length of time such as 5s, 15m or 4h, up to 3650d, not {text!r}")
    return length_s
