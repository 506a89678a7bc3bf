"""Looks into a simulated chip: pins, registers, memory, and symbols of an ELF file.

A client of the chip's control socket; what it reads has no effect on the chip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from mlink.devices import ChipSymbol, PinEdge, PinLevel
from mlink.errors import BenchError, DeviceError
from mlink.proposals import nearest
from mlink_hil.control import messages
from mlink_hil.control.board import VirtualBoard
from mlink_hil.control.checked import checked, listed
from mlink_hil.control.client import ReplyT
from mlink_hil.control.symbols import RAM_BASE, Elf, is_elf, read_elf


class ChipPlace(NamedTuple):
    """Where a chip of a run is."""

    control: Path
    """Its control socket."""
    firmware: Path
    """Its firmware, hex or ELF."""


class Registers(dict[str, int]):
    """Registers by name: PC (in bytes), SP, SREG, R0 to R31, and those of the data sheet."""

    def __getitem__(self, name: str) -> int:
        """Return a register by its name.

        Raises:
            BenchError: The name is no text.
            DeviceError: The chip has no such register.
        """
        if not isinstance(name, str):
            raise BenchError(
                f"registers[{name!r}]: a name is needed",
                remedy='As in the data sheet, in quotes: registers["PORTB"], registers["R24"].',
            )
        return super().__getitem__(name)

    def __missing__(self, name: str) -> int:
        close = nearest(str(name).upper(), self)
        raise DeviceError(
            f"the chip has no register '{name}'",
            remedy=f"Did you mean '{close}'?" if close else "As in its data sheet: PORTB, R24.",
        )


class Chip(VirtualBoard):
    """A simulated chip or board; implements `mlink.devices.SimulatedChip`.

    Args:
        name: Its name in the bench.
        place: Where it is.
        elf: ELF file of its firmware; None takes the firmware if that is one.
        check: Raises an error where the run does not stand still.

    Raises:
        DeviceError: No program listens at the control socket.
    """

    def __init__(
        self, name: str, place: ChipPlace, elf: Path | None, check: Callable[[], None]
    ) -> None:
        super().__init__(place.control)
        self.name = name
        self._firmware = place.firmware
        self._elf_file = elf
        self._elf: Elf | None = None
        self._check = check
        self._one_at_a_time = threading.Lock()

    def pin(self, number: int) -> PinLevel:
        """Return what a pin reads, and what drives it.

        Args:
            number: 0 to 19; 14 is A0.
        """
        state = self.read(number)
        return PinLevel(state.level, state.output, state.driven)

    @property
    def registers(self) -> Registers:
        """The registers by name, read now."""
        return Registers(self._ask(messages.Registers(), messages.RegistersReply).registers)

    def memory(self, address: int, length: int, *, flash: bool = False) -> bytes:
        """Return a part of the memory.

        Args:
            address: First byte: of the data space (0x100 is the first one of RAM), or of the flash.
                An address of a linker (0x800100) is one of the data space.
            length: Number of bytes.
            flash: Whether it is one of the flash.
        """
        request = checked(messages.Memory(address, length, flash))
        if not request.flash and request.address >= RAM_BASE:
            request = msgspec.structs.replace(request, address=request.address - RAM_BASE)
        return self._ask(request, messages.MemoryReply).data

    def symbol(self, name: str) -> ChipSymbol:
        """Return a variable or function of the firmware, by its name in the ELF file.

        Raises:
            BenchError: The name is no text.
            DeviceError: There is no ELF file, it is not that of the chip's firmware, or has no
                such symbol.
        """
        if not isinstance(name, str):
            raise BenchError(
                f"symbol(name={name!r}): a text is needed",
                remedy='Write the name of the ELF file\'s symbol, as in symbol("counter").',
            )
        if self._elf is None:
            self._elf = self._read_elf()
        found = self._elf.find(name)
        data = self.memory(found.address, found.size, flash=found.in_flash)
        return ChipSymbol(name, found.address, data)

    def _read_elf(self) -> Elf:
        path = self._elf_file
        if path is None:
            if not is_elf(self._firmware):
                raise DeviceError(
                    f"the symbols of '{self.name}' are not known: its firmware "
                    f"'{self._firmware.name}' is no ELF file",
                    remedy=f'Give the ELF file it was made from: chip("{self.name}", elf="….elf").',
                )
            path = self._firmware
        elf = read_elf(path)
        for at, wanted in elf.flash:
            differing = [
                at + number
                for number, pair in enumerate(
                    zip(wanted, self.memory(at, len(wanted), flash=True), strict=True)
                )
                if pair[0] != pair[1]
            ]
            if differing:
                raise DeviceError(
                    f"{path} is not the firmware of '{self.name}': {len(differing)} of "
                    f"{len(wanted)} bytes differ from its flash, the first at {differing[0]:#x}",
                    remedy="Give the ELF file of the same build, or build the firmware from it "
                    "again (avr-objcopy -O ihex -R .eeprom).",
                )
        return elf

    def halt(self, pins: Sequence[int]) -> list[int]:
        """Stand still at each edge of pins from now on; return how many edges each pin has had."""
        self.watch(pins)
        return self._ask(messages.Halt(listed(pins)), messages.HaltReply).edges

    def take_edges(self) -> list[PinEdge]:
        """Return the edges of those pins since the last call; they have all arrived."""
        self.read(13)  # what was sent before the reply is here
        return [PinEdge(edge.pin, edge.level, edge.time_ns) for edge in self.edges()]

    def _ask(self, request: messages.Request, kind: type[ReplyT]) -> ReplyT:
        self._check()
        with self._one_at_a_time:
            return super()._ask(request, kind)
