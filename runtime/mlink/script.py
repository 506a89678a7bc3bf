"""Helpers for scripts beyond `syntalos_mlink`: values, trains, reflexes, counters, steppers, I2C.

`offer` shows a value in the page of a run, where a person may set it. Most of the others need a
board with mlink's own firmware (`mlink flash`): each sends one LineCommand of kind DEVICE_SPECIFIC
through an output port of type LineCommand, and returns it. Values out of range raise ModuleError
here; the module `firmata-io` fails when the board cannot do what was sent. What the board does with
each command: docs/boards.md.

    import mlink.script as ms
    ms.pulse_train(ctl, 9, width_usec=500, period_usec=2000, count=100)
    ms.set_reflex(ctl, 0, trigger=7, output=8, action=ms.ReflexAction.PULSE_HIGH, width_usec=1000)

Layout of `extra` (little-endian): 40 width u32 period u32 count u32 start i64 (−1: now) low u8 ·
41 stop · 42 index edges output action u8 each, width u32, refractory u32, condition pin u8
(FF: none), its level u8 · 43 index u8 · 44 edges u8 · 45 timeout u32 in ms, then pairs of pin and
level, u8 each · 46 index, line B (FF: none), edges, pull-up u8 each, period u16 in ms ·
47 index u8 · 50 index, flags, 4 lines, low and high limit (FF: none) u8 each, acceleration f64,
position i32, period u16 in ms · 51 index u8, position i32, speed f64 · 52 index u8, at once u8.
The I2C bus has the kinds of docs/boards.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from mlink.errors import ModuleError
from mlink.reflexes import Edges, ReflexAction
from mlink.scripting.i2c import i2c_end, i2c_read, i2c_scan, i2c_setup, i2c_write
from mlink.scripting.link import get_link
from mlink.scripting.offers import Offer, T
from mlink.scripting.orders import LAST_INDEX, LAST_LINE, member, number, send_order, whole
from mlink.scripting.ports import OutputPort
from mlink.scripting.ranging import Echo, EchoRanging
from mlink.scripting.steppers import move_to, stepper, stop_stepper
from mlink.types import LineCommand

__all__ = [
    "Echo",
    "EchoRanging",
    "Edges",
    "Offer",
    "ReflexAction",
    "count_edges",
    "count_encoder",
    "i2c_end",
    "i2c_read",
    "i2c_scan",
    "i2c_setup",
    "i2c_write",
    "move_to",
    "offer",
    "pulse_train",
    "remove_reflex",
    "safe_state",
    "set_reflex",
    "stepper",
    "stop_counter",
    "stop_pulses",
    "stop_stepper",
    "tone",
    "watch_edges",
]

_TRAIN, _STOP, _REFLEX, _REMOVE_REFLEX, _WATCH_EDGES, _SAFE_STATE = range(0x40, 0x46)
_COUNT, _STOP_COUNTER = 0x46, 0x47
_NO_START = -1
_NO_CONDITION = _NO_LINE = 0xFF
_LONGEST_PERIOD_MSEC = (1 << 14) - 1
_LONGEST_USEC = (1 << 30) - 1
_MOST_PULSES = (1 << 21) - 1
_LONGEST_SAFE_MSEC = 600_000
_LEAST_SAFE_MSEC = 40
"""A loaded host may pause a process for nearly as long."""


def offer(
    name: str,
    value: T,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    on_change: Callable[[T], object] | None = None,
) -> Offer[T]:
    """Offer a value, which a person may set by the page of a run that allows commands.

    Each change is a row of the recording's dataset `view-commands` with its time and who made it,
    and an input of the script: its journal has it, and so does a replay.

    Args:
        name: Its name: at most 40 letters, digits, spaces, _ . -; each once in a script.
        value: What it is at first: true or false, a whole number (whole numbers only can be set
            then), or a float.
        minimum: Least value of a number, at least −2^53; needed for numbers.
        maximum: Greatest value of a number, at most 2^53.
        unit: Its unit, for people; at most 16 characters.
        on_change: Called with each new value while the script waits, as `on_data` is. A ModuleError
            in it refuses the value, in words; other errors end the run.

    Returns:
        The offer, whose `value` is the present one.

    Raises:
        ModuleError: An argument is out of range, 64 values are offered, or start() has returned.
        SyntalosPyError: There is no run.
    """
    return get_link().offers.add(name, value, minimum, maximum, unit, on_change)


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
    """Have the board send a train of pulses on a line.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_id: Number of the line.
        width_usec: Length of a pulse in µs, at least 10.
        period_usec: Time from one pulse to the next in µs; longer than `width_usec`.
        count: Number of pulses; 0 sends until `stop_pulses`.
        start_usec: Master time of the first pulse in µs; None starts at once.
        active_low: Whether pulses are low on a line that rests high.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("width_usec", width_usec, 1, _LONGEST_USEC)
    whole("period_usec", period_usec, 1, _LONGEST_USEC)
    whole("count", count, 0, _MOST_PULSES)
    if not width_usec < period_usec:
        raise ModuleError(
            f"a pulse train with pulses of {width_usec} µs every {period_usec} µs cannot be made",
            remedy="Give a width of at least 10 µs, and a period that is longer.",
        )
    start = _NO_START if start_usec is None else whole("start_usec", start_usec, 0, 1 << 62)
    extra = struct.pack("<BIIIqB", _TRAIN, width_usec, period_usec, count, start, int(active_low))
    return send_order(port, line_id, extra)


