"""Decodes the `extra` bytes of DEVICE_SPECIFIC commands for mlink's firmware.

`mlink.script` encodes them; its docstring has the layout. Byte 0 is one of `ChipExtra`, numbers are
little-endian, times are in µs.
"""

from __future__ import annotations

import enum
import math
import struct
from typing import Final, TypeAlias

import msgspec

from mlink.reflexes import Edges, ReflexAction


class ChipExtra(enum.IntEnum):
    """Byte 0 of `extra`.

    Kinds below 0x40 are those of `mlink_drivers.firmata.extra`.
    """

    TRAIN = 0x40
    STOP = 0x41
    REFLEX = 0x42
    REMOVE_REFLEX = 0x43
    WATCH_EDGES = 0x44
    SAFE_STATE = 0x45
    COUNT = 0x46
    STOP_COUNTER = 0x47
    STEPPER = 0x50
    MOVE = 0x51
    STOP_STEPPER = 0x52


class PulseTrain(msgspec.Struct, frozen=True):
    """Make `count` pulses (0: until stopped) on the command's line; `start_usec` is master time.

    `start_usec` None means now. With `active_low` the line rests high.
    """

    width_usec: int
    period_usec: int
    count: int
    start_usec: int | None
    active_low: bool


class StopPulses(msgspec.Struct, frozen=True):
    """End the pulse or train on the command's line.

    The line returns to rest at once.
    """


class Reflex(msgspec.Struct, frozen=True):
    """Set a reflex: an edge of the command's line acts on `output`.

    `condition` is a line and the level that it must have. After an action, edges are ignored for
    `refractory_usec`.
    """

    index: int
    kind: Edges
    output: int
    action: ReflexAction
    width_usec: int
    refractory_usec: int
    condition: tuple[int, bool] | None


class RemoveReflex(msgspec.Struct, frozen=True):
    """Remove a reflex."""

    index: int


class WatchEdges(msgspec.Struct, frozen=True):
    """Report these edges of the command's line.

    NONE ends the reports; the line is then no longer an input.
    """

    kind: Edges


class SafeState(msgspec.Struct, frozen=True):
    """Set the levels of outputs after the host was silent for `timeout_msec`.

    Without levels all outputs become low; a timeout of 0 switches the safe state off.
    """

    timeout_msec: int
    levels: dict[int, bool]


class Count(msgspec.Struct, frozen=True):
    """Count edges of the command's line, or with `second_line` the steps of an encoder."""

    index: int
    second_line: int | None
    kind: Edges
    pull_up: bool
    period_msec: int


class StopCounter(msgspec.Struct, frozen=True):
    """End a counter."""

    index: int


class StepperDriver(enum.IntEnum):
    """What drives the motor; NONE removes a stepper."""

    NONE = 0
    STEP_DIRECTION = 1
    FOUR_WIRES = 2


class StepperFlag(enum.IntFlag):
    """Options of a stepper."""

    INVERT = 1
    """The direction line is low for steps up."""
    ACTIVE_LOW = 2
    """Steps are low pulses."""
    RELEASE = 4
    """The coils are off while the motor stands."""
    HALF_STEPS = 8
    LOW_LIMIT_IS_HIGH = 16
    HIGH_LIMIT_IS_HIGH = 32


class Stepper(msgspec.Struct, frozen=True):
    """Set a stepper with two lines (step, direction) or four (coils), which stands then."""

    index: int
    flags: int
    """Flags of `StepperFlag`."""
    pull_up: bool
    """Whether the lines of the limits have pull-up resistors."""
    lines: tuple[int, ...]
    limits: tuple[int | None, int | None]
    acceleration: float
    """Steps/s²."""
    position: int
    period_msec: int


class Move(msgspec.Struct, frozen=True):
    """Move a stepper to a position; `speed` is in steps/s."""

    index: int
    position: int
    speed: float


class StopStepper(msgspec.Struct, frozen=True):
    """Stop a stepper on its ramp, or at once."""

    index: int
    at_once: bool


ChipOrder: TypeAlias = (
    PulseTrain
    | StopPulses
    | Reflex
    | RemoveReflex
    | WatchEdges
    | SafeState
    | Count
    | StopCounter
    | Stepper
    | Move
    | StopStepper
)

