"""The engine's end of the program of simulated boards, in virtual time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from mlink.devices import DeviceEndpoint, Reached
from mlink.errors import DeviceError
from mlink.proposals import proposal
from mlink_hil.control.chip import Chip, ChipPlace
from mlink_hil.control.lockstep import REQUEST, decode_answer, reader_of

_LARGEST_ANSWER = 65_536


class LockstepSimulation:
    """Implements `mlink.devices.Simulation`: the engine's end of the socket.

    Args:
        endpoints: The devices by name.
        engine: The connected socket, not blocking; None without boards.
        chips: The simulated boards and chips by name.
    """

    def __init__(
        self,
        endpoints: Mapping[str, DeviceEndpoint],
        engine: socket.socket | None,
        chips: Mapping[str, ChipPlace],
    ) -> None:
        self.endpoints = endpoints
        self._places = chips
        self._chips: dict[tuple[str, Path | None], Chip] = {}
        self._engine = engine
        self._until_usec = 0

    @property
    def chips(self) -> list[str]:
        """Names of the boards and chips that `chip` gives."""
        return list(self._places)

    @property
    def pid(self) -> int:
        """Process of the program; 0 without boards."""
        return 0 if self._engine is None else reader_of(self._engine)

    def fileno(self) -> int:
        """Descriptor that is readable when there is an answer; −1 without boards."""
        return self._engine.fileno() if self._engine is not None else -1

    def chip(self, name: str, elf: Path | None, check: Callable[[], None]) -> Chip:
        """Return a board or chip, connected to until `close`.

        Args:
            name: Its name in the bench.
            elf: ELF file of its firmware; None takes the firmware if that is one.
            check: Raises an error where the run does not stand still.

        Raises:
            DeviceError: There is no such chip.
        """
        place = self._places.get(name)
        if place is None:
            raise DeviceError(
                f"this run has no simulated chip '{name}'",
                remedy=proposal(name, self._places, "chips"),
            )
        if (name, elf) not in self._chips:
            self._chips[name, elf] = Chip(name, place, elf, check)
        return self._chips[name, elf]

    def close(self) -> None:
        """Disconnect from the chips."""
        for chip in self._chips.values():
            chip.close()

    def run_until(self, time_usec: int, stand_usec: int) -> None:
        """Ask for the simulation of all devices up to a time, or to where they stand before."""
        self._until_usec = min(time_usec, stand_usec)
        if self._engine is not None:
            self._engine.send(REQUEST.pack(time_usec, stand_usec))

    def reached(self) -> Reached | None:
        """Return the answer; None while it is not there.

        Raises:
            DeviceError: The program has ended.
        """
        if self._engine is None:
            return Reached(self._until_usec, [])
        try:
            answer = self._engine.recv(_LARGEST_ANSWER)
        except BlockingIOError:
            return None
        except OSError:
            answer = b""
        if not answer:
            raise DeviceError(
                "the simulator of the boards has ended",
                remedy="Its last lines are in the log; start the run again.",
            )
        return decode_answer(answer)
