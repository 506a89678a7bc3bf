"""Whether what a board is asked to report fits onto its serial line. Arithmetic only.

A line that is too slow does not lose bytes at once: the firmware waits for it in its main loop,
so that samples come late and short pulses on digital inputs are not seen.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire.arrival import BITS_PER_BYTE
from mlink_drivers.firmata.wire.protocol import MAX_NIBBLE

WARN_SHARE: Final = 0.8
_SHORT_MESSAGE_BYTES: Final = 3
_EXTENDED_MESSAGE_BYTES: Final = 6
"""F0 6F pin LSB MSB F7, for channels above 15."""
_I2C_OVERHEAD_BYTES: Final = 7
"""F0 77, address and register in two bytes each, F7."""


def analog_bytes(channel: int) -> int:
    """Bytes of one sample of an analog channel."""
    return _SHORT_MESSAGE_BYTES if channel <= MAX_NIBBLE else _EXTENDED_MESSAGE_BYTES


def i2c_reply_bytes(count: int) -> int:
    """Bytes of one I2C reply that carries `count` bytes."""
    return _I2C_OVERHEAD_BYTES + 2 * count


class ByteBudget:
    """What is sent at every sampling interval, against what the line carries in it."""

    def __init__(self, baud_rate: int, interval_msec: int) -> None:
        self._baud_rate = baud_rate
        self._interval_msec = interval_msec
        self._reported: dict[Hashable, int] = {}

    def add(self, what: Hashable, byte_count: int) -> None:
        """Count something that is reported at every interval."""
        self._reported[what] = byte_count

    def remove(self, what: Hashable) -> None:
        """Count it no more."""
        self._reported.pop(what, None)

    @property
    def share(self) -> float:
        """Part of the line that is taken; above 1 it does not fit."""
        per_second = sum(self._reported.values()) * 1000 / self._interval_msec
        return per_second / (self._baud_rate / BITS_PER_BYTE)

    def check(self, board: str) -> str:
        """Return a warning, empty when all is well; DeviceError when it does not fit."""
        share = self.share
        if share <= WARN_SHARE:
            return ""
        byte_count = sum(self._reported.values())
        what = (
            f"{len(self._reported)} reported lines take {byte_count} bytes every"
            f" {self._interval_msec} ms: {share:.0%} of what {board} can send"
            f" at {self._baud_rate} baud"
        )
        if share <= 1:
            return what
        shortest = -(-byte_count * BITS_PER_BYTE * 1000 // self._baud_rate)
        raise DeviceError(
            what,
            remedy=f"Set sampling_interval_msec = {shortest} or more, report fewer lines, or use"
            " a firmware with a higher baud_rate.",
        )
