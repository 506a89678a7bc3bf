"""Reads a firmware from an ELF or hex file, and writes a flash image as an ELF file.

yasimavr reads ELF only, and places a section by the program header that contains it. The smallest
file that it accepts has one program header, `.text` at address 0, and the table of section names.
"""

from __future__ import annotations

import struct
from pathlib import Path

from mlink.errors import DeviceError
from mlink_hil.sim.boards.intel_hex import read_hex

_MACHINE_AVR = 83
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<8I")
_SECTION = struct.Struct("<10I")
_IDENT = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little endian, version 1
_NAMES = b"\0.text\0.shstrtab\0"
_LARGEST_FILE = 16 << 20
_DATA_SPACE = 0x800000
"""In avr-gcc's files, addresses from here on are RAM, EEPROM and fuses."""
_TYPE_EXECUTABLE, _LOAD, _READ_EXECUTE = 2, 1, 5
_PROGBITS, _STRTAB, _ALLOC_EXECUTE = 1, 3, 6


def make_elf(image: bytes) -> bytes:
    """Return an AVR executable (ELF32, little endian) as the bytes of its file.

    Args:
        image: Contents of the flash from address 0 on.
    """
    code_at = _HEADER.size + _SEGMENT.size
    names_at = code_at + len(image)
    sections_at = -(-(names_at + len(_NAMES)) // 4) * 4
    header = _HEADER.pack(
        _IDENT,
        _TYPE_EXECUTABLE,
        _MACHINE_AVR,
        1,
        0,  # entry
        _HEADER.size,
        sections_at,
        0,
        _HEADER.size,
        _SEGMENT.size,
        1,
        _SECTION.size,
        3,
        2,
    )
    segment = _SEGMENT.pack(_LOAD, code_at, 0, 0, len(image), len(image), _READ_EXECUTE, 2)
    text = _SECTION.pack(
        _NAMES.index(b".text"), _PROGBITS, _ALLOC_EXECUTE, 0, code_at, len(image), 0, 0, 2, 0
    )
    names = _SECTION.pack(
        _NAMES.index(b".shstrtab"), _STRTAB, 0, 0, names_at, len(_NAMES), 0, 0, 1, 0
    )
    padding = bytes(sections_at - names_at - len(_NAMES))
    return b"".join((header, segment, image, _NAMES, padding, bytes(_SECTION.size), text, names))


def read_firmware(path: Path, *, largest: int) -> bytes:
    """Return the flash image of a firmware, from address 0 on.

    Args:
        path: Intel hex or ELF file.
        largest: Size of the flash in bytes.

    Raises:
        DeviceError: The file is neither, is for another processor, or does not fit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE) if file.read(4) == b"\x7fELF" else b""
    except OSError as error:
        raise DeviceError(f"the firmware {path} cannot be read: {error.strerror}") from error
    if not data:
        return read_hex(path, largest=largest)
    try:
        return _flash_of(b"\x7fELF" + data, largest)
    except (struct.error, ValueError) as error:
        raise DeviceError(
            f"{path} is not an ELF file for an AVR: {error}",
            remedy="Build it with avr-gcc -mmcu=atmega328p, or give the Intel hex file.",
        ) from error


def _flash_of(data: bytes, largest: int) -> bytes:
    """Return the image that the program headers put into flash, by physical address."""
    header = _HEADER.unpack_from(data)
    if header[0][4:6] != b"\x01\x01" or header[2] != _MACHINE_AVR:
        raise ValueError("it is for another processor")
    at, size, count = header[5], header[9], header[10]
    image = bytearray()
    for number in range(count):
        kind, offset, _, physical, length, *_ = _SEGMENT.unpack_from(data, at + number * size)
        if kind != _LOAD or not length or physical >= _DATA_SPACE:
            continue
        end = physical + length
        if end > largest or offset + length > len(data):
            raise ValueError(f"it does not fit into {largest} bytes of flash")
        image.extend(b"\xff" * max(0, end - len(image)))
        image[physical:end] = data[offset : offset + length]
    if not image:
        raise ValueError("it has no segment for the flash")
    return bytes(image)
