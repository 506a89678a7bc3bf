"""The symbols of a firmware, from its ELF file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlink.errors import DeviceError
from mlink.proposals import nearest
from mlink_hil.control.firmware_file import DATA_SPACE, ELF, ElfFile, read_file

RAM_BASE, _EEPROM_BASE = DATA_SPACE, 0x810000
"""In avr-gcc's files, addresses of the data space begin here; those of EEPROM and fuses follow."""
_FLASH_BYTES = 32 * 1024


class Place(NamedTuple):
    """Where a symbol is."""

    address: int
    """As the linker counts: from 0x800000 on in the data space, below in the flash."""
    size: int

    @property
    def in_flash(self) -> bool:
        """Whether it is in the flash."""
        return self.address < RAM_BASE


@dataclass
class Elf:
    """The symbols of a firmware, and what it puts into the flash.

    Args:
        path: The file.
    """

    path: Path
    flash: list[tuple[int, bytes]] = field(default_factory=list)
    """(address, bytes) of each part."""
    symbols: dict[str, set[Place]] = field(default_factory=dict)

    def find(self, name: str) -> Place:
        """Return where a symbol is.

        Raises:
            DeviceError: There is none, or several, or it cannot be read.
        """
        places = self.symbols.get(name)
        if not places:
            close = nearest(name, self.symbols)
            raise DeviceError(
                f"{self.path} has no symbol '{name}'",
                remedy=f"Did you mean '{close}'?"
                if close
                else "avr-nm -S lists its symbols; "
                "the compiler may have kept a variable in a register, or left it out.",
            )
        if len(places) > 1:
            listed = ", ".join(f"{place.address:#x}" for place in sorted(places))
            raise DeviceError(
                f"'{name}' stands for several places in {self.path}: {listed}",
                remedy="Read the one you mean: memory(address, length).",
            )
        (place,) = places
        if not place.size or place.address >= _EEPROM_BASE:
            why = "it is outside of flash and RAM" if place.size else "it has no size"
            raise DeviceError(
                f"'{name}' of {self.path} ({place.address:#x}) cannot be read: {why}",
                remedy="Read memory(address, length) where it is in flash or RAM.",
            )
        return place


def is_elf(path: Path) -> bool:
    """Return whether a file is an ELF file."""
    try:
        return read_file(path).startswith(ELF)
    except DeviceError:
        return False


def read_elf(path: Path) -> Elf:
    """Read the symbols of an ELF file for an AVR.

    Raises:
        DeviceError: The file cannot be read, is damaged, is for another processor, has no code or
            no symbols, or does not fit into the flash.
    """
    file = ElfFile(path, read_file(path))
    found = Elf(path, file.flash(_FLASH_BYTES))
    for symbol in file.symbols():
        found.symbols.setdefault(symbol.name, set()).add(Place(symbol.address, symbol.size))
    if not found.flash or not found.symbols:
        raise DeviceError(
            f"{path} has no {'symbols' if found.flash else 'code'}",
            remedy="Give the ELF file as the linker wrote it, before avr-strip.",
        )
    return found
