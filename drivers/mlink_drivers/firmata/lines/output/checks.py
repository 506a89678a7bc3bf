"""Checks of settings and commands against the modes of a board's pins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire.budget import ByteBudget, analog_bytes
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import mode_name
from mlink_drivers.firmata.wire.protocol import LEAST_INTERVAL_MSEC, SHORT_INTERVALS_SINCE, PinMode

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


def check_settings(
    settings: FirmataSettings, session: Session, warn: Callable[[str], object]
) -> ByteBudget:
    """Check the settings against the board's pins and the capacity of its line.

    Args:
        settings: The module's settings.
        session: The connected session.
        warn: Called with what the board or the line cannot keep up with.

    Returns:
        The capacity of the line, with the analog lines of the settings.

    Raises:
        DeviceError: A line of the settings has not the mode that they give it.
    """
    board, layout = session.description, session.description.layout
    interval_msec = settings.sampling_interval_msec
    budget = ByteBudget(session.transport.baud_rate, interval_msec)
    lines = [(line, "analog_lines", PinMode.ANALOG) for line in settings.analog_lines]
    lines += [(line, "servo_lines", PinMode.SERVO) for line in settings.servo_lines]
    lines += [(int(line), "decimation", PinMode.ANALOG) for line in settings.decimation]
    lines += [(int(line), "safe_values", PinMode.OUTPUT) for line in settings.safe_values]
    for line, key, mode in lines:
        if not layout.supports(line, mode):
            raise DeviceError(
                f"{key}: line {line} of {board} cannot be used as {mode_name(mode)}",
                remedy=f"Correct the setting; {layout.describe(line)}.",
            )
        channel = layout.channel_of(line)
        if key == "analog_lines" and channel is not None:
            budget.add(("analog", line), analog_bytes(channel))
    for name, value in settings.safe_values.items():
        _check_safe_value(settings, board, int(name), value)
    if warning := budget.check(str(board)):
        warn(warning)
    if board.protocol_version < SHORT_INTERVALS_SINCE and interval_msec < LEAST_INTERVAL_MSEC:
        warn(
            f"{board} is older than Firmata 2.5 and samples every"
            f" {LEAST_INTERVAL_MSEC} ms at best, not every {interval_msec} ms as set"
        )
    return budget


def _check_safe_value(
    settings: FirmataSettings, board: BoardDescription, line: int, value: int
) -> None:
    mode = PinMode.SERVO if line in settings.servo_lines else PinMode.PWM
    check_value(board, line, mode, value)
    full = (1 << board.layout.resolution(line, PinMode.PWM, _DEFAULT_PWM_BITS)) - 1
    if settings.safe_state_msec and (mode is PinMode.SERVO or value not in (0, 1, full)):
        raise DeviceError(
            f"safe_values: line {line} cannot have the value {value} with safe_state_msec: the"
            " board's safe state sets lines low or high",
            remedy=f"Write 0, 1 or {full}, leave the line out (it is set low), or remove"
            " safe_state_msec.",
        )
