"""Whether a board's pin can do what a command asks of it; DeviceError says what it can do."""

from __future__ import annotations

from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import mode_name
from mlink_drivers.firmata.wire.protocol import PinMode

_DEFAULT_PWM_BITS: Final = 8
_MAX_SERVO_VALUE: Final = (1 << 14) - 1
"""Degrees up to 180, above 543 the pulse width in µs (Arduino's Servo library)."""


def check_mode(board: BoardDescription, line: int, mode: PinMode) -> None:
    """Check that a line can be used in a mode."""
    layout = board.layout
    by_write = mode is PinMode.PULLUP and board.pulls_up_by_write(line)
    if not (layout.supports(line, mode) or by_write) or (
        mode is PinMode.ANALOG and layout.channel_of(line) is None
    ):
        raise DeviceError(
            f"line {line} of {board} cannot be used as {mode_name(mode)}",
            remedy=f"Use another line; {layout.describe(line)}.",
        )


def check_value(board: BoardDescription, line: int, mode: PinMode, value: int) -> None:
    """Check that an analog value fits a line in a mode."""
    if mode is PinMode.SERVO:
        largest = _MAX_SERVO_VALUE
    else:
        largest = (1 << board.layout.resolution(line, PinMode.PWM, _DEFAULT_PWM_BITS)) - 1
    if not 0 <= value <= largest:
        raise DeviceError(
            f"value {value} is too large for line {line} of {board}",
            remedy=f"Send 0 to {largest}.",
        )
