"""The page with a host's clock: one process writes it, the workers of a run read it.

The clock is steered: each piece goes on from the present value, at the controller's rate, and
removes the error of the estimate over about a second. It never goes back. Only a step that the
estimate has found is made up for at once, and only forward; a clock that is ahead runs at half
speed until it is right.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Final

from mlink.closing import ClosesOnExit
from mlink.errors import ControlError
from mlink.hosts.clocks.estimate import STOPPED_NS, ClockEstimate
from mlink.steered_clock import (
    BEFORE_WORD,
    COUNT_WORD,
    FIRST_WORD,
    NOTE_WORDS,
    PAGE_BYTES,
    PAGE_HEADER_WORDS,
    PAGE_MAGIC,
    PAGE_SEGMENTS,
    SEGMENT_WORDS,
    SLOPE_BITS,
    ClockNotes,
    ClockState,
    Segment,
    check_word,
)

SEGMENT_NS: Final = 250_000_000
"""Length of a piece."""
LEAD_NS: Final = 100_000_000
"""How long before its begin the next piece is written."""
LEAST_LEAD_NS: Final = 20_000_000
"""The same where the writer is late; readers look for a piece every ms then."""
STEPPED_NS: Final = 10_000_000_000
"""How long the state says that a clock has stepped."""
_SETTLE_NS: Final = 1_000_000_000
"""Time over which an error is removed."""
_MOST_SLEW: Final = 0.5
_ONE: Final = (1 << SLOPE_BITS) / 1000
"""Slope of a clock that runs as fast as the host's."""
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_F_SEAL_FUTURE_WRITE: Final = 0x10
"""Linux 5.1; not in Python's fcntl module. Older kernels refuse it."""


