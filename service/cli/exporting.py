"""`mitosis tenant export`: a tenant's archive."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from events.errors import LogDamaged, MitosisError
from service.archive.compression import Compressed, compressing
from service.archive.draft import draft
from service.archive.exporting import Export, Exported
from service.archive.sealing import Sealer
from service.audit.heads import HeadSigner
from service.cli import passphrases
from service.cli.connecting import connected, database
from service.cli.parser import Commands
from service.cli.printing import plain
from service.cli.progress import progress
from service.cli.undisturbed import undisturbed
from service.config import Config, from_environment
from service.database import CONSUMER_ROLE, SERVICE_ROLE
from service.signing import load_key

DAMAGED = 3  # exit status


class CannotExport(MitosisError):
    """What the command is told does not do. The message says why."""


def add(actions: Commands) -> None:
    """Add the action to `mitosis tenant`."""
    exporting = actions.add_parser(
        "export",
        help="write a tenant's records to an archive",
        description="Write a tenant's records as they are, out of one snapshot and verified, to one compressed file "
        "that `mitosis tenant import` brings back and `mitosis audit verify --file` verifies. The file has its name "
        "only when it is whole; an export that was interrupted is run again. The hashes of secrets are left out unless "
        "--with-credentials is given, and are then encrypted (age): to a passphrase, or to public keys. Exit status 3 "
        "if the tenant's log is damaged; then nothing is written.",
    )
    exporting.add_argument("tenant", metavar="TENANT")
    exporting.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the archive; - for standard output"
    )
    exporting.add_argument(
        "--with-credentials", action="store_true", help="with what the clients' secrets are checked with, encrypted"
    )
    exporting.add_argument(
        "--recipient", action="append", metavar="KEY", help="an age public key (age1...); may be given several times"
    )
    passphrases.add(exporting)
    exporting.add_argument("--json", action="store_true", help="the outcome as one JSON object")
    exporting.set_defaults(run=_export)


def _export(parsed: argparse.Namespace) -> int:
    config, begun = from_environment(), time.monotonic()
    sealer = _sealer(parsed)
    try:
        with database(config) as url, _target(parsed.output) as file:
            exported = asyncio.run(_exported(url, parsed, file, _signer(config), sealer))
    except LogDamaged as damage:
        sys.stderr.write(f"mitosis: nothing was written, since the log is damaged: {plain(str(damage))}\n")
        return DAMAGED
    _say(parsed, exported, time.monotonic() - begun)
    return 0


def _sealer(parsed: argparse.Namespace) -> Sealer | None:
    if not parsed.with_credentials:
        if parsed.recipient or parsed.passphrase_file:
            raise CannotExport("nothing is encrypted without --with-credentials")
        return None
    if parsed.recipient and parsed.passphrase_file:
        raise CannotExport("credentials are encrypted to a passphrase or to public keys, not to both")
    return Sealer(parsed.recipient or passphrases.passphrase(parsed, is_new=True))


def _signer(config: Config) -> HeadSigner | None:
    return HeadSigner(load_key(config.key_file)) if config.key_file.exists() else None


@contextmanager
def _target(output: Path) -> Iterator[Compressed]:
    if str(output) != "-":
        with draft(output) as file, compressing(file) as compressed:
            yield compressed
        return
    if sys.stdout.isatty():
        raise CannotExport("an archive is nothing to look at: send it elsewhere, or name a file")
    with compressing(sys.stdout.buffer) as compressed:
        yield compressed
    sys.stdout.buffer.flush()


async def _exported(
    url: str, parsed: argparse.Namespace, file: Compressed, signer: HeadSigner | None, sealer: Sealer | None
) -> Exported:
    # whoever need not read private parts is not let near them
    role = CONSUMER_ROLE if sealer is None else SERVICE_ROLE
    async with connected(url, role, "tenant export") as connection:
        export = Export(connection, parsed.tenant, file, signer=signer, sealer=sealer)
        with progress(0, "records") as shown, undisturbed():
            shown.about(parsed.tenant)
            return await export.write(shown.reach)


def _say(parsed: argparse.Namespace, exported: Exported, took_s: float) -> None:
    manifest, is_file = exported.manifest, str(parsed.output) != "-"
    credentials = manifest.credentials.count if manifest.credentials else None
    rate = round(manifest.records / took_s)
    told: TextIO = sys.stdout if is_file else sys.stderr
    if parsed.json:
        said = {
            "tenant_id": manifest.tenant_id,
            "records": manifest.records,
            "clients": manifest.clients,
            "digest": manifest.head.digest,
            "is_signed": bool(manifest.signed_head),
            "credentials": credentials,
            "missing_credentials": exported.missing if credentials is not None else None,
            "bytes": parsed.output.stat().st_size if is_file else None,
            "took_s": round(took_s, 3),
            "records_per_s": rate,
        }
        told.write(msgspec.json.encode(said).decode() + "\n")
        return
    where = f"to {parsed.output} " if is_file else ""
    what = "without credentials" if credentials is None else f"with {credentials:,} credentials"
    signed = "" if manifest.signed_head else "; its head is not signed, as there is no key here"
    told.write(
        f"tenant {manifest.tenant_id}: {manifest.records:,} records of {manifest.clients:,} clients, {what}, exported "
        f"{where}in {took_s:.1f} s ({rate:,}/s){signed}\n"
    )
    if credentials is not None and exported.missing:
        told.write(f"{exported.missing:,} credentials are not in it: they are not here either, and were not erased\n")
