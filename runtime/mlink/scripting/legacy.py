"""Firmata values of Syntalos 2.x, and their translation to and from today's line values.

In 2.x a script registered a pin under a name and used that name in commands; readings carried it
too. Streams carry line numbers only, so the names are kept here, in the script's process.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlink.proposals import nearest
from mlink.scripting.errors import SyntalosPyError
from mlink.types import (
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
    ScriptEnum,
    SignalBlockF32,
    usec_of,
)

DEFAULT_PULSE_MSEC = 50
"""Length in ms that Syntalos gives a pulse whose command has 0 whole ms."""


class FirmataControlKind(ScriptEnum):
    """What a FirmataControl asks a board to do (2.x; today LineCommandKind)."""

    UNKNOWN = 0
    NEW_DIG_PIN = 1
    NEW_ANA_PIN = 2
    IO_MODE = 3
    WRITE_ANALOG = 4
    WRITE_DIGITAL = 5
    WRITE_DIGITAL_PULSE = 6
    SYSEX = 7


class FirmataControl:
    """One command to a pin of a board (2.x; today LineCommand).

    A `pin_name` takes precedence over `pin_id`, except where a command registers the pin.
    """

    __slots__ = ("is_output", "is_pullup", "kind", "pin_id", "pin_name", "value")

    def __init__(self, kind: FirmataControlKind = FirmataControlKind.UNKNOWN) -> None:
        self.kind = kind
        self.pin_id: int = 0
        self.pin_name: str = ""
        self.is_output: bool = False
        self.is_pullup: bool = False
        self.value: int = 0

    @property
    def command(self) -> FirmataControlKind:
        """The kind, by its oldest name."""
        return self.kind

    @command.setter
    def command(self, kind: FirmataControlKind) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        kind = getattr(self.kind, "name", self.kind)
        pin = f"pin {self.pin_id} '{self.pin_name}'" if self.pin_name else f"pin {self.pin_id}"
        return f"<FirmataControl {kind} {pin} value {self.value}>"


class FirmataData:
    """One value read from a pin of a board (2.x; today LineReading).

    `pin_name` is the name under which the script registered the pin, or empty.
    """

    __slots__ = ("is_digital", "pin_id", "pin_name", "time_usec", "value")

    def __init__(self) -> None:
        self.pin_id: int = 0
        self.pin_name: str = ""
        self.value: int = 0
        self.is_digital: bool = True
        self.time_usec: int = 0

    @property
    def time(self) -> timedelta:
        """The reading's time as a timedelta (µs resolution)."""
        return timedelta(microseconds=self.time_usec)

    @time.setter
    def time(self, value: timedelta | float) -> None:
        self.time_usec = usec_of(value)

    def __repr__(self) -> str:
        name = f" '{self.pin_name}'" if self.pin_name else ""
        return f"<FirmataData pin {self.pin_id}{name} value {self.value} at {self.time_usec} µs>"


class FloatSignalBlock(SignalBlockF32):
    """A block of 64-bit samples (2.x); the stream carries them as float32.

    Values are rounded to float32 when the block is sent.
    """

    if not TYPE_CHECKING:  # checkers would take `data`, declared below, for a missing slot
        __slots__ = ()
    dtype = np.dtype(np.float64)
    data: NDArray[Any]


class VectorDouble(list[float]):
    """A list of numbers (2.x); a plain list works as well."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        super().__init__(map(float, values))


def new_firmatactl(kind: FirmataControlKind, pin_id: int = 0, pin_name: str = "") -> FirmataControl:
    """Return a new 2.x command for a pin."""
    command = FirmataControl(kind)
    command.pin_id = pin_id
    command.pin_name = pin_name
    return command


class PinNames:
    """Names that a script has registered for the pins of one board."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._analog: set[int] = set()

    def register(self, name: str, pin_id: int, *, analog: bool) -> None:
        """Register a pin.

        Args:
            name: Name of the pin; "" registers its kind only. A name in use moves to this pin.
            pin_id: Number of the pin.
            analog: Whether it is an analog input.
        """
        if name := str(name):
            self._ids[name] = pin_id
            self._names[pin_id] = name
        (self._analog.add if analog else self._analog.discard)(pin_id)

    def id_of(self, name: str) -> int:
        """Return the number of the pin of this name.

        Raises:
            SyntalosPyError: No pin is registered under it.
        """
        if (name := str(name)) in self._ids:
            return self._ids[name]
        close = nearest(name, self._ids)
        raise SyntalosPyError(
            f"no pin is registered under the name '{name}': "
            + (f"did you mean '{close}'?" if close else "register it first, e.g. in start()")
        )

    def name_of(self, pin_id: int) -> str:
        """Return the name of a pin; empty when it has none."""
        return self._names.get(pin_id, "")

    def is_analog(self, pin_id: int) -> bool:
        """Whether the pin was registered as an analog one."""
        return pin_id in self._analog


