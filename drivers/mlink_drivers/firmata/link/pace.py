"""Sending no faster than a board takes bytes, where its line is faster than its processor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

BYTES_PER_MSEC: Final = 25
"""What our firmware parses and carries out at least, answers included (measured: twice that)."""


class Pace:
    """A bucket of bytes: a burst as large as the board's buffer, then at the rate that it takes.

    A single command never waits. Called under the lock of whoever writes.
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
        self._taken_ns = 0
        """When the board will have taken all that was sent."""

    def parts(self, data: bytes) -> Iterator[bytes]:
        """Cut data into parts that the board's buffer holds, each yielded when it may be sent."""
        for at in range(0, len(data), self._buffer):
            part = data[at : at + self._buffer]
            now_ns = self._now_ns()
            room_ns = (self._buffer - len(part)) * self._ns_per_byte
            wait_ns = self._taken_ns - now_ns - room_ns
            if wait_ns > 0:
                self._sleep(wait_ns / 1e9)
                now_ns += wait_ns
            self._taken_ns = max(self._taken_ns, now_ns) + len(part) * self._ns_per_byte
            yield part
