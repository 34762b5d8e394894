"""`mitosis audit verify`: a log in the database, in a file or at a service, and the heads that were kept of it."""

import argparse
import sys
from collections.abc import Iterable
from io import BufferedReader
from itertools import chain
from pathlib import Path

import msgspec

from events import cloudevent
from events.archive import NoArchive, Reader
from events.errors import MitosisError, NoCloudEvent
from events.log import Entry, Head
from events.verification.fault import Fault, KeptHead, Verdict
from events.verification.verifier import Verification
from service.archive.compression import decompressed, is_compressed
from service.audit import heads, verifying
from service.cli.connecting import connected, database
from service.cli.keys import jwks, own_key
from service.cli.printing import plain
from service.cli.remote import Remote, token
from service.config import Config, from_environment
from service.database import SERVICE_ROLE
from service.jose import PublicKey
from service.naming import is_tenant_id

DAMAGED = 3  # exit status
_LINE_BYTES = 4 * 1024 * 1024
_SHOWN_DIGITS = 16


class CannotVerify(MitosisError):
    """There is nothing to verify, or nothing to verify it with. The message says what is missing."""


async def run(parsed: argparse.Namespace) -> int:
    """Verify, say the verdict, and return the exit status."""
    config = from_environment()
    if parsed.tenant is not None and not is_tenant_id(parsed.tenant):
        raise CannotVerify("--tenant must be 1 to 128 printable ASCII characters without spaces")
    keys = [PublicKey(jwk) for file in parsed.jwks for jwk in jwks(file)]
    if parsed.file is not None:
        verdict, count = _file(parsed.file, parsed.tenant, _kept(parsed.head, keys), keys)
    elif parsed.url is not None:
        verdict, count = await _service(config, parsed, keys)
    elif parsed.tenant is None:
        raise CannotVerify("--tenant is needed: whose log?")
    else:
        if config.key_file.exists():
            keys.append(own_key(config))
        kept = _of(parsed.tenant, _kept(parsed.head, keys))
        with database(config) as url:
            async with connected(url, SERVICE_ROLE, "audit verify") as connection:
                verdict, count = await verifying.verify(connection, parsed.tenant, kept), len(kept)
    _say(verdict, count, as_json=parsed.json)
    return 0 if verdict.is_whole else DAMAGED


def _file(
    path: Path, tenant_id: str | None, kept: list[tuple[str, KeptHead]], keys: list[PublicKey]
) -> tuple[Verdict, int]:
    with open(0 if str(path) == "-" else path, "rb", closefd=str(path) != "-") as file:
        if is_compressed(file):
            return _archive(file, tenant_id, kept, keys)
        return _lines(file, tenant_id, kept)


def _archive(
    file: BufferedReader, tenant_id: str | None, kept: list[tuple[str, KeptHead]], keys: list[PublicKey]
) -> tuple[Verdict, int]:
    """An archive's records end where its manifest says; where there are keys, one of them must have signed that."""
    reader, place = Reader(decompressed(file)), 0
    manifest = reader.manifest
    if keys and manifest.signed_head:
        kept = [*kept, heads.read(manifest.signed_head, keys, source="the archive's own head")]
    ours = _of(tenant_id or manifest.tenant_id, kept)
    verification = Verification(tenant_id or manifest.tenant_id, ours)
    end = []
    try:
        for said in reader:
            if isinstance(said, bytes):
                entry = _entry(said, manifest.tenant_id, place)
                verification.take(entry)
                place = entry.position
    except NoArchive as error:
        end.append(Fault("cut off", place + 1, f"What comes behind position {place} cannot be read: {error}."))
    digest = bytes.fromhex(manifest.head.digest)
    verdict = verification.end(Head(manifest.records, digest, manifest.head.time))
    if verdict.is_whole:
        verdict = msgspec.structs.replace(verdict, faults=tuple(end))
    return verdict, len(ours)