class ClockPage(ClosesOnExit):
    """Makes the page and steers the clock in it; used by one thread.

    Args:
        estimate: Offset and rate of the controller's clock, which others update.
    """

    def __init__(self, estimate: ClockEstimate) -> None:
        self._estimate = estimate
        try:
            self.fd = os.memfd_create("mlink:clock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.posix_fallocate(self.fd, 0, PAGE_BYTES)
            self._map = mmap.mmap(self.fd, PAGE_BYTES)
        except OSError as error:
            raise ControlError(f"no memory for the host's clock: {error.strerror}") from error
        try:
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS | _F_SEAL_FUTURE_WRITE)
        except OSError:  # readers map it read-only of their own accord
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        self._words = memoryview(self._map).cast("q")
        self._words[FIRST_WORD] = -1
        self._words[0] = PAGE_MAGIC
        self._origin_ns = 0
        """The controller's reading at master time 0."""
        self._steps_seen = 0
        self._stepped_until_ns = -(1 << 62)
        self.newest: Segment | None = None
        """The piece that was written last; None before `begin`."""
        self.forward_ns = 0
        """By how much the clock has jumped ahead, over all steps found."""

    def begin(self, origin_ns: int, now_ns: int) -> None:
        """Start master time; readings before `now_ns` are converted by the same line.

        Args:
            origin_ns: The controller's CLOCK_MONOTONIC reading at master time 0.
            now_ns: The host's reading now.

        Raises:
            ControlError: It has begun before, or no exchange has succeeded.
        """
        if self.newest is not None:
            raise ControlError("the clock of this run has begun before")
        if not self._estimate.is_known:
            raise ControlError(
                "the controller's clock is not known: no exchange has succeeded",
                remedy="Look at the network between this host and the controller (UDP).",
            )
        self._origin_ns = origin_ns
        self._steps_seen = self._estimate.step_count
        slope = self._slope(0)
        zero_ns = now_ns - _ceil_div(self._target(now_ns), slope)
        self._write(now_ns, zero_ns, slope, now_ns)
        self._words[FIRST_WORD] = 0

    def note(self, notes: ClockNotes) -> None:
        """Let readers know how the exchanges stand."""
        for at, count in zip(NOTE_WORDS, notes, strict=True):
            self._words[at] = count

    def steer(self, now_ns: int) -> None:
        """Write the next piece when it is due; call about every 50 ms, also before `begin`."""
        newest = self.newest
        if newest is None and self._estimate.is_known:
            self._words[BEFORE_WORD] = min(1 << 61, self._estimate.uncertainty_ns(now_ns))
        if newest is None or now_ns < newest.until_ns - LEAD_NS:
            return
        start_ns = max(newest.until_ns, now_ns + LEAST_LEAD_NS)
        present = (start_ns - newest.zero_ns) * newest.slope
        target = self._target(start_ns)
        error_ns = round((target - present) / _ONE)
        if self._estimate.step_count > self._steps_seen:
            self._steps_seen = self._estimate.step_count
            self._stepped_until_ns = now_ns + STEPPED_NS
            if error_ns > 0:
                self.forward_ns += error_ns
                present, error_ns = target, 0
        slope = self._slope(error_ns)
        self._write(start_ns, start_ns - _ceil_div(present, slope), slope, now_ns)

    @property
    def due_ns(self) -> int:
        """The host's reading at which `steer` has something to do; far away before `begin`."""
        return 1 << 62 if self.newest is None else self.newest.until_ns - LEAD_NS

    def to_local_ns(self, master_usec: int) -> int:
        """Return the host's reading at a master time near now, ns of CLOCK_MONOTONIC.

        Raises:
            ControlError: Master time has not begun.
        """
        if self.newest is None:
            raise ControlError("master time has not begun on this host")
        return self.newest.zero_ns + _ceil_div(master_usec << SLOPE_BITS, self.newest.slope)

    def close(self) -> None:
        """Give the page back; readers keep theirs."""
        self._words.release()
        self._map.close()
        os.close(self.fd)

    def _target(self, at_ns: int) -> int:
        """Return the estimated master time of a reading, in µs · 2**36."""
        master_ns = at_ns + self._estimate.offset_ns(at_ns) - self._origin_ns
        return (master_ns << SLOPE_BITS) // 1000

    def _slope(self, error_ns: int) -> int:
        slew = max(-_MOST_SLEW, min(_MOST_SLEW, error_ns / _SETTLE_NS))
        return round(_ONE * (1 + self._estimate.rate_ppm * 1e-6 + slew))

    def _write(self, start_ns: int, zero_ns: int, slope: int, now_ns: int) -> None:
        estimate = self._estimate
        off_ns = round(abs((start_ns - zero_ns) * slope - self._target(start_ns)) / _ONE)
        segment = Segment(
            start_ns=start_ns,
            zero_ns=zero_ns,
            slope=slope,
            until_ns=start_ns + SEGMENT_NS,
            # an error that is being removed may also be the estimate's own, which moves back
            uncertainty_ns=min(1 << 61, estimate.uncertainty_ns(start_ns) + off_ns),
            growth_ns=estimate.growth_ns(start_ns),
            state=self.state(now_ns),
        )
        number = self._words[COUNT_WORD]
        words = [int(word) for word in segment]
        at = PAGE_HEADER_WORDS + number % PAGE_SEGMENTS * SEGMENT_WORDS
        for place, word in enumerate([*words, check_word(number, words)]):
            self._words[at + place] = word
        self._words[COUNT_WORD] = number + 1
        self.newest = segment

    def uncertainty_ns(self, now_ns: int) -> int:
        """Return how wrong master time may be at a reading near now.

        Before `begin` it is the uncertainty of the estimate.
        """
        if self.newest is None:
            return self._estimate.uncertainty_ns(now_ns)
        return self.newest.uncertainty_at(now_ns)

    def state(self, now_ns: int) -> ClockState:
        """Return how the clock follows the controller's."""
        if not self._estimate.is_known:
            return ClockState.WAITING
        if now_ns < self._stepped_until_ns:
            return ClockState.STEPPED
        stopped = now_ns - self._estimate.last_ns > STOPPED_NS
        return ClockState.HOLDING if stopped else ClockState.FOLLOWING


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
