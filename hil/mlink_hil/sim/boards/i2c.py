"""An I2C bus as boards see it: devices that acknowledge, take bytes and give bytes.

`I2cEnd` turns the bytes of one device into the calls of its model (`mlink_hil.dut.I2cDevice`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlink_hil.dut import I2cDevice

_RELEASED = 0xFF
"""What is read where no device drives the bus."""


class I2cEnd:
    """One device on a bus.

    Args:
        device: Its model.
        address: Its address on this bus.
        call: Calls a function of the model, such as with a guard for what it raises.
        now_usec: Returns its simulated time.
    """

    def __init__(
        self,
        device: I2cDevice,
        address: int,
        call: Callable[[Callable[[], Any]], Any],
        now_usec: Callable[[], float],
    ) -> None:
        self.address = address
        self.holds_sda = False
        self.on_hold: Callable[[bool], object] = lambda _held: None
        """Called when the device begins or ends to hold the data line."""
        self._device = device
        self._call = call
        self._now_usec = now_usec
        self._register = 0
        self._written: bytearray | None = None
        self._sends = b""

    def hold(self, held: bool) -> None:
        """Hold the data line low, or release it."""
        self.holds_sda = held
        self.on_hold(held)

    def begin(self, *, reads: bool) -> bool:
        """Begin a transfer to this address; return whether the device acknowledges."""
        self.end()
        if not self._device.present:
            return False
        if reads:
            device, register, now_usec = self._device, self._register, self._now_usec()
            self._sends = self._call(lambda: bytes(device.on_read(register, now_usec))) or b""
        else:
            self._written = bytearray()
        return True

    def write(self, byte: int) -> bool:
        """Take a byte; return whether the device acknowledges."""
        if self._written is None:
            return False
        self._written.append(byte)
        return True

    def read(self) -> int:
        """Return the next byte that the device sends."""
        first, self._sends = self._sends[:1], self._sends[1:]
        return first[0] if first else _RELEASED

    def end(self) -> None:
        """End the transfer: what was written takes effect."""
        written, self._written = self._written, None
        self._sends = b""
        if not written:
            return
        device, count = self._device, self._device.register_bytes
        if len(written) < count:
            return
        if count:
            self._register = int.from_bytes(written[:count], "big")
        register, data, now_usec = self._register, bytes(written[count:]), self._now_usec()
        self._call(lambda: device.on_write(register, data, now_usec))


class I2cBus:
    """The devices of a board that is simulated without its wires."""

    def __init__(self) -> None:
        self.ends: list[I2cEnd] = []

    def write(self, address: int, data: bytes, *, stops: bool = True) -> bool:
        """Write to a device; return whether it has acknowledged everything.

        Args:
            address: That of the device.
            data: The bytes.
            stops: Whether a stop follows, and not a repeated start.
        """
        end = self._begin(address, reads=False)
        done = end is not None and all(end.write(byte) for byte in data)
        if end is not None and stops:
            end.end()
        return done

    def read(self, address: int, count: int) -> bytes:
        """Read from a device; return nothing where none acknowledges."""
        end = self._begin(address, reads=True)
        if end is None:
            return b""
        data = bytes(end.read() for _ in range(count))
        end.end()
        return data

    def _begin(self, address: int, *, reads: bool) -> I2cEnd | None:
        if any(end.holds_sda for end in self.ends):
            return None
        found = (end for end in self.ends if end.address == address and end.begin(reads=reads))
        return next(found, None)