_TRAIN: Final = struct.Struct("<BIIIqB")
_REFLEX: Final = struct.Struct("<BBBBBIIBB")
_COUNT: Final = struct.Struct("<BBBBBH")
_STEPPER: Final = struct.Struct("<BBB4s2sdiH")
_MOVE: Final = struct.Struct("<BBid")
_PULL_UP: Final = 0x40
_LEAST_ACCELERATION: Final = 0.5
_LEAST_SPEED: Final = 0.25
_FARTHEST: Final = (1 << 30) - 1
"""So that the chip's distances fit into 32 bits."""
_KINDS: Final = frozenset(ChipExtra)
_NO_START: Final = -1
_NO_CONDITION: Final = 0xFF
_NO_LINE: Final = 0xFF


def is_chip_extra(extra: bytes) -> bool:
    """Whether these bytes are an order to the chip.

    Other bytes are decoded by `mlink_drivers.firmata.extra.parse_extra`.
    """
    return bool(extra) and extra[0] in _KINDS


def parse_chip_extra(extra: bytes) -> ChipOrder:
    """Decode `extra`.

    Raises:
        ValueError: The bytes are not valid; the message has the reason.
    """
    try:
        return _parse(ChipExtra(extra[0]), extra)
    except (struct.error, IndexError) as error:
        raise ValueError(f"{len(extra)} bytes are the wrong length for this kind") from error


def _parse(kind: ChipExtra, extra: bytes) -> ChipOrder:
    if kind is ChipExtra.TRAIN:
        _, width, period, count, start, low = _TRAIN.unpack(extra)
        return PulseTrain(width, period, count, None if start == _NO_START else start, bool(low))
    if kind is ChipExtra.REFLEX:
        _, index, edges, output, action, width, refractory, pin, level = _REFLEX.unpack(extra)
        condition = None if pin == _NO_CONDITION else (pin, bool(level))
        return Reflex(
            index, Edges(edges), output, ReflexAction(action), width, refractory, condition
        )
    if kind is ChipExtra.REMOVE_REFLEX:
        return RemoveReflex(extra[1])
    if kind is ChipExtra.WATCH_EDGES:
        return WatchEdges(Edges(extra[1] & 3))
    if kind is ChipExtra.COUNT:
        _, index, second, edges, pull_up, period = _COUNT.unpack(extra)
        line = None if second == _NO_LINE else second
        return Count(index, line, Edges(edges & 3), bool(pull_up), period)
    if kind is ChipExtra.STOP_COUNTER:
        return StopCounter(extra[1])
    if kind is ChipExtra.STEPPER:
        _, index, flags, lines, limits, acceleration, position, period = _STEPPER.unpack(extra)
        low, high = (None if line == _NO_LINE else line for line in limits)
        if not _LEAST_ACCELERATION <= acceleration < math.inf:
            raise ValueError(f"an acceleration of {acceleration:g} steps/s² cannot be made")
        _check_position(position)
        return Stepper(
            index,
            flags & (_PULL_UP - 1),
            bool(flags & _PULL_UP),
            tuple(line for line in lines if line != _NO_LINE),
            (low, high),
            acceleration,
            position,
            period,
        )
    if kind is ChipExtra.MOVE:
        _, index, position, speed = _MOVE.unpack(extra)
        if not _LEAST_SPEED <= speed < math.inf:
            raise ValueError(f"a speed of {speed:g} steps/s cannot be made")
        _check_position(position)
        return Move(index, position, speed)
    if kind is ChipExtra.STOP_STEPPER:
        return StopStepper(extra[1], bool(extra[2]))
    if kind is ChipExtra.SAFE_STATE:
        (timeout,) = struct.unpack_from("<I", extra, 1)
        pairs = extra[5:]
        if len(pairs) % 2:
            raise ValueError("a line of the safe state has no level")
        return SafeState(
            timeout, {pairs[at]: bool(pairs[at + 1]) for at in range(0, len(pairs), 2)}
        )
    return StopPulses()


def _check_position(position: int) -> None:
    if abs(position) > _FARTHEST:
        raise ValueError(f"a stepper's position of {position} is beyond ±{_FARTHEST} steps")
