"""What became of a tenant's clients when they were held against its log."""

import msgspec

from projections.differences import Difference


class Damage(msgspec.Struct, frozen=True):
    """Why there is no telling what the events add up to: where it shows, and a sentence for people."""

    position: int
    message: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a rebuild or a check of one tenant came to.

    Attributes:
        tenant_id: whose clients they are.
        position: of the last record that was folded.
        clients: how many the events add up to, deleted ones included.
        differing: how many rows of the live table were missing, too many or not as the events have them.
        differences: the first of them.
        held_s: the longest that the tenant's writers were kept waiting, in seconds.
        damage: what is wrong with the log; then nothing was compared.
    """

    tenant_id: str
    position: int = 0
    clients: int = 0
    differing: int = 0
    differences: tuple[Difference, ...] = ()
    held_s: float = 0.0
    damage: Damage | None = None
