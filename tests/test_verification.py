"""What was done to a log is found, called by its name, and said where it shows."""

import tracemalloc
from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events import chain
from events.log import Entry, Head
from events.record import decode
from events.verification.fault import LISTED, Fault, KeptHead, Kind, Verdict
from events.verification.verifier import Verification
from tests.damage import (
    COLUMNS,
    EDITS,
    GARBAGE,
    TENANT,
    Edit,
    Log,
    altered,
    altered_position,
    before,
    entry,
    head_of,
    rechained,
    renumbered,
    rewritten,
    written,
)

LOG = written([0, 1, 0, 0, 1, 2, 0, 2])
HEAD = head_of(LOG)
EVIL = "app-evil"


def verify(log: Iterable[Entry], head: Head | None, kept: Iterable[KeptHead] = ()) -> Verdict:
    """The verdict on a log of the tenant."""
    verification = Verification(TENANT, kept)
    for record in log:
        verification.take(record)
    return verification.end(head)


def found(log: Iterable[Entry], head: Head | None = HEAD, kept: Iterable[KeptHead] = ()) -> list[tuple[Kind, int]]:
    """The kinds and positions of all faults."""
    return places(verify(log, head, kept))


def places(verdict: Verdict) -> list[tuple[Kind, int]]:
    """What a verdict names, without the words."""
    return [(fault.kind, fault.position) for fault in verdict.faults]


def kept(log: Log, *positions: int) -> list[KeptHead]:
    """True heads, as auditors kept them while *log* was written."""
    return [KeptHead(position, before(log, position + 1), f"{position}.jws") for position in positions]


def with_record(position: int, record: Entry) -> Log:
    """The log with another record in place of the one at *position*."""
    return [*LOG[: position - 1], record, *LOG[position:]]


# -------------------------------------------------------------------------------------------------------- a whole log


def test_whole_log() -> None:
    """A log that nobody touched is whole, and the verdict says how much was read."""
    verdict = verify(LOG, HEAD, kept(LOG, 0, 3, 8))

    assert verdict == Verdict(tenant_id=TENANT, count=8, first=LOG[0].digest, last=LOG[-1].digest, faults=())
    assert verdict.is_whole


def test_empty_log() -> None:
    """So is the log of a tenant that never wrote."""
    verdict = verify([], head_of([]), kept([], 0))

    assert verdict == Verdict(tenant_id=TENANT, count=0, first=None, last=None, faults=())
    assert verdict.is_whole


def test_private_parts() -> None:
    """A private part is held against what the body seals; one that was erased is missed by nobody."""
    sealed = rechained([altered(LOG[0], sealed=chain.seal("a private part"))], 1)

    assert found([sealed[0]._replace(private="a private part")], head_of(sealed)) == []
    assert found(sealed, head_of(sealed)) == []
    assert found([sealed[0]._replace(private="another")], head_of(sealed)) == [("altered", 1)]


# ------------------------------------------------------------------------------------------------------------- altered


def test_altered_body() -> None:
    """A body that was altered does not give the digest that the next record is built on."""
    assert found(with_record(4, altered(LOG[3], client_id=EVIL))) == [("altered", 4)]


def test_altered_digest() -> None:
    """A digest that was altered is not the one that the next record is built on."""
    assert found(with_record(4, LOG[3]._replace(digest=bytes(32)))) == [("altered", 4)]


def test_altered_body_with_a_new_digest() -> None:
    """
    Where a body was altered and its digest made anew, the next record does not follow.

    What that one was built on is gone, so either may be the one that was altered. A kept head knows.
    """
    log = with_record(4, entry(msgspec.structs.replace(decode(LOG[3].body), client_id=EVIL), LOG[2].digest))

    assert found(log) == [("altered", 5)]
    assert "or that one's was" in verify(log, HEAD).faults[0].message
    assert found(log, kept=kept(LOG, 4)) == [("altered", 4)]


def test_altered_neighbours() -> None:
    """Two records side by side are two faults."""
    log = with_record(4, altered(LOG[3], client_id=EVIL))
    log[4] = altered(LOG[4], client_id=EVIL)

    assert found(log) == [("altered", 4), ("altered", 5)]


def test_altered_last_record() -> None:
    """No record comes after the last one, but the head has its digest."""
    body = altered(LOG[7], client_id=EVIL)

    assert found(with_record(8, body)) == [("altered", 8)]
    assert found(with_record(8, body._replace(digest=chain.link(LOG[6].digest, body.body)))) == [("altered", 8)]
    assert found(with_record(8, LOG[7]._replace(digest=bytes(32)))) == [("altered", 8)]
    assert found(LOG, HEAD._replace(digest=bytes(32))) == [("altered", 8)]


