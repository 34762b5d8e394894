"""A NATS operator with an account and its user, made of keys alone: what `nsc` makes for a server in operator mode."""

import base64
import binascii
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = 18 << 3  # the first letter of what a key is written as: S, O, A, U
_OPERATOR, _ACCOUNT, _USER = 14 << 3, 0, 20 << 3


class Nkey:
    """An Ed25519 key of a *kind*, and how NATS writes it."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = _written(bytes([kind]) + self._key.public_key().public_bytes_raw())
        self.seed = _written(bytes([_SEED | kind >> 5, (kind & 31) << 3]) + self._key.private_bytes_raw())

    def issue(self, subject: str, kind: str, claims: dict[str, Any]) -> str:
        """A JWT about *subject*."""
        body = {"jti": subject, "iat": int(time.time()), "iss": self.public, "sub": subject, "name": kind}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        said = f"{_part(head)}.{_part({**body, 'nats': {**claims, 'type': kind, 'version': 2}})}"
        return f"{said}.{_base64(self._key.sign(said.encode()))}"


def _written(key: bytes) -> str:
    return base64.b32encode(key + binascii.crc_hqx(key, 0).to_bytes(2, "little")).decode().rstrip("=")


def _part(content: dict[str, Any]) -> str:
    return _base64(json.dumps(content).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def operator_mode(directory: Path, *, publish: list[str], subscribe: list[str]) -> tuple[str, Path]:
    """
    The settings of a server, and the credentials file of its one user.

    The user may *publish* and *subscribe* to these subjects and no others.
    """
    operator, account, system, user = Nkey(_OPERATOR), Nkey(_ACCOUNT), Nkey(_ACCOUNT), Nkey(_USER)
    unlimited = dict.fromkeys(("subs", "data", "payload", "conn", "leaf", "imports", "exports"), -1)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    accounts = {
        account.public: operator.issue(account.public, "account", {"limits": {**unlimited, **storage}}),
        system.public: operator.issue(system.public, "account", {"limits": unlimited}),
    }
    allowed = {"pub": {"allow": publish}, "sub": {"allow": subscribe}, "subs": -1, "data": -1, "payload": -1}
    file = directory / "relay.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.issue(user.public, 'user', allowed)}\n------END NATS USER JWT------\n"
        "\n*** keep it to yourself ***\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    preloaded = "\n".join(f"{public}: {jwt}" for public, jwt in accounts.items())
    settings = (
        f'jetstream {{ store_dir: "{directory}/jetstream" }}\n'
        f"operator: {operator.issue(operator.public, 'operator', {})}\nsystem_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{\n{preloaded}\n}}"
    )
    return settings, file
