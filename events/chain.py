"""The hash chain of a tenant's log. Pure: bytes in, bytes out."""

from hashlib import sha256


def genesis(tenant_id: str) -> bytes:
    """The digest before a tenant's first record: 32 bytes that no other tenant starts from."""
    return sha256(b"mitosis/v1/" + tenant_id.encode()).digest()


def link(before: bytes, body: bytes) -> bytes:
    """The digest (32 bytes) of a record whose canonical bytes are *body*, after a record with the digest *before*."""
    return sha256(before + body).digest()


def seal(private: str) -> str:
    """What a record's body says of its private part: the SHA-256 of its UTF-8 bytes, in hexadecimal."""
    return sha256(private.encode()).hexdigest()
