"""Checks of commands against the modes of a board's pins."""

from __future__ import annotations

from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import mode_name
from mlink_drivers.firmata.wire.protocol import PinMode

_DEFAULT_PWM_BITS: Final = 8
_MAX_SERVO_VALUE: Final = (1 << 14) - 1
"""Arduino's Servo library: 0 to 180 are degrees, from 544 on a pulse width in µs."""


def check_mode(board: BoardDescription, line: int, mode: PinMode) -> None:
    """Check that a line can be used in a mode.

    Raises:
        DeviceError: It cannot; the remedy lists its modes.
    """
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
    """Check the range of an analog value.

    Args:
        board: The board.
        line: The line of the command.
        mode: SERVO or PWM.
        value: Degrees or µs of a servo; 0 to full duty of a PWM pin, by its resolution.

    Raises:
        DeviceError: The value is out of range.
    """
    if mode is PinMode.SERVO:
        largest = _MAX_SERVO_VALUE
    else:
        largest = (1 << board.layout.resolution(line, PinMode.PWM, _DEFAULT_PWM_BITS)) - 1
    if not 0 <= value <= largest:
        raise DeviceError(
            f"value {value} is out of range for line {line} of {board}",
            remedy=f"Send 0 to {largest}.",
        )