def to_line_command(control: FirmataControl, names: PinNames) -> LineCommand:
    """Translate a 2.x command.

    NEW_DIG_PIN and NEW_ANA_PIN also register their pin in `names`. A pulse of length 0 becomes one
    of 50 ms, as in Syntalos 2.x.

    Raises:
        SyntalosPyError: The kind is unknown, or no pin is registered under the command's name.
    """
    kind = _kind(control)
    value = int(control.value)
    if kind in {FirmataControlKind.NEW_DIG_PIN, FirmataControlKind.NEW_ANA_PIN}:
        pin_id = int(control.pin_id)
        analog = kind is FirmataControlKind.NEW_ANA_PIN
        names.register(control.pin_name, pin_id, analog=analog)
        return LineCommand(LineCommandKind.SET_MODE, pin_id, value, 0, _mode(control))
    pin_id = names.id_of(control.pin_name) if control.pin_name else int(control.pin_id)
    if kind is FirmataControlKind.IO_MODE:
        return LineCommand(LineCommandKind.SET_MODE, pin_id, value, 0, _mode(control))
    if kind is FirmataControlKind.WRITE_DIGITAL_PULSE:
        duration_usec = (value if value > 0 else DEFAULT_PULSE_MSEC) * 1000
        return LineCommand(LineCommandKind.WRITE_DIGITAL_PULSE, pin_id, 1, duration_usec)
    return LineCommand(_SAME[kind], pin_id, value)


def to_firmata_control(command: LineCommand) -> FirmataControl:
    """Translate a command for a script that declared its port with the 2.x type."""
    control = FirmataControl(_BACK[command.kind])
    control.pin_id = command.line_id
    control.value = command.value
    control.is_output = bool(command.flags & LineModeFlags.IS_OUTPUT)
    control.is_pullup = bool(command.flags & LineModeFlags.PULL_UP)
    if control.kind is FirmataControlKind.WRITE_DIGITAL_PULSE:
        control.value = command.duration_usec // 1000
    return control


def to_firmata_data(reading: LineReading, names: PinNames) -> FirmataData:
    """Translate a reading; it carries the name under which its pin is registered.

    The name is empty when the pin has none; times and values are those of the reading.
    """
    data = FirmataData()
    data.pin_id = reading.line_id
    data.pin_name = names.name_of(reading.line_id)
    data.value = reading.value
    data.is_digital = not names.is_analog(reading.line_id)
    data.time_usec = reading.time_usec
    return data


def to_line_reading(data: FirmataData) -> LineReading:
    """Translate a 2.x reading; its name is dropped."""
    return LineReading(int(data.pin_id), int(data.value), int(data.time_usec))


def to_float_block(block: SignalBlockF32) -> FloatSignalBlock:
    """Return the block with 64-bit samples."""
    wide = FloatSignalBlock()
    wide.timestamps = block.timestamps
    wide.data = block.data
    return wide


def to_f32_block(block: FloatSignalBlock) -> SignalBlockF32:
    """Return the block with float32 samples, as the stream carries them."""
    narrow = SignalBlockF32()
    narrow.timestamps = block.timestamps
    narrow.data = block.data
    return narrow


def _kind(control: FirmataControl) -> FirmataControlKind:
    try:
        return FirmataControlKind(control.kind)
    except ValueError:
        raise SyntalosPyError(
            f"{control.kind!r} is not a FirmataControlKind: use e.g. FirmataControlKind.NEW_DIG_PIN"
        ) from None


def _mode(control: FirmataControl) -> LineModeFlags:
    if control.is_output:
        return LineModeFlags.IS_OUTPUT
    flags = LineModeFlags.IS_INPUT
    return flags | LineModeFlags.PULL_UP if control.is_pullup else flags


_SAME: dict[Any, LineCommandKind] = {
    FirmataControlKind.UNKNOWN: LineCommandKind.UNKNOWN,
    FirmataControlKind.WRITE_ANALOG: LineCommandKind.WRITE_ANALOG,
    FirmataControlKind.WRITE_DIGITAL: LineCommandKind.WRITE_DIGITAL,
    FirmataControlKind.SYSEX: LineCommandKind.DEVICE_SPECIFIC,
}

_BACK: dict[LineCommandKind, FirmataControlKind] = {
    LineCommandKind.UNKNOWN: FirmataControlKind.UNKNOWN,
    LineCommandKind.SET_MODE: FirmataControlKind.NEW_DIG_PIN,
    LineCommandKind.WRITE_DIGITAL: FirmataControlKind.WRITE_DIGITAL,
    LineCommandKind.WRITE_ANALOG: FirmataControlKind.WRITE_ANALOG,
    LineCommandKind.WRITE_DIGITAL_PULSE: FirmataControlKind.WRITE_DIGITAL_PULSE,
    LineCommandKind.WRITE_ANALOG_PULSE: FirmataControlKind.WRITE_ANALOG,
    LineCommandKind.DEVICE_SPECIFIC: FirmataControlKind.SYSEX,
}