def tone(
    port: OutputPort, line_id: int, hz: float, *, duration_msec: float | None = None
) -> LineCommand:
    """Have the board send a square wave on a line, for a loudspeaker or as a clock.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_id: Number of the line.
        hz: Frequency, 0.001 to 8,000 Hz; its period is rounded to whole µs.
        duration_msec: How long in ms, at least a period; None until `stop_pulses`.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    period_usec = round(1e6 / number("hz", hz, 0.001, 8000))
    count = 0
    if duration_msec is not None:
        least_msec = period_usec / 1000
        longest_msec = min(_LONGEST_USEC, _MOST_PULSES * period_usec) / 1000
        number("duration_msec", duration_msec, least_msec, longest_msec)
        count = round(duration_msec * 1000 / period_usec)
    width_usec = period_usec // 2
    return pulse_train(port, line_id, width_usec=width_usec, period_usec=period_usec, count=count)


def stop_pulses(port: OutputPort, line_id: int) -> LineCommand:
    """End pulses and trains on a line; it returns to its resting level at once."""
    return send_order(port, line_id, bytes((_STOP,)))


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
    """Have the board itself act on a line within some µs of an edge on another.

    Args:
        port: Output port of type LineCommand, connected to the board.
        index: Number of the reflex, from 0; the board reports how many it has.
        trigger: Line whose edges are watched.
        output: Line to act on.
        action: What to do to it.
        edges: Which edges of `trigger` count.
        width_usec: Length of a pulse in µs, at least 20, for the actions PULSE_HIGH and PULSE_LOW.
        refractory_usec: Time in µs after an action during which no other one follows.
        condition: A line and the level that it must have; None for no condition.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("index", index, 0, LAST_INDEX)
    action, edges = member("action", action, ReflexAction), member("edges", edges, Edges)
    try:
        pin, level = condition if condition is not None else (_NO_CONDITION, False)
    except (TypeError, ValueError):
        raise ModuleError(
            f"condition cannot be {condition!r}", remedy="Give a line and its level: (4, True)."
        ) from None
    for line in (output, *([pin] if condition is not None else [])):
        whole("a line", line, 0, LAST_LINE)
    whole("refractory_usec", refractory_usec, 0, _LONGEST_USEC)
    whole("width_usec", width_usec, 0, _LONGEST_USEC)
    if action >= ReflexAction.PULSE_HIGH and not 20 <= width_usec <= _LONGEST_USEC:
        raise ModuleError(
            f"a reflex cannot make a pulse of {width_usec} µs",
            remedy="Give width_usec=…, at least 20 µs.",
        )
    fields = (index, int(edges), output, int(action), width_usec, refractory_usec, pin, int(level))
    return send_order(port, trigger, struct.pack("<BBBBBIIBB", _REFLEX, *fields))


