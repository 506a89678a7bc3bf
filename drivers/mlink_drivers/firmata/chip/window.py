"""The times that a message of the chip can have: none is later than its arrival, none too old.

One flipped bit of a time is up to 17.9 minutes. Here alone such times are refused, for edges,
levels, samples, pulses, reflexes and counters; clock.py checks the answers of the clock. Sans-IO.
Times are ns of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from typing import Final

from mlink_drivers.firmata.chip.messages import TICK_BITS, EdgeBlock

_ADAPTER_NS: Final = 100_000_000
"""Longest time that adapter, driver and processor hold back a message on an idle machine."""
_DRIFT: Final = 0.006
"""Error of a clock that is not queried, as a share of the time: that of a ceramic resonator."""
_BEGIN_NS: Final = 2_000_000_000
_ORDER_TICKS: Final = 200
"""Interrupts of different ports may be served out of order."""
_ORDER_HOLDS_NS: Final = 600_000_000_000
"""After this time ticks may be those of the next round of the chip's clock."""


class ImpossibleMessageError(Exception):
    """A message has a time, or another value, that it cannot have; its text is the reason."""


class TimeWindow:
    """The earliest and the latest time of the present message.

    Bytes may wait unread while this process is stopped or behind: they are as old as the longest
    pause between two messages, until as much time has passed since.

    Args:
        now_ns: The present time.
        queue_ns: How long the chip needs to send all that it can keep.
    """

    def __init__(self, now_ns: int, queue_ns: int) -> None:
        self._queue_ns = queue_ns + _ADAPTER_NS
        self._before_ns = now_ns
        self._unread_ns = _BEGIN_NS
        self.earliest_ns = self.latest_ns = now_ns

    @property
    def longest_ns(self) -> int:
        """How old a time may be while this process reads without a pause."""
        return self._queue_ns

    def move(self, now_ns: int, latest_ns: int) -> None:
        """Take the window of a message that has arrived.

        Args:
            now_ns: The present time.
            latest_ns: When its last byte had arrived, at the latest.
        """
        pause_ns = now_ns - self._before_ns
        self._before_ns = now_ns
        self._unread_ns = max(pause_ns, self._unread_ns - pause_ns)
        self.latest_ns = latest_ns
        self.earliest_ns = now_ns - self._unread_ns - self._queue_ns

    def check(
        self, time_ns: int, error_ns: int, covered_ns: int, earliest_ns: int | None = None
    ) -> None:
        """Check a time of the present message.

        Args:
            time_ns: The time.
            error_ns: Its uncertainty.
            covered_ns: Until when that holds, without an exchange of the clock; then it grows.
            earliest_ns: The earliest time that it can have, where it does not have to be recent.

        Raises:
            ImpossibleMessageError: It is later than the message's arrival, or too old.
        """
        error_ns += round(max(0, self._before_ns - covered_ns) * _DRIFT)
        if time_ns > self.latest_ns + error_ns:
            raise ImpossibleMessageError("a time later than its arrival")
        if time_ns < (self.earliest_ns if earliest_ns is None else earliest_ns) - error_ns:
            raise ImpossibleMessageError("a time that is too old")


class EdgeOrder:
    """Checks that no block of edges is older than the one before: the chip sends them in order.

    It compares ticks, so that the estimate of the chip's clock does not matter.
    """

    def __init__(self) -> None:
        self._ticks, self._time_ns = 0, -_ORDER_HOLDS_NS

    def take(self, block: EdgeBlock, times_ns: list[int], *, refuse: bool) -> None:
        """Take the next block.

        Args:
            block: Its edges.
            times_ns: Their times.
            refuse: Whether an older block is refused: it may have changed on the line.

        Raises:
            ImpossibleMessageError: It is older.
        """
        since_ticks = (block.edges[0].ticks - self._ticks) % (1 << TICK_BITS)
        went_back = since_ticks >> (TICK_BITS - 1) and (1 << TICK_BITS) - since_ticks > _ORDER_TICKS
        if went_back and refuse and times_ns[0] - self._time_ns < _ORDER_HOLDS_NS:
            raise ImpossibleMessageError("a time before that of the edge before")
        self._ticks, self._time_ns = block.edges[-1].ticks, times_ns[-1]
