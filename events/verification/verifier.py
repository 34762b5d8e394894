"""
What is wrong with a tenant's log, if anything. Pure: records in, a verdict out, in memory that no log outgrows.

A record is accepted when it says the next position and its digest follows from the one before. One that does not is
*suspect* until the next record is seen, which was written after the true one and so tells what was done: it follows
from the digest that the suspect has (its body was altered), from the one that it should have (its digest was), or from
the record before the suspect (which does not belong there). Then the log is read on from the stored digests.
"""

from collections.abc import Iterable

from events import chain
from events.log import Entry, Head
from events.verification.displaced import Displaced
from events.verification.fault import Fault, Faults, KeptHead, Verdict, altered, inserted
from events.verification.reading import Reading, claim
from events.verification.tip import Tip


class Verification:
    """
    Reads a tenant's log from its first record to its last.

    Args:
        tenant_id: whose log it should be.
        kept: heads of this tenant that were kept elsewhere; the log must pass through each.
    """

    def __init__(self, tenant_id: str, kept: Iterable[KeptHead] = ()) -> None:
        self._tenant_id = tenant_id
        self._faults = Faults()
        self._tip = Tip(tenant_id, kept, self._faults)
        self._displaced = Displaced(self._faults)
        self._suspect: Reading | None = None
        self._is_calm = True  # nothing that was read waits for an explanation
        self._count, self._place = 0, 0
        self._first: bytes | None = None
        self._last: bytes | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with what was read so far, for all that can be told before more is."""
        return self._is_calm and not self._faults.listed()

    def take(self, entry: Entry) -> None:
        """The next record, in the order in which the source has them."""
        tenant_id, place, event_id, digest, body, private = entry
        tip, says = self._tip, claim(body)
        expected = tip.position + 1
        if (
            self._is_calm
            and says is not None
            and expected == says.position == place
            and event_id == says.event_id
            and self._tenant_id == says.tenant_id == tenant_id
            and private is None
            and expected not in tip.kept
            and chain.link(tip.digest, body) == digest
        ):
            tip.position, tip.digest = expected, digest
        else:
            self._examine(Reading(entry, says, place == self._place + 1))
        if self._first is None:
            self._first = digest
        self._count += 1
        self._place, self._last = place, digest

    def end(self, head: Head | None) -> Verdict:
        """
        The verdict. *head* is where the source says that the log ends; None for a source that says nothing.

        A log that is whole may be read on from there.
        """
        if self._suspect is not None:
            self._explain_last(self._suspect, head)
        while early := self._displaced.next_early(self._tip.position + 1, self._tip.digest):
            self._tip.accept(early)
        self._tip.end(head)
        self._displaced.end()
        return Verdict(
            tenant_id=self._tenant_id,
            count=self._count,
            first=self._first,
            last=self._last,
            faults=self._faults.listed(),
            unlisted=self._faults.unlisted,
        )

    def _examine(self, reading: Reading) -> None:
        """Explain the suspect, where there is one, and find the place of the record after it."""
        suspect, self._suspect = self._suspect, None
        if suspect is not None:
            self._explain(suspect, reading)
        if not self._settle(reading):
            self._suspect = reading
        self._is_calm = self._suspect is None and self._tip.is_certain

    def _settle(self, reading: Reading) -> bool:
        """Whether *reading* has its place, as far as that can be told without the record after it."""
        while not self._tip.continues(reading):
            early = self._displaced.next_early(self._tip.position + 1, self._tip.digest)
            if early is None:
                return self._tip.prolongs_branch(reading) or self._displaced.fill(reading)
            self._tip.accept(early)
        return True

    def _explain(self, suspect: Reading, after: Reading) -> None:
        """What the record *after* a suspect says of it."""
        expected = self._tip.position + 1
        digest, due = suspect.entry.digest, chain.link(self._tip.digest, suspect.entry.body)
        is_behind = after.position == expected + 1
        if is_behind and after.follows(digest):
            self._tip.accept(suspect, self._broken_link())
        elif is_behind and suspect.position == expected and after.follows(due):
            self._tip.accept(suspect, altered(expected, "its digest is not the one that its body gives"), due)
        elif is_behind and suspect.position != expected and digest == due:
            self._tip.accept(suspect, altered(expected, "it says another position, and its digest was made anew"))
        elif after.position == expected and after.follows(self._tip.digest):
            self._set_aside(suspect, after)
        else:
            self._guess(suspect, after.position)

    def _explain_last(self, suspect: Reading, head: Head | None) -> None:
        """What the heads say of a suspect that no record comes after."""
        tip, position = self._tip, suspect.position
        expected = tip.position + 1
        due = chain.link(tip.digest, suspect.entry.body)
        known = {known.digest for known in (head, tip.kept.get(expected)) if known and known.position == expected}
        if position == expected and due in known:
            self._tip.accept(suspect, altered(expected, "its digest is not the one that its body gives"), due)
        elif suspect.entry.digest in known or (head is not None and head.position == expected):
            self._tip.accept(suspect, self._broken_link())
        elif head is not None and (head[:2] == (tip.position, tip.digest) or position > head.position):
            self._faults.add(inserted(expected))
        else:
            self._guess(suspect, None)

    def _guess(self, suspect: Reading, after: int | None) -> None:
        """
        What a suspect is by what it says, where no digest tells: what comes after it was damaged too, or is nothing.

        *after* is the position that the next record says; 0 where it is no record, None where there is none.
        """
        tip, position = self._tip, suspect.position
        expected = tip.position + 1
        if position == expected or (position == 0 and after != expected):
            self._faults.add(self._broken_link())
            self._tip.accept(suspect)
        elif position == 0:
            self._faults.add(inserted(expected))
        elif position < expected:
            tip.branch_off(suspect)
        elif not after or after >= position or self._displaced.is_full:
            self._displaced.open(expected, tip.digest, suspect)
            self._tip.accept(suspect, position=position)
        else:
            self._displaced.set_aside(suspect, expected)

    def _set_aside(self, suspect: Reading, after: Reading) -> None:
        """The record *after* a suspect is the one that was expected, so the suspect belongs elsewhere or nowhere."""
        expected = self._tip.position + 1
        if suspect.position <= expected:
            self._faults.add(inserted(expected))
            return
        if suspect.is_home and not suspect.is_next and not after.is_home:
            self._faults.add(altered(expected, "its position column says another position than its body"))
        self._displaced.set_aside(suspect, expected)

    def _broken_link(self) -> Fault:
        """The fault of a record whose body does not give its digest after the one before, which may be to blame."""
        position = self._tip.position + 1
        if self._tip.is_proven:
            return altered(position, "its body does not give its digest")
        either = "its body was altered, or that one's was and its digest was made anew"
        return Fault(
            "altered", position, f"The record at position {position} does not follow from the one before: {either}."
        )