def remove_reflex(port: OutputPort, index: int) -> LineCommand:
    """Remove the reflex with this number."""
    whole("index", index, 0, LAST_INDEX)
    return send_order(port, 0, bytes((_REMOVE_REFLEX, index)))


def watch_edges(port: OutputPort, line_id: int, edges: Edges = Edges.BOTH) -> LineCommand:
    """Report only these edges of a line as readings; `Edges.NONE` ends the reports."""
    return send_order(port, line_id, bytes((_WATCH_EDGES, member("edges", edges, Edges))))


def count_encoder(
    port: OutputPort,
    line_a: int,
    line_b: int,
    *,
    index: int = 0,
    period_msec: int = 10,
    pull_up: bool = False,
) -> LineCommand:
    """Have the board count the steps of a quadrature encoder, from 0.

    Rows of the board's output `counters` have its position. The lines send no readings.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_a: Line that changes first when the position grows.
        line_b: The other line, on the same port of the chip (2 and 3 on all boards).
        index: Number of the counter, from 0; the board has two.
        period_msec: Time between two rows in ms, 1 to 16383.
        pull_up: Whether to switch the pull-ups of both lines on.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("line_b", line_b, 0, LAST_LINE)
    if line_a == line_b:
        raise ModuleError(
            f"an encoder cannot have line {line_a} twice", remedy="Give its lines A and B."
        )
    return _count(port, line_a, index, line_b, Edges.BOTH, pull_up, period_msec)


def count_edges(
    port: OutputPort,
    line_id: int,
    edges: Edges = Edges.RISING,
    *,
    index: int = 0,
    period_msec: int = 10,
    pull_up: bool = False,
) -> LineCommand:
    """Have the board count the edges of a line, from 0, and measure frequency and duty.

    Rows of the board's output `counters` have them. The line sends no readings.

    Args:
        port: Output port of type LineCommand, connected to the board.
        line_id: Number of the line.
        edges: The edges that count.
        index: Number of the counter, from 0; the board has two.
        period_msec: Time between two rows in ms, 1 to 16383.
        pull_up: Whether to switch the pull-up of the line on.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    if edges is Edges.NONE:
        raise ModuleError("no edges to count", remedy="Use stop_counter() to end a counter.")
    return _count(port, line_id, index, _NO_LINE, edges, pull_up, period_msec)


def _count(
    port: OutputPort,
    line: int,
    index: int,
    second: int,
    edges: Edges,
    pull_up: bool,
    period_msec: int,
) -> LineCommand:
    whole("index", index, 0, LAST_INDEX)
    whole("period_msec", period_msec, 1, _LONGEST_PERIOD_MSEC)
    fields = index, second, int(edges), int(pull_up), period_msec
    return send_order(port, line, struct.pack("<BBBBBH", _COUNT, *fields))


def stop_counter(port: OutputPort, index: int = 0) -> LineCommand:
    """End the counter with this number."""
    whole("index", index, 0, LAST_INDEX)
    return send_order(port, 0, bytes((_STOP_COUNTER, index)))


def safe_state(
    port: OutputPort, timeout_msec: int, levels: Mapping[int, bool] | None = None
) -> LineCommand:
    """Have the board set its outputs when the host has been silent for too long.

    Replaces what the setting `safe_state_msec` of `firmata-io` has set.

    Args:
        port: Output port of type LineCommand, connected to the board.
        timeout_msec: Silence in ms, 40 to 600,000; 0 switches the safe state off.
        levels: Level of each line; None sets all outputs low.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    if timeout_msec != 0:
        whole("timeout_msec", timeout_msec, _LEAST_SAFE_MSEC, _LONGEST_SAFE_MSEC)
    for line in levels or ():
        whole("a line", line, 0, LAST_LINE)
    pairs = bytes(part for line, high in (levels or {}).items() for part in (line, int(high)))
    return send_order(port, 0, struct.pack("<BI", _SAFE_STATE, timeout_msec) + pairs)
