"""Checks that the periodic reports of a board fit on its serial line. Arithmetic only.

A line that is too slow does not lose bytes at once. The firmware's main loop waits for the line
instead, so samples are late and short pulses on digital inputs are missed.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire.arrival import BITS_PER_BYTE
from mlink_drivers.firmata.wire.protocol import MAX_NIBBLE

WARN_SHARE: Final = 0.8
"""Use of the line above which `check` returns a warning."""
_SHORT_MESSAGE_BYTES: Final = 3
_EXTENDED_MESSAGE_BYTES: Final = 6
"""Extended analog message for channels above 15: F0 6F pin LSB MSB F7."""
_I2C_OVERHEAD_BYTES: Final = 7
"""I2C reply without its data: F0 77, address and register (two bytes each), F7."""


def analog_bytes(channel: int) -> int:
    """Length in bytes of the message with one sample of an analog channel."""
    return _SHORT_MESSAGE_BYTES if channel <= MAX_NIBBLE else _EXTENDED_MESSAGE_BYTES


def i2c_reply_bytes(count: int) -> int:
    """Length in bytes of an I2C reply (sysex 0x77) with `count` data bytes."""
    return _I2C_OVERHEAD_BYTES + 2 * count


class ByteBudget:
    """Bytes reported per sampling interval, compared with the capacity of the line.

    Args:
        baud_rate: Bits per second on the wire (8N1).
        interval_msec: Sampling interval of the firmware.
    """

    def __init__(self, baud_rate: int, interval_msec: int) -> None:
        self._baud_rate = baud_rate
        self._interval_msec = interval_msec
        self._reported: dict[Hashable, int] = {}

    def add(self, what: Hashable, byte_count: int) -> None:
        """Add a report of `byte_count` bytes per interval; `what` identifies it."""
        self._reported[what] = byte_count

    def remove(self, what: Hashable) -> None:
        """Remove a report; does nothing when it was not added."""
        self._reported.pop(what, None)

    @property
    def share(self) -> float:
        """Share of the line's capacity in use; above 1 the reports do not fit."""
        per_second = sum(self._reported.values()) * 1000 / self._interval_msec
        return per_second / (self._baud_rate / BITS_PER_BYTE)

    def check(self, board: str) -> str:
        """Check the share of the line in use.

        Args:
            board: The board's description, for messages.

        Returns:
            A warning when the line is nearly full, else an empty string.

        Raises:
            DeviceError: The reports do not fit on the line.
        """
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
