"""Decodes the `extra` bytes of DEVICE_SPECIFIC commands for mlink's firmware.

`mlink.script` encodes them; its docstring has the layout. Byte 0 is one of `ChipExtra`, numbers are
little-endian, times are in µs.
"""

from __future__ import annotations

import enum
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


ChipOrder: TypeAlias = (
    PulseTrain | StopPulses | Reflex | RemoveReflex | WatchEdges | SafeState | Count | StopCounter
)

_TRAIN: Final = struct.Struct("<BIIIqB")
_REFLEX: Final = struct.Struct("<BBBBBIIBB")
_COUNT: Final = struct.Struct("<BBBBBH")
_NO_START: Final = -1
_NO_CONDITION: Final = 0xFF
_NO_LINE: Final = 0xFF


def is_chip_extra(extra: bytes) -> bool:
    """Whether these bytes are an order to the chip.

    Other bytes are decoded by `mlink_drivers.firmata.extra.parse_extra`.
    """
    return bool(extra) and ChipExtra.TRAIN <= extra[0] <= ChipExtra.STOP_COUNTER


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
    if kind is ChipExtra.SAFE_STATE:
        (timeout,) = struct.unpack_from("<I", extra, 1)
        pairs = extra[5:]
        if len(pairs) % 2:
            raise ValueError("a line of the safe state has no level")
        return SafeState(
            timeout, {pairs[at]: bool(pairs[at + 1]) for at in range(0, len(pairs), 2)}
        )
    return StopPulses()
