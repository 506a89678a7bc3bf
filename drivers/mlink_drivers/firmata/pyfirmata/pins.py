"""Pins and ports with the interface of pyFirmata2.

They are subclasses of the library's classes, for isinstance; sending and receiving are replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import pyfirmata2

from mlink_drivers.firmata.pyfirmata.callbacks import CallbackThread
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import PINS_PER_PORT, SINGLE_PIN_WRITE_SINCE, PinMode

INPUT_MODES: Final = (PinMode.INPUT, PinMode.PULLUP)
UNAVAILABLE: Final = -1

_DEFAULT_ADC_BITS: Final = 10
_DEFAULT_PWM_BITS: Final = 8


class PinBoard(Protocol):
    """The part of a board that its pins and ports use; `Board` implements it."""

    name: str
    pin_layout: PinLayout
    firmata_version: tuple[int, int]

    def send(self, data: bytes) -> None:
        """Send encoded messages."""

    def is_sampling(self) -> bool:
        """Whether callbacks are called."""

    def pulls_up_by_write(self, board_pin: int) -> bool:
        """Whether a high value written to an input switches its pull-up on."""

    def servo_config(self, pin: int) -> None:
        """Make a digital pin a servo."""

    def report_callback_error(self, error: Exception) -> None:
        """Report an exception that a callback raised."""

    def note_read_too_early(self) -> None:
        """Note that an input was read before its first value."""

    def refuse_sample(self, pin: object, raw: int, full: int) -> None:
        """Count a sample that is beyond the range of its pin."""
        ...


class BoardPin(pyfirmata2.Pin):  # type: ignore[misc]  # untyped library
    """One pin.

    Args:
        board: The board that sends.
        pin_number: Number among the digital pins, or the analog channel.
        board_pin: Number of the pin on the board.
        port: The port of a digital pin; None for an analog channel.
    """

    def __init__(
        self, board: PinBoard, pin_number: int, board_pin: int, port: BoardPort | None = None
    ) -> None:
        kind = pyfirmata2.DIGITAL if port is not None else pyfirmata2.ANALOG
        super().__init__(board, pin_number, type=kind, port=port)
        self.board_pin = board_pin
        self.raw: int | None = None
        """Last analog value as received, before scaling."""
        self.arrival_ns = 0
        """Arrival of the last value (ns of CLOCK_MONOTONIC)."""
        self.callback: Callable[[Any], object] | None = None
        self._runner: CallbackThread | None = None

    @property
    def mode(self) -> int:
        """Mode of the pin, one of the library's constants; OSError when it lacks a new one."""
        mode: int = self._mode
        return mode

    @mode.setter
    def mode(self, mode: int) -> None:
        if mode == UNAVAILABLE:
            self._mode = UNAVAILABLE
            return
        if self._mode == UNAVAILABLE:
            raise OSError(f"{self} can not be used through Firmata")
        layout = self.board.pin_layout
        by_write = mode == PinMode.PULLUP and self.board.pulls_up_by_write(self.board_pin)
        allowed = self.PWM_CAPABLE if mode == PinMode.PWM else by_write or None
        if allowed is False or (
            allowed is None and not layout.supports(self.board_pin, PinMode(mode))
        ):
            raise OSError(f"{self} cannot be set to {PinMode(mode).name}: {self._abilities()}")
        if mode == PinMode.SERVO:
            self.board.servo_config(self.pin_number)
            return
        self._mode = mode
        self.board.send(encode.pin_mode(self.board_pin, PinMode.INPUT if by_write else mode))
        if by_write:
            self.port.write()
        if mode in INPUT_MODES:
            self.enable_reporting()

    def enable_reporting(self) -> None:
        """Switch the board's reports of this input on; OSError when it is not an input."""
        if self._mode not in (*INPUT_MODES, PinMode.ANALOG):
            raise OSError(f"{self} is not an input and can therefore not report")
        self.reporting = True
        if self.type == pyfirmata2.ANALOG:
            # Boards other than AVR ones sample only pins that are in analog mode.
            self.board.send(encode.pin_mode(self.board_pin, PinMode.ANALOG) + self._report(True))
        else:
            self.port.enable_reporting()

    def disable_reporting(self) -> None:
        """Switch the board's reports of this input off; for a digital pin, of its whole port."""
        if self.type != pyfirmata2.ANALOG:
            self.port.disable_reporting()
        elif self.reporting:
            self.reporting = False
            self.board.send(self._report(False))

    def read(self) -> object:
        """Return the last value received for an input, or written to an output."""
        if self._mode == UNAVAILABLE:
            raise OSError(f"{self} can not be used through Firmata")
        if self.value is None and self._mode in (*INPUT_MODES, PinMode.ANALOG):
            self.board.note_read_too_early()
        return self.value

    def register_callback(self, callback: Callable[[Any], object]) -> None:
        """Call `callback` with each new value: a bool, or 0 to 1 for an analog input."""
        self.unregister_callback()
        self.callback = callback
        self._runner = CallbackThread(
            f"{self} of {self.board.name}",
            callback,
            wanted=self.board.is_sampling,
            on_error=self.board.report_callback_error,
        )

    def unregister_callback(self) -> None:
        """Stop calling the callback."""
        self.callback = None
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop()

    unregiser_callback = unregister_callback  # the library's spelling

    def write(self, value: float) -> None:
        """Write a value to the output; it is sent even when it is unchanged.

        Args:
            value: A bool for a digital output, 0 to 1 for PWM, degrees for a servo.

        Raises:
            OSError: The pin is an input or not available.
        """
        if self._mode == UNAVAILABLE:
            raise OSError(f"{self} can not be used through Firmata")
        if self._mode in INPUT_MODES:
            raise OSError(f"{self} is set up as an INPUT and can therefore not be written to")
        self.value = value
        if self._mode == PinMode.PWM:
            layout = self.board.pin_layout
            full = (1 << layout.resolution(self.board_pin, PinMode.PWM, _DEFAULT_PWM_BITS)) - 1
            level = round(min(max(value, 0.0), 1.0) * full)
            self.board.send(encode.analog(self.board_pin, level))
        elif self._mode == PinMode.SERVO:
            self.board.send(encode.analog(self.board_pin, int(value)))
        elif self.board.firmata_version >= SINGLE_PIN_WRITE_SINCE:
            self.board.send(encode.digital_pin(self.board_pin, bool(value)))
        else:
            self.port.write()

    def take_analog(self, raw: int, arrival_ns: int) -> None:
        """Handle a sample of this channel; one beyond its resolution was changed on the line."""
        bits = self.board.pin_layout.resolution(self.board_pin, PinMode.ANALOG, _DEFAULT_ADC_BITS)
        full = (1 << bits) - 1
        if raw > full:
            self.board.refuse_sample(self, raw, full)
            return
        self.raw = raw
        self._take(raw / full, arrival_ns)

    def take_digital(self, value: bool, arrival_ns: int) -> None:
        """Handle this pin's state in a report of its port; only a change calls the callback."""
        if value is not self.value:
            self._take(value, arrival_ns)

    def _take(self, value: float, arrival_ns: int) -> None:
        self.value = value
        self.arrival_ns = arrival_ns
        runner = self._runner
        if runner is not None:
            runner.put(value)

    def _report(self, enable: bool) -> bytes:
        return encode.report_analog(self.pin_number, enable)

    def _abilities(self) -> str:
        description: str = self.board.pin_layout.describe(self.board_pin)
        return description


