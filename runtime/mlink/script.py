"""Helpers for scripts beyond `syntalos_mlink`: pulse trains, reflexes, edges timed by the board.

They need a board with mlink's own firmware (`mlink flash`). Each function sends one LineCommand of
kind DEVICE_SPECIFIC through an output port of type LineCommand; times are µs.

    import mlink.script as ms
    ms.watch_edges(ctl, 7)                                # readings of line 7 get the chip's times
    ms.pulse_train(ctl, 9, width_usec=500, period_usec=2000, count=100)
    ms.set_reflex(ctl, 0, trigger=7, output=8, action=ms.ReflexAction.PULSE_HIGH, width_usec=1000)

Layout of `extra` (little-endian): 40 width u32 period u32 count u32 start i64 (−1: now) low u8 ·
41 stop · 42 index edges output action u8 each, width u32, refractory u32, condition pin u8
(FF: none), its level u8 · 43 index u8 · 44 edges u8 · 45 timeout u32 in ms, then pairs of pin and
level, u8 each.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping

from mlink.errors import ModuleError
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand, LineCommandKind

_TRAIN, _STOP, _REFLEX, _REMOVE_REFLEX, _WATCH_EDGES, _SAFE_STATE = range(0x40, 0x46)
_NO_START = -1
_NO_CONDITION = 0xFF
_LONGEST_USEC = (1 << 30) - 1
_MOST_PULSES = (1 << 21) - 1


class Edges(enum.IntFlag):
    """Which edges of a line are meant."""

    NONE = 0
    RISING = 1
    FALLING = 2
    BOTH = 3


class ReflexAction(enum.IntEnum):
    """What a reflex does to its output."""

    LOW = 0
    HIGH = 1
    TOGGLE = 2
    PULSE_HIGH = 3
    PULSE_LOW = 4


def pulse_train(
    port: OutputPort,
    line_id: int,
    *,
    width_usec: int,
    period_usec: int,
    count: int = 0,
    start_usec: int | None = None,
    active_low: bool = False,
) -> LineCommand:
    """Send `count` pulses (0: until stopped), made by the board; `start_usec` is master time."""
    if not 0 < width_usec < period_usec <= _LONGEST_USEC:
        raise ModuleError(
            f"a pulse train with pulses of {width_usec} µs every {period_usec} µs cannot be made",
            remedy="Give a width of at least 10 µs, and a period that is longer.",
        )
    if not 0 <= count <= _MOST_PULSES:
        raise ModuleError(
            f"a pulse train of {count} pulses cannot be made",
            remedy=f"Give 1 to {_MOST_PULSES}, or 0 for a train without end.",
        )
    start = _NO_START if start_usec is None else start_usec
    extra = struct.pack("<BIIIqB", _TRAIN, width_usec, period_usec, count, start, int(active_low))
    return _send(port, line_id, extra)


def stop_pulses(port: OutputPort, line_id: int) -> LineCommand:
    """End what pulses on a line; the line comes to rest at once."""
    return _send(port, line_id, bytes((_STOP,)))


def set_reflex(
    port: OutputPort,
    index: int,
    *,
    trigger: int,
    output: int,
    action: ReflexAction,
    edges: Edges = Edges.RISING,
    width_usec: int = 0,
    refractory_usec: int = 0,
    condition: tuple[int, bool] | None = None,
) -> LineCommand:
    """Let the board itself act on `output` when `trigger` has an edge, within some µs.

    `condition` is a line and the level that it must have; `refractory_usec` how long after an
    action no other one follows.
    """
    if action >= ReflexAction.PULSE_HIGH and not 20 <= width_usec <= _LONGEST_USEC:
        raise ModuleError(
            f"a reflex cannot make a pulse of {width_usec} µs",
            remedy="Give width_usec=…, at least 20 µs.",
        )
    pin, level = condition or (_NO_CONDITION, False)
    fields = (index, int(edges), output, int(action), width_usec, refractory_usec, pin, int(level))
    return _send(port, trigger, struct.pack("<BBBBBIIBB", _REFLEX, *fields))


def remove_reflex(port: OutputPort, index: int) -> LineCommand:
    """Remove a reflex."""
    return _send(port, 0, bytes((_REMOVE_REFLEX, index)))


def watch_edges(port: OutputPort, line_id: int, edges: Edges = Edges.BOTH) -> LineCommand:
    """Have a line's edges stamped by the board; `Edges.NONE` ends it."""
    return _send(port, line_id, bytes((_WATCH_EDGES, int(edges))))


def safe_state(
    port: OutputPort, timeout_msec: int, levels: Mapping[int, bool] | None = None
) -> LineCommand:
    """Have the board set its outputs when the host has been silent for `timeout_msec`.

    Without `levels` all outputs become low; 0 ms switches it off.
    """
    pairs = bytes(part for line, high in (levels or {}).items() for part in (line, int(high)))
    return _send(port, 0, struct.pack("<BI", _SAFE_STATE, timeout_msec) + pairs)


def _send(port: OutputPort, line_id: int, extra: bytes) -> LineCommand:
    command = LineCommand(LineCommandKind.DEVICE_SPECIFIC, line_id, extra=extra)
    port.submit(command)
    return command