def _lines(file: BufferedReader, tenant_id: str | None, kept: list[tuple[str, KeptHead]]) -> tuple[Verdict, int]:
    first, place = file.readline(_LINE_BYTES), 0
    if tenant_id is None:
        try:
            tenant_id = cloudevent.decode(first).tenant_id
        except NoCloudEvent:
            raise CannotVerify("the first line says no tenant; name it with --tenant") from None
    ours = _of(tenant_id, kept)
    verification = Verification(tenant_id, ours)
    for line in chain([first], iter(lambda: file.readline(_LINE_BYTES), b"")):
        if line.strip():
            entry = _entry(line, tenant_id, place)
            verification.take(entry)
            place = entry.position
    return verification.end(None), len(ours)


def _entry(line: bytes, tenant_id: str, place: int) -> Entry:
    """The record in *line*; what is none stands for one that was altered beyond recognition."""
    try:
        return cloudevent.decode(line)
    except NoCloudEvent:
        return Entry(tenant_id, place + 1, "", bytes(32), line)


async def _service(config: Config, parsed: argparse.Namespace, keys: list[PublicKey]) -> tuple[Verdict, int]:
    async with Remote(parsed.url, token(config, parsed.token_file, parsed.tenant), parsed.tenant) as remote:
        keys += [PublicKey(jwk) for jwk in await remote.keys()]
        _, signed = await remote.head()
        current = heads.read(signed, keys, source="the service's own head")
        tenant_id = parsed.tenant or current[0]
        kept = _of(tenant_id, [current, *_kept(parsed.head, keys)])
        verification, place = Verification(tenant_id, kept), 0
        async for _, lines in remote.pages("0"):
            for line in lines:
                entry = _entry(line, tenant_id, place)
                verification.take(entry)
                place = entry.position
    return verification.end(None), len(kept)


def _kept(files: Iterable[Path], keys: list[PublicKey]) -> list[tuple[str, KeptHead]]:
    """The heads in *files*, each as a line of its own or as the service answered it."""
    found = list[tuple[str, KeptHead]]()
    for file in files:
        texts = _heads(file.read_text(errors="replace"))
        if not texts:
            raise CannotVerify(f"{file} holds no signed head")
        if not keys:
            raise CannotVerify("heads are checked with keys: name some with --jwks")
        for number, text in enumerate(texts, 1):
            source = str(file) if len(texts) == 1 else f"{file}, line {number}"
            found.append(heads.read(text, keys, source=source))
    return found


def _heads(text: str) -> list[str]:
    try:
        return [str(msgspec.json.decode(text)["data"]["head"])]
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError):
        return [line for line in text.splitlines() if line.strip()]


def _of(tenant_id: str, kept: Iterable[tuple[str, KeptHead]]) -> list[KeptHead]:
    found = list[KeptHead]()
    for whose, head in kept:
        if whose != tenant_id:
            raise CannotVerify(f"{head.source} is a head of tenant {whose}, and not of {tenant_id}")
        found.append(head)
    return found


def _say(verdict: Verdict, heads_count: int, *, as_json: bool) -> None:
    last = verdict.last.hex() if verdict.last else None
    if as_json:
        told = {
            "tenant_id": verdict.tenant_id,
            "is_whole": verdict.is_whole,
            "count": verdict.count,
            "last_digest": last,
            "heads": heads_count,
            "faults": verdict.faults,
            "unlisted_faults": verdict.unlisted,
            "withheld": verdict.withheld,
        }
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    through = f", through {heads_count} kept head{'s' if heads_count != 1 else ''}" if heads_count else ""
    ends = f", ending in {last[:_SHOWN_DIGITS]}..." if last else ""
    state = "whole" if verdict.is_whole else "DAMAGED"
    lines = [f"{verdict.tenant_id}: {state}. {verdict.count} records{ends}{through if verdict.is_whole else ''}"]
    lines += [f"  {fault.kind:<9}  {fault.position:>8}  {fault.message}" for fault in verdict.faults]
    if verdict.unlisted:
        lines.append(f"  and {verdict.unlisted} more")
    if verdict.withheld:
        lines.append(f"  {verdict.withheld} private parts never came: the tenant was imported without credentials")
    sys.stdout.writelines(f"{plain(line)}\n" for line in lines)
