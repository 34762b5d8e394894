"""What a process does for a long command that is all it has to do."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_S = 0.0005  # a tenth of what is usual


@contextmanager
def undisturbed() -> Iterator[None]:
    """
    Within this, no time is lost to what a command need not do that moves many records between a file and the database.

    Records do not refer to themselves; to look for what does would take a quarter of the time. And the thread that
    talks to the database does not wait for as long as usual for the one that reads or writes the file.
    """
    interval_s = sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.enable()
