"""Reads a firmware from an ELF or hex file, and writes a flash image as an ELF file.

yasimavr reads ELF only, and places a section by the program header that contains it. The smallest
file that it accepts has one program header, `.text` at address 0, and the table of section names.
"""

from __future__ import annotations

from pathlib import Path

from mlink.errors import DeviceError
from mlink_hil.control.firmware_file import (
    ELF,
    HEADER,
    MACHINE_AVR,
    SECTION,
    SEGMENT,
    ElfFile,
    read_file,
)
from mlink_hil.sim.boards.intel_hex import decode_hex

_IDENT = ELF + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little endian, version 1
_NAMES = b"\0.text\0.shstrtab\0"
_TYPE_EXECUTABLE, _LOAD, _READ_EXECUTE = 2, 1, 5
_PROGBITS, _STRTAB, _ALLOC_EXECUTE = 1, 3, 6


def make_elf(image: bytes) -> bytes:
    """Return an AVR executable (ELF32, little endian) as the bytes of its file.

    Args:
        image: Contents of the flash from address 0 on.
    """
    code_at = HEADER.size + SEGMENT.size
    names_at = code_at + len(image)
    sections_at = -(-(names_at + len(_NAMES)) // 4) * 4
    header = HEADER.pack(
        _IDENT,
        _TYPE_EXECUTABLE,
        MACHINE_AVR,
        1,
        0,  # entry
        HEADER.size,
        sections_at,
        0,
        HEADER.size,
        SEGMENT.size,
        1,
        SECTION.size,
        3,
        2,
    )
    segment = SEGMENT.pack(_LOAD, code_at, 0, 0, len(image), len(image), _READ_EXECUTE, 2)
    text = SECTION.pack(
        _NAMES.index(b".text"), _PROGBITS, _ALLOC_EXECUTE, 0, code_at, len(image), 0, 0, 2, 0
    )
    names = SECTION.pack(
        _NAMES.index(b".shstrtab"), _STRTAB, 0, 0, names_at, len(_NAMES), 0, 0, 1, 0
    )
    padding = bytes(sections_at - names_at - len(_NAMES))
    return b"".join((header, segment, image, _NAMES, padding, bytes(SECTION.size), text, names))


def read_firmware(path: Path, *, largest: int) -> bytes:
    """Return the flash image of a firmware, from address 0 on.

    Args:
        path: Intel hex or ELF file.
        largest: Size of the flash in bytes.

    Raises:
        DeviceError: The file is neither, is for another processor, or does not fit.
    """
    data = read_file(path)
    if not data.startswith(ELF):
        return decode_hex(data, path, largest=largest)
    image = bytearray()
    for at, part in ElfFile(path, data).flash(largest):
        image.extend(b"\xff" * max(0, at + len(part) - len(image)))
        image[at : at + len(part)] = part
    if not image:
        raise DeviceError(
            f"{path} has no segment for the flash",
            remedy="Give the ELF file as the linker wrote it, or the Intel hex file.",
        )
    return bytes(image)
