"""Firmwares with changes, Intel hex and ELF, for the simulator and for the names of variables."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

from mlink.errors import MlinkError
from mlink_hil.control.symbols import read_elf
from mlink_hil.sim.boards.elf import make_elf, read_firmware
from tests.support import ROOT
from tests.support.boards.elf_files import elf_with_symbols
from tests.support.fuzz.harness import mutated

_FLASH = 32 * 1024
_SYMBOLS = {f"name{n}": (0x800100 + n, 1 + n % 4) for n in range(40)} | {"main": (0x20, 16)}


class Firmware:
    """Firmwares; half of the changed records of hex files have the right checksum."""

    def __init__(self, base: Path) -> None:
        self.watched: list[Path] = []
        self._path = base / "firmware"
        image = bytes(range(256)) * 8
        self._good = [
            (ROOT / "firmware/prebuilt/mlink_firmata-uno.hex").read_bytes(),
            make_elf(image),
            elf_with_symbols(image, _SYMBOLS),
        ]

    def run(self, choose: random.Random) -> None:
        """Read a firmware by each reader."""
        data = mutated(choose.choice(self._good), choose)
        if data.startswith(b":") and choose.random() < 0.5:
            data = b"\n".join(_summed(line) for line in data.split(b"\n"))
        self._path.write_bytes(data)
        with suppress(MlinkError):
            assert len(read_firmware(self._path, largest=_FLASH)) <= _FLASH
        with suppress(MlinkError):
            found = read_elf(self._path)
            assert all(at + len(part) <= _FLASH for at, part in found.flash)
            found.find("name7")


def _summed(line: bytes) -> bytes:
    try:
        record = bytes.fromhex(line[1:].decode())[:-1]
    except ValueError:
        return line
    return b":" + (record + bytes([-sum(record) & 0xFF])).hex().encode()
