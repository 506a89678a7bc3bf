"""Wrap a flash image as the smallest ELF file that the simulator loads.

It reads ELF only, and places a section by the program header that contains it. So: one program
header, `.text` at address 0, and the table of section names.
"""

from __future__ import annotations

import struct

_MACHINE_AVR = 83
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<8I")
_SECTION = struct.Struct("<10I")
_IDENT = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little endian, version 1
_NAMES = b"\0.text\0.shstrtab\0"
_TYPE_EXECUTABLE, _LOAD, _READ_EXECUTE = 2, 1, 5
_PROGBITS, _STRTAB, _ALLOC_EXECUTE = 1, 3, 6


def make_elf(image: bytes) -> bytes:
    """Return an AVR executable whose flash holds `image` from address 0 on."""
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
