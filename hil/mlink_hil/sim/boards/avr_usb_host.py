"""The computer at the other end of the ATmega32U4's USB: it finds the serial line and serves it.

Imported by the simulator's programs only. It enumerates the board as an operating system does,
finds the class CDC in its descriptors, and opens the port (DTR, RTS) at once. Packets take their
time on the bus and nothing else does: a real computer adds a part of a frame (1 ms) or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import yasimavr.lib.core as core

from mlink_hil.sim.boards.avr_usb import UsbController
from mlink_hil.uno import CLOCK_HZ

_MSEC = CLOCK_HZ // 1000
_PACKET, _BYTE = 160, 11
"""Cycles of a packet on the bus, and of each of its bytes: 12 Mbit/s, and the handshake."""
_DEBOUNCE, _RECOVERY = 100 * _MSEC, 10 * _MSEC
"""Waits of the standard: until the plug is in, and after a reset of the bus."""
_PATIENCE = 500 * _MSEC
"""How long a board may take for a step of a control transfer."""
_ATTEMPTS = 3
_LINE = (57_600).to_bytes(4, "little") + bytes((0, 0, 8))
_DEVICE, _CONFIGURATION, _INTERFACE, _ENDPOINT = 1, 2, 4, 5
_CDC, _CDC_DATA, _BULK = 2, 10, 2


class _Refused(Exception):  # noqa: N818 - an event of the bus
    """The board has refused a request, or has not answered."""


class _Pipes(NamedTuple):
    """Where a board has its serial line."""

    control: int
    """Number of the interface that takes its settings."""
    to_board: int
    """Endpoints of the data."""
    to_host: int
    size: int
    """Bytes of a packet to the board."""


def _pipes(descriptors: bytes) -> _Pipes | None:
    """Return the first serial line of a configuration; None without one."""
    control = to_board = to_host = None
    size, number, kind, at = 64, 0, 0, 0
    while at + 1 < len(descriptors) and descriptors[at] > 1:
        one = descriptors[at : at + descriptors[at]]
        at += len(one)
        if one[1] == _INTERFACE and len(one) >= 9:
            number, kind = one[2], one[5]
            if kind == _CDC and control is None:
                control = number
        elif one[1] == _ENDPOINT and kind == _CDC_DATA and len(one) >= 7 and one[3] & 3 == _BULK:
            if one[2] & 0x80:
                to_host = to_host or one[2] & 7
            elif to_board is None:
                to_board, size = one[2] & 7, one[4] | one[5] << 8
    if control is None or to_board is None or to_host is None:
        return None
    return _Pipes(control, to_board, to_host, size)


class UsbLine:
    """The serial line over USB, as `UartLine` is one over a UART.

    Args:
        device: The simulated processor.
        loop: Its simulation loop.
        vectors: Numbers of the interrupts USB_GEN and USB_COM.
        on_byte: Called with each byte that has reached the host.
    """

    def __init__(
        self, device: Any, loop: Any, vectors: tuple[int, int], on_byte: Callable[[int], None]
    ) -> None:
        self._loop = loop
        self._timers = loop.cycle_manager()
        self._on_byte = on_byte
        self._pipes: _Pipes | None = None
        self._to_board: deque[int] = deque()
        self._steps: Iterator[int] = iter(())
        self._frame_number = 0
        self._bus_free = 0
        self.next_event: int | None = None
        """When the packet that is on its way to the host will have arrived."""
        self._frame = core.CallableCycleTimer(self._begin_frame)
        self._step = core.CallableCycleTimer(self._take_step)
        self._out = core.CallableCycleTimer(self._send)
        self._in = core.CallableCycleTimer(self._receive)
        self._sending = b""
        self._controller = UsbController(device, vectors, self._attached, self._pump)

    @property
    def is_open(self) -> bool:
        """Whether the firmware has been enumerated and its port is open."""
        return self._pipes is not None

    @property
    def backlog(self) -> int:
        """Number of bytes that the controller has not received yet."""
        return len(self._to_board) + len(self._sending)

    def feed(self, data: bytes) -> None:
        """Send bytes to the board; they wait until its port is open."""
        self._to_board.extend(data)
        self._pump()

    def reset(self) -> None:
        """Forget what is on its way; the processor has been reset."""
        self._to_board.clear()
        self._sending = b""

    # ------------------------------------------------------------------ the bus

    def _attached(self, on: bool) -> None:
        """Begin to enumerate a board that was plugged in, or forget one that is gone."""
        self._pipes = None
        self._sending = b""
        self.next_event = None
        for timer in (self._frame, self._step, self._out, self._in):
            if timer.scheduled():
                self._timers.cancel(timer)
        if on:
            self._steps = self._enumerate()
            self._timers.schedule(self._step, self._loop.cycle() + _DEBOUNCE)

    def _begin_frame(self, when: int) -> int:
        self._frame_number += 1
        self._controller.start_of_frame(self._frame_number)
        return when + _MSEC

    def _take_step(self, _when: int) -> int:
        wait = next(self._steps, 0)
        return self._loop.cycle() + wait if wait else 0

    def _enumerate(self) -> Iterator[int]:
        """Set the board up; yields the cycles until the next step."""
        for _ in range(_ATTEMPTS):
            self._controller.bus_reset()
            if not self._frame.scheduled():
                self._timers.schedule(self._frame, self._loop.cycle() + _MSEC)
            yield _RECOVERY
            try:
                yield from self._control(0x80, 6, _DEVICE << 8, 0, 18)
                yield from self._control(0x00, 5, 1, 0)
                yield _MSEC * 2
                head = yield from self._control(0x80, 6, _CONFIGURATION << 8, 0, 9)
                total = int.from_bytes(head[2:4], "little")
                found = yield from self._control(0x80, 6, _CONFIGURATION << 8, 0, total)
                yield from self._control(0x00, 9, found[5], 0)
                pipes = _pipes(found)
                if pipes is None:
                    return  # something else, such as a keyboard
                yield from self._control(0x21, 0x20, 0, pipes.control, data=_LINE)
                yield from self._control(0x21, 0x22, 3, pipes.control)
            except (_Refused, IndexError):
                continue
            self._pipes = pipes
            self._pump()
            return

    def _control(
        self, kind: int, request: int, value: int, index: int, length: int = 0, data: bytes = b""
    ) -> Generator[int, None, bytes]:
        """Make a control transfer; its result is what the board has sent."""
        controller, got = self._controller, b""
        fields = (value, index, length or len(data))
        setup = bytes((kind, request)) + b"".join(each.to_bytes(2, "little") for each in fields)
        yield _PACKET
        controller.setup(setup)
        if data:
            yield from self._until(lambda: controller.request_taken)
            controller.send(0, data)
            yield from self._until(lambda: controller.request_taken)
        size = controller.endpoints[0].size
        while True:
            yield from self._until(lambda: bool(controller.endpoints[0].waiting))
            packet = controller.fetch(0)
            got += packet
            if len(got) >= length or len(packet) < size:
                break
        if length:
            controller.send(0, b"")
        return got

    def _until(self, done: Callable[[], bool]) -> Iterator[int]:
        """Ask again and again, as a host does that is answered with NAK."""
        limit = self._loop.cycle() + _PATIENCE
        while not done():
            if self._controller.endpoints[0].stalled or self._loop.cycle() > limit:
                raise _Refused
            yield 2 * _PACKET
        yield _PACKET

    # ------------------------------------------------------------------ data

    def _pump(self) -> None:
        """Put on the bus what can go: a packet to the board, and one of the board."""
        if (pipes := self._pipes) is None:
            return
        # A cycle later: a packet has all that the host has written by now, however it was read.
        if self._can_send and not self._sending and not self._out.scheduled():
            self._timers.schedule(self._out, self._loop.cycle() + 1)
        waiting = self._controller.endpoints[pipes.to_host].waiting
        if self.next_event is None and waiting:
            self.next_event = self._on_bus(len(waiting[0]))
            self._timers.schedule(self._in, self.next_event)

    @property
    def _can_send(self) -> bool:
        pipes = self._pipes
        if pipes is None or not self._to_board:
            return False
        return self._controller.endpoints[pipes.to_board].has_room

    def _on_bus(self, count: int) -> int:
        """Return when a packet will have passed, after those before it."""
        self._bus_free = max(self._bus_free, self._loop.cycle()) + _PACKET + _BYTE * count
        return self._bus_free

    def _send(self, when: int) -> int:
        """Deliver the packet that has passed, or begin one; return when to come again."""
        pipes, packet = self._pipes, self._sending
        if pipes is None:
            return 0
        if packet:
            self._sending = b""
            self._controller.send(pipes.to_board, packet)
            return when + 1 if self._can_send else 0
        if not self._can_send:
            return 0
        count = min(len(self._to_board), pipes.size)
        self._sending = bytes(self._to_board.popleft() for _ in range(count))
        return self._on_bus(count)

    def _receive(self, _when: int) -> int:
        self.next_event = None
        if self._pipes is not None and self._controller.endpoints[self._pipes.to_host].waiting:
            for byte in self._controller.fetch(self._pipes.to_host):
                self._on_byte(byte)
            self._pump()
        return 0
