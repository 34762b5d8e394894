"""
A NATS credentials file: the JWT of a user, and the key with which the user proves to be who the JWT is for.

It is what `nsc generate creds` writes. The JWT goes to the server, which asks for a signature over a nonce of its own.
"""

import base64
import binascii
import re
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.database import reason
from service.relay.publisher import CannotRelay

_PARTS = re.compile(
    r"-{3,}BEGIN NATS USER JWT-{3,}\s+([\w.=-]+)\s+-{3,}END NATS USER JWT-{3,}"
    r".*-{3,}BEGIN USER NKEY SEED-{3,}\s+(SU[A-Z2-7]+)\s+-{3,}END USER NKEY SEED-{3,}",
    re.DOTALL,
)
_SEED_BYTES = 36  # two that say of what it is, 32 of the key, two of a checksum


class Credentials(NamedTuple):
    """The JWT of a user, and the user's key."""

    jwt: str
    key: Ed25519PrivateKey

    def sign(self, nonce: str) -> bytes:
        """What the server expects for *nonce*: the signature, in base64."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def load(path: Path) -> Credentials:
    """
    The credentials in the file *path*.

    Raises:
        CannotRelay: there are none.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else reason(error)
        raise CannotRelay(f"the credentials file {path} cannot be read: {why}") from error
    match = _PARTS.search(text)
    seed = _seed(match[2]) if match else None
    if match is None or seed is None:
        raise CannotRelay(f"the credentials file {path} holds no JWT and seed of a NATS user")
    return Credentials(match[1], Ed25519PrivateKey.from_private_bytes(seed))


def _seed(text: str) -> bytes | None:
    """The 32 bytes of an Ed25519 key that *text* encodes, as nkeys do: base32, with a CRC-16 (XMODEM) at the end."""
    try:
        decoded = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    is_whole = len(decoded) == _SEED_BYTES and binascii.crc_hqx(decoded[:-2], 0).to_bytes(2, "little") == decoded[-2:]
    return decoded[2:-2] if is_whole else None
