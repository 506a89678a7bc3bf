"""A `pyfirmata2.Board` on mlink's session, so that existing pyFirmata2 scripts run unchanged.

The library's handshake, reader, parser, callbacks and exit are replaced. Its names, its pin syntax
and its classes stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

import pyfirmata2
from pyfirmata2.pyfirmata2 import InvalidPinDefError
from serial import SerialException

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.session import Session, SessionState
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, DeviceLostError
from mlink_drivers.firmata.pyfirmata.pins import UNAVAILABLE, BoardPin, BoardPort
from mlink_drivers.firmata.pyfirmata.port import PortFace, find_port
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.pin_layout import PinLayout
from mlink_drivers.firmata.wire.protocol import (
    ANALOG_MESSAGE,
    DIGITAL_MESSAGE,
    PINS_PER_PORT,
    PROTOCOL_VERSION,
    AnalogValue,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    Message,
    Oversized,
    PinMode,
    ProtocolVersion,
    StringData,
    Sysex,
)

_log = logging.getLogger(__name__)
_ITERATE_S: Final = 0.01
"""Pause of `iterate`, so that a script that only iterates leaves the processor to others."""
_USABLE: Final = (PinMode.INPUT, PinMode.OUTPUT)


class BoardLostError(DeviceLostError, SerialException):  # type: ignore[misc]  # untyped library
    """The board is lost; scripts for the library expect pySerial's exception."""


