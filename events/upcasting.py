"""
Records of older schema versions, brought up to the current one when they are read.

A record stays as it was written, since its digest covers its bytes. Whoever changes the schema adds an *upcaster*: it
turns the decoded JSON of a record of the version before into that of the next. They are chained, so each knows two
versions, and everything else in this project knows one.
"""

from collections.abc import Callable
from typing import Any

from events.errors import UnknownVersion

Json = dict[str, Any]
Upcaster = Callable[[Json], Json]

# By the version that each takes; the first version is still the current one. An upcaster is pure, and leaves the
# version itself to its place here. What it cannot know is an error and never a guess. What the database reads out of
# bodies by itself (`client_id`, `time`, `sealed`) has to keep its name and its meaning in every version. The golden
# records (tests/golden) hold whoever adds an upcaster to all that was ever written.
UPCASTERS: dict[int, Upcaster] = {}


def upcast(record: Json, current: int) -> Json:
    """
    What *record*, the decoded JSON of one of any version, says as a record of the version *current*.

    Raises:
        UnknownVersion: its version is newer, or there is no upcaster for it.
    """
    version = record.get("schema_version")
    while version != current:
        if type(version) is not int:
            raise UnknownVersion("it says no schema version")
        if version > current:
            raise UnknownVersion(f"its schema version is {version}, and this program knows none after {current}")
        if version not in UPCASTERS:
            raise UnknownVersion(f"its schema version is {version}, and there is no upcaster for that")
        record = {**UPCASTERS[version](record), "schema_version": version + 1}
        version += 1
    return record
