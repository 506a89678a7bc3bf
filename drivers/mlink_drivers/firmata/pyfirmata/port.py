"""The port of a pyFirmata2 script: its object `board.sp`, and the port where none is named."""

from __future__ import annotations

from typing import Any

from serial.tools import list_ports

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.session import Session, SessionState


class PortFace:
    """The object `board.sp` of scripts: the port's name, and a raw write."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.port = session.transport.address

    @property
    def is_open(self) -> bool:
        """Whether the board is connected."""
        return self._session.state is SessionState.CONNECTED

    def write(self, data: bytes | bytearray) -> int:
        """Send raw bytes."""
        self._session.send(bytes(data))
        return len(data)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def find_port() -> str:
    """Return the only USB serial port.

    Raises:
        DeviceError: There is none, or more than one.
    """
    candidates: list[Any] = [port for port in list_ports.comports() if port.vid is not None]
    if len(candidates) == 1:
        return str(candidates[0].device)
    if not candidates:
        raise DeviceError("no USB serial port is present", remedy="Plug a board in.")
    names = ", ".join(f"{port.device} ({port.description})" for port in candidates)
    raise DeviceError(f"several boards are present: {names}", remedy="Name the port to use.")
