"""Reads the symbols of a firmware from its ELF file, by pyelftools (the extra `elf`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlink.catalog import nearest
from mlink.errors import DeviceError

RAM_BASE, _EEPROM_BASE = 0x800000, 0x810000
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
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def read_elf(path: Path) -> Elf:
    """Read the symbols of an ELF file for an AVR.

    Raises:
        DeviceError: pyelftools is not installed; the file cannot be read, or is for another
            processor, or has no symbols.
    """
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise DeviceError(
            f"the symbols of {path} cannot be read: pyelftools is not installed",
            remedy="pip install 'mlink-hil[elf]'",
        ) from error
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf["e_machine"] != "EM_AVR":
                raise DeviceError(
                    f"{path} is an ELF file for another processor: {elf['e_machine']}",
                    remedy="Build it with avr-gcc -mmcu=atmega328p.",
                )
            found = Elf(path)
            for segment in elf.iter_segments("PT_LOAD"):
                if segment["p_filesz"] and segment["p_paddr"] < RAM_BASE:
                    found.flash.append((segment["p_paddr"], segment.data()))
            table = elf.get_section_by_name(".symtab")
            for symbol in table.iter_symbols() if table is not None else ():
                if symbol.name and symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS"):
                    place = Place(symbol["st_value"], symbol["st_size"])
                    found.symbols.setdefault(symbol.name, set()).add(place)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}") from error
    except DeviceError:
        raise
    except Exception as error:  # pyelftools raises anything on a damaged file
        kind = "" if isinstance(error, ELFError) else f"{type(error).__name__}: "
        raise DeviceError(f"{path} is not an ELF file: {kind}{error}") from error
    _check(found)
    return found


def _check(elf: Elf) -> None:
    """Refuse a file without code, without symbols, or for a larger flash."""
    parts: Sequence[tuple[int, bytes]] = elf.flash
    if not parts or not elf.symbols:
        raise DeviceError(
            f"{elf.path} has no {'symbols' if parts else 'code'}",
            remedy="Give the ELF file as the linker wrote it, before avr-strip.",
        )
    if any(at + len(data) > _FLASH_BYTES for at, data in parts):
        raise DeviceError(f"{elf.path} does not fit into {_FLASH_BYTES} bytes of flash")
