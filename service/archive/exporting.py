"""
Writing a tenant's archive: its records as they are, out of one snapshot.

What is written is verified on the way, since an archive of a damaged log would be believed until the day it is needed.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from events import archive, chain, cloudevent, log
from events.archive import ArchivedHead, Credentials, Manifest, Protection, Trailer
from events.client import SecretsErased
from events.errors import LogDamaged, MitosisError
from events.log import Conn, Entry, Head
from events.verification.reading import claim
from events.verification.verifier import Verification
from projections.folding import require_whole
from service.archive.compression import Compressed
from service.archive.sealing import Sealer
from service.audit.heads import HeadSigner
from service.tenancy import NoSuchTenant

_BATCH = 1000  # records, and private parts in a line of credentials

Progress = Callable[[int, int], None]  # records written, records in all


class NotWritten(MitosisError):
    """The file does not take what is written to it. The message says why."""


class Exported(NamedTuple):
    """
    What was written.

    `missing` are private parts that are neither there nor erased: whoever imports the archive will not have them.
    """

    manifest: Manifest
    missing: int


# A record is in canonical form, and no other member of it has this name.
_COUNTS = """
select count(*) filter (where strpos(body::text, '"client_version":1,') > 0)
from events
where tenant_id = $1 and position <= $2
"""
_CREDENTIALS = "select count(private) from events where tenant_id = $1 and position <= $2"


class Export:
    """
    Writes the archive of *tenant_id* to *file*.

    Args:
        conn: in the role mitosis_consumer or, with credentials, in mitosis_service.
        signer: signs the head, where there is a key.
        sealer: encrypts the private parts; None leaves them out.
    """

    def __init__(
        self, conn: Conn, tenant_id: str, file: Compressed, *, signer: HeadSigner | None, sealer: Sealer | None
    ) -> None:
        self._conn = conn
        self._tenant_id = tenant_id
        self._file = file
        self._signer = signer
        self._sealer = sealer
        self._verification = Verification(tenant_id)
        self._credentials = self._missing = 0

    async def write(self, progress: Progress) -> Exported:
        """
        Write it all. What was written is no archive before this returns.

        Raises:
            NoSuchTenant
            LogDamaged: the log has a fault, or a private part is not the one that its record commits to.
            NotWritten
        """
        async with self._conn.transaction(isolation="repeatable_read", readonly=True):
            head = await log.head(self._conn, self._tenant_id)
            if not head.position:
                raise NoSuchTenant(f"there is no tenant {self._tenant_id}")
            manifest = await self._manifest(head)
            self._put(archive.line(manifest))
            entries = await self._read(0)
            while entries:
                # the database looks the next ones up while these are written
                reading = asyncio.ensure_future(self._read(entries[-1].position))
                try:
                    await asyncio.to_thread(self._write, entries)
                except BaseException:
                    reading.cancel()
                    await asyncio.wait([reading])  # one question at a time, and the next is to end the transaction
                    raise
                progress(entries[-1].position, head.position)
                entries = await reading
        require_whole(self._verification, head)
        self._put(archive.line(Trailer(records=head.position, credentials=self._credentials)))
        return Exported(manifest, self._missing)

    async def _manifest(self, head: Head) -> Manifest:
        counted = await self._conn.fetchval(_COUNTS, self._tenant_id, head.position)
        credentials: Protection | UnsetType = UNSET
        if self._sealer is not None:
            sealed = await self._conn.fetchval(_CREDENTIALS, self._tenant_id, head.position)
            credentials = self._sealer.protection(sealed)
        return Manifest(
            tenant_id=self._tenant_id,
            created_at=datetime.now(UTC),
            records=head.position,
            clients=counted,
            head=ArchivedHead(position=head.position, digest=head.digest.hex(), time=head.time),
            signed_head=self._signer.sign(self._tenant_id, head) if self._signer else UNSET,
            credentials=credentials,
        )

    async def _read(self, after: int) -> list[Entry]:
        if self._sealer is not None:
            return await log.whole(self._conn, self._tenant_id, after, limit=_BATCH)
        found = await log.news(self._conn, {self._tenant_id: after}, limit=_BATCH)
        return found.get(self._tenant_id, [])

    def _write(self, entries: list[Entry]) -> None:
        lines = list[bytes]()
        if self._sealer is not None and (private := self._private(entries)):
            lines.append(archive.line(Credentials(self._sealer.seal(private))))
        for entry in entries:
            self._verification.take(entry if entry.private is None else Entry(*entry[:-1]))
            lines.append(archive.line(cloudevent.encode(entry)[1]))
        self._put(b"".join(lines))

    def _private(self, entries: Iterable[Entry]) -> dict[str, str]:
        """The private parts of *entries*, by event id, once each was found to be the one that its record commits to."""
        found = dict[str, str]()
        for entry in entries:
            if entry.private is not None:
                says = claim(entry.body)
                if says is None or says.sealed != chain.seal(entry.private):
                    raise LogDamaged(f"the private part of the record at position {entry.position} was altered")
                found[entry.event_id] = entry.private
            elif b'"sealed":' in entry.body:
                self._missing += 1
            elif b'"SecretsErased"' in entry.body and isinstance(erased := entry.record.data, SecretsErased):
                self._missing -= len(erased.event_ids)
        self._credentials += len(found)
        return found

    def _put(self, text: bytes) -> None:
        try:
            self._file.write(text)
        except OSError as error:  # and nobody takes it for one of the database's
            raise NotWritten(f"the archive cannot be written: {error.strerror}") from error
