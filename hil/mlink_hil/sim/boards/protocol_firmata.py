"""StandardFirmata 2.5 as seen from the serial line, in plain Python.

It takes the place of firmware in the simulator `protocol`. `receive` accepts bytes, `send` is
called with replies, `Pins` is how it reads and drives pins. It reads no clock: the board calls
`poll` and `sample`. Messages are those of the Firmata protocol 2.5
(https://github.com/firmata/protocol).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from mlink_hil.sim.boards.i2c import I2cBus
from mlink_hil.uno import ANALOG_COUNT, FIRST_ANALOG, PIN_COUNT, SUPPLY_VOLT, USER_PINS

NAME = "StandardFirmata.ino"
VERSION = (2, 5)
INPUT, OUTPUT, ANALOG, PWM, SERVO, I2C, PULLUP = 0, 1, 2, 3, 4, 6, 11
SAMPLING_MSEC = 19
_PWM_PINS = (3, 5, 6, 9, 10, 11)
_I2C_PINS = (18, 19)
_PORT_COUNT = 3
_LARGEST_SYSEX = 64
_RESOLUTION = ((INPUT, 1), (OUTPUT, 1), (PULLUP, 1))

_DIGITAL, _REPORT_ANALOG, _REPORT_DIGITAL, _ANALOG = 0x90, 0xC0, 0xD0, 0xE0
_SYSEX, _SET_MODE, _SET_PIN, _END_SYSEX, _VERSION, _RESET = 0xF0, 0xF4, 0xF5, 0xF7, 0xF9, 0xFF
_MAP_QUERY, _MAP_REPLY, _CAP_QUERY, _CAP_REPLY = 0x69, 0x6A, 0x6B, 0x6C
_STATE_QUERY, _STATE_REPLY, _WIDE_ANALOG, _FIRMWARE, _SAMPLING = 0x6D, 0x6E, 0x6F, 0x79, 0x7A
_TEXT, _I2C_REQUEST, _I2C_REPLY, _I2C_CONFIG = 0x71, 0x76, 0x77, 0x78
_I2C_WRITE, _I2C_REPEAT, _I2C_END = 0, 2, 3
_MOST_I2C_READS = 8
_LENGTHS = {
    _DIGITAL: 2, _ANALOG: 2, _REPORT_ANALOG: 1, _REPORT_DIGITAL: 1, _SET_MODE: 2, _SET_PIN: 2,
}  # fmt: skip


class Pins(Protocol):
    """The pins that the firmware reads and drives."""

    def set_output(self, pin: int, level: bool) -> None:
        """Make a pin an output at a level."""

    def set_input(self, pin: int, *, pull_up: bool) -> None:
        """Make a pin an input, with or without its pull-up."""

    def level(self, pin: int) -> bool:
        """Return the level of a pin."""

    def volts(self, pin: int) -> float:
        """Return the voltage of a pin, 0 to 5 V."""


def modes_of(pin: int) -> list[tuple[int, int]]:
    """Return the modes of an Uno's pin as (mode, resolution in bits)."""
    if pin not in USER_PINS:
        return []
    modes = list(_RESOLUTION)
    if pin >= FIRST_ANALOG:
        modes.append((ANALOG, 10))
    if pin in _PWM_PINS:
        modes.append((PWM, 8))
    modes.append((SERVO, 14))
    if pin in _I2C_PINS:
        modes.append((I2C, 1))
    return modes


