"""Limits how fast bytes are sent to a board whose line is faster than its processor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BYTES_PER_MSEC: Final = 12
"""Bytes that mlink's firmware handles per ms at least, answers included.

Measured: 50, but 17 when each command makes an edge that the board reports (a line wired back).
"""
SPARE_BYTES: Final = 8
"""Part of the buffer that stays free: a board that sends a block of readings handles nothing for
half a millisecond, and its ring holds one byte less than its size."""


class Pace:
    """Token bucket: a burst that fits into the board's buffer, then a steady rate.

    It computes moments and waits for none. A single command may be sent at once. Not thread-safe;
    the session calls it under its write lock.

    Args:
        buffer_bytes: Size of the board's receive buffer.
        bytes_per_msec: Rate at which the board empties it.
    """

    def __init__(self, buffer_bytes: int, bytes_per_msec: float = BYTES_PER_MSEC) -> None:
        self._buffer = max(1, buffer_bytes - SPARE_BYTES)
        self._ns_per_byte = int(1_000_000 / bytes_per_msec)
        self._empty_ns = 0
        """Time at which the board will have read everything that was sent."""

    def at_once(self, data: bytes, now_ns: int) -> bool:
        """Return whether all of `data` may be sent now; if so, count it as sent."""
        size = len(data)
        empty_ns = self._empty_ns
        if size > self._buffer or empty_ns - now_ns > (self._buffer - size) * self._ns_per_byte:
            return False
        self._empty_ns = max(now_ns, empty_ns) + size * self._ns_per_byte
        return True

    def occupy(self, time_ns: int, now_ns: int) -> None:
        """Count that the board reads nothing for so long, after all that was sent."""
        self._empty_ns = max(now_ns, self._empty_ns) + time_ns

    def split(self, data: bytes) -> Iterator[bytes]:
        """Split `data` into parts that fit into the buffer."""
        for at in range(0, len(data), self._buffer):
            yield data[at : at + self._buffer]

    def send_at(self, part: bytes, now_ns: int) -> int:
        """Return the time in ns at which the next part may be sent, and count it as sent then.

        Args:
            part: At most as large as the buffer.
            now_ns: The present; times that are returned never decrease.
        """
        room_ns = (self._buffer - len(part)) * self._ns_per_byte
        time_ns = max(now_ns, self._empty_ns - room_ns)
        self._empty_ns = max(self._empty_ns, time_ns) + len(part) * self._ns_per_byte
        return time_ns