class BoardPort(pyfirmata2.Port):  # type: ignore[misc]  # untyped library
    """Eight digital pins that the board reports together."""

    def __init__(self, board: PinBoard, port_number: int, num_pins: int = PINS_PER_PORT) -> None:
        # Not the library's: it makes pins of its own class.
        self.board = board
        self.port_number = port_number
        self.reporting = False
        first = port_number * PINS_PER_PORT
        self.pins = [BoardPin(board, pin, pin, self) for pin in range(first, first + num_pins)]

    def enable_reporting(self) -> None:
        """Switch the reports of this port on; the board answers with the present state."""
        self.reporting = True
        for pin in self.pins:
            if pin.mode in INPUT_MODES:
                pin.reporting = True
        self.board.send(encode.report_digital(self.port_number, True))

    def disable_reporting(self) -> None:
        """Switch the reports of this port off."""
        if self.reporting:
            self.reporting = False
            for pin in self.pins:
                pin.reporting = False
            self.board.send(encode.report_digital(self.port_number, False))

    def write(self) -> None:
        """Send the state of all outputs of this port (protocols before 2.5)."""
        mask = 0
        for bit, pin in enumerate(self.pins):
            if (pin.mode == PinMode.OUTPUT and pin.value) or pin.mode == PinMode.PULLUP:
                mask |= 1 << bit  # an input's bit switches its pull-up
        self.board.send(encode.digital_port(self.port_number, mask))

    def take(self, mask: int, arrival_ns: int) -> None:
        """Handle a report of this port."""
        if self.reporting:
            for bit, pin in enumerate(self.pins):
                if pin.mode in INPUT_MODES:
                    pin.take_digital(bool(mask >> bit & 1), arrival_ns)
