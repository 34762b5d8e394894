"""
The place of a reader of all tenants as an opaque text that fits into a header.

That is `{tenant: position}`, and the tenant whose record came last: the others come first when it goes on.
"""

import base64
import zlib
from collections.abc import Mapping

import msgspec

from service.naming import is_tenant_id

LONGEST = 8000  # characters; aiohttp takes no header line over 8,190 bytes
_UNPACKED_LIMIT = 1024 * 1024  # bytes

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(tuple[str, dict[str, int]]).decode


def pack(positions: Mapping[str, int], last: str) -> str:
    """The text of *positions* and the *last* tenant. It may be longer than LONGEST, and is then of no use."""
    return base64.urlsafe_b64encode(zlib.compress(_encode((last, positions)), 1)).rstrip(b"=").decode()


def unpack(text: str) -> tuple[dict[str, int], str]:
    """
    The positions and the last tenant that *text* was packed from.

    Raises:
        ValueError: it is no such text.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        reader = zlib.decompressobj()
        last, positions = _decode(reader.decompress(packed, _UNPACKED_LIMIT))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no cursor") from error
    is_whole = reader.eof and not reader.unused_data
    tenants = {*positions, last} if last else set(positions)
    if not is_whole or not all(map(is_tenant_id, tenants)) or not all(0 <= at < 2**63 for at in positions.values()):
        raise ValueError("no cursor")
    return positions, last
