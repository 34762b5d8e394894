"""
The credentials of an archive, encrypted with age (age-encryption.org/v1, by pyrage).

Each archive has an age identity of its own. Its credentials are encrypted to that, a line at a time; the identity is in
the manifest, encrypted to a passphrase or to the public keys of whoever may open it. So a passphrase is stretched once
and not for every line, and who has not got the key is told before anything was read.
"""

from collections.abc import Mapping, Sequence

import msgspec
import pyrage
from pyrage import x25519

from events.archive import NoArchive, Protection
from events.errors import MitosisError

_decode = msgspec.json.Decoder(dict[str, str]).decode


class NoKey(MitosisError):
    """A text is no key, or not the one that an archive was encrypted to. The message says which."""


class Sealer:
    """
    Encrypts the credentials of one archive.

    Args:
        key: what opens them, a passphrase or public keys (`age1...`).

    Raises:
        NoKey: one of them is no public key.
    """

    def __init__(self, key: str | Sequence[str]) -> None:
        identity = x25519.Identity.generate()
        self._own = identity.to_public()
        secret = str(identity).encode()
        if isinstance(key, str):
            self._key = pyrage.passphrase.encrypt(secret, key, armored=True)
        else:
            self._key = pyrage.encrypt(secret, [_recipient(one) for one in key], armored=True)
        self._to_passphrase = isinstance(key, str)

    def protection(self, count: int) -> Protection:
        """What the manifest says of *count* credentials."""
        return Protection(
            count=count, to="passphrase" if self._to_passphrase else "recipients", key=self._key.decode("ascii")
        )

    def seal(self, private: Mapping[str, str]) -> bytes:
        """*private*, by event id, as a line of credentials has it."""
        return pyrage.encrypt(msgspec.json.encode(private), [self._own])


class Opener:
    """
    Decrypts the credentials of one archive.

    Args:
        protection: what its manifest says of them.
        key: the passphrase, or the text of age identities (`AGE-SECRET-KEY-1...`, one a line).

    Raises:
        NoKey: it does not open them.
    """

    def __init__(self, protection: Protection, key: str) -> None:
        wrapped = protection.key.encode()
        try:
            if protection.to == "passphrase":
                secret = pyrage.passphrase.decrypt(wrapped, key)
            else:
                secret = pyrage.decrypt(wrapped, identities(key))
            self._own = x25519.Identity.from_str(secret.decode("ascii"))
        except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError):
            what = "passphrase" if protection.to == "passphrase" else "identity"
            raise NoKey(f"the credentials of this archive do not open with that {what}") from None

    def open(self, sealed: bytes) -> dict[str, str]:
        """
        The private parts in a line of credentials, by event id. Whether each is the one is for the records to say.

        Raises:
            NoArchive: they were damaged, or are another archive's.
        """
        try:
            return _decode(pyrage.decrypt(sealed, [self._own]))
        except (pyrage.DecryptError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NoArchive("the credentials in this archive are damaged") from None


def identities(text: str) -> list[x25519.Identity]:
    """
    The age identities in *text*, one a line; lines that begin with # are remarks.

    Raises:
        NoKey: a line is none, or there is none.
    """
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = [x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise NoKey("a line is no age identity (AGE-SECRET-KEY-1...)") from None
    if not found:
        raise NoKey("there is no age identity (AGE-SECRET-KEY-1...)")
    return found


def _recipient(text: str) -> x25519.Recipient:
    try:
        return x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise NoKey(f"{text!r} is no age public key (age1...)") from None
