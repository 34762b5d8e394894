"""What can be wrong with a tenant's log, and the verdict on one. Who finds it is in `events.verification.verifier`."""

from typing import Literal, NamedTuple

import msgspec

Kind = Literal["altered", "removed", "inserted", "reordered", "cut off", "forked"]

LISTED = 100  # faults that a verdict names; the others are counted


class Fault(msgspec.Struct, frozen=True):
    """
    One thing that is wrong.

    Attributes:
        kind: what was done to the log, as far as it can be told from the log.
        position: where it first shows: the position at which a whole log would say something else.
        message: one English sentence for people. It never quotes a body.
    """

    kind: Kind
    position: int
    message: str


class KeptHead(NamedTuple):
    """
    Where a log ended when an auditor looked. Whoever makes one has proven its signature.

    Attributes:
        position: of the last record then; 0 for a log without one.
        digest: of that record, 32 bytes; the genesis digest for position 0.
        source: where it was kept, such as a file's name, for messages.
    """

    position: int
    digest: bytes
    source: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    What there is to say of a tenant's log.

    Attributes:
        tenant_id: whose log it is.
        count: records that were read.
        first: the digest of the first record that was read, as it is stored; None for a log without one.
        last: the same of the last one.
        faults: in the order of their positions, the first `LISTED` that were found.
        unlisted: how many more there are.
        withheld: private parts that never came, as the tenant was imported without them; known in a database alone.
    """

    tenant_id: str
    count: int
    first: bytes | None
    last: bytes | None
    faults: tuple[Fault, ...]
    unlisted: int = 0
    withheld: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every record is there, as it was written and where it was written."""
        return not self.faults


class Faults:
    """Faults as they are found, each place and kind once. It holds no more than `LISTED` of them."""

    def __init__(self) -> None:
        self._listed: dict[tuple[Kind, int], Fault] = {}
        self._latest: tuple[Kind, int] | None = None
        self._unlisted = 0

    def add(self, fault: Fault) -> None:
        """Note a fault, unless one of its kind is known at its position."""
        key = (fault.kind, fault.position)
        if key in self._listed or key == self._latest:
            return
        if len(self._listed) < LISTED:
            self._listed[key] = fault
        else:
            self._latest = key
            self._unlisted += 1

    @property
    def unlisted(self) -> int:
        """How many were found beyond those that are listed."""
        return self._unlisted

    def listed(self) -> tuple[Fault, ...]:
        """
        Those that a verdict names, by position.

        A record whose position column was altered makes its neighbours look as if they had been moved: that is one
        fault and not two.
        """
        found = self._listed.values()
        altered = {fault.position for fault in found if fault.kind == "altered"}
        kept = (fault for fault in found if fault.kind != "reordered" or fault.position not in altered)
        return tuple(sorted(kept, key=lambda fault: fault.position))


def altered(position: int, what: str) -> Fault:
    """A record of which *what* is wrong, as the end of a sentence."""
    return Fault("altered", position, f"The record at position {position} was altered: {what}.")


def inserted(place: int) -> Fault:
    """A record that stands where the log has another one, or none."""
    return Fault("inserted", place, f"A record stands at the place of position {place} that does not belong there.")
