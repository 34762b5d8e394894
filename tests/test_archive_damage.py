"""Archives that are damaged, forged or made to harm: none is imported, and nothing of one is ever seen."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrage import x25519

from events import archive, chain
from events.archive import Credentials, NoArchive, Protection, Reader, Trailer
from events.client import (
    ClientRegistered,
    ClientSettings,
    ClientUpdated,
    IssuedSecret,
    SecretAdded,
    SecretRotated,
    SettingsChange,
)
from events.record import Record, decode
from service.archive.sealing import Sealer
from service.cli import main
from service.embedded import Embedded
from tests.archives import Credited, archived, everything, lines, manifest_of, packed, record_line
from tests.callers import EXAMPLE
from tests.commands import Said
from tests.conftest import own_database
from tests.damage import BEGINNING, EDITS, TENANT, Edit, Log, altered_column, entry, rechained, rewritten, written
from tests.leaks import WITNESS
from tests.processes import MAIN

Edits = Callable[[Log, int, int], st.SearchStrategy[Edit]]
OF_LINES = [edits for edits in EDITS if edits is not altered_column]  # a file has no columns
LOGS = st.lists(st.integers(0, 2), min_size=4, max_size=10).map(written)
LOG = written([0, 1, 0, 2, 1, 0])
QUICK = settings(max_examples=8, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=60, suppress_health_check=list(HealthCheck))
IDENTITY = x25519.Identity.generate()


class Target(NamedTuple):
    """A database that has nothing, and a folder for files."""

    url: str
    owner: asyncpg.Connection
    folder: Path

    def bring(self, data: bytes, *arguments: str) -> Said:
        """`mitosis tenant import` of *data*."""
        (self.folder / "archive").write_bytes(data)
        return self.run("tenant", "import", str(self.folder / "archive"), *arguments)

    def run(self, *arguments: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MITOSIS_DATABASE_URL", self.url)
            patch.setenv("MITOSIS_HOME", str(self.folder / "home"))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(arguments)
        WITNESS.log("an import", out.getvalue() + err.getvalue())
        return Said(status, out.getvalue(), err.getvalue())

    def refuses(self, data: bytes, why: str, *arguments: str) -> None:
        """Assert that *data* is refused in one line that says *why*."""
        said = self.bring(data, *arguments)
        assert (said.status, said.out) == (3, ""), said
        assert said.err.startswith("mitosis: nothing was imported: ")
        assert said.err.count("\n") == 1
        assert why in said.err


@pytest.fixture(scope="module")
async def target(postgres: Embedded, binaries: Path | None, tmp_path_factory: Any) -> AsyncIterator[Target]:
    """It has nothing in the end, either."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "identity").write_text(str(IDENTITY))
    async with own_database(postgres, binaries) as name:
        owner = await asyncpg.connect(postgres.url("postgres", name))
        yield Target(postgres.url("postgres", name), owner, folder)
        assert not any((await everything(owner, TENANT)).values())
        await owner.close()


def appended(log: Log, **changes: Any) -> Log:
    """*log* with one more record, like its first but for *changes*, which no version of this program would write."""
    record = msgspec.structs.replace(
        decode(log[0].body),
        **{
            "position": len(log) + 1,
            "event_id": "E-last",
            "client_id": "app-last",
            "time": BEGINNING + timedelta(days=1),
            **changes,
        },
    )
    return [*log, entry(record, log[-1].digest)]


def body_replaced(log: Log, old: bytes, new: bytes) -> Log:
    """The last record with other text in its body, and a digest to go with it."""
    body = log[-1].body.replace(old, new)
    assert body != log[-1].body
    return rechained([*log[:-1], log[-1]._replace(body=body)], len(log))


def test_sound(target: Target) -> None:
    """What the others are damaged from is taken."""
    said = target.bring(archived(LOG), "--dry-run")

    assert (said.status, said.err) == (0, "")
    assert said.lines[0].startswith(f"tenant {TENANT}: 6 records would be imported behind position 0, ")


# ---------------------------------------------------------------------------------------------------------- by accident


@pytest.fixture(scope="module")
def whole() -> bytes:
    """An archive with credentials."""
    sealer = Sealer([str(IDENTITY.to_public())])
    log, private = sealed_log()
    return archived(log, credited=Credited(sealer.protection(2), sealer.seal(private)))


@THOROUGH
@given(data=st.data())
def test_every_byte(target: Target, whole: bytes, data: st.DataObject) -> None:
    """Whatever bytes are others, a file is refused in one line, or nothing in it changed."""
    log, _ = sealed_log()
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 9999), min_size=1, max_size=4)):
        damaged[place % len(whole)] ^= 1 << data.draw(st.integers(0, 7))

    said = target.bring(bytes(damaged), "--dry-run", "--json", "--identity", str(target.folder / "identity"))

    if said.status == 0:
        outcome = msgspec.json.decode(said.lines[-1])
        assert (outcome["digest"], outcome["imported"], outcome["credentials"]) == (log[-1].digest.hex(), len(log), 2)
    else:
        assert said.status in (1, 3)
        assert (said.out, said.err.count("\n")) == ("", 1)


