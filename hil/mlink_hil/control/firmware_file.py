"""Reads a firmware's file, and what is in an ELF file; the numbers in it are not believed."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlink.errors import DeviceError

ELF = b"\x7fELF"
"""How an ELF file begins."""
MACHINE_AVR = 83
HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
SEGMENT = struct.Struct("<8I")
SECTION = struct.Struct("<10I")
DATA_SPACE = 0x800000
"""In avr-gcc's files, addresses from here on are RAM, EEPROM and fuses."""
_SYMBOL = struct.Struct("<IIIBBH")
_LOAD, _SYMTAB = 1, 2
_NO_SECTION = (0, 0xFFF1)
"""Symbols without a place: those that are not defined, and plain numbers."""
_LARGEST_FILE = 16 << 20
_MOST_NAMES = 64 << 20
"""Bytes of all names together: each symbol may claim the whole table of names."""


class Symbol(NamedTuple):
    """A symbol of an ELF file."""

    name: str
    address: int
    """As the linker counts: from 0x800000 on in the data space, below in the flash."""
    size: int


def read_file(path: Path) -> bytes:
    """Return the content of a firmware's file.

    Raises:
        DeviceError: It is no file, cannot be read, or has more than 16 MB.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(_LARGEST_FILE + 1) if is_file else b""
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise DeviceError(
            f"the firmware {path} cannot be read: {reason}", remedy="Check the path."
        ) from error
    if not is_file or len(data) > _LARGEST_FILE:
        what = f"has more than {_LARGEST_FILE >> 20} MB" if is_file else "is no file"
        raise DeviceError(
            f"the firmware {path} {what}", remedy="Give the Intel hex or ELF file of a firmware."
        )
    return data


class ElfFile:
    """An ELF file of an AVR.

    Args:
        path: For messages.
        data: Its content.

    Raises:
        DeviceError: It is none, or is for another processor.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data = path, data
        if len(data) < HEADER.size or not data.startswith(ELF):
            raise self._damaged("it has no header")
        self._header = HEADER.unpack_from(data)
        if self._header[0][4:6] != b"\x01\x01" or self._header[2] != MACHINE_AVR:
            raise self._damaged("it is for another processor")

    def flash(self, largest: int) -> list[tuple[int, bytes]]:
        """Return the parts for the flash, as (physical address, bytes).

        Args:
            largest: Size of the flash in bytes.

        Raises:
            DeviceError: The file is damaged, or does not fit.
        """
        found, total = [], 0
        for kind, offset, _, physical, length, *_ in self._table(SEGMENT, 5, 9):
            if kind != _LOAD or not length or physical >= DATA_SPACE:
                continue
            total += length
            if physical + length > largest:
                raise self._damaged(f"it does not fit into {largest} bytes of flash")
            if total > len(self._data):
                raise self._damaged("its parts are longer than the file")
            found.append((physical, self._part(offset, length)))
        return found

    def symbols(self) -> Iterator[Symbol]:
        """Yield the symbols that have a place.

        Raises:
            DeviceError: The file is damaged.
        """
        sections = list(self._table(SECTION, 6, 11))
        table = next((section for section in sections if section[1] == _SYMTAB), None)
        if table is None:
            return
        if table[6] >= len(sections):
            raise self._damaged("its symbols have no names")
        names = self._part(*sections[table[6]][4:6])
        entries = self._part(*table[4:6])
        total = 0
        for at, address, size, _, _, section in _SYMBOL.iter_unpack(
            entries[: len(entries) // _SYMBOL.size * _SYMBOL.size]
        ):
            if section in _NO_SECTION:
                continue
            end = names.find(b"\0", at)
            if end > at:
                total += end - at
                if total > _MOST_NAMES:
                    raise self._damaged(f"its names have more than {_MOST_NAMES >> 20} MB")
                yield Symbol(names[at:end].decode("utf-8", "replace"), address, size)

    def _table(
        self, entry: struct.Struct, place: int, size_field: int
    ) -> Iterator[tuple[int, ...]]:
        """Yield the entries of a table of the header: its place, size of an entry, and number."""
        at, size, count = (self._header[field] for field in (place, size_field, size_field + 1))
        for number in range(count):
            yield entry.unpack(self._part(at + number * size, entry.size))

    def _part(self, at: int, length: int) -> bytes:
        if at + length > len(self._data):
            raise self._damaged("it is cut off")
        return self._data[at : at + length]

    def _damaged(self, why: str) -> DeviceError:
        return DeviceError(
            f"{self._path} is not an ELF file for an AVR: {why}",
            remedy="Build it with avr-gcc -mmcu=atmega328p, or give the Intel hex file.",
        )
