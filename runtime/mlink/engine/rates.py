"""The rates of streams while a run lasts, from counts that their workers tell now and then."""

from __future__ import annotations

from collections import deque

WINDOW_S = 2.0


class StreamRates:
    """Items a second of each stream, over about the last two seconds."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[float, int]]] = {}

    def rate_hz(self, stream: str, sent: int, counted_s: float) -> float:
        """Return the rate now that `sent` items were counted at `counted_s`, a steady clock's time.

        The time is that of the count and not of this call: counts are a quarter of a second old. 0
        says that none has come yet.
        """
        if not counted_s:
            return 0.0
        told = self._told.setdefault(stream, deque())
        if not told or counted_s > told[-1][0]:
            told.append((counted_s, sent))
        while len(told) > 2 and told[-1][0] - told[1][0] >= WINDOW_S:
            told.popleft()
        (since_s, before), (until_s, after) = told[0], told[-1]
        return (after - before) / (until_s - since_s) if until_s > since_s else 0.0
