"""Reads Intel hex files into flash images; checks the checksum and length of every record."""

from __future__ import annotations

from pathlib import Path

from mlink.errors import DeviceError
from mlink_hil.control.firmware_file import read_file

_DATA, _END, _SEGMENT, _START_SEGMENT, _LINEAR, _START_LINEAR = range(6)
_LARGEST_IMAGE = 1 << 20
_REMEDY = (
    "Build the firmware again; StandardFirmata is fetched again by "
    "python -m mlink_hil.sim.fetch_firmware"
)


def read_hex(path: Path, *, largest: int = _LARGEST_IMAGE) -> bytes:
    """Return the image in a hex file, from address 0 on.

    Args:
        path: The file.
        largest: Size of the flash in bytes.

    Raises:
        DeviceError: The file cannot be read, is malformed, or does not fit.
    """
    return decode_hex(read_file(path), path, largest=largest)


def decode_hex(data: bytes, path: Path, *, largest: int) -> bytes:
    """Return the image in the content of a hex file; arguments and errors as `read_hex`."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DeviceError(f"{path} cannot be read as Intel hex: {error}", remedy=_REMEDY) from error
    return parse_hex(text, name=str(path), largest=largest)


def parse_hex(text: str, *, name: str = "hex", largest: int = _LARGEST_IMAGE) -> bytes:
    """Return the image from address 0 on; gaps are 0xFF, as erased flash reads.

    Args:
        text: Contents of a hex file.
        name: Name of the file, for messages.
        largest: Size of the flash in bytes.

    Raises:
        DeviceError: The text is malformed or the image too large; the message has the line.
    """
    image = bytearray()
    base = 0
    ended = False
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        where = f"{name}, line {number}"
        if ended:
            raise _malformed(where, "there is a record after the end record")
        kind, address, data = _record(line, where)
        if kind == _DATA:
            _put(image, base + address, data, where, largest)
        elif kind == _END:
            ended = True
        elif kind in (_SEGMENT, _LINEAR):
            if len(data) != 2:
                raise _malformed(where, "an address record holds 2 bytes")
            base = int.from_bytes(data) << (4 if kind == _SEGMENT else 16)
        elif kind not in (_START_SEGMENT, _START_LINEAR):
            raise _malformed(where, f"record type {kind:02X} is unknown")
    if not ended:
        raise _malformed(name, "the end record is missing; the file is cut off")
    if not image:
        raise _malformed(name, "it contains no data")
    return bytes(image)


def _record(line: str, where: str) -> tuple[int, int, bytes]:
    """Return (type, address, data) of one line."""
    if not line.startswith(":"):
        raise _malformed(where, "a record starts with a colon")
    try:
        record = bytes.fromhex(line[1:])
    except ValueError:
        raise _malformed(where, "it contains characters other than hex digits") from None
    if len(record) < 5 or len(record) != record[0] + 5:
        raise _malformed(where, f"the record has {len(record)} bytes; its length byte differs")
    if sum(record) & 0xFF:
        raise _malformed(where, "the checksum is wrong")
    return record[3], int.from_bytes(record[1:3]), record[4:-1]


def _put(image: bytearray, address: int, data: bytes, where: str, largest: int) -> None:
    """Write data into the image and extend it as needed; DeviceError beyond `largest`."""
    end = address + len(data)
    if end > largest:
        raise _malformed(where, f"address {end - 1:#x} is beyond {largest} bytes of flash")
    if end > len(image):
        image.extend(b"\xff" * (end - len(image)))
    image[address:end] = data


def _malformed(where: str, what: str) -> DeviceError:
    return DeviceError(f"{where}: {what}", remedy=_REMEDY)
