"""Looks into an AVR of yasimavr without an effect on it, and lets it stand still at any cycle.

Imported by the simulator's programs only, as `avr_board.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yasimavr.lib.core as core

from mlink.errors import DeviceError
from mlink_hil.board_kinds import BoardKind
from mlink_hil.sim.boards.avr_registers import registers_of

_State = core.Device.State
_IO = 0x20
"""Where I/O registers begin in the data space; R0 to R31 are before."""


class AvrProbe:
    """Reads registers and memory, and halts the processor.

    Args:
        device: The processor.
        loop: Its simulation loop.
        kind: The board.
    """

    def __init__(self, device: Any, loop: Any, kind: BoardKind) -> None:
        self._kind = kind
        self._device = device
        self._loop = loop
        self._probe = core.DeviceDebugProbe()
        self._bytes, self._words = registers_of(kind.chip)
        self._at_cycle = core.CallableCycleTimer(self._halt_at)
        self._between = core.CallableCycleTimer(self._end_run)
        self._stands = False
        """Whether an edge halts the processor now."""
        self._before: Any = None
        """The processor's state before it was halted; None while it runs."""
        self._stood_at: int | None = None

    # standing still -----------------------------------------------------------------------

    def stand(self, cycle: int, at: int) -> None:
        """Run towards a cycle, and stand still at another or where `halt` is called.

        The library cuts short the last instruction of each run of its loop. So the loop is called
        for the whole way and ended on the way, after an instruction: what follows is the same.

        Args:
            cycle: How far the processor is to run in the end.
            at: Where to stand.
        """
        loop, manager, now = self._loop, self._loop.cycle_manager(), self._loop.cycle()
        if cycle <= now or at <= now:
            return
        if at < cycle:
            manager.schedule(self._at_cycle, at)
        self._stands = True
        loop.run(cycle - now)
        self._stands = False
        for timer in (self._at_cycle, self._between):
            if timer.scheduled():
                manager.cancel(timer)
        if self._before is not None:
            if self._stood_at is not None and self._stood_at < cycle:
                manager.increment_cycle(self._stood_at - loop.cycle())
            self._probe.set_device_state(self._before)
            self._probe.detach()
        self._before = self._stood_at = None

    def halt(self) -> None:
        """Stand still after this instruction; called while it is simulated."""
        if not self._stands or self._before is not None:
            return
        self._probe.attach(self._device)
        self._before = self._device.state()
        if self._before is _State.Running:
            self._probe.set_device_state(_State.Halted)
        # A cycle later the whole duration of this instruction has been counted.
        self._loop.cycle_manager().schedule(self._between, self._loop.cycle() + 1)

    def _halt_at(self, _when: int) -> int:
        self.halt()
        return 0

    def _end_run(self, _when: int) -> int:
        """End the loop, when nothing else is due in this cycle that might wake a processor."""
        now = int(self._loop.cycle())
        next_due = self._loop.cycle_manager().next_when()
        if 0 <= next_due <= now:
            # The cycle of the wait is not one of the processor's.
            self._stood_at = now if self._stood_at is None else self._stood_at
            return now + 1
        if self._before is not _State.Running and self._device.state() is _State.Running:
            self._before = self._stood_at = None  # it has woken since, and begun an instruction
            self.halt()
            return 0
        self._stood_at = now if self._stood_at is None else self._stood_at
        self._probe.set_device_state(_State.Break)
        return 0

    @contextmanager
    def _attached(self) -> Iterator[None]:
        """Attach the library's probe; with it the processor is slower."""
        self._probe.attach(self._device)
        try:
            yield
        finally:
            self._probe.detach()

    # looking ------------------------------------------------------------------------------

    @property
    def pc(self) -> int:
        """The program counter, in bytes."""
        with self._attached():
            return int(self._probe.read_pc())

    def registers(self) -> dict[str, int]:
        """Return PC (in bytes), SP, SREG, R0 to R31 and the I/O registers, by name."""
        with self._attached():
            probe = self._probe
            found = {"PC": probe.read_pc(), "SP": probe.read_sp(), "SREG": probe.read_sreg()}
            found |= {f"R{number}": probe.read_gpreg(number) for number in range(_IO)}
            found |= {name: self._io(address) for name, address in self._bytes.items()}
            for name, address in self._words.items():
                found[name] = self._io(address) | self._io(address + 1) << 8
        return found

    def memory(self, address: int, length: int, *, flash: bool) -> bytes:
        """Return a part of the data space or of the flash.

        Raises:
            DeviceError: The processor has no such memory.
        """
        ram, data_end = self._kind.ram
        what, end = ("flash", self._kind.flash_bytes) if flash else ("data space", data_end)
        if address < 0 or length < 1 or address + length > end:
            raise DeviceError(
                f"the {what} has no {length} bytes at {address:#x} (valid: 0 to {end - 1:#x})",
                remedy=f"RAM is {ram:#x} to {data_end - 1:#x} of the data space; I/O registers are "
                "before it.",
            )
        with self._attached():
            if flash:
                return bytes(self._probe.read_flash(address, length))
            # The library would read I/O registers as the processor does, with all effects of that.
            found = bytes(self._byte(each) for each in range(address, min(address + length, ram)))
            if left := length - len(found):
                found += bytes(self._probe.read_data(max(address, ram), left))
            return found

    def _byte(self, address: int) -> int:
        return int(self._probe.read_gpreg(address) if address < _IO else self._io(address))

    def _io(self, address: int) -> int:
        """Return an I/O register as a debugger sees it; 0 where there is none."""
        return int(self._probe.read_ioreg(core.reg_addr_t(address - _IO), False))