@THOROUGH
@given(data=st.data())
def test_every_letter(target: Target, data: st.DataObject) -> None:
    """The same of what is compressed, where no checksum of the compression helps."""
    text = bytearray(b"".join(lines(archived(LOG))))
    for place in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=3)):
        text[place] = data.draw(st.integers(0, 255))

    said = target.bring(packed([bytes(text)]), "--dry-run", "--json")

    if said.status == 0:
        outcome = msgspec.json.decode(said.lines[-1])
        assert (outcome["digest"], outcome["imported"], outcome["tenant_id"]) == (LOG[-1].digest.hex(), 6, TENANT)
    else:
        assert (said.status, said.out, said.err.count("\n")) == (3, "", 1)


@QUICK
@given(data=st.data())
def test_cut_off(target: Target, data: st.DataObject) -> None:
    """A file that ends too early is refused, wherever that is: in what is compressed, in a line, before the trailer."""
    whole, some = archived(LOG), lines(archived(LOG))
    at = data.draw(st.integers(0, len(whole) - 1))
    target.refuses(whole[:at], "no archive" if at < 4 else "")
    text = b"".join(some)
    target.refuses(packed([text[: data.draw(st.integers(0, len(text) - 1))]]), "")
    target.refuses(packed(some[: data.draw(st.integers(1, len(some) - 1))]), "cut off")


@pytest.mark.parametrize("edits", OF_LINES, ids=lambda edits: edits.__name__)
@QUICK
@given(log=LOGS, data=st.data())
def test_every_edit(target: Target, edits: Edits, log: Log, data: st.DataObject) -> None:
    """Whatever one edit did to the records, they are refused; so are they under a manifest that was made to fit."""
    edit = data.draw(edits(log, 1, len(log) - 1))

    target.refuses(archived(edit.log, manifest_of(log)), "")
    target.refuses(archived(edit.log, manifest_of(edit.log, tenant_id=TENANT)), "")


# ----------------------------------------------------------------------------------------------------------- on purpose


