"""Credentials: mint a secret, hash it, check one against its hash."""

import asyncio
import os
import secrets
import string
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from service.fairness import Places
from service.refusals import RETRY_AFTER_S, TooManyHashes

PREFIX = "secret_"
RANDOM_LENGTH = 43  # base62 digits that hold 256 bits
CHECKSUM_LENGTH = 6  # base62 digits that hold a CRC32
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH

T = TypeVar("T")

_CHEAP_KIB = 256  # memory times passes: such a hash takes 0.15 ms, and asking a thread for one as much again
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


class Credential(NamedTuple):
    """A new secret and what is kept of it. The plain text goes into one answer and nowhere else."""

    secret: str
    hash: str

    def __repr__(self) -> str:
        """Nothing: a credential that is printed by accident must not be one that leaks."""
        return "Credential(...)"

    @property
    def last_four(self) -> str:
        """What a person may recognise the secret by: four characters, of the checksum's."""
        return self.secret[-4:]


class Hasher:
    """
    argon2id in threads of its own (the library lets go of the interpreter's lock while it works).

    At most `threads` hashes run at once and at most `line_limit` wait; one more is refused rather than queued, so that
    callers who ask for credentials cannot make a line that nobody leaves in time. Tenants share these places, so that
    one whose secrets are guessed at keeps no other from checking its own. Besides these, one thread of the lowest
    priority makes what nobody has asked for yet.

    A hash that is cheap by its configuration is made where it is asked for: nobody waits for it, nor has to make any
    ahead.
    """

    def __init__(self, *, time_cost: int, memory_kib: int, parallelism: int, threads: int, line_limit: int) -> None:
        self._argon2 = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism, hash_len=32, salt_len=16, type=Type.ID
        )
        self.is_cheap = memory_kib * time_cost <= _CHEAP_KIB
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._at_once = threads
        self._places = Places(threads + line_limit, least=threads)
        self._idle = asyncio.Event()
        self._idle.set()
        self._spare = ThreadPoolExecutor(1, thread_name_prefix="argon2-spare", initializer=_give_way)
        self._dummy = self._argon2.hash(new_secret())

    @property
    def running(self) -> int:
        """Hashes that have a thread."""
        return min(self._places.taken, self._at_once)

    @property
    def waiting(self) -> int:
        """Hashes that wait for one."""
        return self._places.taken - self.running

    async def mint(self, tenant_id: str) -> Credential:
        """
        A new credential of 256 random bits, for a client of *tenant_id*.

        Raises:
            TooManyHashes: the line is full.
        """
        secret = new_secret()
        return Credential(secret, await self._in_line(tenant_id, self._argon2.hash, secret))

    async def mint_when_idle(self) -> Credential:
        """A new credential for nobody yet: it is begun when no hash runs or waits, and gives way to all other work."""
        await self._idle.wait()
        secret = new_secret()
        return Credential(
            secret, await asyncio.get_running_loop().run_in_executor(self._spare, self._argon2.hash, secret)
        )

    async def verify(self, tenant_id: str, sealed: str | None, secret: str) -> bool:
        """
        Whether *secret* is the one that the hash *sealed* was made of; without a hash, False after the same work.

        No more of *secret* is looked at than one of ours is long.

        Raises:
            TooManyHashes: the line is full.
        """
        matches = await self._in_line(tenant_id, self._matches, sealed or self._dummy, secret[:LENGTH])
        return matches and sealed is not None and len(secret) <= LENGTH

    def _matches(self, sealed: str, secret: str) -> bool:
        try:
            return self._argon2.verify(sealed, secret)
        except (Argon2Error, InvalidHashError):
            return False

    async def _in_line(self, tenant_id: str, work: Callable[..., T], *arguments: str) -> T:
        if self.is_cheap:
            return work(*arguments)
        if not self._places.take(tenant_id):
            raise TooManyHashes(headers={"Retry-After": str(RETRY_AFTER_S)})
        try:
            done = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except BaseException:  # no thread could be started for it
            self._places.leave(tenant_id)
            raise
        self._idle.clear()
        # a caller who gives up does not stop the thread: the place is free when the work is done, not before
        done.add_done_callback(partial(self._leave, tenant_id))
        return await asyncio.shield(done)

    def _leave(self, tenant_id: str, work: "asyncio.Future[T]") -> None:
        self._places.leave(tenant_id)
        if not self._places.taken:
            self._idle.set()
        if not work.cancelled():
            work.exception()

    def close(self) -> None:
        """Let the hashes that run finish and start no other."""
        for threads in (self._threads, self._spare):
            threads.shutdown(cancel_futures=True)


def _give_way() -> None:
    """Let this thread have what no other wants (Linux counts a thread's priority by its id)."""
    with suppress(OSError):  # where that is forbidden it takes its share like any other
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def new_secret() -> str:
    """
    `secret_`, 43 base62 digits of 256 random bits, and 6 of the CRC32 over all before them.

    The prefix and the checksum let a scanner recognise a leaked secret without asking anybody.
    """
    body = PREFIX + _base62(secrets.randbits(256), RANDOM_LENGTH)
    return body + _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def is_well_formed(secret: str) -> bool:
    """Whether *secret* has the form and the checksum of one of ours."""
    body, checksum = secret[:-CHECKSUM_LENGTH], secret[-CHECKSUM_LENGTH:]
    return (
        len(secret) == LENGTH
        and secret.startswith(PREFIX)
        and checksum == _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)
    )


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
