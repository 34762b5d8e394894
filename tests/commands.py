"""The command line, as operators and auditors use it, in this process."""

import asyncio
from typing import NamedTuple, Protocol

import pytest

from service.cli import main
from service.config import Config
from service.embedded import Embedded
from tests.leaks import WITNESS


class Said(NamedTuple):
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Mitosis(Protocol):
    """`await mitosis("audit", "verify", ...)`; *environment* adds to that of the service under test."""

    async def __call__(self, *arguments: str, **environment: str) -> Said: ...


@pytest.fixture
def mitosis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Config, postgres: Embedded
) -> Mitosis:
    """The commands, on the database and with the key of the shared service."""

    async def run(*arguments: str, **environment: str) -> Said:
        given = {
            "MITOSIS_HOME": str(config.home),
            "MITOSIS_DATABASE_URL": postgres.url("postgres"),
            "COLUMNS": "200",
            **environment,
        }
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                status = await asyncio.to_thread(main, arguments)
            except SystemExit as refused:
                status = int(str(refused.code))
        out, err = capsys.readouterr()
        WITNESS.log(f"mitosis {' '.join(arguments[:2])}", out + err)
        assert "Traceback" not in err
        return Said(status, out, err)

    return run
