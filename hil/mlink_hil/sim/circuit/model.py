"""Runs a device under test that is a Python class (`mlink_hil.dut`), and reports its errors.

Its methods run at exact cycles of the common clock, in the simulator's process. What they raise
ends the program with a message that has the file and the line.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from mlink.errors import DeviceError, MlinkError
from mlink_hil.dut import Dut, I2cDevice, Moment
from mlink_hil.sim.boards.board import BoardCrashed
from mlink_hil.sim.boards.i2c import I2cEnd
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.nets import NOTHING, Drive, Net, Strength
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.plan import FIRST_I2C_ADDRESS, LAST_I2C_ADDRESS, ModelPlan
from mlink_hil.uno import CLOCK_HZ, SUPPLY_VOLT

PutVolts = Callable[[float | None, int], object]
"""Called with (volts, cycle)."""
_CYCLES_PER_USEC = CLOCK_HZ / 1e6


class Model:
    """A Dut on the common clock; implements `DutHost`.

    Args:
        plan: Its file, class, pins and settings.
        clock: The common clock.

    Raises:
        DeviceError: The file or the class cannot be used.
        BoardCrashed: Its constructor raised.
    """

    def __init__(self, plan: ModelPlan, clock: CommonClock) -> None:
        self.name = plan.name
        self._plan = plan
        self._clock = clock
        self._now = 0
        self._begin = 0
        self._nets: dict[str, Net] = {}
        self._own: dict[str, Drive] = {}
        self._seen: dict[str, Drive] = {}
        self._levels: dict[str, bool] = {}
        self._analog: dict[str, list[PutVolts]] = {}
        self._i2c: I2cEnd | None = None
        self._dut = self._make()

    def _make(self) -> Dut:
        plan = self._plan
        module = _load(Path(plan.file), plan.name)
        found = getattr(module, plan.class_name, None)
        if not inspect.isclass(found) or not issubclass(found, Dut):
            raise DeviceError(
                f"'{plan.name}': {plan.file} has no class {plan.class_name} that is a Dut",
                remedy="Write: from mlink_hil.dut import Dut; class Lamp(Dut): …",
            )
        if isinstance(found.pins, str):
            raise DeviceError(
                f"'{plan.name}': pins of {plan.class_name} is a text, not a tuple of names",
                remedy=f'Write pins = ("{found.pins}",).',
            )
        if unknown := sorted(set(plan.pins) - set(found.pins)):
            raise DeviceError(
                f"'{plan.name}': {plan.class_name} has no pin {', '.join(unknown)}",
                remedy=f"Its pins: {', '.join(found.pins) or 'none (name them in `pins`)'}.",
            )
        dut: Dut = self._guarded(lambda: found(**plan.settings))
        dut.host = self
        for pin in dut.pins:
            self._own[pin] = self._seen[pin] = NOTHING
            self._levels[pin] = False
        return dut

    def connect(self, pin: str, net: Net) -> None:
        """Connect a pin to a net."""
        self._nets[pin] = net
        net.join(f"{self.name}.{pin}", lambda seen, cycle: self._show(pin, seen, cycle))

    def connect_analog(self, pin: str, put: PutVolts) -> None:
        """Wire a pin to an analog line."""
        self._analog.setdefault(pin, []).append(put)

    def _i2c_device(self) -> tuple[I2cDevice, int]:
        """Return it as a device on the I2C bus, and its address there.

        Raises:
            DeviceError: The class is none of an I2C device, or its address is not valid.
        """
        dut, plan = self._dut, self._plan
        if not isinstance(dut, I2cDevice):
            raise DeviceError(
                f"'{plan.name}': {plan.class_name} is no I2cDevice, so it has no I2C bus",
                remedy="Derive it from mlink_hil.dut.I2cDevice, or remove the key i2c.",
            )
        address = plan.address or dut.address
        if not FIRST_I2C_ADDRESS <= address <= LAST_I2C_ADDRESS:
            raise DeviceError(
                f"'{plan.name}': the I2C address {address:#04x} is not in 0x08 to 0x77",
                remedy=f"Set address in [virtual.{plan.name}] or in the class {plan.class_name}.",
            )
        return dut, address

    def connect_i2c(self, node: Node) -> I2cEnd:
        """Return its end on the I2C bus of a board.

        Raises:
            DeviceError: The class is none of an I2C device, or its address is not valid.
        """
        dut, address = self._i2c_device()

        def now_usec() -> float:
            cycle = node.common(node.board.cycle)
            # What it does in answer is on its pins when all processors have run that far.
            self._now = cycle + self._clock.longest_turn
            return Moment((cycle - self._begin) / _CYCLES_PER_USEC)

        self._i2c = I2cEnd(dut, address, self._guarded, now_usec)
        return self._i2c

    def start(self) -> None:
        """Switch the device on; its time 0 is now."""
        self._begin = self._now = self._clock.cycle
        self._guarded(self._dut.start)

    # DutHost: called by the class ----------------------------------------------------------

    def set(self, pin: str, level: bool | None, after_usec: float) -> None:
        """Drive a pin after a delay, or release it."""
        self._check(pin)
        drive = NOTHING if level is None else Drive(Strength.OUTPUT, bool(level))
        self._clock.at(self._later(after_usec), lambda cycle: self._drive(pin, drive, cycle))

    def set_volts(self, pin: str, volts: float | None, after_usec: float) -> None:
        """Put a voltage on the analog lines of a pin after a delay, or release them."""
        self._check(pin)
        if volts is not None and not 0 <= volts <= SUPPLY_VOLT:
            raise ValueError(f"{volts!r} V is not in 0 to {SUPPLY_VOLT:g} V")
        lines = self._analog.get(pin)
        if lines is None:
            raise ValueError(
                f"pin {pin!r} is wired to no analog line of a board (A0 …), or with a delay"
            )
        for put in lines:
            self._clock.at(self._later(after_usec), partial(put, volts))

    def now_usec(self) -> Moment:
        """Return the present."""
        return self._usec

    def level(self, pin: str) -> bool:
        """Return what a pin reads now."""
        self._check(pin)
        return self._levels[pin]

    def wake(self, after_usec: float) -> None:
        """Call `advance` after a delay."""
        self._clock.at(self._later(after_usec), self._advance)

    def hold_sda(self, held: bool) -> None:
        """Hold the data line of its I2C bus low, or release it."""
        if self._i2c is not None:
            self._i2c.hold(held)

    def _later(self, usec: float) -> int:
        return self._now + round(usec * _CYCLES_PER_USEC)

    def _check(self, pin: str) -> None:
        if pin not in self._levels:
            raise KeyError(f"there is no pin {pin!r} (pins: {', '.join(self._levels)})")

    # called by the clock and by nets -------------------------------------------------------

    def _advance(self, cycle: int) -> None:
        self._now = cycle
        self._guarded(lambda: self._dut.advance(self._usec))

    def _drive(self, pin: str, drive: Drive, cycle: int) -> None:
        self._now = cycle
        self._own[pin] = drive
        self._settle(pin)
        if net := self._nets.get(pin):
            net.drive(f"{self.name}.{pin}", drive, cycle)

    def _show(self, pin: str, seen: Drive, cycle: int) -> None:
        """Update a pin by what the others on its net do; call `on_edge` if its level changed."""
        self._now = cycle
        self._seen[pin] = seen
        before = self._levels[pin]
        self._settle(pin)
        level = self._levels[pin]
        if level != before:
            self._guarded(lambda: self._dut.on_edge(pin, level, self._usec))

    def _settle(self, pin: str) -> None:
        seen, own = self._seen[pin], self._own[pin]
        self._levels[pin] = (seen if seen.strength >= own.strength else own).level

    @property
    def _usec(self) -> Moment:
        return Moment((self._now - self._begin) / _CYCLES_PER_USEC)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Call the user's code; turn an exception into BoardCrashed with file and line."""
        try:
            return call()
        except Exception as error:  # the user's class may raise anything
            own = [
                f
                for f in traceback.extract_tb(error.__traceback__)
                if f.filename == self._plan.file
            ]
            where = f"{self._plan.file}:{own[-1].lineno}" if own else self._plan.file
            what = f"{type(error).__name__}: {error}"
            raise BoardCrashed(f"the model '{self.name}' failed at {where}: {what}") from error


