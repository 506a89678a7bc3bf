"""A tiny Firmata board behind a pseudo-terminal, for tests of the drivers.

Not a simulator: pins have no hardware, and bytes travel as fast as the pty takes them.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterable, Mapping

Modes = Mapping[int, int]

DIGITAL: Modes = {0: 1, 1: 1, 11: 1, 4: 14}
UNO_PINS: tuple[Modes, ...] = (
    {},
    {},
    *({**DIGITAL, 3: 8} if pin in (3, 5, 6, 9, 10, 11) else DIGITAL for pin in range(2, 14)),
    *({**DIGITAL, 2: 10} for _ in range(6)),
)


def sysex(sysex_id: int, payload: Iterable[int] = ()) -> bytes:
    return bytes((0xF0, sysex_id, *payload, 0xF7))


def capability_reply(pins: Iterable[Modes]) -> bytes:
    payload: list[int] = []
    for modes in pins:
        for mode, resolution in modes.items():
            payload += [mode, resolution]
        payload.append(0x7F)
    return sysex(0x6C, payload)


def analog_mapping_reply(pins: Iterable[Modes]) -> bytes:
    channel = -1
    payload = []
    for modes in pins:
        channel += 2 in modes
        payload.append(channel if 2 in modes else 0x7F)
    return sysex(0x6A, payload)


def firmware_reply(name: str, major: int = 2, minor: int = 5) -> bytes:
    return sysex(0x79, [major, minor, *(part for c in name.encode() for part in (c & 127, c >> 7))])


class ScriptedBoard:
    """Answers the handshake and port reporting; keeps every message it was sent in `received`."""

    def __init__(
        self,
        *,
        pins: tuple[Modes, ...] = UNO_PINS,
        version: tuple[int, int] = (2, 5),
        name: str = "StandardFirmata.ino",
        mute: bool = False,
        deaf_rounds: int = 0,
        chatter: bytes = b"",
        unplug_on: bytes = b"",
        baud_rate: int = 0,
        noise: bytes = b"",
    ) -> None:
        """`baud_rate`: what is sent at another one is not understood; `noise` is sent for it."""
        self.pins, self.version, self.name = pins, version, name
        self.mute, self.deaf_rounds = mute, deaf_rounds
        self._rounds = 0
        self.unplug_on = unplug_on
        self._speed = getattr(termios, f"B{baud_rate}") if baud_rate else None
        self._noise = noise
        self.received: list[bytes] = []
        self.port_states: dict[int, int] = {}
        self.reporting: set[int] = set()
        self._buffer = b""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._wake = os.eventfd(0)
        self._stopping = False
        self._changed = threading.Condition()
        if chatter:
            os.write(self._master, chatter)
        self._thread = threading.Thread(target=self._run, name=f"scripted board {self.path}")
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unplug()
        self._thread.join(60)
        os.close(self._wake)

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def set_pin(self, pin: int, value: int) -> None:
        port, bit = divmod(pin, 8)
        self.port_states[port] = self.port_states.get(port, 0) & ~(1 << bit) | value << bit
        if port in self.reporting:
            self.report(port)

    def report(self, port: int) -> None:
        state = self.port_states.get(port, 0)
        self.send(bytes((0x90 | port, state & 0x7F, state >> 7)))

    def unplug(self) -> None:
        """Close both ends; the driver's end hangs up."""
        if not self._stopping:
            self._stopping = True
            os.eventfd_write(self._wake, 1)
            if threading.current_thread() is not self._thread:
                self._thread.join(60)
            os.close(self._master)
            os.close(self._slave)

    def wait_for(self, message: bytes, count: int = 1, timeout: float = 60.0) -> float:
        """Wait until `message` was received `count` times; return the monotonic time of now."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.received.count(message) >= count, timeout)
        assert done, f"{message.hex(' ')} not among {[m.hex(' ') for m in self.received]}"
        return time.monotonic()

    def _run(self) -> None:
        while not self._stopping:
            readable, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in readable:
                return
            data = os.read(self._master, 4096)
            if self._speed not in (None, termios.tcgetattr(self._slave)[4]):
                if self._noise:
                    self.send(self._noise)
                continue
            self._buffer += data
            while message := self._next_message():
                self._answer(message)
                with self._changed:
                    self.received.append(message)
                    self._changed.notify_all()

    def _next_message(self) -> bytes:
        if not self._buffer:
            return b""
        command = self._buffer[0]
        if command == 0xF0:
            size = self._buffer.find(0xF7) + 1
        elif command in (0xF9, 0xFF) or command < 0x80:
            size = 1
        else:
            size = 2 if command & 0xF0 in (0xC0, 0xD0) else 3
        if not size or size > len(self._buffer):
            return b""
        message, self._buffer = self._buffer[:size], self._buffer[size:]
        return message

    def _answer(self, message: bytes) -> None:
        if self.unplug_on and message == self.unplug_on:
            self.unplug()
        if self.mute or self._stopping:
            return
        if message == b"\xff":
            self.reporting.clear()
            self._rounds += 1
        if self.deaf_rounds and self._rounds <= self.deaf_rounds:  # its bootloader still runs
            return
        if message == b"\xf9":
            self.send(bytes((0xF9, *self.version)))
        elif message == sysex(0x79):
            self.send(firmware_reply(self.name, *self.version))
        elif message == sysex(0x6B):
            self.send(capability_reply(self.pins))
        elif message == sysex(0x69):
            self.send(analog_mapping_reply(self.pins))
        elif message == sysex(0x6D, (0,)):  # what asks behind the query for the extension
            self.send(sysex(0x6E, (0, 1, 0)))
        elif message[0] & 0xF0 == 0xD0:
            port = message[0] & 0x0F
            (self.reporting.add if message[1] else self.reporting.discard)(port)
            if message[1]:
                self.report(port)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
