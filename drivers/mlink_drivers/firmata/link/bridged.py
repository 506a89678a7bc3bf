"""Transport for URLs that pyserial serves with threads of its own (rfc2217://).

Such a port has no descriptor to poll. A pump thread reads from pyserial and writes into a socket
pair; the session polls the other end of the pair as it polls a serial port.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any, Final

import serial

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, DeviceLostError, reason_of

_READ_BYTES: Final = 65536
_PUMP_WAIT_S: Final = 0.2
_JOIN_S: Final = 5.0
_log = logging.getLogger(__name__)


class BridgedTransport:
    """A serial port of another machine, by RFC 2217 (Telnet with COM port control)."""

    adapter_latency_usec = 0
    """Unknown: neither the adapter at the other end nor the network reports its latency."""

    def __init__(self, address: str, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        self.address = address
        self.baud_rate = baud_rate
        self.latency_report = f"{address}: the latency of the network is not known"
        self._port: Any = None
        self._near: socket.socket | None = None
        self._pump: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def can_change_baud_rate(self) -> bool:
        """Always true: RFC 2217 has a command for it."""
        return True

    def set_baud_rate(self, baud_rate: int) -> None:
        """Change the rate at the other end.

        Raises:
            DeviceLostError: The connection is closed.
            OSError: The other end refuses the rate.
        """
        if self._port is None:
            raise self._lost("closed")
        try:
            self._port.baudrate = baud_rate
        except ValueError as error:
            raise OSError(f"{self.address} refuses {baud_rate} baud") from error
        self.baud_rate = baud_rate

    def open(self) -> None:
        """Connect, negotiate and start the pump thread.

        Raises:
            DeviceError: The connection failed.
        """
        try:
            self._port = serial.serial_for_url(self.address, self.baud_rate, timeout=_PUMP_WAIT_S)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"cannot open {self.address}: {reason_of(self.address, error)}",
                remedy="Check the host, the port and that an RFC 2217 server runs there.",
            ) from error
        self._near, far = socket.socketpair()
        self._near.setblocking(False)
        self._stopping.clear()
        self._pump = threading.Thread(
            target=self._run, args=(self._port, far), name=f"pump {self.address}", daemon=True
        )
        self._pump.start()

    def _run(self, port: Any, far: socket.socket) -> None:
        with far:  # closing it is the hang-up that the session reads
            try:
                while not self._stopping.is_set():
                    data = port.read(max(1, port.in_waiting))
                    if data:
                        far.sendall(data)
            except (OSError, ValueError, TypeError, AttributeError) as error:
                # what pyserial raises when its port is closed or its peer disconnects
                if not self._stopping.is_set():
                    _log.info("%s: %s", self.address, error)

    def fileno(self) -> int:
        """Descriptor to poll for input; -1 while closed."""
        return self._near.fileno() if self._near is not None else -1

    def read(self) -> bytes:
        """Return the bytes received so far, b"" when there are none.

        Raises:
            DeviceLostError: The connection is closed.
        """
        assert self._near is not None
        try:
            data = self._near.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(str(error)) from error
        if not data:
            raise self._lost("the connection was closed")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            DeviceLostError: The connection is closed.
        """
        if self._port is None:
            raise self._lost("closed")
        try:
            self._port.write(data)
        except (OSError, ValueError, AttributeError) as error:
            raise self._lost(str(error)) from error

    def discard_input(self) -> None:
        """Discard the bytes received so far."""
        while self.read():
            pass

    def close(self) -> None:
        """Disconnect and end the pump thread; may be called again."""
        self._stopping.set()
        port, self._port = self._port, None
        near, self._near = self._near, None
        pump, self._pump = self._pump, None
        if near is not None:
            near.close()
        if pump is not None:
            pump.join(_JOIN_S)
        if port is not None:
            try:
                port.close()
            except (OSError, ValueError, AttributeError) as error:
                _log.info("%s: %s", self.address, error)

    def _lost(self, reason: str) -> DeviceLostError:
        return DeviceLostError(
            f"{self.address} went away ({reason})",
            remedy="Check the network and the server at the other end, then start again.",
        )