def try_models(plans: Sequence[ModelPlan]) -> list[tuple[str, str, str]]:
    """Make each model as a run would; return (name, what is wrong, what to do) of those that fail.

    It runs the users' code.
    """
    wrong = []
    for plan in plans:
        try:
            model = Model(plan, CommonClock())
            if plan.i2c:
                model._i2c_device()
        except MlinkError as error:
            wrong.append((plan.name, error.message, error.remedy))
        except BoardCrashed as error:
            wrong.append((plan.name, str(error), ""))
    return wrong


def _load(file: Path, name: str) -> ModuleType:
    """Import the user's file by its path; it can import the files beside it."""
    spec = importlib.util.spec_from_file_location(f"mlink_model_{name}", file)
    if spec is None or spec.loader is None:
        raise DeviceError(f"{file} cannot be imported", remedy="Give the path of a Python file.")
    sys.path.insert(0, str(file.parent))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DeviceError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def main() -> None:
    """Read plans from stdin, try them, and write what is wrong to stdout, both as JSON."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what the users' code prints is no answer
    plans = msgspec.json.decode(sys.stdin.buffer.read(), type=list[ModelPlan])
    with os.fdopen(answer, "wb") as file:
        file.write(msgspec.json.encode(try_models(plans)))


if __name__ == "__main__":
    main()
