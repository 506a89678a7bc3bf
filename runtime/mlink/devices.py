"""Contracts of devices: endpoints that modules open, and providers that start virtual devices.

The runtime knows no device. A provider is an entry point of the group `mlink.devices`; its name is
a scheme ("virtual" for "virtual:uno"). It turns a device string into an endpoint. A string whose
scheme has no provider is its own address ("/dev/ttyACM0").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec


class DeviceEndpoint(msgspec.Struct, frozen=True):
    """A device that a module can open.

    `spec` is the device string of the bench, `address` what to open (a tty, a pty, a camera node, a
    URL), `control` the Unix socket of a virtual device's control server, or "".
    """

    name: str
    spec: str
    address: str
    control: str = ""
    properties: dict[str, str | int | float | bool] = {}


class DeviceProvider(Protocol):
    """Opens devices of one scheme for the length of a run (called by the engine).

    An entry point names an object of this kind, or a class without constructor arguments.
    """

    def open(
        self, *, name: str, spec: str, work_dir: Path, log: logging.Logger
    ) -> AbstractContextManager[DeviceEndpoint]:
        """Return a context manager that starts the device on entry and removes it on exit.

        Args:
            name: The device's key in the bench.
            spec: Its device string, such as "virtual:uno".
            work_dir: The run's own folder, for sockets.
            log: Receives log lines for the run.

        Raises:
            DeviceError: The device cannot be provided.
        """


class TableProblem(NamedTuple):
    """A problem in a provider's table; `where` is a key, such as "[virtual.light] line"."""

    where: str
    what: str
    remedy: str = ""