def test_altered_last_record_in_a_file() -> None:
    """A file has no head; a head that was kept does as well."""
    body = altered(LOG[7], client_id=EVIL)

    assert found(with_record(8, body), None) == [("altered", 8)]
    assert found(with_record(8, LOG[7]._replace(digest=bytes(32))), None, kept(LOG, 8)) == [("altered", 8)]


@pytest.mark.parametrize("column", COLUMNS)
def test_altered_column(column: str) -> None:
    """A column that says another thing than the body was altered, though the chain is sound."""
    assert found(with_record(4, LOG[3]._replace(**COLUMNS[column]))) == [("altered", 4)]


@pytest.mark.parametrize("place", [-1, 0, 9, 1000])
@pytest.mark.parametrize("position", [1, 4, 7, 8])
def test_altered_position_column(position: int, place: int) -> None:
    """A database reads such a record elsewhere, which is no second fault."""
    log = with_record(position, LOG[position - 1]._replace(position=place))

    assert found(sorted(log, key=lambda record: record.position)) == [("altered", position)]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_no_record(body: bytes) -> None:
    """A body that is no record at all is a record that was altered, and what comes after it is still verified."""
    log = with_record(4, LOG[3]._replace(body=body))
    log[6] = altered(LOG[6], client_id=EVIL)

    assert found(log) == [("altered", 4), ("altered", 7)]


def test_another_tenants_log() -> None:
    """A log that is whole is not another tenant's: that is one fault, at its beginning."""
    log = written([0, 1, 2], "globex")

    assert found(log, head_of(log)) == [("altered", 1)]


# ------------------------------------------------------------------------------------------------------------- removed


@pytest.mark.parametrize("hide", [list, renumbered], ids=["with a gap", "renumbered"])
def test_removed(hide: Callable[[Log], Log]) -> None:
    """Records that are missing are called by their positions, whether the columns show the gap or hide it."""
    assert found(hide(LOG[:3] + LOG[5:])) == [("removed", 4)]
    assert found(hide(LOG[1:])) == [("removed", 1)]
    assert found(hide(LOG[:6] + LOG[7:])) == [("removed", 7)]
    assert found(hide(LOG[1::2])) == [("removed", 1), ("removed", 3), ("removed", 5), ("removed", 7)]


def test_removed_and_rechained() -> None:
    """New digests do not hide it: the bodies say their positions."""
    log = rechained(LOG[:3] + LOG[4:], 4)

    assert found(log, Head(8, log[-1].digest, HEAD.time)) == [("removed", 4)]


# ------------------------------------------------------------------------------------------------------------ inserted


@pytest.mark.parametrize("digest", [bytes(32), LOG[2].digest], ids=["unlinked", "linked"])
@pytest.mark.parametrize("position", [1, 2, 3, 4, 5, 7, 99])
@pytest.mark.parametrize("number", [list, renumbered])
def test_inserted(number: Callable[[Log], Log], position: int, digest: bytes) -> None:
    """A record that never happened is found where it stands, whatever it is linked to and whatever it says."""
    foreign = entry(msgspec.structs.replace(decode(LOG[0].body), position=position, client_id=EVIL), digest)

    assert found(number([*LOG[:3], foreign, *LOG[3:]])) == [("inserted", 4)]


def test_inserted_in_a_row() -> None:
    """So are several, properly linked."""
    foreign = rechained([*LOG[:3], altered(LOG[3], client_id=EVIL), altered(LOG[4], client_id=EVIL)], 4)

    assert found(foreign + LOG[3:]) == [("inserted", 4)]


def test_repeated() -> None:
    """A record that is there twice was inserted, and so was a run of them."""
    assert found(LOG[:5] + LOG[1:2] + LOG[5:]) == [("inserted", 6)]
    assert found(LOG[:2] + LOG[6:7] + LOG[2:]) == [("inserted", 3)]
    assert found(LOG[:5] + LOG[1:4] + LOG[5:]) == [("inserted", 6)]
    assert found(LOG + LOG) == [("inserted", 9)]


@pytest.mark.parametrize("digest", [bytes(32), LOG[-1].digest], ids=["unlinked", "linked"])
@pytest.mark.parametrize("position", [3, 9, 99])
def test_inserted_beyond_the_head(position: int, digest: bytes) -> None:
    """What stands behind the head was never appended."""
    foreign = entry(msgspec.structs.replace(decode(LOG[0].body), position=position, client_id=EVIL), digest)

    assert found([*LOG, foreign]) == [("inserted", 9)]


