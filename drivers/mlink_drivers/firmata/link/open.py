"""Chooses the transport for an address."""

from __future__ import annotations

from typing import Final

from mlink.errors import DeviceError
from mlink_drivers.firmata.link.bridged import BridgedTransport
from mlink_drivers.firmata.link.local import SCHEME, LocalTransport
from mlink_drivers.firmata.link.transport import DEFAULT_BAUD_RATE, SerialTransport, Transport

_DESCRIPTOR_SCHEMES: Final = ("socket",)
_BRIDGED_SCHEMES: Final = ("rfc2217",)


def open_transport(address: str, baud_rate: int = DEFAULT_BAUD_RATE) -> Transport:
    """Make the transport for an address; it is not opened yet.

    Args:
        address: A serial port or pseudo-terminal, socket://host:port or rfc2217://host:port.
        baud_rate: Bits per second on the wire; the far end of a socket keeps its own.

    Raises:
        DeviceError: No transport exists for the scheme of the URL.
    """
    scheme, separator, _ = address.partition("://")
    if not separator or scheme in _DESCRIPTOR_SCHEMES:
        return SerialTransport(address, baud_rate)
    if scheme == SCHEME:
        return LocalTransport(address, baud_rate)
    if scheme in _BRIDGED_SCHEMES:
        return BridgedTransport(address, baud_rate)
    raise DeviceError(
        f"cannot open '{address}': no transport for {scheme}://",
        remedy="Use a serial port (/dev/tty…), socket://host:port or rfc2217://host:port.",
    )