@runtime_checkable
class TableProvider(Protocol):
    """A provider that opens its devices together, by a table of the bench with its scheme's name.

    `[virtual]` belongs to the provider of "virtual:…" devices. The runtime passes the table on
    unread. Without a table, `open` is called for each device.
    """

    def check_table(
        self, table: Mapping[str, Any], *, devices: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return the problems in the table.

        Args:
            table: The table, as TOML gives it.
            devices: All devices of the bench: key → device string.
            bench_dir: Folder of the bench file; relative paths start there.
        """

    def open_together(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[dict[str, DeviceEndpoint]]:
        """Return a context manager that starts devices on entry and removes them on exit.

        Args:
            specs: The devices to start, those of this run and scheme: key → device string.
            table: The checked table.
            devices: All devices of the bench: key → device string.
            bench_dir: Folder of the bench file; relative paths start there.
            work_dir: The run's own folder, for sockets.
            log: Receives log lines for the run.

        Raises:
            DeviceError: A device cannot be provided.
        """


class Reached(NamedTuple):
    """How far a simulation has run."""

    time_usec: int
    """Virtual time, µs."""
    woken: list[str]
    """Devices that have sent something at this time; the modules that use them get a turn."""
    halted: Sequence[str] = ()
    """Devices that stand still at an edge; a thread outside of the run that takes part in virtual
    time then gets a turn."""
    readers: AbstractSet[int] = frozenset()
    """Process IDs of the modules that read what was sent; other users of the device get no turn.

    Empty, or with a process that runs no module of the bench: all its users get one."""


class PinLevel(NamedTuple):
    """What a pin of a simulated chip reads, and what drives it."""

    level: bool
    output: bool
    """Whether the chip drives it."""
    driven: bool
    """Whether it is driven from outside."""


class PinEdge(NamedTuple):
    """A change of a pin's level."""

    pin: int
    level: bool
    """The new level."""
    time_ns: int
    """When it was: ns of master time."""


class ChipSymbol(NamedTuple):
    """A variable or function of a firmware, with its bytes."""

    name: str
    address: int
    """As the linker counts: from 0x800000 on in the data space, below in the flash."""
    data: bytes

    @property
    def value(self) -> int:
        """The bytes as a number without sign, the lowest byte first."""
        return int.from_bytes(self.data, "little")


class SimulatedChip(Protocol):
    """A simulated chip or board of a run in virtual time, which a program looks into.

    What it reads has no effect on the chip. All methods raise DeviceError where there is no such
    pin, register, memory or symbol, and ControlError while the run does not stand still.
    """

    def pin(self, number: int) -> PinLevel:
        """Return what a pin reads, and what drives it."""

    @property
    def registers(self) -> Mapping[str, int]:
        """The registers by name, as in the chip's data sheet, and "PC" (in bytes)."""

    def memory(self, address: int, length: int, *, flash: bool = False) -> bytes:
        """Return a part of the data space, or of the flash."""

    def symbol(self, name: str) -> ChipSymbol:
        """Return a variable or function of its firmware, by its name in the ELF file."""

    def halt(self, pins: Sequence[int]) -> list[int]:
        """Stand still at each edge of pins from now on; return how many edges each pin has had."""

    def take_edges(self) -> list[PinEdge]:
        """Return the edges of those pins since the last call; times in ns of virtual time."""


class Simulation(Protocol):
    """All simulated devices of a run in virtual time; they run only when they are asked to.

    Its programs may answer requests of modules at any time.
    """

    @property
    def endpoints(self) -> Mapping[str, DeviceEndpoint]:
        """The devices by their keys in the bench."""

    @property
    def chips(self) -> Sequence[str]:
        """Names of the boards and chips that `chip` gives."""
        ...

    @property
    def pid(self) -> int:
        """Process that simulates; 0 without one.

        With `mlink.worker.place.answer_for_place` it lets the engine see where it stands.
        """

    def fileno(self) -> int:
        """Descriptor that is readable when there is an answer; −1 if answers are there at once."""

    def chip(self, name: str, elf: Path | None, check: Callable[[], None]) -> SimulatedChip:
        """Return a simulated board or chip.

        Args:
            name: Its key in the bench, or its name in the provider's table.
            elf: ELF file of its firmware; None takes the firmware if that is one.
            check: Raises an error where the run does not stand still.

        Raises:
            DeviceError: There is no such chip.
        """

    def run_until(self, time_usec: int, stand_usec: int) -> None:
        """Ask for the simulation of all devices up to a time; returns at once.

        They run less far when a device sends something that a module waits for, or where they
        stand still: at a time, or at an edge of a pin. Standing there changes nothing of what
        comes after it.

        Args:
            time_usec: Time of the next turn, µs.
            stand_usec: When to stand still if that is before the next turn, µs.
        """

    def reached(self) -> Reached | None:
        """Return the answer to `run_until`; None while it is not there.

        Raises:
            DeviceError: The simulation has ended.
        """


@runtime_checkable
class SimulationProvider(Protocol):
    """A provider whose devices can run in virtual time."""

    def open_simulation(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[Simulation]:
        """Return a context manager of all devices of this scheme; arguments as `open_together`.

        `table` is empty where the bench has none.
        """


class TablePart(NamedTuple):
    """One part in a provider's table, as texts for users.

    `mlink check` shows one line for each part.
    """

    name: str
    kind: str
    wired: list[str]
    """What it is wired to, one text for each connection."""
    detail: str = ""
    left_out: str = ""
    """Why it is left out with this run's devices; "" when it is not."""


@runtime_checkable
class TableDescriber(Protocol):
    """A TableProvider that can list the parts in its table, for `mlink check`."""

    def describe_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str]
    ) -> list[TablePart]:
        """Return the parts in a checked table; `specs` as for `open_together`."""


@runtime_checkable
class DeviceTrial(Protocol):
    """A provider that can say without a run what cannot work, for `mlink check`."""

    def try_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return what is wrong with the code that a checked table names, and a run would load.

        The code is a user's: it is loaded in a process of its own, with a limit of its time.

        Args:
            table: The table, in which `check_table` found no problem.
            specs: The devices of this run and scheme: key → device string.
            bench_dir: Folder of the bench file; relative paths start there.
        """

    def wrong_line(self, spec: str, line: int, *, output: bool, analog: bool) -> str:
        """Return why a script cannot use a line of a device; "" if it can, or nothing is known.

        Args:
            spec: The device string.
            line: Number of the line.
            output: Whether it becomes an output; else an input.
            analog: Whether values of PWM are written to it.
        """


class FoundDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device of this machine, as a function of the group `mlink.discovery` has found it.

    Entry points of that group name functions `() -> list[FoundDevice]`; `mlink devices` shows
    their results. `address` and each string of `identity` is valid in a `[devices]` table; those
    of `identity` remain valid when the device is plugged in elsewhere or in another order.
    """

    kind: Literal["serial", "camera", "virtual"]
    address: str
    name: str
    identity: list[str] = []
    problem: str = ""
    """Why it cannot be used as it is; "" when it can."""
    remedy: str = ""
