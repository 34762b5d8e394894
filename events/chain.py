"""The hash chain of a tenant's log. Pure: bytes in, bytes out."""

from collections.abc import Iterable
from hashlib import sha256

from events.errors import ChainBroken


def genesis(tenant_id: str) -> bytes:
    """The digest before a tenant's first record: 32 bytes that no other tenant starts from."""
    return sha256(b"mitosis/v1/" + tenant_id.encode()).digest()


def link(before: bytes, body: bytes) -> bytes:
    """The digest (32 bytes) of a record whose canonical bytes are *body*, after a record with the digest *before*."""
    return sha256(before + body).digest()


def seal(private: str) -> str:
    """What a record's body says of its private part: the SHA-256 of its UTF-8 bytes, in hexadecimal."""
    return sha256(private.encode()).hexdigest()


def verify(before: bytes, links: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """
    Follow a chain and return its last digest.

    Args:
        before: the digest before the first link, `genesis` for a whole log.
        links: (position, body, digest) in the order of positions.

    Raises:
        ChainBroken: a digest does not follow; the message names its position.
    """
    for position, body, digest in links:
        before = link(before, body)
        if before != digest:
            msg = f"the chain breaks at position {position}"
            raise ChainBroken(msg)
    return before
