"""Notices that a board without a clock has gone silent: its port stays, and nothing arrives.

Every Firmata board answers a version query, so a quiet one is queried. Looks are counted and not
seconds, because this process may have been stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from mlink.waiting import Registration, Waiting

PAUSE_S: Final = 0.5
LOOKS: Final = 4
"""Looks in a row without a sign of life after which a board counts as silent: 2 to 2.5 s."""


_LONGEST_WAY_S: Final = 12.0
"""Longest time for which a query is taken to wait: a buffer of 64 kB at 57600 baud."""
_SIGNS_NS: Final = 10_000_000
"""Bytes that come within this time of a sign are the same one."""
_SIGNS_KEPT: Final = 64


class Signs:
    """When bytes have come from a board, to about 10 ms; at the latest when they are stated."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=_SIGNS_KEPT)

    def note(self, now_ns: int) -> None:
        """Take bytes that came now."""
        times = self._times
        if not times or now_ns - times[-1] >= _SIGNS_NS:
            times.append(now_ns)

    def last_ns(self, before_ns: int | None = None) -> int:
        """Return the time of the last sign (before a time), of the oldest one kept, or 0."""
        for time_ns in reversed(self._times):
            if before_ns is None or time_ns < before_ns:
                return time_ns
        return self._times[0] if self._times else 0


class SilenceWatch:
    """Looks for signs of life of one board, and queries it when there are none.

    Args:
        waiting: Makes the calls.
        count_signs: Returns a count of what shows that the board works, such as samples.
        query: Sends a query that the board answers; False for the first of a quiet time, True
            for a repetition. May raise DeviceError when the board is lost.
        sent_ns: Returns when all that was sent to the board will have left, by the line's baud
            rate. A query waits behind commands; looks count only once it has left.
        on_silence: Called once when the board is silent.
        on_look: Called at each look.
    """

    def __init__(
        self,
        waiting: Waiting,
        *,
        count_signs: Callable[[], int],
        query: Callable[[bool], None],
        sent_ns: Callable[[], int],
        on_silence: Callable[[], None],
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._waiting = waiting
        self._count_signs = count_signs
        self._query = query
        self._sent_ns = sent_ns
        self._on_silence = on_silence
        self._on_look = on_look
        self._signs = -1
        self._quiet = 0
        self._left_ns = 0
        """When the last query will have left."""
        self._next: Registration | None = None

    def start(self) -> None:
        """Begin, or begin anew with a board that is back."""
        self.close()
        self._signs, self._quiet, self._left_ns = self._count_signs(), 0, 0
        self._look_later()

    def close(self) -> None:
        """Look no more."""
        look, self._next = self._next, None
        if look is not None:
            look.cancel()

    def _look_later(self) -> None:
        time_ns = self._waiting.now_ns() + round(PAUSE_S * 1e9)
        self._next = self._waiting.at(time_ns, self._look)

    def _look(self) -> None:
        if self._next is None:
            return
        signs = self._count_signs()
        if signs != self._signs:
            self._signs, self._quiet = signs, 0
        elif self._waiting.now_ns() >= self._left_ns:
            self._quiet += 1
            if self._quiet >= LOOKS:
                self._next = None
                self._on_silence()
                return
            if self._quiet % 2:
                self._query(self._quiet > 1)
                last_ns = self._waiting.now_ns() + round(_LONGEST_WAY_S * 1e9)
                self._left_ns = min(self._sent_ns(), last_ns)
        self._on_look()
        self._look_later()
