"""Encodes messages of the extension (firmware/PROTOCOL.md) to a board. Sans-IO.

Each function returns the bytes of one message. Durations and times are ticks of the chip's clock. A
value that does not fit into its field raises ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mlink.reflexes import Edges, ReflexAction
from mlink_drivers.firmata.chip.check import seal
from mlink_drivers.firmata.chip.extra import StepperDriver
from mlink_drivers.firmata.chip.messages import MAGIC, ExtensionId
from mlink_drivers.firmata.wire import encode

LONGEST_TICKS: Final = (1 << 31) - 1
"""17.9 minutes at 2 MHz: half the range of the clock, beyond which a time means the past."""
WITHOUT_END: Final = 0
NO_CONDITION: Final = 0x7F
ALL_REFLEXES: Final = 0x7F
ALL_I2C: Final = 0x7F
_NO_PIN: Final = 0x7F
_MOST_SAFE_MSEC: Final = 600_000
_ACTIVE_LOW, _AT_TIME, _REPORT = 1, 2, 4


def feature_query(*, checked: bool = False) -> bytes:
    """Query the features of the extension; other firmwares do not answer.

    Its four data bytes ("mlnk") prevent a reaction of other firmwares that use sysex 0x01.

    Args:
        checked: Ask for version 2: from the answer on, messages have a check value both ways. The
            query has one already. Without, the board speaks version 1 from its answer on.
    """
    query = encode.sysex(ExtensionId.FEATURES, MAGIC + b"\2" if checked else MAGIC)
    return seal(query) if checked else query


def watch_edges(kinds: Mapping[int, Edges]) -> bytes:
    """Select the edges that are reported of each pin; the board rejects all when one is invalid.

    The board confirms each pin with an `EdgeWatch`.

    Raises:
        ValueError: A pin is not in 0 to 127.
    """
    body = bytes(part for pin, kind in kinds.items() for part in (_pin(pin), kind))
    return encode.sysex(ExtensionId.EDGES, b"\0" + body)


def clock_query(number: int) -> bytes:
    """Query the chip's time; the answer repeats `number` (0 to 127).

    Raises:
        ValueError: The number is not in 0 to 127.
    """
    return encode.sysex(ExtensionId.CLOCK, _number(number, 1))


def pulse(pin: int, width: int, *, active_low: bool = False, report: bool = False) -> bytes:
    """Start one pulse now; on a pin with a running pulse the end is moved later, never earlier.

    Args:
        pin: The output.
        width: Ticks.
        active_low: Whether the pulse is low and the pin rests high.
        report: Whether the board reports the times of its edges when it has ended.
    """
    _check_ticks("width", width, least=2)
    flags = (_ACTIVE_LOW if active_low else 0) | (_REPORT if report else 0)
    count = max(1, (width.bit_length() + 6) // 7)
    body = bytes((3, _pin(pin), flags)) + _number(width, count)
    return encode.sysex(ExtensionId.PULSES, body)


def train(
    pin: int,
    width: int,
    rest: int,
    count: int = WITHOUT_END,
    *,
    start: int | None = None,
    active_low: bool = False,
    report: bool = False,
) -> bytes:
    """Start a train of pulses.

    Args:
        pin: The output.
        width: Ticks of a pulse.
        rest: Ticks between two pulses.
        count: Number of pulses; `WITHOUT_END` until stopped.
        start: The chip's time of the first edge; None for now.
        active_low: Whether pulses are low and the pin rests high.
        report: Whether the board reports the times of the first and last edge at the end.
    """
    _check_ticks("width", width, least=2)
    _check_ticks("rest", rest)
    flags = (_ACTIVE_LOW if active_low else 0) | (_REPORT if report else 0)
    flags |= 0 if start is None else _AT_TIME
    body = bytes((0, _pin(pin), flags)) + _number((start or 0) & 0xFFFFFFFF, 5)
    body += _number(width, 5) + _number(rest, 5) + _number(count, 3)
    return encode.sysex(ExtensionId.PULSES, body)


def stop_pulses(pin: int) -> bytes:
    """End a pin's pulse or train at once; the pin returns to rest.

    The board reports the end of a pulse that was sent with `report`.

    Raises:
        ValueError: The pin is not in 0 to 127.
    """
    return encode.sysex(ExtensionId.PULSES, bytes((1, _pin(pin))))


def start_analog_blocks(period: int, channels: Sequence[int], scans_per_block: int) -> bytes:
    """Sample channels every `period` ticks and report them in blocks of `scans_per_block`.

    All channels are converted one after the other at the begin of each period.

    Raises:
        ValueError: The period is not in 1 to `LONGEST_TICKS`.
    """
    _check_ticks("period", period, least=1)
    body = b"\0" + _number(period, 5) + _number(scans_per_block, 1) + bytes(channels)
    return encode.sysex(ExtensionId.ANALOG_BLOCKS, body)


def stop_analog_blocks() -> bytes:
    """Stop sampling; samples already taken are still reported.

    It stops all channels; `start_analog_blocks` with fewer channels stops single ones.
    """
    return encode.sysex(ExtensionId.ANALOG_BLOCKS, b"\1")


def set_reflex(
    index: int,
    trigger: int,
    kind: Edges,
    output: int,
    action: ReflexAction,
    *,
    width: int = 0,
    refractory: int = 0,
    condition: tuple[int, bool] | None = None,
) -> bytes:
    """Set a reflex: an edge of `trigger` acts on `output` within some µs.

    Args:
        index: Number of the reflex; an earlier one of this number is replaced.
        trigger: The input.
        kind: Edges that trigger.
        output: The output.
        action: What happens to it.
        width: Ticks of a pulse action.
        refractory: Ticks after an action during which edges are ignored.
        condition: A pin and the level that it must have; None for no condition.
    """
    _check_ticks("width", width)
    pin, level = condition or (NO_CONDITION, False)
    body = bytes((0, index, _pin(trigger), kind, pin, int(level), _pin(output), action))
    body += _number(width, 5) + _number(refractory, 5)
    return encode.sysex(ExtensionId.REFLEXES, body)


def remove_reflex(index: int = ALL_REFLEXES) -> bytes:
    """Remove a reflex, or all.

    The default removes all reflexes; the board confirms with `ReflexState`.
    """
    return encode.sysex(ExtensionId.REFLEXES, bytes((1, index)))


def safe_state(timeout_msec: int, levels: Mapping[int, bool] | None = None) -> bytes:
    """Set the safe state: levels of outputs after the host was silent for `timeout_msec`.

    Without `levels` all outputs become low; 0 ms switches the safe state off.

    Args:
        timeout_msec: Silence in ms, 0 to 600,000.
        levels: Level of each output, by pin.

    Raises:
        ValueError: The silence is out of range, or a pin is not in 0 to 127.
    """
    if not 0 <= timeout_msec <= _MOST_SAFE_MSEC:
        raise ValueError(f"a silence of {timeout_msec} ms is not in 0 to {_MOST_SAFE_MSEC}")
    pairs = bytes(part for pin, high in (levels or {}).items() for part in (_pin(pin), int(high)))
    return encode.sysex(ExtensionId.SAFE_STATE, b"\0" + _number(timeout_msec, 3) + pairs)


def change_baud(baud_rate: int) -> bytes:
    """Change the baud rate; the board falls back unless it is confirmed within 0.5 s.

    The board answers at the old rate before it changes.

    Raises:
        ValueError: The rate has more than 35 bits.
    """
    return encode.sysex(ExtensionId.BAUD, b"\0" + _number(baud_rate, 5))


def confirm_baud() -> bytes:
    """Confirm the new baud rate, at that rate.

    The board answers with `BaudAnswer.CONFIRMED`.
    """
    return encode.sysex(ExtensionId.BAUD, b"\1")


def status_query() -> bytes:
    """Query the board's counts of losses and errors.

    Also used as a fence: the answer confirms that all earlier commands were executed.
    """
    return encode.sysex(ExtensionId.STATUS)


def set_counter(
    index: int,
    pin: int,
    kind: Edges,
    period_msec: int,
    *,
    second_pin: int | None = None,
    tag: int = 0,
) -> bytes:
    """Count edges of a pin, or the steps of a quadrature encoder; from 0, also when set again.

    Args:
        index: Number of the counter.
        pin: The input; line A of an encoder.
        kind: Edges that count; of an encoder all do. NONE removes the counter.
        period_msec: Time between two reports, in ms.
        second_pin: Line B of an encoder.
        tag: Is in each report, to distinguish them from those of an earlier order; 0 to 127.

    Raises:
        ValueError: A pin is not in 0 to 127, or the period not in 0 to 16383.
    """
    second = _NO_PIN if second_pin is None else _pin(second_pin)
    body = bytes((0, index, _pin(pin), second, kind))
    body += _number(period_msec, 2) + _number(tag, 1)
    return encode.sysex(ExtensionId.COUNTERS, body)


def set_stepper(
    index: int,
    driver: StepperDriver,
    pins: Sequence[int] = (),
    *,
    first: int = 0,
    limits: tuple[int | None, int | None] = (None, None),
    flags: int = 0,
    position: int = 0,
    period_msec: int = 0,
) -> bytes:
    """Set a stepper, which stands then; the board confirms it with a `StepperState`.

    Args:
        index: Number of the stepper.
        driver: What drives the motor; NONE removes the stepper.
        pins: The lines of the driver: step and direction, or the coils in their order.
        first: Interval from rest to the first step, in 1/256 tick: it is the acceleration.
        limits: Pins that stop steps down and up.
        flags: Options, of `StepperFlag`.
        position: Where it is, in steps, 32 bits with sign.
        period_msec: Time between two reports while it moves; 0 for none.

    Raises:
        ValueError: A pin is not in 0 to 127, or a number does not fit into its field.
    """
    lines = [_pin(pin) for pin in pins] + [_NO_PIN] * (4 - len(pins))
    lines += [_NO_PIN if pin is None else _pin(pin) for pin in limits]
    body = bytes((0, index, driver, flags, *lines)) + _number(first, 5)
    body += _number(position & 0xFFFFFFFF, 5) + _number(period_msec, 2)
    return encode.sysex(ExtensionId.STEPPERS, body)


def move_stepper(index: int, target: int, fastest: int, *, tag: int = 0) -> bytes:
    """Move a stepper, also a moving one; the end comes as `StepperReport`.

    Args:
        index: Number of the stepper.
        target: Position to move to, 32 bits with sign.
        fastest: Interval between two steps at the highest speed, in 1/256 tick.
        tag: Is in the reports, to distinguish them from those of an earlier order; 0 to 127.

    Raises:
        ValueError: A number does not fit into its field.
    """
    body = b"\2" + _number(index, 1) + _number(tag, 1)
    body += _number(target & 0xFFFFFFFF, 5) + _number(fastest, 5)
    return encode.sysex(ExtensionId.STEPPERS, body)


def stop_stepper(index: int, *, at_once: bool = False) -> bytes:
    """Stop a stepper, on its ramp or at once, by which a fast motor loses steps.

    Raises:
        ValueError: The number is not in 0 to 127.
    """
    return encode.sysex(ExtensionId.STEPPERS, b"\3" + _number(index, 1) + bytes((at_once,)))


def i2c_speed(khz: int) -> bytes:
    """Set the frequency of the I2C bus, 31 to 400 kHz; the board confirms it with `I2CSpeed`.

    Raises:
        ValueError: The frequency has more than 14 bits.
    """
    return encode.sysex(ExtensionId.I2C, b"\0" + _number(khz, 2))


def i2c_transfer(
    tag: int,
    address: int,
    data: bytes = b"",
    count: int = 0,
    *,
    stop_between: bool = False,
    repeat: bool = False,
) -> bytes:
    """Write to an I2C device, read from it, or both; the board answers with an `I2CResult`.

    Without data and count only the address is sent, which finds out whether a device is there.

    Args:
        tag: Is in the answer, 0 to 126.
        address: 7-bit address of the device.
        data: Bytes to write, such as a register; at most 32, with `repeat` 2.
        count: Number of bytes to read after that, at most 32.
        stop_between: Whether a stop is between the two, and not a repeated start.
        repeat: Whether the board does it again at each sampling interval, until `i2c_end`.

    Raises:
        ValueError: A number does not fit into 7 bits.
    """
    flags = int(stop_between) | (2 if repeat else 0)
    head = b"\1" + _number(tag, 1) + _number(address, 1) + bytes((flags,)) + _number(count, 1)
    return encode.sysex(ExtensionId.I2C, head + encode.to_seven_bits(data))


def i2c_end(tag: int = ALL_I2C) -> bytes:
    """End the repeated transfer with this tag, or all."""
    return encode.sysex(ExtensionId.I2C, b"\2" + _number(tag, 1))


def _pin(pin: int) -> int:
    if not 0 <= pin <= 0x7F:
        raise ValueError(f"pin {pin} is not in 0 to 127")
    return pin


def _number(value: int, count: int) -> bytes:
    """Encode `value` in `count` 7-bit bytes, least significant first."""
    if not 0 <= value < 1 << 7 * count:
        raise ValueError(f"{value} does not fit into {7 * count} bits")
    return bytes(value >> 7 * at & 0x7F for at in range(count))


def _check_ticks(what: str, ticks: int, *, least: int = 0) -> None:
    if not least <= ticks <= LONGEST_TICKS:
        raise ValueError(f"a {what} of {ticks} ticks is not in {least} to {LONGEST_TICKS}")
