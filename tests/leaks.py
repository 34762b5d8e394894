"""What was ever minted, and every place that it must not be found in."""

import logging
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from service import credentials, embedded
from service.credentials import PREFIX, RANDOM_LENGTH, is_well_formed
from service.embedded import Embedded
from service.logs import JsonLines

SECRET = re.compile(PREFIX + r"[0-9A-Za-z]+")
HASH = "$argon2"
_LOGGERS = ("mitosis", "service", "aiohttp", "asyncio", "asyncpg")  # the first one says something of every request
_RUN = re.compile(rf"[0-9A-Za-z]{{{RANDOM_LENGTH},}}")


class Witness:
    """
    Reads what leaves the service, and remembers where a secret or a hash was where it should not be.

    `minted` are the secrets it knows of; a text that has the form of a secret is taken for one all the same, so that
    those which a killed process never handed out are looked for too.
    """

    def __init__(self) -> None:
        self.minted: set[str] = set()
        self.leaks: list[str] = []
        self._answered: Counter[str] = Counter()
        self._texts: list[tuple[str, str]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note every secret that this process mints, and read all that it logs."""
        new_secret = credentials.new_secret

        def noted() -> str:
            secret = new_secret()
            self.minted.add(secret)
            return secret

        listener = _Listener(self)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addHandler(listener)
        loggers[0].setLevel(logging.INFO)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(credentials, "new_secret", noted)
            yield
        for logger in loggers:
            logger.removeHandler(listener)

    def answer(self, where: str, headers: Mapping[str, str], text: str) -> None:
        """An HTTP answer: it may hold a secret once, where nobody stores it."""
        for secret in set(SECRET.findall(text)):
            if not is_well_formed(secret):
                continue
            self.minted.add(secret)
            # whoever has the Idempotency-Key is given the answer again
            self._answered[secret] += headers.get("Idempotency-Replayed") != "true"
            if self._answered[secret] > 1:
                self.leaks.append(f"a secret in a second answer: {where}")
            if headers.get("Cache-Control") != "no-store":
                self.leaks.append(f"a secret in an answer that may be stored: {where}")
        if HASH in text:
            self.leaks.append(f"a hash in an answer: {where}")

    def log(self, where: str, text: str) -> None:
        """What was written to a log: neither a secret nor a hash."""
        if HASH in text:
            self.leaks.append(f"a hash in {where}")
        self._keep(where, text)

    def dump(self, server: Embedded, database: str = embedded.DATABASE, *, binaries: Path | None) -> None:
        """A database and its server's log: no secret, and a hash in the log's private column alone."""
        programs = binaries or embedded.bundled()
        command: list[str | Path] = [programs / "pg_dump", "--dbname", server.url("postgres", database)]
        dumped = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": os.defpath}).stdout
        copied = ""
        for line in dumped.split("\n"):
            copied = line if line.startswith("COPY ") else copied
            has_private = copied.startswith("COPY public.events ") and copied.endswith(" private) FROM stdin;")
            if HASH in (line.rpartition("\t")[0] if has_private else line):
                self.leaks.append(f"a hash outside of the private column in {database}: {copied[:40]}...")
        self._keep(f"a dump of {database}", dumped)

    def verdict(self) -> list[str]:
        """All leaks, those of secrets that became known only later included."""
        bodies = {secret[len(PREFIX) : len(PREFIX) + RANDOM_LENGTH] for secret in self.minted}
        found = [f"a secret in {where}" for where, run in self._texts if not bodies.isdisjoint(_windows(run))]
        return [*self.leaks, *found]

    def _keep(self, where: str, text: str) -> None:
        if any(is_well_formed(secret) for secret in SECRET.findall(text)):
            self.leaks.append(f"a secret in {where}")
        self._texts += [(where, run) for run in _RUN.findall(text)]


class _Listener(logging.Handler):
    """Shows the witness each line as the service would write it."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self._format = JsonLines().format

    def emit(self, record: logging.LogRecord) -> None:
        """Not at the end of the session: there are many, and each is short."""
        self._witness.log(f"a log line of {record.name}", self._format(record))


def _windows(run: str) -> Iterator[str]:
    """Every part of *run* that is as long as a secret's random part: it may be hidden without its prefix."""
    return (run[start : start + RANDOM_LENGTH] for start in range(len(run) - RANDOM_LENGTH + 1))


WITNESS = Witness()
