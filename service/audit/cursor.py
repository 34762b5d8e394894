"""The place of a reader of all tenants: `{tenant: position}` as an opaque text that fits into a header."""

import base64
import zlib
from collections.abc import Mapping

import msgspec

from service.bearer import is_tenant_id

LONGEST = 8000  # characters; aiohttp takes no header line over 8,190 bytes
_UNPACKED_LIMIT = 1024 * 1024  # bytes

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, int]).decode


def pack(positions: Mapping[str, int]) -> str:
    """The text of *positions*. It may be longer than LONGEST, and is then of no use."""
    return base64.urlsafe_b64encode(zlib.compress(_encode(positions), 1)).rstrip(b"=").decode()


def unpack(text: str) -> dict[str, int]:
    """
    The positions that *text* was packed from.

    Raises:
        ValueError: it is no such text.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        reader = zlib.decompressobj()
        positions = _decode(reader.decompress(packed, _UNPACKED_LIMIT))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no cursor") from error
    if not reader.eof or not all(is_tenant_id(tenant) and 0 <= at < 2**63 for tenant, at in positions.items()):
        raise ValueError("no cursor")
    return positions
