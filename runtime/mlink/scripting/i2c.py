"""I2C devices of a board; scripts find this in `mlink.script`. The kinds are in docs/boards.md."""

from __future__ import annotations

import struct

from mlink.errors import ModuleError
from mlink.scripting.orders import send_order, whole
from mlink.scripting.ports import OutputPort
from mlink.types import LineCommand

_CONFIG, _WRITE, _STOP, _READ, _SCAN = 0x10, 0x11, 0x14, 0x15, 0x16
_ADDRESSES = 0x08, 0x77
_KHZ = 31, 400
_MOST_BYTES = 32
_MOST_DELAY_USEC = (1 << 14) - 1


def i2c_setup(port: OutputPort, *, khz: int = 100, delay_usec: int = 0) -> LineCommand:
    """Switch I2C on; without it the first transfer does, at 100 kHz.

    Args:
        port: Output port of type LineCommand, connected to the board.
        khz: Frequency of the bus in kHz, 31 to 400; other firmwares than mlink's have 100.
        delay_usec: Pause between writing a register and reading it, in µs.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("khz", khz, *_KHZ)
    whole("delay_usec", delay_usec, 0, _MOST_DELAY_USEC)
    return send_order(port, 0, struct.pack("<BHH", _CONFIG, delay_usec, khz))


def i2c_write(port: OutputPort, address: int, data: bytes) -> LineCommand:
    """Write to an I2C device.

    A row `i2c-error` of the board's output `replies` reports it if the device does not accept it
    (mlink's firmware only).

    Args:
        port: Output port of type LineCommand, connected to the board.
        address: 7-bit address of the device.
        data: 1 to 32 bytes; most devices expect the register first, high byte first.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("address", address, *_ADDRESSES)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ModuleError(
            f"data cannot be {data!r}", remedy="Give bytes, such as bytes((0x10, 0xFF))."
        )
    whole("the number of bytes", len(data), 1, _MOST_BYTES)
    return send_order(port, 0, bytes((_WRITE, address)) + bytes(data))


def i2c_read(
    port: OutputPort,
    address: int,
    count: int,
    register: int | None = None,
    *,
    register_bytes: int = 1,
    repeated_start: bool | None = None,
    continuously: bool = False,
) -> LineCommand:
    """Read from an I2C device; a row `i2c` or `i2c-error` of the output `replies` is the answer.

    Args:
        port: Output port of type LineCommand, connected to the board.
        address: 7-bit address of the device.
        count: Number of bytes, 1 to 32.
        register: Where to read; None for where the device is.
        register_bytes: Bytes of the register's number, 1 or 2 (high byte first).
        repeated_start: Whether no stop is between register and data; None uses a repeated start
            where the board can.
        continuously: Whether to repeat it at every sampling interval, until `i2c_end`.

    Returns:
        The command that was sent.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("address", address, *_ADDRESSES)
    whole("count", count, 1, _MOST_BYTES)
    flags = int(bool(continuously))
    if repeated_start is not None:
        flags |= 2 if repeated_start else 4
    number = _register(register, register_bytes)
    return send_order(port, 0, bytes((_READ, address, flags, count)) + number)


def i2c_end(port: OutputPort, address: int, register: int | None = None) -> LineCommand:
    """End repeated reads of an I2C device, or that of one register.

    Raises:
        ModuleError: A value is out of range.
    """
    whole("address", address, *_ADDRESSES)
    number = b""
    if register is not None:
        wide = whole("register", register, 0, (1 << 16) - 1) > 0xFF
        number = _register(register, 1 + wide)
    return send_order(port, 0, bytes((_STOP, address)) + number)


def i2c_scan(port: OutputPort) -> LineCommand:
    """Find the devices on the I2C bus; a row `i2c-scan` of `replies` has their addresses."""
    return send_order(port, 0, bytes((_SCAN,)))


def _register(register: int | None, count: int) -> bytes:
    whole("register_bytes", count, 1, 2)
    if register is None:
        return b""
    return whole("register", register, 0, (1 << 8 * count) - 1).to_bytes(count, "big")
