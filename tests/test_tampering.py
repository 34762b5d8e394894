"""`mitosis audit verify` against everything that can be done to a copy of the database, or to a file."""

import contextlib
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from asyncpg import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import cloudevent
from events.errors import NoRecord
from events.log import Entry, Head
from events.verification.fault import KeptHead
from service.audit.heads import HeadSigner
from service.audit.verifying import verify
from service.cli import main
from service.embedded import Embedded
from service.signing import load_key
from tests.conftest import own_database
from tests.damage import EDITS, TENANT, Edit, Log, altered_column, altered_position, head_of, rewritten, written
from tests.planting import defenceless

Edits = Callable[[Log, int, int], st.SearchStrategy[Edit]]
OF_FILES = [edits for edits in EDITS if edits is not altered_column]  # a file has none
LOGS = st.lists(st.integers(0, 2), min_size=4, max_size=10).map(written)
_INSERT = "insert into events (tenant_id, position, event_id, digest, body) values ($1, $2, $3, $4, $5)"


@pytest.fixture(scope="module")
async def copy(postgres: Embedded, binaries: Path | None) -> AsyncIterator[Connection]:
    """The owner's connection to a copy of a database that nobody defends."""
    async with own_database(postgres, binaries) as name:
        connection = await asyncpg.connect(postgres.url("postgres", name))
        async with defenceless(connection):
            await connection.execute("alter table events drop constraint events_tenant_id_fkey")
            await connection.execute("alter table events drop constraint events_tenant_id_event_id_key")
            await connection.execute("alter table events drop constraint events_position_check")
            await connection.execute("alter table heads disable trigger user")
            yield connection
        await connection.close()


async def store(copy: Connection, log: Log, head: Head | None) -> None:
    """Have exactly these rows in the copy."""
    await copy.execute("delete from events")
    await copy.execute("delete from heads")
    await copy.executemany(_INSERT, [(*entry[:4], entry.body.decode()) for entry in log])
    if head is not None:
        place = (TENANT, head.position, head.digest, head.time)
        await copy.execute("insert into heads (tenant_id, position, digest, time) values ($1, $2, $3, $4)", *place)


def is_storable(log: Log) -> bool:
    """Whether a table could hold it as rows of one tenant: one a position, each body JSON in UTF-8."""
    return (
        len({entry.position for entry in log}) == len(log)
        and all(entry.tenant_id == TENANT and entry.private is None for entry in log)
        and all(is_json(entry.body) for entry in log)
    )


def is_json(body: bytes) -> bool:
    """Whether PostgreSQL takes *body*."""
    try:
        msgspec.json.decode(body)
        body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def renumbered(edit: Edit) -> Log:
    """The rows as a table can hold them: in its order, which is that of the position column."""
    if edit.is_columns:
        return edit.log
    return [entry._replace(position=place) for place, entry in enumerate(edit.log, 1)]


@pytest.mark.parametrize("edits", [*EDITS, altered_position], ids=lambda edits: edits.__name__)
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(log=LOGS, data=st.data())
async def test_every_edit_of_a_database(copy: Connection, edits: Edits, log: Log, data: st.DataObject) -> None:
    """Whatever one edit did to the rows of a tenant, it is found and named, with where it shows."""
    edit = data.draw(edits(log, 1, len(log)).filter(lambda edit: is_storable(renumbered(edit))))

    await store(copy, renumbered(edit), head_of(log))
    verdict = await verify(copy, TENANT)

    assert not verdict.is_whole
    assert verdict.faults[0].kind == edit.kind
    assert verdict.faults[0].position in edit.positions


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(log=LOGS, data=st.data())
async def test_a_database_that_was_cut_or_rewritten(copy: Connection, log: Log, data: st.DataObject) -> None:
    """Who rewrites a history, or cuts it off with its head, is found by the heads that were kept of it."""
    at = data.draw(st.integers(1, len(log)))
    kept = KeptHead(len(log), log[-1].digest, "kept")

    await store(copy, log, head_of(log))
    assert (await verify(copy, TENANT, [kept])).is_whole
    for kind, rows in (("cut off", log[: at - 1]), ("forked", rewritten(log, at))):
        await store(copy, rows, head_of(rows))
        assert (await verify(copy, TENANT)).is_whole
        verdict = await verify(copy, TENANT, [kept])
        assert verdict.faults[0].kind == kind


@pytest.mark.parametrize("position", [10**10, 2**63 - 1])
async def test_a_position_far_away(copy: Connection, position: int) -> None:
    """A position that no log reaches costs no more than another one."""
    log = written([0, 1, 2, 0])

    await store(copy, [*log[:3], log[3]._replace(position=position)], head_of(log))

    assert not (await verify(copy, TENANT)).is_whole


def line(entry: Entry) -> bytes:
    """*entry* as a line of a file, whatever its body is."""
    try:
        return cloudevent.encode(entry)[1]
    except NoRecord:
        return b'{"specversion":"1.0","id":"x","source":"/tenants/acme","digest":"00","data":%b}' % entry.body


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[HeadSigner, Path]:
    """A signer of heads, and the file with its keys."""
    folder = tmp_path_factory.mktemp("kept")
    signer = HeadSigner(load_key(folder / "signing-key.pem"))
    (folder / "jwks.json").write_bytes(msgspec.json.encode(signer.keys()))
    return signer, folder


def verified(folder: Path, log: Log, *arguments: str) -> tuple[int, Any]:
    """What the command says of *log* as a file: its exit status, and the verdict as JSON."""
    (folder / "log.ndjson").write_bytes(b"".join(line(entry) + b"\n" for entry in log))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        command = ("audit", "verify", "--json", "--tenant", TENANT, "--file", str(folder / "log.ndjson"))
        status = main([*command, "--jwks", str(folder / "jwks.json"), *arguments])
    return status, msgspec.json.decode(said.getvalue())


@pytest.mark.parametrize("edits", OF_FILES, ids=lambda edits: edits.__name__)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(log=LOGS, data=st.data())
def test_every_edit_of_a_file(kept: tuple[HeadSigner, Path], edits: Edits, log: Log, data: st.DataObject) -> None:
    """
    Whatever one edit did to the lines of a file, it is found and named, with where it shows.

    A last record that was rewritten with its digest is a history of its own: see the test below.
    """
    signer, folder = kept
    (folder / "head.jws").write_text(signer.sign(TENANT, head_of(log)))
    edit = data.draw(edits(log, 1, len(log) - 1))

    assert verified(folder, log, "--head", str(folder / "head.jws"))[0] == 0
    status, verdict = verified(folder, edit.log, "--head", str(folder / "head.jws"))

    assert status == 3
    assert verdict["is_whole"] is False
    assert verdict["faults"][0]["kind"] == edit.kind
    assert verdict["faults"][0]["position"] in edit.positions


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(log=LOGS, data=st.data())
def test_a_file_that_was_cut_or_rewritten(kept: tuple[HeadSigner, Path], log: Log, data: st.DataObject) -> None:
    """No file shows by itself that its end is missing, or that its history is another; the kept heads do."""
    signer, folder = kept
    at = data.draw(st.integers(1, len(log)))
    (folder / "head.jws").write_text(f"{signer.sign(TENANT, head_of(log[:1]))}\n{signer.sign(TENANT, head_of(log))}\n")

    for kind, lines in (("cut off", log[: at - 1]), ("forked", rewritten(log, at))):
        assert verified(folder, lines)[0] == 0
        status, verdict = verified(folder, lines, "--head", str(folder / "head.jws"))
        assert (status, verdict["faults"][0]["kind"]) == (3, kind)