class Board(pyfirmata2.Board):  # type: ignore[misc]  # untyped library
    """A Firmata board, connected when the constructor returns.

    Args:
        port: The port; `AUTODETECT` (None) for the only USB serial port.
        layout: One of the library's tables. None uses the pins that the board reports; then
            `digital[n]` is pin n of the board and `analog[n]` its channel n.
        baudrate: Bits per second.
        name: The board's name in messages; by default the port.
        timeout: Ignored; a parameter of the library.
        debug: Ignored; a parameter of the library.
        handshake_timeout_s: Longest wait for the board's answers.
        reset_on_close: Whether `exit` resets the board.
        on_loss: Called in the reader thread when the board is lost.

    Raises:
        DeviceError: The port cannot be opened, or no Firmata board answers.
    """

    def __init__(
        self,
        port: str | None,
        layout: Mapping[str, Sequence[int]] | None = None,
        baudrate: int = DEFAULT_BAUD_RATE,
        name: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - a parameter of the library
        debug: bool = False,  # noqa: ARG002 - a parameter of the library
        *,
        handshake_timeout_s: float = 8.0,
        reset_on_close: bool = True,
        on_loss: Callable[[DeviceError], None] | None = None,
    ) -> None:
        # Not the library's __init__: it waits for 5 s and does not check what is on the line.
        self._command_handlers: dict[int, Callable[..., object]] = {}
        self._on_loss = on_loss
        self._sampling = False
        self._exited = False
        self._read_too_early = False
        self.callback_errors: list[Exception] = []
        """Exceptions of callbacks and handlers; they are logged as well."""
        self.refused_samples = 0
        """Samples beyond the resolution that the board reports; the first one is logged."""
        self.analog: list[BoardPin] = []
        self.digital: list[BoardPin] = []
        self.digital_ports: list[BoardPort] = []
        address = port if port is not None else find_port()
        self.name = name or address
        self.session = Session(
            open_transport(address, baudrate),
            self,
            name=self.name,
            handshake_timeout_s=handshake_timeout_s,
            reset_on_close=reset_on_close,
        )
        self.sp = PortFace(self.session)
        description = self.session.connect()
        self.description = description
        self.pin_layout: PinLayout = description.layout
        self.firmata_version = description.protocol_version
        self.firmware = description.firmware_name
        self.firmware_version = description.firmware_version
        try:
            self.setup_layout(layout if layout is not None else self._reported_layout())
        except BaseException:
            self.session.close()
            raise

    def get_pin(self, pin_def: str | list[str]) -> BoardPin:
        """Return the pin of a definition such as "d:13:o", set up for it; as the library.

        Raises:
            InvalidPinDefError: It is no such definition, or the board has no such pin.
            PinAlreadyTakenError: The pin was returned before.
        """
        bits = pin_def.split(":") if isinstance(pin_def, str) else pin_def
        parts = 2 if bits[:1] == ["a"] else 3
        if len(bits) < parts or not str(bits[1]).isdecimal():
            raise InvalidPinDefError(
                f"Invalid pin definition: {pin_def!r} on {self.name}; write a or d, the pin's"
                " number, and i, o, p (PWM), s (servo) or u (input with pull-up): 'd:13:o'"
            )
        pin: BoardPin = super().get_pin(pin_def)
        return pin

    def __del__(self) -> None:
        # The library's version calls exit(), which fails on a board that was never opened.
        if "session" in self.__dict__:
            self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.exit()

    # -- sending -------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send encoded messages at once.

        Raises:
            BoardLostError: The board is lost, or `exit` was called.
        """
        try:
            self.session.send(data)
        except DeviceLostError as error:
            raise BoardLostError(error.message, remedy=error.remedy) from None

    def send_sysex(self, sysex_cmd: int, data: Sequence[int] = ()) -> None:
        """Send a sysex message of 7-bit bytes."""
        self.send(encode.sysex(sysex_cmd, bytes(data)))

    def pulls_up_by_write(self, board_pin: int) -> bool:
        """Whether a pin has no pull-up mode, but writing a high value to the input enables one."""
        return self.description.pulls_up_by_write(board_pin)

    def servo_config(
        self,
        pin: int,
        min_pulse: int = 544,
        max_pulse: int = 2400,
        angle: float | None = None,
    ) -> None:
        """Make a pin a servo; it moves only when `angle` is given.

        Args:
            pin: The digital pin.
            min_pulse: Pulse width in µs at 0 degrees.
            max_pulse: Pulse width in µs at 180 degrees.
            angle: Degrees to move to.

        Raises:
            OSError: The pin does not exist or has no servo mode.
        """
        if not 0 <= pin < len(self.digital) or not self.pin_layout.supports(pin, PinMode.SERVO):
            raise OSError(f"Pin {pin} is not a valid servo pin: {self.pin_layout.describe(pin)}")
        self.send(
            encode.servo_config(pin, min_pulse, max_pulse) + encode.pin_mode(pin, PinMode.SERVO)
        )
        self.digital[pin]._mode = PinMode.SERVO
        if angle is not None:
            self.digital[pin].write(angle)

    def setSamplingInterval(self, intervalInMs: float) -> None:  # noqa: N802, N803 - the library's
        """Set the interval of analog samples, in whole ms."""
        self.send(encode.sampling_interval(int(intervalInMs)))

    # -- sampling ------------------------------------------------------------------------------

    def samplingOn(self, sample_interval: float = 19) -> None:  # noqa: N802 - the library's
        """Set the sampling interval and begin to call callbacks.

        Args:
            sample_interval: In ms, at least 1.

        Raises:
            ValueError: The interval is too short.
        """
        if sample_interval < 1:
            raise ValueError("Sampling interval less than 1ms")
        if self._sampling:
            return
        self.setSamplingInterval(sample_interval)
        self._sampling = True
        self._report_all(True)

    def samplingOff(self) -> None:  # noqa: N802 - the library's
        """Stop calling callbacks and switch the board's reports off."""
        if self._sampling:
            self._sampling = False
            self._report_all(False)

    def is_sampling(self) -> bool:
        """Whether callbacks are called."""
        return self._sampling

    def _report_all(self, enable: bool) -> None:
        """Switch the reports of all reporting inputs; their `reporting` flags stay."""
        if self.session.state is SessionState.CONNECTED:
            self.send(self._report_bytes(enable))

    def _report_bytes(self, enable: bool) -> bytes:
        ports = [port.port_number for port in self.digital_ports if port.reporting]
        channels = [pin.pin_number for pin in self.analog if pin.reporting]
        return b"".join(
            [encode.report_digital(port, enable) for port in ports]
            + [encode.report_analog(channel, enable) for channel in channels]
        )

    def bytes_available(self) -> int:
        """Begin to call callbacks, as `iterate` does; return 0: the session's reader reads.

        The library's `util.Iterator` asks this without end, and a script's own loop does.

        Raises:
            OSError: The board is lost, or closed by `exit`; this ends the Iterator.
        """
        if self.session.state is not SessionState.CONNECTED:
            raise OSError(f"{self.name} is not connected any more")
        if not self._sampling:
            self._sampling = True
            self._report_all(True)
        return 0

    def note_read_too_early(self) -> None:
        """Warn once of reads of a pin to which no value can come: nothing has begun to sample."""
        if not self._sampling and not self._exited and not self._read_too_early:
            self._read_too_early = True
            _log.warning(
                "%s: a pin was read that has no value, and the board reports none yet: start"
                " util.Iterator(board), or call board.samplingOn()",
                self.name,
            )

    def iterate(self) -> None:
        """Wait a moment: the session's reader handles what arrives.

        Raises:
            OSError: The board is lost, or closed by `exit`.
        """
        self.bytes_available()
        time.sleep(_ITERATE_S)

    # -- pins ----------------------------------------------------------------------------------

    def setup_layout(self, board_layout: Mapping[str, Sequence[int]]) -> None:
        """Make the pins of a layout table in the library's format."""
        self._layout = board_layout
        pins = self.pin_layout.analog_pins()
        self.analog = [BoardPin(self, n, pins.get(n, n)) for n in board_layout["analog"]]
        count = len(board_layout["digital"])
        self.digital_ports = [
            BoardPort(self, first // PINS_PER_PORT, min(PINS_PER_PORT, count - first))
            for first in range(0, count, PINS_PER_PORT)
        ]
        self.digital = [pin for port in self.digital_ports for pin in port.pins]
        for number in board_layout["pwm"]:
            self.digital[number].PWM_CAPABLE = True
        for number in board_layout["disabled"]:
            self.digital[number].mode = UNAVAILABLE
        self.taken = {
            "analog": {pin.pin_number: False for pin in self.analog},
            "digital": {pin.pin_number: False for pin in self.digital},
        }

    def _reported_layout(self) -> dict[str, tuple[int, ...]]:
        layout = self.pin_layout
        every = range(layout.pin_count)
        channels = layout.analog_pins()
        return {
            "digital": tuple(every),
            "analog": tuple(range(max(channels, default=-1) + 1)),
            "pwm": tuple(pin for pin in every if layout.supports(pin, PinMode.PWM)),
            "servo": tuple(pin for pin in every if layout.supports(pin, PinMode.SERVO)),
            "disabled": tuple(
                pin for pin in every if not any(layout.supports(pin, mode) for mode in _USABLE)
            ),
        }

    # -- receiving (reader thread) -------------------------------------------------------------

    def add_cmd_handler(self, cmd: int, func: Callable[..., object]) -> None:
        """Call `func` with the data bytes of each message with command byte or sysex id `cmd`."""
        self._command_handlers[cmd] = func
        if cmd < 0x80:
            self.session.decoder.raw_sysex.add(cmd)

    def on_message(self, message: Message, arrival_ns: int) -> None:
        """Pass a message to a script's handler, or else to the pins."""
        if self._command_handlers and self._call_handler(message):
            return
        if isinstance(message, AnalogValue | ExtendedAnalog):
            channel = message.channel if isinstance(message, AnalogValue) else message.pin
            if self._sampling and channel < len(self.analog):
                pin = self.analog[channel]
                if pin.reporting:
                    pin.take_analog(message.value, arrival_ns)
        elif isinstance(message, DigitalPort):
            if self._sampling and message.port < len(self.digital_ports):
                self.digital_ports[message.port].take(message.mask, arrival_ns)
        elif isinstance(message, ProtocolVersion):
            self.firmata_version = message.major, message.minor
        elif isinstance(message, Firmware):
            self.firmware, self.firmware_version = message.name, (message.major, message.minor)
        elif isinstance(message, StringData):
            _log.warning("%s reports: %s", self.name, message.text)
        elif isinstance(message, Oversized):
            _log.warning("%s has sent a message that is too long: it is lost", self.name)

    def _call_handler(self, message: Message) -> bool:
        """Call a script's handler for this message; return False when there is none."""
        arguments: Sequence[int]
        if isinstance(message, Sysex):
            command, arguments = message.id, message.data
        elif isinstance(message, AnalogValue):
            command = ANALOG_MESSAGE
            arguments = (message.channel, message.value & 0x7F, message.value >> 7)
        elif isinstance(message, DigitalPort):
            command = DIGITAL_MESSAGE
            arguments = (message.port, message.mask & 0x7F, message.mask >> 7)
        elif isinstance(message, ProtocolVersion):
            command, arguments = PROTOCOL_VERSION, (message.major, message.minor)
        else:
            return False
        handler = self._command_handlers.get(command)
        if handler is None:
            return False
        handler(*arguments)
        return True

    def on_loss(self, error: DeviceError) -> None:
        """Log the loss of the board and call `on_loss` of the constructor."""
        _log.error("%s: %s", self.name, error)
        if self._on_loss is not None:
            self._on_loss(error)

    def on_fault(self, error: Exception) -> None:
        """Report an exception of a handler; reading goes on."""
        self.report_callback_error(error)

    def report_callback_error(self, error: Exception) -> None:
        """Log an exception of a callback and append it to `callback_errors`."""
        _log.error("%s: a callback raised %r", self.name, error, exc_info=error)
        self.callback_errors.append(error)

    def refuse_sample(self, pin: object, raw: int, full: int) -> None:
        """Count a sample that is beyond the range of its pin; it is not used."""
        self.refused_samples += 1
        if self.refused_samples == 1:
            _log.warning(
                "%s: %s sent %d, but its highest value is %d: the sample is not used. Bytes change"
                " on the line (check its cable), or the firmware reports a wrong resolution. More"
                " are counted in refused_samples",
                self.name,
                pin,
                raw,
                full,
            )

    # -- the end -------------------------------------------------------------------------------

    def exit(self) -> None:
        """Stop reports, detach servos, reset the board and close the port; also of a lost board."""
        if self._exited:
            return
        self._exited = True
        self._sampling = False
        made = [pin for pins in ("analog", "digital") for pin in vars(self).get(pins, ())]
        for pin in made:
            pin.unregister_callback()
        farewell = self._report_bytes(False) + b"".join(
            encode.pin_mode(pin.board_pin, PinMode.OUTPUT)
            for pin in made
            if pin.mode == PinMode.SERVO
        )
        self.session.close(farewell)
