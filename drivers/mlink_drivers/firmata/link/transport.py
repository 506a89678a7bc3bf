"""How bytes reach a board: open, read, write, close, and a descriptor to poll. No protocol.

`Transport` is the interface; `SerialTransport` covers everything that pyserial opens on a plain
descriptor. `bridged.py` has the transport for URLs that pyserial serves with threads of its own,
`open.py` chooses between the two.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
from pathlib import Path
from typing import Any, Final, Protocol

import serial
from serial.tools import list_ports

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.latency import lower_latency, read_latency

DEFAULT_BAUD_RATE: Final = 57600
"""StandardFirmata's (Firmata.begin(57600))."""

_READ_BYTES: Final = 65536
_DISCARD_READS: Final = 64
_WRITE_PATIENCE_MSEC: Final = 1000
_PERMISSION_REMEDY: Final = (
    "Add yourself to the group that owns it (`sudo usermod -aG dialout $USER`) and log in anew."
)
_VANISHED_REMEDY: Final = "Check the cable and the board's power, then start again."


class DeviceLostError(DeviceError, ConnectionError):
    """A device that was open went away."""


class Transport(Protocol):
    """A line to a board; owns no protocol logic."""

    @property
    def address(self) -> str:
        """What is opened, for people."""
        ...

    @property
    def baud_rate(self) -> int:
        """Bits per second on the wire."""
        ...

    @property
    def adapter_latency_usec(self) -> int:
        """How long the adapter may hold bytes back before the host sees them."""
        ...

    @property
    def latency_report(self) -> str:
        """A sentence about it, for the log."""
        ...

    @property
    def can_change_baud_rate(self) -> bool:
        """Whether `set_baud_rate` reaches the board's line."""
        ...

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the open line's rate; OSError when it does not know this one."""
        ...

    def open(self) -> None:
        """Open for this program alone; DeviceError says why it cannot be."""
        ...

    def fileno(self) -> int:
        """Descriptor to poll for input."""
        ...

    def read(self) -> bytes:
        """Return what is there, b"" when nothing; DeviceLostError when the device is gone."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`; DeviceLostError when the device is gone or takes nothing."""
        ...

    def discard_input(self) -> None:
        """Throw away what was received before."""
        ...

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        ...


class SerialTransport:
    """A serial port, a pseudo-terminal or a socket, opened and set up by pyserial.

    Read and written in bulk on the bare descriptor: pyserial takes two system calls per byte,
    and each gives up the interpreter lock.
    """

    def __init__(self, address: str, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        self.address = address
        self.baud_rate = baud_rate
        self.latency_report = ""
        self._port: Any = None
        self._fd = -1

    @property
    def adapter_latency_usec(self) -> int:
        """FTDI's latency timer where there is one, else a USB frame; 0 for a pty or a socket."""
        return read_latency(self.address).usec

    @property
    def can_change_baud_rate(self) -> bool:
        """Whether it is a serial port: a socket's far end keeps its own rate."""
        return "://" not in self.address

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the open line's rate; OSError when the port does not know this one."""
        if self._port is None:
            raise self._lost("closed")
        try:
            self._port.baudrate = baud_rate
        except (ValueError, termios.error) as error:
            raise OSError(f"{self.address} does not take {baud_rate} baud") from error
        self.baud_rate = baud_rate
        self._set_up_terminal()  # pyserial has set it up its own way again

    def open(self) -> None:
        """Open exclusively at the baud rate, in low-latency mode where the driver has it."""
        try:
            port = serial.serial_for_url(
                self.address, self.baud_rate, timeout=0, exclusive=True, do_not_open=True
            )
            port.open()
        except (OSError, ValueError, termios.error) as error:
            raise _explain(self.address, error) from error
        self._port = port
        self._fd = port.fileno()
        self._set_up_terminal()
        try:
            port.set_low_latency_mode(True)
        except (AttributeError, NotImplementedError, ValueError, OSError):
            pass  # ptys, CDC-ACM boards and sockets have no such mode
        self.latency_report = lower_latency(self.address).report

    def _set_up_terminal(self) -> None:
        """Make reading nothing differ from a hang-up, and keep out who ignores pyserial's lock."""
        try:
            attributes = termios.tcgetattr(self._fd)
            # pyserial's VMIN of 0 makes both return no bytes; 1 makes "nothing" EAGAIN.
            attributes[6][termios.VMIN] = 1
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
            if not os.path.realpath(self.address).startswith("/dev/pts/"):  # would outlive us there
                fcntl.ioctl(self._fd, termios.TIOCEXCL)
        except (OSError, termios.error):
            pass  # not a terminal: a socket

    def fileno(self) -> int:
        """Descriptor to poll for input; -1 while closed."""
        return self._fd

    def read(self) -> bytes:
        """Return what is there, in one system call."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error.strerror) from error
        if not data:
            raise self._lost("hang-up")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`; waits up to 1 s for a full line to take it."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                self._wait_writable()
            except OSError as error:
                raise self._lost(error.strerror) from error

    def _wait_writable(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        if not poller.poll(_WRITE_PATIENCE_MSEC):
            raise DeviceLostError(
                f"{self.address} takes no bytes since {_WRITE_PATIENCE_MSEC} ms",
                remedy="Reset the board; check that its firmware runs and the cable is sound.",
            )

    def discard_input(self) -> None:
        """Throw away what was received before; DeviceLostError when the device is gone."""
        for _ in range(_DISCARD_READS):  # bounded: a device may talk faster than we read
            if not self.read():
                return

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        port, self._port, self._fd = self._port, None, -1
        if port is not None:
            try:
                port.close()
            except (OSError, termios.error):
                pass  # the device is gone; pyserial has closed the descriptor or never had it

    def _lost(self, reason: str | None) -> DeviceLostError:
        return DeviceLostError(
            f"{self.address} went away ({reason or 'closed'})", remedy=_VANISHED_REMEDY
        )


def _explain(address: str, error: BaseException) -> DeviceError:
    """Say why an address cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number is None and error.args and isinstance(error.args[0], int):
        number = error.args[0]
    if number == errno.ENOENT:
        return DeviceError(f"there is no device at {address}", remedy=_present_ports())
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(f"no permission to open {address}", remedy=_PERMISSION_REMEDY)
    if number in (errno.EBUSY, errno.EAGAIN):
        return DeviceError(
            f"{address} is held by another program{_holders(address)}",
            remedy="Close it (a serial monitor, another run); only one program can use a board.",
        )
    if number in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return DeviceError(f"{address} went away while it was opened", remedy=_VANISHED_REMEDY)
    return DeviceError(f"cannot open {address}: {error}", remedy=_present_ports())


def _present_ports() -> str:
    ports = sorted(port.device for port in list_ports.comports())
    seen = f"present: {', '.join(ports)}" if ports else "no serial port is present"
    return f"Plug the board in, or correct the device ({seen})."


def _holders(address: str) -> str:
    """Name the programs that have a device open, as far as we may look; empty when unknown."""
    device = os.path.realpath(address)
    found: list[str] = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) != device:
                continue
            process = descriptor.parents[1]
            name = f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:
            continue  # the process ended, or is not ours to look into
        if name not in found:
            found.append(name)
    return f" ({'; '.join(found)})" if found else ""
