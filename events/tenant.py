"""What can happen to a tenant as a whole. Such a record has no client; it is there so that the audit shows it."""

from datetime import datetime

import msgspec


class TenantEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened to a tenant. The tag is written, so a class may be renamed and its tag never."""


class TenantFrozen(TenantEvent, frozen=True, kw_only=True, omit_defaults=True, tag="TenantFrozen"):
    """The tenant takes no changes until it is thawed; it can still be read."""

    reason: str | None = None


class TenantThawed(TenantEvent, frozen=True, kw_only=True, omit_defaults=True, tag="TenantThawed"):
    """The tenant takes changes again."""


class TenantMoved(TenantEvent, frozen=True, kw_only=True, omit_defaults=True, tag="TenantMoved"):
    """
    The tenant lives elsewhere from here on: the last record that both sides have.

    `to` names the database, without credentials; `address` is where callers find the tenant, if that was said.
    """

    to: str
    address: str | None = None


class TenantArrived(TenantEvent, frozen=True, kw_only=True, omit_defaults=True, tag="TenantArrived"):
    """The tenant came from the database that `source` names, and takes changes here: the first record of its own."""

    source: str


class Rewrite(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy has in place of something: URLs that begin with `old` begin with `new`."""

    old: str
    new: str


class TenantCopied(TenantEvent, frozen=True, kw_only=True, omit_defaults=True, tag="TenantCopied"):
    """
    The tenant is a copy of another, as that was at `source_position` with `source_digest` (in hexadecimal).

    It is the first record of a chain of its own, and has the time of the first one that was copied: those keep theirs.
    When it was made is `copied_at`. With `only_active`, clients that were not active then were left out, and without
    `with_secrets` all that was about secrets.
    """

    source_tenant: str
    source_position: int
    source_digest: str
    copied_at: datetime
    rewrites: tuple[Rewrite, ...] = ()
    only_active: bool = False
    with_secrets: bool = False


AnyTenantEvent = TenantFrozen | TenantThawed | TenantMoved | TenantArrived | TenantCopied
