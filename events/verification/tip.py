"""The last record that was accepted, from which a log is read on, and the heads that a log must pass through."""

from collections.abc import Iterable
from dataclasses import dataclass

from events import chain
from events.log import Head
from events.verification.fault import Fault, Faults, KeptHead, altered, inserted
from events.verification.reading import Reading


@dataclass(slots=True)
class _Branch:
    """Records in a row, of positions that were read before: from `start` to `position`, at the place of `place`."""

    start: int
    place: int
    position: int
    digest: bytes


class Tip:
    """
    Where the log that was read so far ends.

    What is wrong with the last record itself, its *doubt*, is only said when the next one was accepted or none comes:
    until then it may turn out that this one was put in. So it is with the kept head that it contradicts, and with a
    *branch*, records that say positions which were read before: the next record follows from one or the other.

    Attributes:
        position: of that record; 0 before the first.
        digest: from which the next one must follow, 32 bytes.
        kept: the kept heads by position.
    """

    def __init__(self, tenant_id: str, kept: Iterable[KeptHead], faults: Faults) -> None:
        self.position = 0
        self.digest = chain.genesis(tenant_id)
        self.kept: dict[int, KeptHead] = {}
        self._tenant_id = tenant_id
        self._faults = faults
        self._doubt: Fault | None = None
        self._contradicted: KeptHead | None = None
        self._branch: _Branch | None = None
        self._is_forked = False  # a kept head said so, and those that come after it say the same
        self._strangers: tuple[int, str, str] | None = None  # the last record that was another tenant's
        for head in kept:
            self._keep(head)

    @property
    def is_certain(self) -> bool:
        """Whether nothing waits to be said."""
        return self._doubt is None and self._contradicted is None and self._branch is None

    @property
    def is_proven(self) -> bool:
        """Whether the digest is known from elsewhere, and cannot have been made anew."""
        return self.position == 0 or (self.position in self.kept and self._contradicted is None)

    def accept(
        self, reading: Reading, fault: Fault | None = None, digest: bytes | None = None, *, position: int | None = None
    ) -> None:
        """
        Move on to *reading*.

        Args:
            reading: a record.
            fault: what is wrong with it.
            digest: the one that it should have, where it has another.
            position: where it belongs, if that is not the next position.
        """
        self._confirm()
        self._move(self.position + 1 if position is None else position, digest or reading.entry.digest)
        self._doubt = self._contradiction(reading) or fault

    def continues(self, reading: Reading) -> bool:
        """Whether *reading* is the next record, for all that can be told. It is then accepted."""
        if reading.position != self.position + 1:
            return False
        if not reading.follows(self.digest):
            branch, kept = self._branch, self._contradicted
            if branch is not None and branch.position == self.position and reading.follows(branch.digest):
                self._follow(branch)
            elif kept is not None and reading.follows(kept.digest):
                self._doubt = altered(self.position, f"its digest is not the one of the head of {kept.source}")
                self._contradicted = None
            elif self._doubt is None:  # what is wrong with that record is why nothing follows from it
                return False
        self.accept(reading)
        return True

    def branch_off(self, reading: Reading) -> None:
        """Begin a branch with *reading*."""
        self._drop_branch()
        self._branch = _Branch(reading.position, self.position + 1, reading.position, reading.entry.digest)

    def prolongs_branch(self, reading: Reading) -> bool:
        """Whether *reading* is the next record of the branch. It is then part of it."""
        branch = self._branch
        if branch is None or reading.position != branch.position + 1 or not reading.follows(branch.digest):
            return False
        branch.position, branch.digest = reading.position, reading.entry.digest
        return True

    def end(self, head: Head | None) -> None:
        """No record comes any more; *head* is where the source says that the log ends, None if it does not say."""
        branch = self._branch
        if branch is not None and branch.digest != self.digest:
            known = {known[:2] for known in (head, self._contradicted) if known is not None}
            if (branch.position, branch.digest) in known:
                self._follow(branch)
        kept = self._contradicted
        if kept is not None and head is not None and kept[:2] == head[:2]:
            self._doubt, self._contradicted = altered(self.position, "its digest is not the one of the heads"), None
        self._confirm()
        if head is not None and head.position < self.position:
            message = f"The head is at position {head.position}, and the log goes on to {self.position}."
            self._faults.add(Fault("inserted", head.position + 1, message))
        elif head is not None and head.position == self.position and head.digest != self.digest:
            message = f"The head has another digest than the last record, at position {head.position}: one was altered."
            self._faults.add(Fault("altered", head.position, message))
        ends = [(kept.position, f"the head of {kept.source}") for kept in self.kept.values()]
        if head is not None:
            ends.append((head.position, "its head"))
        position, source = max(ends, default=(0, ""))
        if position > self.position:
            message = f"The log ends at position {self.position}, and {source} says that it went on to {position}."
            self._faults.add(Fault("cut off", self.position + 1, message))

    def _keep(self, head: KeptHead) -> None:
        """Remember a kept head; what contradicts it without a look at the log is a fault."""
        other = self.kept.setdefault(head.position, head)
        if other.digest != head.digest:
            message = (
                f"The heads of {other.source} and {head.source} contradict each other at position {head.position}."
            )
            self._faults.add(Fault("forked", head.position, message))
        if head.position <= 0 and (head.position, head.digest) != (self.position, self.digest):
            message = f"The head of {head.source}, at position {head.position}, is not where this tenant's log begins."
            self._faults.add(Fault("forked", head.position, message))

    def _move(self, position: int, digest: bytes) -> None:
        """Be at *position*, and forget what was in doubt before."""
        self.position, self.digest = position, digest
        self._doubt = self._contradicted = None
        kept = self.kept.get(position)
        if kept is not None and kept.digest != digest:
            self._contradicted = kept
        elif kept is not None:
            self._is_forked = False

    def _confirm(self) -> None:
        """Say what was in doubt."""
        self._drop_branch()
        if self._doubt is not None:
            self._faults.add(self._doubt)
        if self._contradicted is not None and not self._is_forked:
            position, _, source = self._contradicted
            message = (
                f"The record at position {position} is not the one of the head of {source}: history was rewritten."
            )
            self._faults.add(Fault("forked", position, message))
            self._is_forked = True
        self._doubt = self._contradicted = None

    def _contradiction(self, reading: Reading) -> Fault | None:
        """What the columns of a record say otherwise than its body. Another tenant's records are said once in a row."""
        what, claim = reading.contradiction(), reading.claim
        if what is None and claim is not None and {self._tenant_id} != {reading.entry.tenant_id, claim.tenant_id}:
            if self._strangers != (self.position - 1, reading.entry.tenant_id, claim.tenant_id):
                what = "it is another tenant's"
            self._strangers = (self.position, reading.entry.tenant_id, claim.tenant_id)
        return None if what is None else altered(self.position, what)

    def _follow(self, branch: _Branch) -> None:
        """Read on from the branch, since what follows does: it is the log, and what it repeats was put in before it."""
        self._faults.add(inserted(branch.start))
        self._branch = None
        self._move(branch.position, branch.digest)

    def _drop_branch(self) -> None:
        if self._branch is not None:
            self._faults.add(inserted(self._branch.place))
            self._branch = None
