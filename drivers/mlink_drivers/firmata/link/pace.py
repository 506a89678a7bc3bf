"""Limits how fast bytes are sent to a board whose line is faster than its processor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

BYTES_PER_MSEC: Final = 25
"""Bytes that mlink's firmware handles per ms at least, answers included (measured: twice that)."""


class Pace:
    """Token bucket: a burst as large as the board's buffer, then a steady rate.

    A single command never waits. Not thread-safe; the session calls it under its write lock.

    Args:
        buffer_bytes: Size of the board's receive buffer.
        bytes_per_msec: Rate at which the board empties it.
        now_ns: The clock, for tests.
        sleep: Waits a number of seconds, for tests.
    """

    def __init__(
        self,
        buffer_bytes: int,
        bytes_per_msec: int = BYTES_PER_MSEC,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._buffer = max(1, buffer_bytes)
        self._ns_per_byte = 1_000_000 // bytes_per_msec
        self._now_ns = now_ns
        self._sleep = sleep
        self._empty_ns = 0
        """Time at which the board will have read everything that was sent."""

    def parts(self, data: bytes) -> Iterator[bytes]:
        """Split `data` into parts that fit into the buffer; wait before each that is too early."""
        for at in range(0, len(data), self._buffer):
            part = data[at : at + self._buffer]
            now_ns = self._now_ns()
            room_ns = (self._buffer - len(part)) * self._ns_per_byte
            wait_ns = self._empty_ns - now_ns - room_ns
            if wait_ns > 0:
                self._sleep(wait_ns / 1e9)
                now_ns += wait_ns
            self._empty_ns = max(self._empty_ns, now_ns) + len(part) * self._ns_per_byte
            yield part
