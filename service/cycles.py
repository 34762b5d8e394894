"""How often Python looks for cycles of objects among those that are alive."""

import gc

_YOUNG = 20_000  # objects
_ROUNDS = (50, 100)


def look_rarely() -> None:
    """
    Look for cycles seldom, and never again among what is there now.

    Next to nothing here is in a cycle: what a request or a record allocates is gone with it. Looking for some all the
    same takes a tenth of the time of a request, and more where many records are in memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *_ROUNDS)
