"""Arrival time of a message's first byte, from the times at which its bytes were read.

Pure arithmetic on CLOCK_MONOTONIC times. A burst is what one read returns. Its bytes are assumed to
follow each other without a gap at the baud rate, the last one just before the read. No byte arrived
before the previous read, because a read empties the buffer.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BITS_PER_BYTE: Final = 10
"""8N1: one start bit, eight data bits, one stop bit."""
USB_RATE: Final = 12_000_000
"""Bits per second of full-speed USB, whatever baud rate its port is set to."""
FIRMWARE_LOOP_USEC: Final = 1000
"""StandardFirmata polls its digital inputs once per loop; a loop takes up to about 1 ms."""

_BURSTS_KEPT: Final = 64
"""Bursts over which a split message is timed exactly; a 3-byte message spans at most three."""


def wire_time_ns(byte_count: int, baud_rate: int) -> int:
    """Transmission time of bytes in ns, at `baud_rate` bits per second (8N1)."""
    return byte_count * BITS_PER_BYTE * 1_000_000_000 // baud_rate


def estimate_uncertainty_usec(baud_rate: int, adapter_latency_usec: int) -> int:
    """Largest delay in µs from an edge on a pin to the arrival time of its reading.

    The sum of one byte on the wire (the UART delivers complete bytes), one loop of the firmware
    and the longest time that the USB adapter holds bytes back (`adapter_latency_usec`).
    """
    return wire_time_ns(1, baud_rate) // 1000 + FIRMWARE_LOOP_USEC + adapter_latency_usec


class ArrivalTimes:
    """Computes arrival times on one line; not thread-safe.

    Call `note_burst` once per read, then `first_byte_ns` for each message that the burst ended.
    """

    def __init__(self, baud_rate: int) -> None:
        self._ns_per_1000_bytes = wire_time_ns(1000, baud_rate)
        self._read_ns = 0
        self._count = 0
        self._floor_ns = 0
        self._earlier: deque[tuple[int, int, int]] = deque(maxlen=_BURSTS_KEPT)

    def note_burst(self, read_ns: int, count: int) -> None:
        """Record a read of `count` bytes at `read_ns` (ns of CLOCK_MONOTONIC)."""
        if self._count:
            self._earlier.append((self._read_ns, self._count, self._floor_ns))
            self._floor_ns = self._read_ns
        self._read_ns = read_ns
        self._count = count

    def first_byte_ns(self, offset: int) -> int:
        """Arrival time of one byte, in ns of CLOCK_MONOTONIC.

        Args:
            offset: Position of the byte from the start of the last burst; negative when it came
                with an earlier burst. Older than the bursts kept: the oldest known time.
        """
        if offset >= 0:
            first = self._read_ns - (self._count - offset) * self._ns_per_1000_bytes // 1000
            return max(first, self._floor_ns)
        for read_ns, count, floor_ns in reversed(self._earlier):
            offset += count
            if offset >= 0:
                return max(read_ns - (count - offset) * self._ns_per_1000_bytes // 1000, floor_ns)
        return self._earlier[0][2] if self._earlier else self._read_ns
