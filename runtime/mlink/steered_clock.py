"""The master timer of a host that another machine leads: the page of memory, and who reads it.

`mlink.hosts.clocks` writes the page.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from time import monotonic_ns
from typing import Final, NamedTuple

from mlink.errors import ControlError

PAGE_MAGIC: Final = 0x6D6C6B636C6B0001
"""First word of a clock page; its last digits are the version of the layout."""
PAGE_SEGMENTS: Final = 256
"""Segments that a page keeps: about a minute."""
SEGMENT_WORDS: Final = 8
PAGE_HEADER_WORDS: Final = 8
PAGE_BYTES: Final = 8 * (PAGE_HEADER_WORDS + PAGE_SEGMENTS * SEGMENT_WORDS)
COUNT_WORD: Final = 1
"""Word with the number of segments that were written."""
FIRST_WORD: Final = 2
"""Word with the number of the first segment of the run; −1 before the run's zero is known."""
BEFORE_WORD: Final = 3
"""Word with the uncertainty in ns before the run's zero is known; 0 without an exchange."""
NOTE_WORDS: Final = (4, 5, 6, 7)
"""Words of `ClockNotes`."""
SLOPE_BITS: Final = 36
"""Fractional bits of a slope: 0.015 ppm, and master times of days stay small integers."""
_RECHECK_NS: Final = 1_000_000
_WRITER_GONE_NS: Final = 2_000_000_000
_TRIES: Final = 64


class ClockState(IntEnum):
    """How a host's clock follows the controller's."""

    WAITING = 0
    """No exchange has succeeded yet."""
    FOLLOWING = 1
    HOLDING = 2
    """Exchanges have stopped: the last rate goes on, the uncertainty grows."""
    STEPPED = 3
    """One of both clocks has jumped a short time ago."""


class Segment(NamedTuple):
    """A piece of a steered clock: master µs = (reading − zero_ns) · slope / 2**36."""

    start_ns: int
    """CLOCK_MONOTONIC reading from which it holds."""
    zero_ns: int
    """Reading at which its line crosses master time 0."""
    slope: int
    """Master µs per ns of CLOCK_MONOTONIC, in 2**-36."""
    until_ns: int
    """No later segment begins before this reading."""
    uncertainty_ns: int
    """How wrong master time may be at `start_ns`."""
    growth_ns: int
    """By how much that grows per second."""
    state: int

    def usec(self, reading_ns: int) -> int:
        """Return the master time of a reading, in µs."""
        return (reading_ns - self.zero_ns) * self.slope >> SLOPE_BITS

    @property
    def rate_ppm(self) -> float:
        """How much faster master time runs than the host's clock, with what is being corrected."""
        return (self.slope * 1000 / (1 << SLOPE_BITS) - 1) * 1e6

    def uncertainty_at(self, reading_ns: int) -> int:
        """Return how wrong the master time of a reading may be, in ns."""
        return self.uncertainty_ns + max(0, reading_ns - self.start_ns) * self.growth_ns // 10**9


class ClockNotes(NamedTuple):
    """How the exchanges of clocks stand."""

    round_trip_ns: int
    """Of the quickest of the last exchanges."""
    exchanges: int
    lost: int
    steps: int
    """Jumps of one of both clocks."""


