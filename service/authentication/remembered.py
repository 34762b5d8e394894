"""Secrets that were just verified, so that a client that comes again does not cost another hash."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

REMEMBERED_S = 60
LIMIT = 10_000  # secrets


class Remembered:
    """
    Which secrets are known to be right, for a minute after each was verified.

    It holds no secret: an entry is an HMAC under a key that this process drew and nobody else knows. It says nothing of
    the client either, whose row is read all the same: a secret that was rotated away is not asked for here any more.
    """

    def __init__(self, *, limit: int = LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._limit = limit
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, tenant_id: str, client_id: str, secret_id: str, secret: str) -> None:
        """Remember that *secret* is the one with this id; the one remembered longest makes room."""
        entry = self._entry(tenant_id, client_id, secret_id, secret)
        self._until[entry] = self._clock() + REMEMBERED_S
        self._until.move_to_end(entry)
        if len(self._until) > self._limit:
            self._until.popitem(last=False)

    def holds(self, tenant_id: str, client_id: str, secret_id: str, secret: str) -> bool:
        """Whether *secret* was verified as the one with this id within the last minute."""
        until = self._until.get(self._entry(tenant_id, client_id, secret_id, secret))
        return until is not None and self._clock() < until

    def _entry(self, *parts: str) -> bytes:
        # no part holds a NUL, so no two lists of parts are the same message
        return hmac.digest(self._key, "\0".join(parts).encode(), sha256)
