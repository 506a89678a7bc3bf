"""State of the digital inputs whose edges the chip timestamps. Values only.

The firmware answers the order to report a pin's edges with the pin's level at that moment. This
level is the line's first reading. Edges queued before it belong to the time before the order.
"""

from __future__ import annotations

from typing import Final

_DUPLICATE_NS: Final = 100_000
"""Longest time that an edge waits for its interrupt: such an edge is in the first level already."""


class ChipInputs:
    """The reported lines of one board; not thread-safe. Times are ns of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}  # line → answers that are still to come
        self._live: dict[int, tuple[int, bool]] = {}  # line → time and level of its first reading
        self._unsent: dict[int, bool] = {}  # line → its level, while nothing may be sent yet
        self._last: dict[int, tuple[int, bool]] = {}  # line → time and level of its last reading
        self._checks: dict[int, tuple[int, bool]] = {}  # line → the same of an answer, not used yet
        self._early: dict[int, int] = {}  # line → its edges since its order that have no use yet
        self._asked_ns: dict[int, int] = {}  # line → when its order was found to be unanswered
        self.missed = 0
        """Edges without use of lines whose answers came late."""
        self.contradicted: set[int] = set()
        """Lines with an edge to the level that they had already."""

    @property
    def is_empty(self) -> bool:
        """Whether no line is an input."""
        return not self._asked and not self._live

    def expect(self, line: int) -> None:
        """Add a line whose order is being sent; its readings begin with the answer.

        A line may be added again before the first answer; then the last answer counts.
        """
        self._live.pop(line, None)
        self._unsent.pop(line, None)
        self._checks.pop(line, None)
        self._asked_ns.pop(line, None)
        self._early[line] = 0
        self._asked[line] = self._asked.get(line, 0) + 1

    def forget(self, line: int) -> None:
        """Remove a line: it is no longer an input.

        Edges and answers that are still on their way are ignored.
        """
        self._live.pop(line, None)
        self._unsent.pop(line, None)
        self._checks.pop(line, None)
        self._asked_ns.pop(line, None)
        self._asked.pop(line, None)

    def forget_all(self) -> None:
        """Remove all lines: the board has restarted.

        Answers to earlier orders will not arrive.
        """
        self._asked.clear()
        self._asked_ns.clear()
        self._live.clear()
        self._unsent.clear()
        self._checks.clear()

    def answered(self, line: int, level: bool, time_ns: int) -> bool:
        """Handle the answer to an order.

        Returns:
            True when the level is the line's first reading; False when a later order is still
            unanswered, or the line is not an input, or the level was only queried.
        """
        left = self._asked.get(line, 0) - 1
        if left < 0:
            if line in self._live:
                self._checks[line] = time_ns, level
            return False  # no order is unanswered
        if left:
            self._asked[line] = left
            return False
        del self._asked[line]
        if self._asked_ns.pop(line, None) is not None:
            self.missed += self._early[line]
        self._live[line] = self._last[line] = time_ns, level
        return True

    def overdue(self, now_ns: int, patience_ns: int) -> dict[int, int]:
        """Return the lines whose answers were lost, with the edges that had no use without them.

        Call it at intervals; who calls it sends the orders again, once.

        Args:
            now_ns: The present time.
            patience_ns: An answer that has not come after this time does not come.
        """
        found = {}
        for line in list(self._asked):
            since_ns = self._asked_ns.setdefault(line, now_ns)
            if now_ns - since_ns >= patience_ns:
                found[line], self._early[line] = self._early[line], 0
                self._asked[line], self._asked_ns[line] = 1, now_ns
        return found

    def corrections(self, before_ns: int) -> list[tuple[int, bool, int]]:
        """Return the levels that were queried and differ from the last readings of their lines.

        Args:
            before_ns: Answers with later times are kept: older edges may be on their way.

        Returns:
            Line, level and time of each; they count as readings now.
        """
        found = []
        for line, (time_ns, level) in list(self._checks.items()):
            if time_ns > before_ns:
                continue
            del self._checks[line]
            last_ns, last = self._last[line]
            if last_ns <= time_ns and last != level:
                self._last[line] = time_ns, level
                found.append((line, level, time_ns))
        return found

    def is_news(self, line: int, level: bool, time_ns: int) -> bool:
        """Whether an edge is a reading: its line is active, and the first reading lacks it.

        Edges older than the first level were queued before the line was set up. An edge to the same
        level shortly after it is the one that the level already has.
        """
        live = self._live.get(line)
        if live is None:
            if line in self._asked:
                self._early[line] += 1
            return False
        since_ns = time_ns - live[0]
        if since_ns < 0 or (level == live[1] and since_ns < _DUPLICATE_NS):
            return False
        if self._last[line][1] == level:
            self.contradicted.add(line)
        self._last[line] = time_ns, level
        return True

    def keep(self, line: int, level: bool) -> None:
        """Keep the last level of a line until readings may be sent."""
        self._unsent[line] = level

    def take_kept(self) -> list[tuple[int, bool]]:
        """Return and forget the kept levels, sorted by line."""
        kept, self._unsent = sorted(self._unsent.items()), {}
        return kept
