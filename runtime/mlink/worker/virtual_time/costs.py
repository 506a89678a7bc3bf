"""The times that a module takes for items in virtual time, drawn by a seed."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from mlink.worker_spec import Cost


def drawn(cost: Cost, seed: str) -> Callable[[], int]:
    """Return a function that draws a time in µs with each call.

    Each time of `cost` comes as often as it was measured, in a random order that follows from the
    seed alone.
    """
    if len(cost.usec) == 1:
        return lambda: cost.usec[0]
    limits, chance = list(accumulate(cost.count)), random.Random(seed)  # noqa: S311 - no secret
    return lambda: cost.usec[bisect_right(limits, chance.randrange(limits[-1]))]
