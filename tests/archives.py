"""Archives as tests make them and take them apart, and the commands that write and read them."""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
from pyrage import x25519

from events import archive, cloudevent, log
from events.archive import ArchivedHead, Credentials, Manifest, Protection, Trailer
from events.errors import LogDamaged
from events.log import Entry
from events.record import decode
from service.archive.compression import compressing, decompressed
from tests.commands import Mitosis, Said
from tests.damage import BEGINNING, Log, head_of
from tests.movers import Side


class Archives:
    """`mitosis tenant export` of one tenant at *source*, and `import` at *target*, by way of files in `folder`."""

    def __init__(self, mitosis: Mitosis, source: Side, target: Side, home: Path, tenant: str) -> None:
        self.mitosis = mitosis
        self.source, self.target, self.home, self.tenant = source, target, home, tenant
        self.folder = home / "archives"
        self.folder.mkdir()
        self.file = self.folder / "archive"
        identity = x25519.Identity.generate()
        (home / "identity").write_text(f"{identity}\n")
        self.sealed = ("--with-credentials", "--recipient", str(identity.to_public()))
        self.opened = ("--identity", str(home / "identity"))

    async def export(self, *arguments: str, **environment: str) -> Said:
        """Export the tenant to `file`; with `sealed`, its credentials too."""
        return await self.at(self.source, "export", self.tenant, "-o", str(self.file), *arguments, **environment)

    async def bring(self, *arguments: str, **environment: str) -> Said:
        """Import `file`; with `opened`, its credentials too."""
        return await self.at(self.target, "import", str(self.file), *arguments, **environment)

    async def at(self, side: Side, *arguments: str, **environment: str) -> Said:
        """`mitosis tenant ...` at a side."""
        return await self.mitosis("tenant", *arguments, **{"MITOSIS_DATABASE_URL": side.url, **environment})

    async def verify(self, *arguments: str) -> Said:
        """`mitosis audit verify` at the target."""
        return await self.mitosis("audit", "verify", *arguments, MITOSIS_DATABASE_URL=self.target.url)

    async def exported(self, *arguments: str, **environment: str) -> None:
        """Export, and it worked."""
        said = await self.export(*arguments, **environment)
        assert said.status == 0, said.err

    async def brought(self, *arguments: str, **environment: str) -> Said:
        """Import, and it worked."""
        said = await self.bring(*arguments, **environment)
        assert said.status == 0, said.err
        return said

    async def nothing_there(self) -> bool:
        """Whether the target knows nothing of the tenant."""
        return not any((await everything(self.target.owner, self.tenant)).values())


_TABLES = {
    "heads": "select position, digest, time, state, moved_to from heads where tenant_id = $1",
    "events": "select position, event_id, digest, body::text, private from events where tenant_id = $1 order by 1",
    "clients": "select client_id, state::text, name_folded, id from clients where tenant_id = $1 order by 1",
    "withheld": "select event_id from withheld where tenant_id = $1 order by 1",
}


async def everything(owner: asyncpg.Connection, tenant: str) -> Mapping[str, list[Any]]:
    """All that a database has of *tenant* and an archive brings, table by table."""
    return {name: await owner.fetch(statement, tenant) for name, statement in _TABLES.items()}


async def log_of(owner: asyncpg.Connection, tenant: str) -> Log:
    """The records of *tenant*."""
    return [entry async for entry in log.read(owner, tenant)]


# --------------------------------------------------------------------------------------------------- apart and together


def lines(data: bytes) -> list[bytes]:
    """The lines of an archive, each with its end."""
    return decompressed(io.BytesIO(data)).readlines()


def packed(some: Iterable[bytes]) -> bytes:
    """Lines as a file."""
    file = io.BytesIO()
    with compressing(file) as compressed:
        compressed.write(b"".join(some))
    return file.getvalue()


def manifest_of(log: Log, **changes: Any) -> Manifest:
    """What an archive of *log* says of itself."""
    head = head_of(log)
    made = Manifest(
        tenant_id=log[0].tenant_id,
        created_at=BEGINNING,
        records=len(log),
        clients=1,
        head=ArchivedHead(position=len(log), digest=head.digest.hex(), time=_time(log[-1])),
    )
    return msgspec.structs.replace(made, **changes)


def _time(entry: Entry) -> datetime:
    """When a record says that it happened, or any time where it says none."""
    try:
        time = decode(entry.body).time
    except LogDamaged:
        return BEGINNING
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def record_line(entry: Entry) -> bytes:
    """*entry* as a line of an archive, whatever its body is."""
    return archive.line(
        msgspec.json.encode(
            {
                "specversion": "1.0",
                "id": entry.event_id,
                "source": cloudevent.source(entry.tenant_id),
                "type": "x",
                "time": "x",
                "datacontenttype": "application/json",
                "digest": entry.digest.hex(),
            }
        )[:-1]
        + b',"data":'
        + entry.body
        + b"}"
    )


class Credited(NamedTuple):
    """What an archive says of its credentials, and what is in its line of them."""

    protection: Protection
    sealed: bytes


def archived(log: Log, manifest: Manifest | None = None, credited: Credited | None = None) -> bytes:
    """An archive of *log*, or of whatever else that is."""
    manifest = manifest or manifest_of(log)
    count = 0
    some = [archive.line(manifest)]
    if credited is not None:
        count = credited.protection.count
        some = [
            archive.line(msgspec.structs.replace(manifest, credentials=credited.protection)),
            archive.line(Credentials(credited.sealed)),
        ]
    trailer = archive.line(Trailer(records=manifest.records, credentials=count))
    return packed([*some, *map(record_line, log), trailer])
