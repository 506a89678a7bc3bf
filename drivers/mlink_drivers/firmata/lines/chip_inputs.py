"""Digital inputs whose edges the chip stamps: which line is live, and what is news. Values only.

The firmware answers the order to watch a pin with its level at that moment; this is the line's
first reading. Edges that it queued before are of the time before the line was set up.
"""

from __future__ import annotations

from typing import Final

_TOLD_TWICE_NS: Final = 100_000
"""An edge that the first level tells already waits in its interrupt for less than this."""


class ChipInputs:
    """State of the watched lines of one board; not thread-safe. Times are ns of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}  # line → answers that are still to come
        self._live: dict[int, tuple[int, bool]] = {}  # line → time and level of its first reading
        self._unsent: dict[int, bool] = {}  # line → its level, while nothing may be sent yet

    def expect(self, line: int) -> None:
        """A line is watched from now on; it goes live with the answer to this order."""
        self._live.pop(line, None)
        self._unsent.pop(line, None)
        self._asked[line] = self._asked.get(line, 0) + 1

    def forget(self, line: int) -> None:
        """A line is no longer an input."""
        self._live.pop(line, None)
        self._unsent.pop(line, None)
        self._asked.pop(line, None)

    def forget_all(self) -> None:
        """The board came back and knows of no input."""
        self._asked.clear()
        self._live.clear()
        self._unsent.clear()

    def answered(self, line: int, level: bool, time_ns: int) -> bool:
        """The board tells a line's level: whether that is its first reading."""
        left = self._asked.get(line, 0) - 1
        if left < 0:
            return False  # nobody asked, or it is an input no more
        if left:
            self._asked[line] = left
            return False
        del self._asked[line]
        self._live[line] = time_ns, level
        return True

    def is_news(self, line: int, level: bool, time_ns: int) -> bool:
        """Whether an edge belongs to a live line and was not told by its first reading."""
        live = self._live.get(line)
        if live is None:
            return False
        since_ns = time_ns - live[0]
        return since_ns >= 0 and not (level == live[1] and since_ns < _TOLD_TWICE_NS)

    def keep(self, line: int, level: bool) -> None:
        """Keep a level that cannot be sent yet."""
        self._unsent[line] = level

    def take_kept(self) -> list[tuple[int, bool]]:
        """Return the last levels that could not be sent, in order of lines."""
        kept, self._unsent = sorted(self._unsent.items()), {}
        return kept