# ----------------------------------------------------------------------------------------------------------- reordered


@pytest.mark.parametrize("number", [list, renumbered])
def test_swapped(number: Callable[[Log], Log]) -> None:
    """Records that changed places are there, so nothing was removed."""
    for one, other in [(0, 1), (2, 3), (2, 6), (0, 7), (6, 7)]:
        log = list(LOG)
        log[one], log[other] = log[other], log[one]
        assert found(number(log)) == [("reordered", one + 1)]


@pytest.mark.parametrize("number", [list, renumbered])
def test_moved(number: Callable[[Log], Log]) -> None:
    """Nor was it where a run of records comes later, or earlier, or the last one first."""
    assert found(number(LOG[:2] + LOG[5:] + LOG[2:5])) == [("reordered", 3)]
    assert found(number(LOG[:1] + LOG[6:7] + LOG[1:6] + LOG[7:])) == [("reordered", 2)]
    assert found(number(LOG[::-1])) == [("reordered", 1)]


def test_moved_far() -> None:
    """However far a record was moved."""
    log = written([at % 7 for at in range(1000)])

    assert found([*log[:1], *log[2:], log[1]], head_of(log)) == [("reordered", 2)]
    assert found([*log[:500], *log[700:], *log[500:700]], head_of(log)) == [("reordered", 501)]


# --------------------------------------------------------------------------------------------------- cut off and forked


def test_cut_off() -> None:
    """A log that ends before its head was cut off, to the last record if need be."""
    assert found(LOG[:5]) == [("cut off", 6)]
    assert found([]) == [("cut off", 1)]


def test_cut_off_with_its_head() -> None:
    """If the head was set back too, a kept head shows it; and which one is said."""
    verdict = verify(LOG[:5], head_of(LOG[:5]), kept(LOG, 3, 7))

    assert places(verdict) == [("cut off", 6)]
    assert "7.jws" in verdict.faults[0].message
    assert found(LOG[:5], None, kept(LOG, 7)) == [("cut off", 6)]
    assert found(LOG[:5], head_of(LOG[:5])) == []


def test_forked() -> None:
    """
    A history that was rewritten to its end, digests and head, is sound in itself.

    The first kept head that it does not pass through shows it, and those behind say nothing new.
    """
    log = rewritten(LOG, 4)

    assert found(log, head_of(log)) == []
    assert found(log, head_of(log), kept(LOG, 2, 3)) == []
    assert found(log, head_of(log), kept(LOG, 2, 3, 5, 7)) == [("forked", 5)]
    assert found(log, None, kept(LOG, 8)) == [("forked", 8)]
    assert found(log, HEAD, kept(LOG, 5)) == [("forked", 5), ("altered", 8)]


def test_kept_heads_that_contradict_each_other() -> None:
    """No log passes through two heads of one position, so there were two logs."""
    other = KeptHead(5, bytes(32), "other.jws")

    verdict = verify(LOG, HEAD, [*kept(LOG, 5), other])

    assert places(verdict) == [("forked", 5)]
    assert "5.jws" in verdict.faults[0].message
    assert "other.jws" in verdict.faults[0].message
    assert found(LOG, kept=[other, *kept(LOG, 5)]) == [("forked", 5)]


def test_kept_head_of_the_beginning() -> None:
    """Every log of a tenant begins with the same digest, at position 0."""
    for head in (KeptHead(0, bytes(32), "0.jws"), KeptHead(-1, chain.genesis(TENANT), "-1.jws")):
        assert found(LOG, kept=[head]) == [("forked", head.position)]


# --------------------------------------------------------------------------------------------------------- any edit

logs = st.lists(st.integers(0, 2), max_size=10).map(written)
Edits = Callable[[Log, int, int], st.SearchStrategy[Edit]]
by_name = pytest.mark.parametrize("edits", [*EDITS, altered_position], ids=lambda edits: edits.__name__)


def numbered(data: st.DataObject, *edits: Edit) -> Log:
    """An edited log, as it is or with columns that show nothing of it, unless it is about the columns."""
    log = edits[-1].log
    return log if any(edit.is_columns for edit in edits) or data.draw(st.booleans()) else renumbered(log)


@given(logs, st.data())
def test_every_whole_log(log: Log, data: st.DataObject) -> None:
    """A log that nobody touched is whole, and so was it at any time before, whatever heads were kept."""
    length = data.draw(st.integers(0, len(log)))
    positions = data.draw(st.sets(st.integers(0, length)))

    assert verify(log[:length], head_of(log[:length]), kept(log, *positions)).is_whole
    assert verify(log[:length], None, kept(log, *positions)).is_whole


