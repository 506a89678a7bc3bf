"""Writes ELF files for an AVR with symbols, as a linker does, without a compiler."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_OBJECT = 0x11  # STB_GLOBAL, STT_OBJECT
_TEXT_SECTION = 1


def elf_with_symbols(
    image: bytes, symbols: Mapping[str, tuple[int, int]], *, machine: int = 83
) -> bytes:
    """Return an executable with one segment for the flash.

    Args:
        image: Contents of the flash from address 0 on.
        symbols: Name → (address, size); "name@2" is a second symbol "name".
        machine: Processor; 83 is AVR.
    """
    names, table = bytearray(b"\0"), bytearray(16)
    for key, (address, size) in symbols.items():
        table += struct.pack("<IIIBBH", len(names), address, size, _OBJECT, 0, _TEXT_SECTION)
        names += key.partition("@")[0].encode() + b"\0"
    titles = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    code_at = 52 + 32
    table_at = code_at + len(image)
    names_at = table_at + len(table)
    titles_at = names_at + len(names)
    sections_at = titles_at + len(titles)
    sections = [
        (0,) * 10,
        (titles.index(b".text"), 1, 6, 0, code_at, len(image), 0, 0, 2, 0),
        (titles.index(b".symtab"), 2, 0, 0, table_at, len(table), 3, 1, 4, 16),
        (titles.index(b".strtab"), 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
        (titles.index(b".shstrtab"), 3, 0, 0, titles_at, len(titles), 0, 0, 1, 0),
    ]
    ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH", ident, 2, machine, 1, 0, 52, sections_at, 0, 52, 32, 1, 40, 5, 4
    )
    segment = struct.pack("<8I", 1, code_at, 0, 0, len(image), len(image), 5, 2)
    parts = (header, segment, image, table, names, titles)
    return b"".join(parts) + b"".join(struct.pack("<10I", *section) for section in sections)
