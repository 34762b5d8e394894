"""How the live clients differ from what their events add up to: by client, and by field. Pure."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

LISTED = 100  # differences that are named; the others are counted

Kind = Literal["missing", "surplus", "altered"]
Content = tuple[str, str]  # of a row: its state as JSON, and its folded name


class Pair(NamedTuple):
    """A client as the live table has it and as its events have it; None where it has none."""

    client_id: str
    live: Content | None
    folded: Content | None


class Difference(msgspec.Struct, frozen=True):
    """
    A client that is not what its events say.

    Attributes:
        client_id: which.
        kind: it is missing in the table, or there without an event, or altered.
        fields: what is altered, such as `settings.name`; `state` alone where the same is only written otherwise.
    """

    client_id: str
    kind: Kind
    fields: tuple[str, ...] = ()


class Differences:
    """Differences as they are found. It holds no more than `LISTED` of them."""

    def __init__(self) -> None:
        self.listed: list[Difference] = []
        self.total = 0

    def add(self, pairs: Iterable[Pair]) -> None:
        """Note those of *pairs* that differ."""
        for client_id, live, folded in pairs:
            if live == folded:
                continue
            self.total += 1
            if len(self.listed) == LISTED:
                continue
            if live is None:
                self.listed.append(Difference(client_id, "missing"))
            elif folded is None:
                self.listed.append(Difference(client_id, "surplus"))
            else:
                self.listed.append(Difference(client_id, "altered", _altered(live, folded)))


def _altered(live: Content, folded: Content) -> tuple[str, ...]:
    one, other = (dict(_flat(msgspec.json.decode(state))) for state, _ in (live, folded))
    fields = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if live[1] != folded[1]:
        fields.append("name_folded")
    return tuple(fields) or ("state",)


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:  # noqa: ANN401 (JSON is any)
    """The fields of a state by their names; arrays are compared as a whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name or "state", value
