"""A record as it was found, which may not be as it was written."""

from typing import Annotated, NamedTuple

import msgspec

from events import chain
from events.log import Entry


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a record's body says of its place: no more than is needed to verify it."""

    tenant_id: str
    position: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    event_id: str
    sealed: str | None = None


_decode = msgspec.json.Decoder(Claim).decode


def claim(body: bytes) -> Claim | None:
    """What *body* says of its place; None where it is no record."""
    try:
        return _decode(body)
    except (ValueError, RecursionError):  # of msgspec, of UTF-8, of brackets without end
        return None


class Reading(NamedTuple):
    """
    A record as it was found.

    Attributes:
        entry: what is stored.
        claim: what its body says of its place; None where it is no record.
        is_next: whether its position column goes on from the one before, as it does where columns were renumbered.
    """

    entry: Entry
    claim: Claim | None
    is_next: bool

    @property
    def position(self) -> int:
        """The position that the body says; 0, which no record has, where it is no record."""
        return 0 if self.claim is None else self.claim.position

    @property
    def is_home(self) -> bool:
        """Whether the position column says the same as the body."""
        return self.entry.position == self.position

    def follows(self, before: bytes) -> bool:
        """Whether its digest is the one of its body after the digest *before*."""
        return chain.link(before, self.entry.body) == self.entry.digest

    def contradiction(self) -> str | None:
        """What the columns say otherwise than the body, as the end of a sentence on the record; None for nothing."""
        entry, claim = self.entry, self.claim
        if claim is None:
            return "its body is no record"
        if not (self.is_home or self.is_next):
            return "its position column says another position than its body"
        if entry.event_id != claim.event_id:
            return "its event id column says another event than its body"
        if entry.private is not None and claim.sealed != chain.seal(entry.private):
            return "its private part is not the one that its body seals"
        return None