class SteeredClock:
    """The master timer of a run that another machine leads.

    Master time is a line in pieces over CLOCK_MONOTONIC. One process of the host writes the pieces
    into a page, each before it begins, so that all processes convert a reading to the same time,
    whenever they do it. The line never goes back. Reading it takes no lock and no system call.

    Args:
        fd: The page, a file of anonymous memory; stays the caller's.

    Raises:
        ControlError: It is no clock page.
    """

    __slots__ = ("_line", "_piece", "_words")

    def __init__(self, fd: int) -> None:
        try:
            if os.fstat(fd).st_size != PAGE_BYTES:
                raise ValueError(f"it has {os.fstat(fd).st_size} bytes")
            page = mmap.mmap(fd, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise ControlError(f"the page of the host's clock cannot be mapped: {error}") from error
        self._words = memoryview(page).cast("q")
        if self._words[0] != PAGE_MAGIC:
            raise ControlError("the page of the host's clock is of another version of mlink")
        self._line = (-(1 << 62), 0, 0)
        """Reading up to which a line holds, its zero and slope: one object, so that threads agree.
        """
        self._piece = (0, -(1 << 62), 0, 0)
        """The same with its start, for readings of the past."""

    def now_usec(self) -> int:
        """Return the µs since the start of the run; 0 before it."""
        reading_ns = monotonic_ns()
        until_ns, zero_ns, slope = self._line
        if reading_ns >= until_ns:
            return self._take_up(reading_ns)
        return (reading_ns - zero_ns) * slope >> 36

    def from_monotonic_ns(self, monotonic_ns: int) -> int:
        """Convert a CLOCK_MONOTONIC reading in ns into master time in µs.

        A reading of the last minute is converted as it was then; an older one by the oldest piece.
        """
        start_ns, until_ns, zero_ns, slope = self._piece
        if start_ns <= monotonic_ns < until_ns:
            return (monotonic_ns - zero_ns) * slope >> 36
        segment = self.segment_at(monotonic_ns)
        return 0 if segment is None else segment.usec(monotonic_ns)

    def uncertainty_usec(self, reading_ns: int | None = None) -> int:
        """Return how wrong master time may be, in µs, rounded up; −1 while that is not known.

        Before the start of the run it is what it would be now.

        Args:
            reading_ns: CLOCK_MONOTONIC reading that it is asked for; None is now.
        """
        reading_ns = monotonic_ns() if reading_ns is None else reading_ns
        segment = self.segment_at(reading_ns)
        if segment is None:
            before_ns = self._words[BEFORE_WORD]
            return -1 if before_ns <= 0 else -(-before_ns // 1000)
        return -(-segment.uncertainty_at(reading_ns) // 1000)

    @property
    def state(self) -> ClockState:
        """How the clock follows the controller's now."""
        reading_ns = monotonic_ns()
        segment = self.segment_at(reading_ns)
        if segment is None:
            return ClockState.WAITING
        if reading_ns - segment.until_ns > _WRITER_GONE_NS:
            return ClockState.HOLDING
        return ClockState(segment.state)

    @property
    def notes(self) -> ClockNotes:
        """How the exchanges of clocks stand."""
        return ClockNotes(*(self._words[at] for at in NOTE_WORDS))

    def segment_at(self, reading_ns: int) -> Segment | None:
        """Return the segment that holds at a reading; None before the start of the run.

        Raises:
            ControlError: The page is damaged.
        """
        for _ in range(_TRIES):
            first, found = self._words[FIRST_WORD], None
            if first < 0:
                return None
            newest = self._words[COUNT_WORD] - 1
            for number in range(newest, max(first, newest - PAGE_SEGMENTS + 1) - 1, -1):
                segment = self._read(number)
                if segment is None:
                    break  # it is being written over: the one after it is the oldest
                found = segment
                if segment.start_ns <= reading_ns:
                    break
            if found is not None:
                return found
        raise ControlError(
            "the page of the host's clock cannot be read: it is damaged",
            remedy="Start the run again; report this with the log.",
        )

    def _read(self, number: int) -> Segment | None:
        """Return a segment; None if it is not, or no longer, there as a whole."""
        at = PAGE_HEADER_WORDS + number % PAGE_SEGMENTS * SEGMENT_WORDS
        *words, check = self._words[at : at + SEGMENT_WORDS].tolist()
        return Segment(*words) if check == check_word(number, words) else None

    def _take_up(self, reading_ns: int) -> int:
        """Look for the segment that holds now, and keep it."""
        segment = self.segment_at(reading_ns)
        if segment is None:
            return 0
        # Where the writer is late, look again soon: it begins its next segment later than that.
        until_ns = max(segment.until_ns, reading_ns + _RECHECK_NS)
        self._line = (until_ns, segment.zero_ns, segment.slope)
        self._piece = (segment.start_ns, *self._line)
        return segment.usec(reading_ns)


def check_word(number: int, words: list[int]) -> int:
    """Return the check of a segment's words.

    With it a reader knows a segment that is half written, on processors of any memory order.
    """
    check = PAGE_MAGIC ^ number
    for place, word in enumerate(words, 1):
        check ^= (word * (2 * place + 1)) & 0x7FFF_FFFF_FFFF_FFFF
    return check
