"""`mitosis tenant import`: a tenant, back from its archive."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from events.archive import Manifest, NoArchive, Reader
from events.errors import LogDamaged, MitosisError
from service.archive import withheld
from service.archive.compression import decompressed, is_compressed
from service.archive.importing import Import, Imported, ThereAlready, Unproven
from service.archive.sealing import Opener
from service.archive.unpacking import Unpacking
from service.audit import heads
from service.audit.heads import NoHead
from service.cli import imported as said
from service.cli import passphrases
from service.cli.connecting import connected, database
from service.cli.imported import Outcome
from service.cli.keys import jwks, own_key
from service.cli.parser import Commands
from service.cli.printing import plain
from service.cli.progress import progress
from service.cli.trouble import LOCK_TIMEOUT
from service.cli.undisturbed import undisturbed
from service.config import Config, from_environment
from service.database import MOVER_ROLE
from service.jose import PublicKey
from service.naming import is_tenant_id

DAMAGED = 3  # exit status
THERE = 4


class CannotImport(MitosisError):
    """What the command is told does not do. The message says why."""


def add(actions: Commands) -> None:
    """Add the action to `mitosis tenant`."""
    importing = actions.add_parser(
        "import",
        help="bring a tenant back from its archive",
        description="Bring in a tenant as it was exported, with the same positions, ids, times and digests, in one "
        "transaction: all of it is verified before any of it is seen. A tenant that is here is continued if the "
        "archive extends its log, and otherwise left as it is. Clients whose secrets cannot be checked, as the archive "
        "has no credentials, are listed: they need new ones. A tenant that is here is continued only by an archive "
        "whose head a known key signed: that of this machine, or one of --jwks. It may be interrupted, and run again. "
        "Exit status 3 if the archive is damaged, 4 if there is such a tenant that it does not extend.",
    )
    importing.add_argument("file", type=Path, metavar="FILE", help="the archive; - for standard input")
    importing.add_argument(
        "--without-credentials", action="store_true", help="leave out the credentials that are in the archive"
    )
    importing.add_argument(
        "--identity", type=Path, metavar="FILE", help="age identities, for credentials encrypted to a public key"
    )
    passphrases.add(importing)
    importing.add_argument(
        "--jwks",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the archive must be signed with one of these keys, as /.well-known/jwks.json answers; several times",
    )
    importing.add_argument(
        "--unproven", action="store_true", help="continue a tenant that is here with what no known key signed"
    )
    importing.add_argument("--dry-run", action="store_true", help="do all of it, and take it back in the end")
    importing.add_argument(
        "--json", action="store_true", help="one JSON object a line: clients that need new secrets, then the outcome"
    )
    importing.set_defaults(run=_import)


def _import(parsed: argparse.Namespace) -> int:
    config, begun = from_environment(), time.monotonic()
    try:
        with _source(parsed.file) as file, database(config) as url:
            reader = Reader(decompressed(file))
            _require_a_name(reader.manifest)
            is_proven = _is_proven(config, parsed, reader.manifest)
            unpacking = Unpacking(reader, _opener(parsed, reader.manifest))
            imported, needy = asyncio.run(_imported(url, parsed, unpacking, may_extend=is_proven or parsed.unproven))
    except (NoArchive, LogDamaged) as damage:
        sys.stderr.write(f"mitosis: nothing was imported: {plain(str(damage))}\n")
        return DAMAGED
    except Unproven as unproven:
        raise CannotImport(f"nothing was imported: {unproven}: --jwks names keys, --unproven does without") from None
    except ThereAlready as there:
        sys.stderr.write(f"mitosis: nothing was imported: {plain(str(there))}\n")
        return THERE
    outcome = Outcome(
        imported=imported,
        records=reader.manifest.records,
        needy=needy,
        is_proven=is_proven,
        is_dry_run=parsed.dry_run,
        took_s=time.monotonic() - begun,
    )
    said.say(reader.manifest.tenant_id, outcome, as_json=parsed.json)
    return 0


@contextmanager
def _source(path: Path) -> Iterator[BufferedReader]:
    with open(0 if str(path) == "-" else path, "rb", closefd=str(path) != "-") as file:
        if not is_compressed(file):
            raise NoArchive(f"{path} is no archive of a tenant")
        yield file


def _require_a_name(manifest: Manifest) -> None:
    if not is_tenant_id(manifest.tenant_id):
        raise NoArchive("this archive is of a tenant whose name no tenant can have")


def _is_proven(config: Config, parsed: argparse.Namespace, manifest: Manifest) -> bool:
    """
    Whether the signed head in the archive is what one of our keys signed, and says what the manifest says.

    Raises:
        NoHead: --jwks names keys, and none of them signed it.
        NoArchive: it says something else.
    """
    keys = [PublicKey(jwk) for file in parsed.jwks for jwk in jwks(file)]
    if config.key_file.exists():
        keys.append(own_key(config))
    try:
        tenant_id, head = heads.read(manifest.signed_head or "", keys, source="the head in this archive")
    except NoHead:
        if parsed.jwks:
            raise
        return False
    if (tenant_id, head.position, head.digest.hex()) != (
        *(manifest.tenant_id, manifest.records, manifest.head.digest),
    ):
        raise NoArchive("the signed head in this archive is not the one that its manifest says")
    return True


def _opener(parsed: argparse.Namespace, manifest: Manifest) -> Opener | None:
    protection = manifest.credentials
    if not protection or parsed.without_credentials:
        return None
    if protection.to == "passphrase":
        return Opener(protection, passphrases.passphrase(parsed, is_new=False))
    if parsed.identity is None:
        raise CannotImport(
            "the credentials are encrypted to a public key: name its --identity, or say --without-credentials"
        )
    return Opener(protection, parsed.identity.read_text())


async def _imported(
    url: str, parsed: argparse.Namespace, unpacking: Unpacking, *, may_extend: bool
) -> tuple[Imported, int]:
    """What came of it, and how many clients need new secrets, once they were named."""
    tenant_id = unpacking.manifest.tenant_id
    async with connected(url, MOVER_ROLE, "tenant import") as connection:
        await connection.execute(LOCK_TIMEOUT)
        attempt = connection.transaction()
        await attempt.start()
        with progress(unpacking.manifest.records, "records") as shown, undisturbed():
            shown.about(tenant_id)
            imported = await Import(connection, unpacking, may_extend=may_extend).run(shown.reach)
        if not parsed.dry_run:
            await attempt.commit()
            attempt = connection.transaction(readonly=True)
            await attempt.start()
        needy = await said.say_needy(withheld.needy(connection, tenant_id), as_json=parsed.json)
        await attempt.rollback()
    return imported, needy
