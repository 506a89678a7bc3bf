"""What is between a board's UART and the host: nothing, a USB interface, or an FTDI converter.

It holds bytes back as the real one does, both ways, in cycles of the common clock. The bytes are
the same with each; they arrive at other times. A driver finds the adapter as it finds a real one,
in a folder like `/sys/class/tty/ttyUSB0/device`, here beside the port (`firmata/link/latency.py`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path

from mlink_drivers.firmata.link.latency import TIMER_FILE, device_folder
from mlink_hil.sim.boards.board import RECEIVE_AHEAD
from mlink_hil.sim.plan import BoardPlan
from mlink_hil.uno import CLOCK_HZ

_MSEC = CLOCK_HZ // 1000
FRAME = _MSEC
"""Cycles of a frame of full-speed USB."""
_PACKET_BYTES = 64
_PACKET = CLOCK_HZ // 20_000
"""Cycles from one packet of a frame to the next: 50 µs, so that a frame has room for 20."""
_FTDI_BYTES = 62
"""Data of an FTDI packet: 64 bytes less two of status."""
_FTDI_MSEC = 16
_HOLD = _MSEC
_AHEAD = 256
"""Bytes from the host that an adapter takes before the line is full."""


class Adapter(ABC):
    """Holds bytes between a board and the host; cycles are those of the common clock."""

    receive_ahead = RECEIVE_AHEAD
    """Bytes accepted from the host that the board has not received yet."""

    def __init__(self) -> None:
        self._to_board: deque[tuple[int, bytes]] = deque()

    @abstractmethod
    def leave(self, byte: int, cycle: int) -> None:
        """Take a byte that has left the board at a cycle."""

    @abstractmethod
    def due(self, *, sends_on: bool) -> int | None:
        """Return from which cycle on the host has the next bytes; None without any.

        Args:
            sends_on: Whether the board is sending a further byte.
        """

    @abstractmethod
    def take(self, cycle: int) -> bytes:
        """Return the bytes that the host has got by a cycle."""

    def accept(self, data: bytes, cycle: int) -> int:
        """Take bytes of the host; return the cycle at which the board begins to receive them."""
        due = self._arrival(cycle)
        self._to_board.append((due, data))
        return due

    def arrived(self, cycle: int) -> bytes:
        """Return the bytes that the board begins to receive by a cycle."""
        data = b""
        while self._to_board and self._to_board[0][0] <= cycle:
            data += self._to_board.popleft()[1]
        return data

    @property
    def on_way(self) -> int:
        """Number of bytes on their way to the board."""
        return sum(len(data) for _, data in self._to_board)

    def plug(self, link: Path) -> None:
        """Begin at a port, before it is there."""
        del link

    def unplug(self) -> int:
        """Lose what is on its way; return the number of bytes."""
        lost = self.on_way + self._drop()
        self._to_board.clear()
        return lost

    def _arrival(self, cycle: int) -> int:
        return cycle

    @abstractmethod
    def _drop(self) -> int: ...


class NoAdapter(Adapter):
    """A line without an adapter.

    Args:
        in_turns: In virtual time the host gets bytes together, when the board falls silent or a
            millisecond after the first; each delivery is a turn of a module. Their times on the
            line follow from their number.
    """

    def __init__(self, *, in_turns: bool) -> None:
        super().__init__()
        self._hold = _HOLD if in_turns else 0
        self._held = bytearray()
        self._first = 0

    def leave(self, byte: int, cycle: int) -> None:
        """Take a byte."""
        if not self._held:
            self._first = cycle
        self._held.append(byte)

    def due(self, *, sends_on: bool) -> int | None:
        """Return from when on the host has the bytes."""
        if not self._held:
            return None
        return self._first + (self._hold if sends_on else 0)

    def take(self, cycle: int) -> bytes:
        """Return all bytes that have left."""
        del cycle
        data = bytes(self._held)
        self._held.clear()
        return data

    def _drop(self) -> int:
        return len(self.take(0))


class _Packets(Adapter):
    """An adapter that sends packets to the host, at cycles of its own."""

    receive_ahead = _AHEAD

    def __init__(self) -> None:
        super().__init__()
        self._packets: deque[tuple[int, bytearray]] = deque()
        """Cycle at which the host gets the packet, and its bytes."""
        self._device: Path | None = None

    def due(self, *, sends_on: bool) -> int | None:
        """Return when the host gets the next packet."""
        del sends_on
        return self._packets[0][0] if self._packets else None

    def take(self, cycle: int) -> bytes:
        """Return the packets that are due."""
        data = b""
        while self._packets and self._packets[0][0] <= cycle:
            data += self._packets.popleft()[1]
        return data

    def plug(self, link: Path) -> None:
        """Make the folder in which drivers look for the adapter."""
        self._device = device_folder(link)
        shutil.rmtree(self._device, ignore_errors=True)
        self._device.mkdir(parents=True)

    def unplug(self) -> int:
        """Lose what is on its way, and remove the folder."""
        if self._device is not None:
            shutil.rmtree(self._device, ignore_errors=True)
        return super().unplug()

    def _arrival(self, cycle: int) -> int:
        return _next_frame(cycle)  # what the host sends goes with the next frame

    def _drop(self) -> int:
        lost = sum(len(data) for _, data in self._packets)
        self._packets.clear()
        return lost


class UsbAdapter(_Packets):
    """Full-speed USB (CDC): what has left the board in a frame goes with the next, in packets."""

    def leave(self, byte: int, cycle: int) -> None:
        """Put a byte into a packet of the next frame."""
        frame = _next_frame(cycle)
        if self._packets:
            due, data = self._packets[-1]
            if due >= frame and len(data) < _PACKET_BYTES:
                data.append(byte)
                return
            frame = max(frame, due + _PACKET)
        self._packets.append((frame, bytearray((byte,))))


class FtdiAdapter(_Packets):
    """An FTDI converter: a packet goes when it is full, or when its latency timer has run out.

    The timer runs on while the line is silent, and begins anew with each packet. What the host
    sends goes with the next frame of USB.

    Args:
        writable: Whether the timer can be set; mlink sets 1 ms.
    """

    def __init__(self, *, writable: bool) -> None:
        super().__init__()
        self._writable = writable
        self._sealed = -1
        self._sent = 0
        """Cycle at which the timer began."""

    def leave(self, byte: int, cycle: int) -> None:
        """Put a byte into the packet of the present period of the timer."""
        if self._packets:
            due, data = self._packets[-1]
            if cycle < due and len(data) < _FTDI_BYTES:
                data.append(byte)
                if len(data) == _FTDI_BYTES:
                    self._packets[-1] = (cycle, data)
                    self._sent = cycle
                return
            self._sent = due
        timer = self._timer_msec() * _MSEC
        self._sent += (cycle - self._sent) // timer * timer
        self._packets.append((self._sent + timer, bytearray((byte,))))

    def plug(self, link: Path) -> None:
        """Make the folder of the adapter, with its timer."""
        super().plug(link)
        assert self._device is not None
        timer, text = self._device / TIMER_FILE, f"{_FTDI_MSEC}\n"
        if self._writable:
            timer.write_text(text)
            return
        if self._sealed < 0:  # to root, too, it cannot be written: a sealed file
            self._sealed = os.memfd_create(TIMER_FILE, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.write(self._sealed, text.encode())
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
            fcntl.fcntl(self._sealed, fcntl.F_ADD_SEALS, seals)
        timer.symlink_to(f"/proc/{os.getpid()}/fd/{self._sealed}")

    def _timer_msec(self) -> int:
        if self._device is None:
            return _FTDI_MSEC
        try:
            return min(255, max(1, int((self._device / TIMER_FILE).read_text())))
        except (OSError, ValueError):
            return _FTDI_MSEC


def _next_frame(cycle: int) -> int:
    return (cycle // FRAME + 1) * FRAME


def make_adapter(plan: BoardPlan, *, in_turns: bool) -> Adapter:
    """Return the adapter of a board.

    Args:
        plan: The board.
        in_turns: Whether it is simulated in virtual time.
    """
    match plan.adapter:
        case "usb":
            return UsbAdapter()
        case "ftdi":
            return FtdiAdapter(writable=plan.latency_timer_writable)
    return NoAdapter(in_turns=in_turns)