SOUND = manifest_of(LOG)
END = Trailer(records=6, credentials=0)
FORGED: dict[str, tuple[list[bytes], str]] = {
    "nothing in it": ([], "cut off"),
    "no manifest": (lines(archived(LOG))[1:], "does not begin with a manifest"),
    "a newer version": ([archive.line(SOUND).replace(b'"version":1', b'"version":2')], "of version 2"),
    "no tenant": ([archive.line(SOUND).replace(b'"acme"', b'"a b"')], "manifest of this archive is damaged"),
    "a line break in the tenant": (
        [archive.line(SOUND).replace(b'"acme"', b'"acme\\n"')],
        "manifest of this archive is damaged",
    ),
    "no zone": ([archive.line(SOUND).replace(b'Z"', b'"')], "manifest of this archive is damaged"),
    "two ends": (lines(archived(LOG, manifest_of(LOG, records=5))), "not where its records end"),
    "fewer than it says": (lines(archived(LOG[:-1], manifest_of(LOG))), "has 5 records, and should have 6"),
    "more than it says": (lines(archived(LOG, manifest_of(LOG[:-1]))), "more records than the 5"),
    "two trailers": ([*lines(archived(LOG)), archive.line(END)], "behind the end"),
    "a line behind its end": ([*lines(archived(LOG)), b"\n"], "behind the end"),
    "an empty line": ([*lines(archived(LOG))[:3], b"\n", *lines(archived(LOG))[3:]], "line 4 is nothing"),
    "a manifest amid it": ([*lines(archived(LOG))[:3], archive.line(SOUND)], "line 4 is nothing"),
    "credentials that it does not speak of": (
        [*lines(archived(LOG))[:1], archive.line(Credentials(b"")), *lines(archived(LOG))[1:]],
        "line 2 has credentials of no record",
    ),
    "another tenant's": (lines(archived(written([0] * 6, "globex"), manifest_of(LOG))), "another tenant's"),
    "one more of another tenant's": (
        lines(archived([*LOG[:-1], *written([0] * 6, "globex")[-1:]], manifest_of(LOG))),
        "position 6",
    ),
    "another time": (
        lines(archived(LOG, msgspec.structs.replace(SOUND, head=msgspec.structs.replace(SOUND.head, time=BEGINNING)))),
        "another time",
    ),
    "another head": (lines(archived(rewritten(LOG, 3), SOUND)), "position 6"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged(target: Target, name: str) -> None:
    """What an archive cannot be is refused, with what is wrong."""
    some, why = FORGED[name]

    target.refuses(packed(some), why)


def test_credentials_of_no_record() -> None:
    """Each line of credentials is followed by a record: a small file does not keep a reader busy for long."""
    manifest = archive.line(manifest_of(LOG, credentials=Protection(to="passphrase", count=1, key="")))
    text = b"".join([manifest, *[archive.line(Credentials(b""))] * 2, *lines(archived(LOG))[1:]])

    with pytest.raises(NoArchive, match="line 3 has credentials of no record"):
        list(Reader(BytesIO(text)))


EARLIER = BEGINNING - timedelta(days=1)
SETTINGS = msgspec.convert(EXAMPLE, ClientSettings)
SOON = datetime(2027, 1, 1)  # noqa: DTZ001 (where, nobody knows)
EXPIRING = IssuedSecret(secret_id="E-last", last_four="x", expires_at=SOON)
NONSENSE: dict[str, tuple[Log, str]] = {
    "goes back in time": (appended(LOG, time=EARLIER), "a time that cannot be"),
    "has no zone": (appended(LOG, time=SOON), "a time that cannot be"),
    "expires in no zone": (
        appended(LOG, client_id="app-0", client_version=4, data=SecretAdded(secret=EXPIRING)),
        "says what cannot be of app-0",
    ),
    "retires in no zone": (
        appended(
            LOG,
            client_id="app-0",
            client_version=4,
            data=SecretRotated(secret=IssuedSecret(secret_id="E-last", last_four="x"), retired_until=SOON),
        ),
        "says what cannot be of app-0",
    ),
    "is out of time": (
        body_replaced(appended(LOG), b"2026-11-24T00:00:00Z", b"9999-12-31T23:59:59-12:00"),
        "a time that cannot be",
    ),
    "is of a newer schema": (
        body_replaced(appended(LOG), b'"schema_version":1', b'"schema_version":99'),
        "schema version is 99",
    ),
    "is of an unknown type": (body_replaced(appended(LOG), b"ClientRegistered", b"ClientEaten"), "ClientEaten"),
    "comes of nothing": (appended(LOG, client_version=2), "cannot follow version 0"),
    "comes twice": (appended(LOG, client_id="app-0"), "cannot follow version"),
    "is about nobody": (appended(LOG, client_id="", client_version=0), "of no client"),
    "has an id of another": (appended(LOG, event_id=LOG[0].event_id), "duplicate key"),
    "has a letter that no text has": (appended(LOG, event_id="E\0"), "no log can have"),
    "has one in a name": (
        appended(
            LOG,
            data=ClientRegistered(id="x", status="active", settings=msgspec.structs.replace(SETTINGS, name="\0")),
        ),
        "no log can have",
    ),
    "has half a letter": (
        body_replaced(appended(LOG), b'"schema_version":1', b'"note":"\xff","schema_version":1'),
        "no log can have",
    ),
    "has half a letter in a name": (body_replaced(appended(LOG), b"My Application", b"My \xff"), "no record"),
    "is too long for an index": (
        # no repetition, which would be compressed
        appended(LOG, client_id="".join(chain.link(b"", bytes([number])).hex() for number in range(200))),
        "no log can have",
    ),
    "takes away what a client must have": (
        appended(
            LOG,
            client_id="app-0",
            client_version=4,
            data=ClientUpdated(changed=SettingsChange(), removed=("scopes",)),
        ),
        "says what cannot be of app-0",
    ),
    "takes away what no client has": (
        appended(
            LOG, client_id="app-0", client_version=4, data=ClientUpdated(changed=SettingsChange(), removed=("soul",))
        ),
        "says what cannot be of app-0",
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(target: Target, name: str) -> None:
    """A record that no version of this program would write is refused, though its chain and its head are right."""
    log, why = NONSENSE[name]

    target.refuses(archived(log), why)
    assert target.run("audit", "verify", "--file", str(target.folder / "archive")).status in (0, 3)


@pytest.mark.parametrize("size", [1, 30])
def test_nonsense_in_the_end(target: Target, size: int) -> None:
    """However much is on its way already when the fault comes, nothing of it is seen."""
    log = appended(written([0, 1, 2] * 100 * size), time=EARLIER)

    target.refuses(archived(log), "a time that cannot be")


# -------------------------------------------------------------------------------------------------------- private parts


def sealed_log() -> tuple[Log, dict[str, str]]:
    """A log in which two secrets were issued, and their private parts."""
    private = {f"E-{number}": f"$argon2id$of-{number}" for number in (1, 2)}
    digest, log = chain.genesis(TENANT), Log()
    events = (
        ClientRegistered(
            id="X", status="active", settings=SETTINGS, secret=IssuedSecret(secret_id="E-1", last_four="x")
        ),
        SecretRotated(secret=IssuedSecret(secret_id="E-2", last_four="y")),
    )
    for position, event in enumerate(events, 1):
        event_id = f"E-{position}"
        first = decode(LOG[0].body)
        record: Record = msgspec.structs.replace(
            first,
            position=position,
            event_id=event_id,
            client_id="app-x",
            client_version=position,
            time=BEGINNING + timedelta(seconds=position),
            data=event,
            sealed=chain.seal(private[event_id]),
        )
        log.append(entry(record, digest))
        digest = log[-1].digest
    return log, private


CREDENTIALS: dict[str, tuple[dict[str, str], int, str]] = {
    "another one": ({"E-1": "$argon2id$another"}, 1, "is not the sealed one"),
    "of no record": ({"E-9": "$argon2id$of-9"}, 1, "private parts of records that are not in it"),
    "one missing": ({"E-1": "$argon2id$of-1"}, 2, "has the private parts of 1 records, and should have 2"),
    "one more": ({"E-1": "$argon2id$of-1", "E-2": "$argon2id$of-2"}, 1, "of 2 records, and should have 1"),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_other_credentials(target: Target, name: str) -> None:
    """A private part that is not the one that its record seals, or of a record that seals none, is not let in."""
    private, count, why = CREDENTIALS[name]
    sealer = Sealer([str(IDENTITY.to_public())])
    log, _ = sealed_log()

    data = archived(log, credited=Credited(sealer.protection(count), sealer.seal(private)))

    target.refuses(data, why, "--identity", str(target.folder / "identity"))


def test_a_private_part_where_none_is_sealed(target: Target) -> None:
    """A record that commits to nothing gets nothing."""
    sealer = Sealer([str(IDENTITY.to_public())])
    private = {LOG[0].event_id: "$argon2id$slipped-in"}

    data = archived(LOG, credited=Credited(sealer.protection(1), sealer.seal(private)))

    target.refuses(data, "is not the sealed one", "--identity", str(target.folder / "identity"))


def test_credentials_of_another_archive(target: Target) -> None:
    """Credentials that were encrypted to another archive's key do not open."""
    one, other = Sealer([str(IDENTITY.to_public())]), Sealer([str(IDENTITY.to_public())])
    log, private = sealed_log()

    data = archived(log, credited=Credited(one.protection(2), other.seal(private)))

    target.refuses(data, "the credentials in this archive are damaged", "--identity", str(target.folder / "identity"))


# ---------------------------------------------------------------------------------------------------------------- bombs

_GIB = 1024**3


def bomb(first: bytes, repeated: bytes, count: int) -> bytes:
    """*first*, and *repeated* so many times: a small file of many bytes."""
    compressor = zstd.ZstdCompressor(level=1)
    parts = [compressor.compress(first)]
    parts += [compressor.compress(repeated) for _ in range(count)]
    return b"".join([*parts, compressor.flush()])


def wide() -> bytes:
    """A file that asks for a window of 1 GiB."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 30}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(b"x" * 100) + compressor.flush()


BIGGEST = manifest_of(LOG, records=2**50, head=msgspec.structs.replace(SOUND.head, position=2**50))
MIB = b" " * 1024**2
IMPORT, VERIFY = ("tenant", "import"), ("audit", "verify", "--file")
BOMBS: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "a line without end": (lambda: bomb(b"", MIB, 1200), VERIFY),
    "a record without end": (lambda: bomb(archive.line(BIGGEST) + b'{"specversion":"', MIB, 1200), IMPORT),
    "credentials without end": (lambda: bomb(archive.line(BIGGEST) + b'{"credentials":"', MIB, 1200), VERIFY),
    "records without end": (
        lambda: bomb(archive.line(BIGGEST) + record_line(LOG[0]), record_line(LOG[1]) * 1000, 1500),
        IMPORT,
    ),
    "records with much beside their bodies": (
        lambda: bomb(
            archive.line(BIGGEST) + record_line(LOG[0]),
            record_line(LOG[1]).replace(b"/tenants/", b"/tenants/" + b"x" * 1024**2),
            1500,
        ),
        IMPORT,
    ),
    "a wide window": (wide, IMPORT),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(target: Target, name: str) -> None:
    """What unpacks to no end is read in memory that has one, and not to its end."""
    make, command = BOMBS[name]
    path = target.folder / "bomb"
    path.write_bytes(make())
    assert path.stat().st_size < 20 * 1024**2
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({_GIB}, {_GIB})); {MAIN}"

    done = subprocess.run(
        [sys.executable, "-c", limited, *command, str(path)],
        env={"PATH": os.defpath, "MITOSIS_DATABASE_URL": target.url, "MITOSIS_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode in (1, 3)
    assert "Traceback" not in done.stderr
    assert "Memory" not in done.stderr
