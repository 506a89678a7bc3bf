"""The boards that can be simulated: plain values that the simulator and its clients share.

Pins are numbered as on the board. An analog input has a number of its own: A0 is 14 on an Uno.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_NAME = re.compile(r"virtual:(?P<kind>[^?]*)")


class BoardKind(NamedTuple):
    """A board of which there may be several on a bench."""

    name: str
    """The name in `virtual:uno` and in names of firmware images."""
    title: str
    """The name in messages, with its article."""
    chip: str
    flash_bytes: int
    ram: tuple[int, int]
    """Where its RAM begins in the data space, and where it ends."""
    port_pins: tuple[str, ...]
    """The processor's name of each pin, by the board's number."""
    analog_pins: tuple[int, ...]
    """Numbers of the pins A0, A1, …"""
    serial_pins: tuple[int, ...] = ()
    """Receive and transmit of the serial line to the host; nothing else may be wired to them. None
    where the processor has a USB of its own."""
    i2c_pins: tuple[int, int] = (18, 19)
    """SDA and SCL."""
    pwm_pins: tuple[int, ...] = (3, 5, 6, 9, 10, 11)
    """Pins that a timer of the processor can dim, as in the Arduino core's `pins_arduino.h`."""

    @property
    def pin_count(self) -> int:
        """Number of pins, analog inputs and serial line included."""
        return len(self.port_pins)

    @property
    def user_pins(self) -> range:
        """Numbers of the pins that something may be wired to."""
        return range(len(self.serial_pins), self.pin_count)

    def is_analog_only(self, pin: int) -> bool:
        """Return whether a pin is an input of the converter and nothing else."""
        return self.port_pins[pin].startswith("ADC")

    @property
    def valid_pins(self) -> str:
        """Its pins in words, for messages."""
        return f"{self.user_pins[0]} to {self.pin_count - 1}, A0 to A{len(self.analog_pins) - 1}"

    def pin(self, text: str) -> int:
        """Return the number of a pin, given as "8" or "A0".

        Raises:
            ValueError: The board has no such pin, or it is one of the serial line. The message
                quotes the text and lists what is valid.
        """
        digits = text.removeprefix("A")
        number = int(digits) if digits.isdecimal() and len(digits) <= 2 else self.pin_count
        if digits != text:
            known = number < len(self.analog_pins)
            number = self.analog_pins[number] if known else self.pin_count
        if number >= self.pin_count:
            raise ValueError(f"{self.title} has no pin '{text}' (valid: {self.valid_pins})")
        if number in self.serial_pins:
            raise ValueError(
                f"pin '{text}' of {self.title} is its serial line (valid: {self.valid_pins})"
            )
        return number

    def wrong_line(self, line: int, *, output: bool, analog: bool) -> str:
        """Return why a script cannot use a line as it wants to; "" if it can."""
        if line not in self.user_pins:
            what = "is its serial line" if line in self.serial_pins else "does not exist"
            return f"line {line} of {self.title} {what} (valid: {self.valid_pins})"
        if output and self.is_analog_only(line):
            return f"line {line} of {self.title} is an analog input and nothing else"
        if analog and line not in self.pwm_pins:
            valid = ", ".join(map(str, self.pwm_pins))
            return f"line {line} of {self.title} has no PWM (valid: {valid})"
        return ""


def _bits(port: str, *bits: int) -> tuple[str, ...]:
    return tuple(f"P{port}{bit}" for bit in bits)


_UNO_PINS = _bits("D", *range(8)) + _bits("B", *range(6)) + _bits("C", *range(6))

UNO: Final = BoardKind(
    "uno", "an Uno", "atmega328", 32 << 10, (0x100, 0x900), _UNO_PINS, tuple(range(14, 20)), (0, 1)
)
NANO: Final = BoardKind(
    "nano",
    "a Nano",
    "atmega328",
    32 << 10,
    (0x100, 0x900),
    (*_UNO_PINS, "ADC6", "ADC7"),
    tuple(range(14, 22)),
    (0, 1),
)
MEGA: Final = BoardKind(
    "mega",
    "a Mega",
    "atmega2560",
    256 << 10,
    (0x200, 0x2200),
    _bits("E", 0, 1, 4, 5)
    + _bits("G", 5)
    + _bits("E", 3)
    + _bits("H", 3, 4, 5, 6)
    + _bits("B", 4, 5, 6, 7)
    + _bits("J", 1, 0)
    + _bits("H", 1, 0)
    + _bits("D", 3, 2, 1, 0)
    + _bits("A", *range(8))
    + _bits("C", *range(7, -1, -1))
    + _bits("D", 7)
    + _bits("G", 2, 1, 0)
    + _bits("L", *range(7, -1, -1))
    + _bits("B", 3, 2, 1, 0)
    + _bits("F", *range(8))
    + _bits("K", *range(8)),
    tuple(range(54, 70)),
    (0, 1),
    (20, 21),
    (*range(2, 14), 44, 45, 46),
)
LEONARDO: Final = BoardKind(
    "leonardo",
    "a Leonardo",
    "atmega32u4",
    32 << 10,
    (0x100, 0xB00),
    _bits("D", 2, 3, 1, 0, 4)
    + _bits("C", 6)
    + _bits("D", 7)
    + _bits("E", 6)
    + _bits("B", 4, 5, 6, 7)
    + _bits("D", 6)
    + _bits("C", 7)
    + _bits("B", 3, 1, 2, 0)
    + _bits("F", 7, 6, 5, 4, 1, 0),
    (*range(18, 24), 4, 6, 8, 9, 10, 12),  # A6 to A11 are other names of these
    (),
    (2, 3),
    (3, 5, 6, 9, 10, 11, 13),
)
KINDS: Final = {kind.name: kind for kind in (UNO, NANO, MEGA, LEONARDO)}
"""All kinds of boards by name."""


def kind_of(spec: str) -> BoardKind | None:
    """Return the kind of board that a device string names; None where it names no such board.

    Options after the "?" do not matter.
    """
    match = _NAME.match(spec)
    return KINDS.get(match["kind"]) if match else None


def kinds_of(devices: Mapping[str, str]) -> dict[str, BoardKind]:
    """Return the kinds of the simulated boards among a bench's devices, by name."""
    return {name: kind for name, spec in devices.items() if (kind := kind_of(str(spec)))}
