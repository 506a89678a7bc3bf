"""Steps of a page through a run in virtual time: pause, to a moment, to an edge, looks into chips.

A thread of the run has its own connection to the program. One step at a time: what a page asks
for meanwhile is refused by the program. Nothing of it changes what the run records
(`engine/virtual_time/stepping.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from mlink.closing import ClosesOnExit
from mlink.devices import SimulatedChip, Simulation
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.stepping import LIMIT_USEC, EdgeOf, Moment, Stepping
from mlink.errors import BenchError, DeviceError, MlinkError
from mlink.view.messages import Look, Looked, PinShown, Step, Stood, SymbolShown
from mlink.view.run.line import Line

_MOST_PINS = 70
"""Of an ATmega2560."""
_MOST_BYTES = 4_096
"""Of a symbol that are shown."""
_SEND_S = 1.0
_LISTEN_S = 0.25


class Steps(ClosesOnExit):
    """Makes the steps that pages ask for.

    Args:
        socket: Socket of the view's program.
        simulation: Returns the simulated devices; None without any, or before they are there.
        folder: Folder of the bench; ELF files that pages name are in it.
        stands: Whether the run stands at its start until a page lets it go on.
    """

    def __init__(
        self,
        socket: Path,
        simulation: Callable[[], Simulation | None],
        folder: Path,
        *,
        stands: bool,
    ) -> None:
        self._socket = socket
        self.participant = Participant()
        """Takes part in the run's virtual time."""
        self._simulation = simulation
        self._folder = folder.resolve()
        self._stepping = Stepping(self.participant, simulation)
        self._stands = stands
        if not stands:
            self.participant.go_on()
        self._line = Line(lambda _why: None)
        self._thread = threading.Thread(target=self._serve, name="view-steps", daemon=True)

    def begin(self) -> None:
        """Serve pages, once all modules have started; further calls do nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """End, with the run."""
        self.participant.end()
        if self._thread.is_alive():
            self._thread.join(_SEND_S)

    def _serve(self) -> None:
        try:
            self._line.connect(self._socket)
        except OSError:  # the log of the run has it: its feed is not connected either
            self.participant.go_on()
            return
        self._tell(Moment(0))
        while self._line.is_open and not self.participant.ended:
            for message in self._line.receive(_LISTEN_S):
                if isinstance(message, Step):
                    self._step(message)
                elif isinstance(message, Look):
                    self._line.put(self._look(message))
            self._line.flush(_SEND_S)
        if self._stands and not self.participant.ended:
            self.participant.go_on()  # nobody is there any more who could
        self._line.close()

    def _step(self, step: Step) -> None:
        moment, error = None, None
        try:
            if step.act == "go":
                self._stands = False
                self.participant.go_on()
            else:
                self._stands = True
                if not self.participant.has_turn:
                    self._stepping.pause()
                moment = self._run(step)
        except MlinkError as found:
            error = found
        self._tell(moment or Moment(self.participant.now_usec), error)

    def _run(self, step: Step) -> Moment:
        if step.act == "until":
            return self._stepping.run_until(step.time_usec)
        if step.act == "for":
            return self._stepping.run_until(self.participant.now_usec + step.time_usec)
        if step.act == "edge":
            wanted: EdgeOf = (step.chip, step.pin, step.which)
            return self._stepping.run_until(edge=wanted, limit_usec=step.time_usec or LIMIT_USEC)
        return Moment(self.participant.now_usec)

    def _tell(self, moment: Moment, error: MlinkError | None = None) -> None:
        simulation, edge = self._simulation(), moment.edge
        self._line.put(
            Stood(
                time_usec=moment.time_usec,
                stands=self._stands,
                chips=[] if simulation is None else list(simulation.chips),
                edge="" if edge is None else f"pin {edge.pin} {'rose' if edge.level else 'fell'}",
                error="" if error is None else error.message,
                remedy="" if error is None else error.remedy,
            )
        )
        self._line.flush(_SEND_S)

    def _look(self, look: Look) -> Looked:
        found = Looked(look.chip, self.participant.now_usec)
        try:
            chip = self._stepping.chip(look.chip, self._elf(look.elf))
            found.pins = _pins(chip)
            found.registers = dict(chip.registers)
            if look.length:
                found.address = look.address
                found.memory = chip.memory(look.address, look.length).hex()
            for name in look.symbols:
                symbol = chip.symbol(name)
                data = symbol.data[:_MOST_BYTES]
                found.symbols.append(SymbolShown(name, symbol.address, data.hex()))
        except MlinkError as error:
            found.error, found.remedy = error.message, error.remedy
        return found

    def _elf(self, name: str) -> Path | None:
        """Return the ELF file that a page names; only those of the bench's folder."""
        if not name:
            return None
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise BenchError(
                f"there is no file {name!r} in the bench's folder",
                remedy="Name an ELF file below it, such as firmware/lamp.elf.",
            )
        return path


def _pins(chip: SimulatedChip) -> list[PinShown]:
    found = []
    for number in range(_MOST_PINS):
        try:
            level, output, driven = chip.pin(number)
        except DeviceError:
            break  # it has no more
        found.append(PinShown(number, level, output, driven))
    return found
