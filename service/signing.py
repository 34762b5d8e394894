"""The local signing key: for tokens that `mitosis token` prints, on machines without an issuer."""

import os
import secrets
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from service.config import ConfigError


def load_key(path: Path) -> OKPKey:
    """
    The Ed25519 key (PKCS 8, PEM) in *path*; where there is no file, a new one, readable by its owner only.

    Raises:
        ConfigError: the file cannot be used as a key, or others may read it.
    """
    try:
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o007:
            raise ConfigError(f"{path} can be read by every user of this machine; run: chmod 600 {path}")
        key = OKPKey.import_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the signing key {path} cannot be used: {error.strerror}") from error
    except (JoseError, ValueError, TypeError) as error:
        raise ConfigError(f"the signing key {path} is not an Ed25519 key in PEM") from error
    if key.curve_name != "Ed25519" or not key.is_private:
        raise ConfigError(f"the signing key {path} is not an Ed25519 private key")
    return key


def _create(path: Path) -> None:
    """Write a new key. Of several processes that start at once one wins, and no one ever sees half a file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    pem = OKPKey.generate_key("Ed25519").as_pem(private=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(pem)
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