class FirmataFirmware:
    """The firmware; a reset replaces it by a new one.

    Args:
        pins: The board's pins.
        send: Called with bytes for the host.
        bus: The devices on the board's I2C bus.
    """

    def __init__(
        self, pins: Pins, send: Callable[[bytes], None], bus: I2cBus | None = None
    ) -> None:
        self._pins = pins
        self._bus = bus or I2cBus()
        self._uses_i2c = False
        self._i2c_reads: list[tuple[int, int | None, int]] = []
        """Address, register and count of each repeated read."""
        self._send = send
        self._modes = [OUTPUT] * PIN_COUNT
        self._states = [0] * PIN_COUNT
        self._port_reported = [False] * _PORT_COUNT
        self._port_sent = [0] * _PORT_COUNT
        self._analog_reported = [False] * ANALOG_COUNT
        self._message = bytearray()
        self.sampling_msec = SAMPLING_MSEC

    def start(self) -> None:
        """Set the pins to their defaults and report the firmware, as after a reset."""
        self._set_defaults()
        self._send(bytes([_VERSION, *VERSION]))
        self._report_firmware()

    def _set_defaults(self) -> None:
        self._port_reported = [False] * _PORT_COUNT
        self._analog_reported = [False] * ANALOG_COUNT
        self._uses_i2c = False
        self._i2c_reads.clear()
        self.sampling_msec = SAMPLING_MSEC
        for pin in USER_PINS:
            self._set_mode(pin, ANALOG if pin >= FIRST_ANALOG else OUTPUT)

    # ------------------------------------------------------------------ messages

    def receive(self, byte: int) -> None:
        """Process one byte from the host; a complete message takes effect at once.

        Unknown commands are ignored, as StandardFirmata does.
        """
        if byte == _RESET:
            self._message.clear()
            self._set_defaults()
        elif self._message[:1] == bytes([_SYSEX]):
            self._receive_sysex(byte)
        elif byte & 0x80:
            self._message[:] = bytes([byte])
            if byte == _VERSION:
                self._message.clear()
                self._send(bytes([_VERSION, *VERSION]))
        elif self._message:
            self._message.append(byte)
            kind = self._message[0] if self._message[0] >= 0xF0 else self._message[0] & 0xF0
            if len(self._message) > _LENGTHS.get(kind, 0):
                message = bytes(self._message)
                self._message.clear()
                self._obey(kind, message[0] & 0x0F, message[1:])

    def _receive_sysex(self, byte: int) -> None:
        if byte == _END_SYSEX:
            message = bytes(self._message[1:])
            self._message.clear()
            if message:
                self._obey_sysex(message[0], message[1:])
        elif len(self._message) <= _LARGEST_SYSEX:
            self._message.append(byte)

    def _obey(self, kind: int, channel: int, data: bytes) -> None:
        if kind == _DIGITAL:
            self._write_port(channel, data[0] | data[1] << 7)
        elif kind == _ANALOG:
            self._write_analog(channel, data[0] | data[1] << 7)
        elif kind == _REPORT_DIGITAL and channel < _PORT_COUNT:
            self._port_reported[channel] = bool(data[0])
            if data[0]:
                self._send_port(channel, self._read_port(channel))
        elif kind == _REPORT_ANALOG and channel < ANALOG_COUNT:
            self._analog_reported[channel] = bool(data[0])
            if data[0]:
                self._send_analog(channel)
        elif kind == _SET_MODE:
            self._set_mode(data[0], data[1])
        elif kind == _SET_PIN and data[0] in USER_PINS and self._modes[data[0]] == OUTPUT:
            self._write(data[0], data[1])

    def _obey_sysex(self, command: int, data: bytes) -> None:
        if command == _FIRMWARE:
            self._report_firmware()
        elif command == _CAP_QUERY:
            reply = bytearray([_CAP_REPLY])
            for pin in range(PIN_COUNT):
                for pair in modes_of(pin):
                    reply += bytes(pair)
                reply.append(0x7F)
            self._send_sysex(reply)
        elif command == _MAP_QUERY:
            channels = [pin - FIRST_ANALOG if pin >= FIRST_ANALOG else 0x7F for pin in range(20)]
            self._send_sysex([_MAP_REPLY, *channels])
        elif command == _STATE_QUERY and data and data[0] < PIN_COUNT:
            state = self._states[data[0]]
            low = [_STATE_REPLY, data[0], self._modes[data[0]], state & 0x7F]
            self._send_sysex([*low, state >> 7 & 0x7F] if state > 0x7F else low)
        elif command == _WIDE_ANALOG and len(data) > 1:
            self._write_analog(data[0], sum(b << 7 * i for i, b in enumerate(data[1:4])))
        elif command == _SAMPLING and len(data) > 1:
            self.sampling_msec = max(1, data[0] | data[1] << 7)
        elif command == _I2C_CONFIG:
            self._uses_i2c = True
            for pin in _I2C_PINS:
                self._set_mode(pin, I2C)
        elif command == _I2C_REQUEST and self._uses_i2c and len(data) > 1:
            numbers = [low | high << 7 for low, high in zip(data[2::2], data[3::2], strict=False)]
            self._request_i2c(data[0], data[1] >> 3 & 3, numbers)

    def _request_i2c(self, address: int, mode: int, numbers: list[int]) -> None:
        if mode == _I2C_WRITE:
            self._bus.write(address, bytes(number & 0xFF for number in numbers))
        elif mode == _I2C_END:
            self._i2c_reads = [
                read
                for read in self._i2c_reads
                if read[0] != address or (numbers and read[1] != numbers[0])
            ]
        elif numbers:
            read = address, numbers[0] if len(numbers) > 1 else None, numbers[-1]
            if mode != _I2C_REPEAT:
                self._read_i2c(*read)
            elif len(self._i2c_reads) < _MOST_I2C_READS:
                self._i2c_reads.append(read)
            else:
                self._send_text("too many queries")

    def _read_i2c(self, address: int, register: int | None, count: int) -> None:
        if register is not None:
            self._bus.write(address, bytes((register & 0xFF,)))
        got = self._bus.read(address, count)
        if len(got) < count:
            self._send_text("I2C: Too few bytes received")
        head = address, 0, (register or 0) & 0x7F, (register or 0) >> 7
        self._send_sysex([_I2C_REPLY, *head, *(part for b in got for part in (b & 0x7F, b >> 7))])

    def _send_text(self, text: str) -> None:
        self._send_sysex([_TEXT, *(part for char in text.encode() for part in (char, 0))])

    def _report_firmware(self) -> None:
        halves = (half for char in NAME.encode() for half in (char & 0x7F, char >> 7))
        self._send_sysex([_FIRMWARE, *VERSION, *halves])

    def _send_sysex(self, body: Iterable[int]) -> None:
        self._send(bytes([_SYSEX, *body, _END_SYSEX]))

    # ------------------------------------------------------------------ pins

    def _set_mode(self, pin: int, mode: int) -> None:
        if mode not in dict(modes_of(pin)):
            return
        self._modes[pin] = mode
        self._states[pin] = int(mode == PULLUP)
        if pin >= FIRST_ANALOG:
            self._analog_reported[pin - FIRST_ANALOG] = mode == ANALOG and self._reports(pin)
        if mode in (INPUT, PULLUP, ANALOG, I2C):
            self._pins.set_input(pin, pull_up=mode == PULLUP)
        else:
            self._pins.set_output(pin, False)

    def _reports(self, pin: int) -> bool:
        return self._analog_reported[pin - FIRST_ANALOG]

    def _write(self, pin: int, value: int) -> None:
        self._states[pin] = value
        self._pins.set_output(pin, bool(value))

    def _write_port(self, port: int, value: int) -> None:
        for bit in range(8):
            pin = 8 * port + bit
            if pin not in USER_PINS:
                continue
            on = value >> bit & 1
            if self._modes[pin] == OUTPUT:
                self._write(pin, on)
            elif self._modes[pin] == INPUT and on:
                self._states[pin] = 1  # how clients older than the mode PULLUP ask for one
                self._pins.set_input(pin, pull_up=True)

    def _write_analog(self, pin: int, value: int) -> None:
        """Set a duty cycle or angle; pulses are not simulated, the pin is high unless it is 0."""
        if pin < PIN_COUNT and self._modes[pin] in (PWM, SERVO):
            self._write(pin, value)

    def _read_port(self, port: int) -> int:
        value = 0
        for bit in range(8):
            pin = 8 * port + bit
            if pin in USER_PINS and self._modes[pin] in (INPUT, PULLUP) and self._pins.level(pin):
                value |= 1 << bit
        return value

    def poll(self) -> None:
        """Report ports that have changed; the real firmware does so in each turn of its loop."""
        for port, reported in enumerate(self._port_reported):
            if reported and (value := self._read_port(port)) != self._port_sent[port]:
                self._send_port(port, value)

    def _send_port(self, port: int, value: int) -> None:
        self._port_sent[port] = value
        self._send(bytes([_DIGITAL | port, value & 0x7F, value >> 7]))

    def sample(self) -> None:
        """Report analog inputs whose reports are enabled, 0 to 1023 for 0 to 5 V.

        The board calls it every `sampling_msec` ms.
        """
        for channel, reported in enumerate(self._analog_reported):
            if reported and self._modes[FIRST_ANALOG + channel] == ANALOG:
                self._send_analog(channel)
        for read in self._i2c_reads:
            self._read_i2c(*read)

    def _send_analog(self, channel: int) -> None:
        value = min(1023, int(self._pins.volts(FIRST_ANALOG + channel) / SUPPLY_VOLT * 1024))
        self._send(bytes([_ANALOG | channel, value & 0x7F, value >> 7]))
