"""Stepper motors of a board with mlink's firmware; scripts find this in `mlink.script`."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from mlink.errors import ModuleError
from mlink.scripting.orders import LAST_INDEX, LAST_LINE, number, send_order, whole
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand

_STEPPER, _MOVE, _STOP = 0x50, 0x51, 0x52
_NO_LINE = 0xFF
_MOST_SPEED = 5000
_LEAST_SPEED = 0.25
_MOST_ACCELERATION = 1e9
_LEAST_ACCELERATION = 0.5
_FARTHEST = (1 << 30) - 1
_LONGEST_PERIOD_MSEC = (1 << 14) - 1


def stepper(
    port: OutputPort,
    *,
    acceleration: float,
    step: int | None = None,
    direction: int | None = None,
    coils: Sequence[int] | None = None,
    index: int = 0,
    position: int = 0,
    limit_low: int | None = None,
    limit_high: int | None = None,
    limit_level: bool = False,
    pull_up: bool = True,
    half_steps: bool = False,
    release: bool = False,
    invert: bool = False,
    active_low: bool = False,
    period_msec: int = 0,
) -> LineCommand:
    """Set a stepper motor, which the board then moves by itself; it stands until `move_to`.

    Give `step` and `direction` for a driver with these inputs, or `coils` for four wires. Rows of
    the board's output `steppers` have what it does. Setting it again stops it.

    Args:
        port: Output port of type LineCommand, connected to the board.
        acceleration: Steps/s² of its ramps, at least 0.5.
        step: Line whose pulses are steps.
        direction: Line that is high for steps up.
        coils: Four lines, in the order in which their coils follow each other.
        index: Number of the stepper, from 0; an Uno has one, a Mega two.
        position: Where it is now, in steps, −1,073,741,823 to 1,073,741,823.
        limit_low: Line of a switch; while it is reached no step down is made.
        limit_high: The same for steps up.
        limit_level: Level of these lines where the limit is reached.
        pull_up: Whether limits that are no inputs yet become inputs with pull-up.
        half_steps: Half steps of `coils`, of which twice as many make a turn.
        release: Whether `coils` have no current while it stands.
        invert: Turn the other way.
        active_low: Whether pulses of `step` are low.
        period_msec: Time between two rows while it moves, in ms up to 16383; 0 for none.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range, lines are missing, or one is given twice.
    """
    lines = _lines(step, direction, coils)
    limits = [limit_low, limit_high]
    given = lines + [line for line in limits if line is not None]
    for line in given:
        whole("a line of a stepper", line, 0, LAST_LINE)
    if len(set(lines)) < len(lines) or set(lines) & set(limits):
        raise ModuleError(
            f"a stepper cannot use a line twice: {', '.join(map(str, given))}",
            remedy="Each of its lines needs a pin of its own.",
        )
    number("acceleration", acceleration, _LEAST_ACCELERATION, _MOST_ACCELERATION)
    if coils is not None and invert:
        lines = lines[::-1]
    options = [invert and coils is None, active_low, release, half_steps]
    options += [limit_level, limit_level, pull_up]
    # Bit 0 to 5: StepperFlag of the driver.
    flags = sum(1 << bit for bit, option in enumerate(options) if option)
    extra = struct.pack(
        "<BBB4s2sdiH",
        _STEPPER,
        whole("index", index, 0, LAST_INDEX),
        flags,
        bytes(lines + [_NO_LINE] * (4 - len(lines))),
        bytes(_NO_LINE if line is None else line for line in limits),
        acceleration,
        whole("position", position, -_FARTHEST, _FARTHEST),
        whole("period_msec", period_msec, 0, _LONGEST_PERIOD_MSEC),
    )
    return send_order(port, lines[0], extra)


def _lines(step: int | None, direction: int | None, coils: Sequence[int] | None) -> list[int]:
    if coils is None and step is not None and direction is not None:
        return [step, direction]
    if coils is not None and step is None and direction is None and len(coils) == 4:
        return list(coils)
    raise ModuleError(
        "a stepper needs either step=… and direction=…, or coils=… with four lines",
        remedy="For example stepper(port, step=4, direction=5, acceleration=2000).",
    )


def move_to(port: OutputPort, position: int, *, speed: float, index: int = 0) -> LineCommand:
    """Move a stepper to a position; a move on its way is replaced, on the ramp.

    The row `moved` of the board's output `steppers` has the time of its arrival. For a motor that
    turns on and on give a position that is far away.

    Args:
        port: Output port of type LineCommand, connected to the board.
        position: Steps, −1,073,741,823 to 1,073,741,823.
        speed: Highest speed in steps/s, 0.25 to 5,000.
        index: Number of the stepper.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    number("speed", speed, _LEAST_SPEED, _MOST_SPEED)
    whole("position", position, -_FARTHEST, _FARTHEST)
    whole("index", index, 0, LAST_INDEX)
    return send_order(port, 0, struct.pack("<BBid", _MOVE, index, position, speed))


def stop_stepper(port: OutputPort, index: int = 0, *, at_once: bool = False) -> LineCommand:
    """Stop a stepper on its ramp, or at once, by which a fast motor loses its position.

    The row `stopped` has where it stands.

    Args:
        port: Output port of type LineCommand, connected to the board.
        index: Number of the stepper.
        at_once: Whether no further step is made.
    """
    whole("index", index, 0, LAST_INDEX)
    return send_order(port, 0, bytes((_STOP, index, bool(at_once))))
