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
import struct
import termios
import time
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.latency import lower_latency, read_latency

DEFAULT_BAUD_RATE: Final = 57600
"""Rate of StandardFirmata (Firmata.begin(57600))."""

_READ_BYTES: Final = 65536
_DISCARD_READS: Final = 64
_WRITE_TIMEOUT_MSEC: Final = 1000
_WRITE_LOOK_MSEC: Final = 5
_SENT_POLL_S: Final = 0.001
_PERMISSION_REMEDY: Final = (
    "Add yourself to the group that owns it (`sudo usermod -aG dialout $USER`) and log in again."
)
_VANISHED_REMEDY: Final = "Check the cable and the board's power, then start again."


class DeviceLostError(DeviceError, ConnectionError):
    """An open device disappeared or stopped accepting data."""


class Transport(Protocol):
    """A line to a board; it knows nothing of the protocol."""

    @property
    def address(self) -> str:
        """What is opened, for messages."""

    @property
    def baud_rate(self) -> int:
        """Bits per second on the wire."""

    @property
    def adapter_latency_usec(self) -> int:
        """Longest time that the adapter holds received bytes back."""

    @property
    def latency_report(self) -> str:
        """A sentence about the adapter's latency, for the log."""

    @property
    def can_change_baud_rate(self) -> bool:
        """Whether `set_baud_rate` changes the rate on the wire."""

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the rate of the open line.

        Raises:
            DeviceLostError: The line is closed.
            OSError: The line refuses the rate.
        """

    def open(self) -> None:
        """Open the line exclusively.

        Raises:
            DeviceError: It cannot be opened; the message has the reason.
        """

    def fileno(self) -> int:
        """Descriptor to poll for input."""

    def read(self) -> bytes:
        """Return the bytes received so far, b"" when there are none.

        Raises:
            DeviceLostError: The device is gone.
        """

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            DeviceLostError: The device is gone or accepts no data.
        """

    def discard_input(self) -> None:
        """Discard the bytes received so far."""

    def close(self) -> None:
        """Close the descriptor; may be called again."""


class SerialTransport:
    """A serial port, a pseudo-terminal or a socket, opened and set up by pyserial.

    Bytes are read and written in bulk on the bare descriptor: pyserial makes two system calls per
    byte, each of which releases the interpreter lock.
    """

    def __init__(self, address: str, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        self.address = address
        self.baud_rate = baud_rate
        self.latency_report = ""
        self._port: Any = None
        self._fd = -1

    @property
    def adapter_latency_usec(self) -> int:
        """FTDI's latency timer, or one USB frame for other adapters; 0 for a pty or a socket."""
        return read_latency(self.address).usec

    @property
    def can_change_baud_rate(self) -> bool:
        """Whether it is a serial port; the rate behind a socket cannot be changed."""
        return "://" not in self.address

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the rate of the open line.

        Raises:
            DeviceLostError: The port is closed.
            OSError: The port refuses the rate.
        """
        if self._port is None:
            raise self._lost("closed")
        try:
            self._port.baudrate = baud_rate
        except (ValueError, termios.error) as error:
            raise OSError(f"{self.address} refuses {baud_rate} baud") from error
        self.baud_rate = baud_rate
        self._set_up_terminal()  # pyserial has overwritten these settings

    def open(self) -> None:
        """Open exclusively, in low-latency mode where the driver supports it.

        Raises:
            DeviceError: It cannot be opened; the message has the reason.
        """
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
        """Distinguish "no data" from a hang-up, and lock out programs that ignore flock."""
        try:
            attributes = termios.tcgetattr(self._fd)
            # With pyserial's VMIN = 0 both read as no bytes; with 1 "no data" is EAGAIN.
            attributes[6][termios.VMIN] = 1
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
            # Not on pseudo-terminals, where the lock would outlive this program.
            if not os.path.realpath(self.address).startswith("/dev/pts/"):
                fcntl.ioctl(self._fd, termios.TIOCEXCL)
        except (OSError, termios.error):
            pass  # not a terminal: a socket

    def fileno(self) -> int:
        """Descriptor to poll for input; -1 while closed."""
        return self._fd

    def read(self) -> bytes:
        """Return the bytes received so far, in one system call; b"" when there are none."""
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
        """Send all of `data`; a full line is waited for up to 1 s."""
        rest = memoryview(data)
        full_since = 0.0
        while rest:
            try:
                rest, full_since = rest[os.write(self._fd, rest) :], 0.0
            except BlockingIOError:
                full_since = full_since or time.monotonic()
                self._wait_writable(full_since)
            except OSError as error:
                raise self._lost(error.strerror) from error

    def _wait_writable(self, full_since: float) -> None:
        """Wait a little for room: a pseudo-terminal with room again does not always report it."""
        if time.monotonic() > full_since + _WRITE_TIMEOUT_MSEC / 1000:
            raise DeviceLostError(
                f"{self.address} accepted no data for {_WRITE_TIMEOUT_MSEC} ms",
                remedy="Reset the board; check its firmware and the cable.",
            )
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        poller.poll(_WRITE_LOOK_MSEC)

    def discard_input(self) -> None:
        """Discard the bytes received so far; DeviceLostError when the device is gone."""
        for _ in range(_DISCARD_READS):  # bounded: a device may send faster than we read
            if not self.read():
                return

    def close(self) -> None:
        """Close the descriptor; may be called again."""
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


def wait_sent(transport: Transport) -> None:
    """Wait until the bytes written so far have left this machine, at most 1 s.

    A socket that is closed before that may throw them away (a reset of the connection).

    Raises:
        DeviceLostError: They did not leave in time.
    """
    deadline = time.monotonic() + _WRITE_TIMEOUT_MSEC / 1000
    while True:
        try:
            answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return  # no terminal and no socket: it has no queue
        (left,) = struct.unpack("i", answer)
        if not left:
            return
        if time.monotonic() >= deadline:
            raise DeviceLostError(
                f"{left} bytes did not leave for {transport.address} in {_WRITE_TIMEOUT_MSEC} ms"
            )
        time.sleep(_SENT_POLL_S)


def _explain(address: str, error: BaseException) -> DeviceError:
    """Return an error with the reason why an address cannot be opened, and what to do."""
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
    if "://" in address:
        return DeviceError(
            f"cannot open {address}: {reason_of(address, error)}",
            remedy="Check host and port, and that the program that shares the board runs there.",
        )
    return DeviceError(f"cannot open {address}: {error}", remedy=_present_ports())


def reason_of(address: str, error: BaseException) -> str:
    """Return why a URL could not be opened; pyserial names it again, and writes errors of its own.

    Args:
        address: scheme://host:port.
        error: What pyserial has raised.
    """
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if not complete:
        return f"write it as {address.partition(':')[0]}://host:port"
    return str(error).removeprefix(f"Could not open port {address}: ")


def _present_ports() -> str:
    ports = sorted(port.device for port in list_ports.comports())
    seen = f"present: {', '.join(ports)}" if ports else "no serial port is present"
    return f"Plug the board in, or correct the device ({seen})."


def _holders(address: str) -> str:
    """List the programs that have a device open, as far as /proc is readable; else empty."""
    device = os.path.realpath(address)
    found: list[str] = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) != device:
                continue
            process = descriptor.parents[1]
            name = f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:
            continue  # the process ended, or we lack the permission
        if name not in found:
            found.append(name)
    return f" ({'; '.join(found)})" if found else ""
