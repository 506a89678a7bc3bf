"""Item rates of streams while a run lasts, from the counts that workers send every 0.25 s."""

from __future__ import annotations

from collections import deque

WINDOW_S = 2.0


class StreamRates:
    """Computes each stream's rate over about the last WINDOW_S seconds.

    It uses the times at which workers counted, so irregular polling does not change a rate.
    """

    def __init__(self) -> None:
        self._counts: dict[str, deque[tuple[float, int]]] = {}

    def rate_hz(self, stream: str, sent: int, counted_s: float) -> float:
        """Add a count of a stream and return its rate in items per second.

        Args:
            stream: The stream's name.
            sent: Number of items sent so far.
            counted_s: Time of the count on a monotonic clock, not of this call: a count may be
                0.25 s old. 0 means that there is no count yet.
        """
        if not counted_s:
            return 0.0
        counts = self._counts.setdefault(stream, deque())
        if not counts or counted_s > counts[-1][0]:
            counts.append((counted_s, sent))
        while len(counts) > 2 and counts[-1][0] - counts[1][0] >= WINDOW_S:
            counts.popleft()
        (since_s, before), (until_s, after) = counts[0], counts[-1]
        return (after - before) / (until_s - since_s) if until_s > since_s else 0.0
