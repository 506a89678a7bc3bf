"""When the first byte of a message began on the wire, from the stamps of the bursts it came in.

Pure arithmetic on CLOCK_MONOTONIC readings. The bytes of a burst are taken to have come back to
back at the baud rate, the last of them just before the burst was read; a byte cannot have come
before the previous burst was read, since that read took all there was.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BITS_PER_BYTE: Final = 10
"""8N1: a start bit, eight data bits, a stop bit."""
FIRMWARE_LOOP_USEC: Final = 1000
"""StandardFirmata polls its digital inputs once per loop, which takes up to about 1 ms."""

_BURSTS_KEPT: Final = 64
"""Longest split that is placed exactly; a short message comes in three bursts at most."""


def wire_time_ns(byte_count: int, baud_rate: int) -> int:
    """Time that bytes take on the wire, in ns."""
    return byte_count * BITS_PER_BYTE * 1_000_000_000 // baud_rate


def estimate_uncertainty_usec(baud_rate: int, adapter_latency_usec: int) -> int:
    """How late a reading's time may be against its pin's edge, in µs.

    One byte on the wire (a byte is seen when it is complete), one loop of the firmware, and as
    long as the adapter may hold bytes back.
    """
    return wire_time_ns(1, baud_rate) // 1000 + FIRMWARE_LOOP_USEC + adapter_latency_usec


class ArrivalTimes:
    """Places messages in time; `note_burst` once per read, then `first_byte_ns` per message."""

    def __init__(self, baud_rate: int) -> None:
        self._ns_per_1000_bytes = wire_time_ns(1000, baud_rate)
        self._read_ns = 0
        self._count = 0
        self._floor_ns = 0
        self._earlier: deque[tuple[int, int, int]] = deque(maxlen=_BURSTS_KEPT)

    def note_burst(self, read_ns: int, count: int) -> None:
        """Note that `count` bytes were read at `read_ns`."""
        if self._count:
            self._earlier.append((self._read_ns, self._count, self._floor_ns))
            self._floor_ns = self._read_ns
        self._read_ns = read_ns
        self._count = count

    def first_byte_ns(self, offset: int) -> int:
        """Time of the byte `offset` bytes into the last burst (negative: in an earlier one)."""
        if offset >= 0:
            first = self._read_ns - (self._count - offset) * self._ns_per_1000_bytes // 1000
            return max(first, self._floor_ns)
        for read_ns, count, floor_ns in reversed(self._earlier):
            offset += count
            if offset >= 0:
                return max(read_ns - (count - offset) * self._ns_per_1000_bytes // 1000, floor_ns)
        return self._earlier[0][2] if self._earlier else self._read_ns