@by_name
@settings(max_examples=60)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=10).map(written), st.data())
def test_every_edit(edits: Edits, log: Log, data: st.DataObject) -> None:
    """One edit is one fault: its kind, where it shows, and in words that quote nothing of what was written."""
    positions = data.draw(st.sets(st.integers(0, len(log))))
    edit = data.draw(edits(log, 1, len(log)))

    verdict = verify(numbered(data, edit), head_of(log), kept(log, *positions))

    assert not verdict.is_whole
    first, *others = verdict.faults
    assert first.kind == edit.kind
    assert first.position in edit.positions
    assert not others or edits.__name__ == "shuffled"
    assert {fault.kind for fault in others} <= {"reordered"}
    assert not any(word in first.message for word in ("app-", "evil", "eve@acme", "globex"))


@by_name
@settings(max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=4, max_size=10).map(written), st.data())
def test_every_edit_of_a_file(edits: Edits, log: Log, data: st.DataObject) -> None:
    """No head is needed for it, unless it is about the end."""
    edit = data.draw(edits(log, 1, len(log) - 2))

    first, *_ = verify(numbered(data, edit), None).faults

    assert first.kind == edit.kind
    assert first.position in edit.positions


@given(st.lists(st.integers(0, 2), min_size=1, max_size=10).map(written), st.data())
def test_every_rewritten_history(log: Log, data: st.DataObject) -> None:
    """A rewritten history is forked at the first kept head that it does not pass through."""
    start = data.draw(st.integers(1, len(log)))
    known = data.draw(st.integers(start, len(log)))
    positions = data.draw(st.sets(st.integers(0, len(log)))) | {known}
    log, original = rewritten(log, start), log

    expected = ("forked", min(position for position in positions if position >= start))
    assert found(log, head_of(log), kept(original, *positions)) == [expected]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2), min_size=20, max_size=24).map(written), st.data())
def test_two_edits(log: Log, data: st.DataObject) -> None:
    """Two edits far from each other are both found."""
    later = data.draw(data.draw(st.sampled_from(EDITS))(log, 15, len(log) - 1))
    earlier = data.draw(data.draw(st.sampled_from(EDITS))(later.log, 1, 6))
    # what was put in may say that it belongs where the other edit is: then it is not far from that
    assume(earlier.kind != "inserted" or all(earlier.log[at - 1].position < 15 for at in earlier.positions))

    faults = found(numbered(data, later, earlier), head_of(log))

    for edit in (later, earlier):
        assert any(kind == edit.kind and position in edit.positions for kind, position in faults)


@settings(max_examples=500)
@given(st.data())
def test_no_other_log_is_whole(data: st.DataObject) -> None:
    """Whatever is made of a log's records and of forged ones, only the log itself is whole."""
    original = LOG[:5]
    forged = [rewritten(original, start)[at] for start in (1, 3) for at in range(start - 1, 5)]
    damaged = [altered(record, client_id=EVIL) for record in original]
    log = data.draw(st.lists(st.sampled_from([*original, *original, *forged, *damaged, LOG[5]]), max_size=10))
    log = data.draw(st.sampled_from([log, renumbered(log)]))

    verdict = verify(log, head_of(original))

    assert verdict.is_whole == (log == original)
    assert len(set(places(verdict))) == len(verdict.faults)


# -------------------------------------------------------------------------------------------------------------- bounds


def test_many_faults() -> None:
    """A verdict names the first faults by position and counts the others."""
    log = written([at % 7 for at in range(3 * LISTED + 1)])

    verdict = verify(log[::2], head_of(log))

    assert places(verdict) == [("removed", 2 * at) for at in range(1, LISTED + 1)]
    assert verdict.unlisted == LISTED // 2
    assert verdict.count == 3 * LISTED // 2 + 1
    assert not verdict.is_whole


def test_messages() -> None:
    """A fault is said in a sentence."""
    (fault,) = verify(LOG[:3] + LOG[5:], HEAD).faults

    assert fault == Fault("removed", 4, "The records from position 4 to 5 are missing.")


@pytest.mark.parametrize("step", [1, -1, 2, -2])
def test_memory(step: int) -> None:
    """However long a log and however damaged, no more of it is kept than a little."""
    log = written([at % 7 for at in range(4000)])[::step]

    tracemalloc.start()
    verify(log, None)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 500_000
