"""
Records that are not where they belong: read too early, read too late, or not at all.

What is missing may only come later, so nothing is called removed before the end. What is held meanwhile is bounded:
so many records that came early, so many gaps.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from events.verification.fault import Fault, Faults, altered
from events.verification.reading import Reading

_HELD = 100  # records that came early, and gaps, at most


class Early(NamedTuple):
    """A record that was read before those that it follows, at the place of another."""

    reading: Reading
    place: int


@dataclass(frozen=True, slots=True)
class Gap:
    """
    Positions that were not read yet.

    Attributes:
        start: the first of them.
        end: the last of them.
        before: the digest of the record before them.
        after: the record behind them.
        shows: whether the position columns have the same gap.
        origin: where it started, before records came to fill it.
    """

    start: int
    end: int
    before: bytes
    after: Reading
    shows: bool
    origin: int


class Displaced:
    """The records that came early and the gaps that are open; what becomes of them goes to *faults*."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._early: dict[int, Early] = {}
        self._gaps: list[Gap] = []

    @property
    def is_full(self) -> bool:
        """Whether no more records can be set aside."""
        return len(self._early) == _HELD

    def set_aside(self, reading: Reading, place: int) -> None:
        """Keep a record that stands at *place* and says a later position, until that is reached."""
        if reading.position in self._early or self.is_full:
            self._repeated(place, reading.position)
        else:
            self._early[reading.position] = Early(reading, place)

    def next_early(self, position: int, before: bytes) -> Reading | None:
        """The record of *position*, if it came early and follows the digest *before*. It is then in its place."""
        early = self._early.get(position)
        if early is None or not early.reading.follows(before):
            return None
        del self._early[position]
        self._came_early(early)
        return early.reading

    def open(self, start: int, before: bytes, after: Reading) -> None:
        """Nothing was read from position *start*, which follows the digest *before*, to the record *after*."""
        end = after.position - 1
        self._gaps.append(Gap(start, end, before, after, not after.is_next, start))
        for position in [position for position in self._early if start <= position <= end]:
            if self._fill(self._early[position].reading):
                self._came_early(self._early.pop(position))
        self._close_all_but(_HELD)

    def fill(self, reading: Reading) -> bool:
        """Whether *reading* is one of the missing records. If it is, it came late."""
        gap = self._fill(reading)
        if gap is None:
            return False
        if gap.shows and not reading.is_home:
            self._faults.add(altered(reading.position, "its position column says another position than its body"))
        else:
            message = f"The records from position {gap.origin} on are in another order: {reading.position} comes later."
            self._faults.add(Fault("reordered", gap.origin, message))
        self._close_all_but(_HELD)
        return True

    def end(self) -> None:
        """No record comes any more: what is still missing was removed, and what is not missing was put in."""
        self._close_all_but(0)
        for early in self._early.values():
            self._repeated(early.place, early.reading.position)

    def _fill(self, reading: Reading) -> Gap | None:
        """
        The gap that *reading* belongs in, as it was; what stays open of it are the parts before and behind.

        At an end of the gap the chain proves it. In the midst nothing can yet, so what it says is believed.
        """
        position = reading.position
        at = next((at for at, gap in enumerate(self._gaps) if gap.start <= position <= gap.end), None)
        if at is None:
            return None
        gap = self._gaps[at]
        proofs = []
        if position == gap.start:
            proofs.append(reading.follows(gap.before))
        if position == gap.end:
            proofs.append(gap.after.follows(reading.entry.digest))
        if proofs and not any(proofs):
            return None
        if not all(proofs):
            self._faults.add(altered(position, "it came late, and does not go with both of its neighbours"))
        parts = [
            replace(gap, end=position - 1, after=reading),
            replace(gap, start=position + 1, before=reading.entry.digest),
        ]
        self._gaps[at : at + 1] = [part for part in parts if part.start <= part.end]
        return gap

    def _came_early(self, early: Early) -> None:
        reading, place = early
        if reading.is_home or reading.is_next:  # if not, its position column is at fault, which is said where it fits
            message = f"The records from position {place} on are in another order: {reading.position} stands there."
            self._faults.add(Fault("reordered", place, message))

    def _close_all_but(self, limit: int) -> None:
        """What is missing in the oldest gaps was removed; *limit* of them stay open."""
        while len(self._gaps) > limit:
            gap = self._gaps.pop(0)
            missing = f"The records from position {gap.start} to {gap.end} are missing"
            if gap.start == gap.end:
                missing = f"The record of position {gap.start} is missing"
            hidden = "" if gap.shows else ", and the positions of those behind were made to hide it"
            self._faults.add(Fault("removed", gap.start, f"{missing}{hidden}."))

    def _repeated(self, place: int, position: int) -> None:
        message = f"A record that says position {position} stands before the record of position {place}."
        self._faults.add(Fault("inserted", place, message))
