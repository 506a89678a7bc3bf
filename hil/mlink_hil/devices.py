"""Provides the devices of the scheme `virtual`: boards as programs of their own, and scenes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from mlink.bench.companions import RunView
from mlink.devices import DeviceEndpoint, Simulation, TablePart, TableProblem
from mlink.errors import DeviceError
from mlink_hil.board_choice import is_board, open_board, scene_endpoint
from mlink_hil.board_kinds import KINDS, kind_of, kinds_of
from mlink_hil.control.pace import watch_pace
from mlink_hil.sim.micropython import SPEC as MICROPYTHON
from mlink_hil.sim.micropython import open_micropython
from mlink_hil.wiring.layout import left_out
from mlink_hil.wiring.table import check_table, read_parts
from mlink_hil.wiring.together import open_wired, simulate
from mlink_hil.wiring.trial import try_models


class VirtualDevices:
    """`virtual:uno`, `nano`, `mega`, `leonardo`, and `virtual:scene`; options follow as a query.

    `virtual:micropython` is a board with MicroPython, for `upy-workbench`; it has no options.

    Options of a board, joined by `&`: `firmware=mlink`, `firmware=standard` (StandardFirmata, on
    an Uno) or `firmware=path.hex`; on an Uno
    `simulator=yasimavr` or `simulator=protocol` (runs no firmware, implements StandardFirmata's
    protocol), `clock_ppm=200` (error of the board's crystal; positive is fast), and
    `phase_usec=3000` (for how long its firmware has run when the simulation begins).

    Implements DeviceProvider, DeviceWatcher, DeviceTrial, and TableProvider and TableDescriber for
    `[virtual]`.
    """

    known = (*(f"virtual:{kind}" for kind in KINDS), "virtual:scene", MICROPYTHON)

    def open(
        self, *, name: str, spec: str, work_dir: Path, log: logging.Logger
    ) -> AbstractContextManager[DeviceEndpoint]:
        """Return a context manager that starts a device and ends it on exit.

        Args:
            name: The device's name in the bench file.
            spec: Device string, such as "virtual:uno?firmware=standard".
            work_dir: Folder of the run, for sockets and ports.
            log: Receives what the device's program reports.

        Raises:
            DeviceError: There is no such device. What is wrong with its options or its start is
                raised on entering the context.
        """
        device = spec.partition("?")[0]
        if device == "virtual:scene":
            return nullcontext(scene_endpoint(name, spec, None, work_dir))
        if is_board(spec):
            return open_board(name, spec, work_dir, log)
        if device == MICROPYTHON:
            return open_micropython(name, spec)
        close = difflib.get_close_matches(device, self.known, n=1)
        raise DeviceError(
            f"device '{name}': there is no virtual device '{device}'",
            remedy=f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(self.known)}.",
        )

    def check_table(
        self, table: Mapping[str, Any], *, devices: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return the problems of a `[virtual]` table.

        Args:
            table: The parts by name, as the bench file has them.
            devices: Device strings of the whole bench, by name.
            bench_dir: Folder that paths in the table are relative to.
        """
        return [TableProblem(*each) for each in check_table(table, devices, bench_dir)]

    def try_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str], bench_dir: Path
    ) -> list[TableProblem]:
        """Return why models of a `[virtual]` table cannot be made; runs their code.

        Args:
            table: The parts by name, already checked.
            specs: Device strings of this scheme that the run uses, by name.
            bench_dir: Folder that paths in the table are relative to.
        """
        parts, boards = read_parts(table), kinds_of(specs)
        absent = left_out(parts, boards, [name for name in specs if name not in boards])
        return try_models(
            {name: part for name, part in parts.items() if name not in absent}, bench_dir
        )

    def wrong_line(self, spec: str, line: int, *, output: bool, analog: bool) -> str:
        """Return why a script cannot use a line of a simulated board as it wants to."""
        kind = kind_of(spec)
        return kind.wrong_line(line, output=output, analog=analog) if kind else ""

    def describe_table(
        self, table: Mapping[str, Any], *, specs: Mapping[str, str]
    ) -> list[TablePart]:
        """Return the parts of a `[virtual]` table, what each is wired to and why it is left out.

        Args:
            table: The parts by name, already checked.
            specs: Device strings of this scheme that the run uses, by name.
        """
        parts = read_parts(table)
        boards = kinds_of(specs)
        absent = left_out(parts, boards, [name for name in specs if name not in boards])
        return [
            TablePart(name, part.kind, part.wired(), part.detail(), absent.get(name, ""))
            for name, part in parts.items()
        ]

    def open_together(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],  # noqa: ARG002 - those of other schemes
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[dict[str, DeviceEndpoint]]:
        """Return a context manager that starts the devices which a `[virtual]` table wires.

        The other devices are not among the endpoints; `open` starts each of them.

        Args:
            specs: Device strings of this scheme that the run uses, by name.
            table: The parts by name, already checked.
            devices: Device strings of the whole bench, by name.
            bench_dir: Folder that paths in the table are relative to.
            work_dir: Folder of the run, for sockets, ports and plans.
            log: Receives which parts are left out, and what the program reports.
        """
        return open_wired(specs, table, bench_dir=bench_dir, work_dir=work_dir, log=log)

    def open_simulation(
        self,
        specs: Mapping[str, str],
        table: Mapping[str, Any],
        *,
        devices: Mapping[str, str],  # noqa: ARG002 - those of other schemes
        bench_dir: Path,
        work_dir: Path,
        log: logging.Logger,
    ) -> AbstractContextManager[Simulation]:
        """Return a context manager of all devices of this scheme, in virtual time.

        Args:
            specs: Device strings of this scheme that the run uses, by name.
            table: The parts by name, already checked.
            devices: Device strings of the whole bench, by name.
            bench_dir: Folder that paths in the table are relative to.
            work_dir: Folder of the run, for sockets and plans.
            log: Receives which parts are left out, and what the program reports.
        """
        return simulate(specs, table, bench_dir=bench_dir, work_dir=work_dir, log=log)

    def watch(
        self, endpoints: Mapping[str, DeviceEndpoint], run: RunView
    ) -> AbstractContextManager[None]:
        """Return a context manager that states what time the simulation of boards has skipped.

        Args:
            endpoints: Devices of this scheme by name.
            run: The run, in real time.
        """
        return watch_pace(endpoints, run)
