"""Starts the virtual devices of a run that has a `[virtual]` table, wired as in that table.

Boards and chips that are wired to each other run in one program, because they need one clock.
Scenes need no program: their cameras run in the modules' processes.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mlink.devices import DeviceEndpoint
from mlink.errors import DeviceError
from mlink.peers import is_trusted
from mlink_hil.board_choice import (
    BoardChoice,
    board_endpoint,
    choose_board,
    scene_endpoint,
)
from mlink_hil.board_kinds import kinds_of
from mlink_hil.control.chip import ChipPlace
from mlink_hil.control.process import SimProcess
from mlink_hil.control.simulation import LockstepSimulation
from mlink_hil.control.socket_path import check_socket_path, control_path
from mlink_hil.sim.fetch_firmware import NAME, cached_path
from mlink_hil.sim.plan import BoardPlan, write_plan
from mlink_hil.wiring.circuit_parts import Board
from mlink_hil.wiring.layout import Layout, lay_out
from mlink_hil.wiring.table import read_parts

_PROGRAM = "mlink_hil.sim.wired"


@contextmanager
def open_wired(
    specs: Mapping[str, str],
    table: Mapping[str, Any],
    *,
    bench_dir: Path,
    work_dir: Path,
    log: logging.Logger,
    arguments: Sequence[str] = (),
) -> Iterator[dict[str, DeviceEndpoint]]:
    """Run everything that is wired together in one program, and write the scenes' plans.

    Devices that nothing is wired to are not among the endpoints; they are opened one by one.

    Args:
        specs: Device strings of the run's virtual devices by name.
        table: The parts by name, already checked.
        bench_dir: Folder that paths in the table are relative to.
        work_dir: Folder of the run, for sockets, ports and plans.
        log: Receives which parts are left out, and what the program reports.
        arguments: Further command-line arguments of the program (`sim/wired.py`).

    Raises:
        DeviceError: A device's options are wrong, or the program did not start.
    """
    layout, _, _ = _plan(specs, table, bench_dir, work_dir, log)
    with ExitStack() as stack:
        endpoints: dict[str, DeviceEndpoint] = {}
        if layout.wired_boards:
            endpoints |= stack.enter_context(_circuit(layout, specs, work_dir, log, arguments))
        for name, plan in layout.scenes.items():
            endpoints[name] = scene_endpoint(name, specs[name], plan, work_dir)
        yield endpoints


@contextmanager
def simulate(
    specs: Mapping[str, str],
    table: Mapping[str, Any],
    *,
    bench_dir: Path,
    work_dir: Path,
    log: logging.Logger,
) -> Iterator[LockstepSimulation]:
    """Run all boards of a bench in one program in virtual time, and write the scenes' plans.

    Arguments as `open_wired`; boards that nothing is wired to are in the program too.

    Raises:
        DeviceError: A device's options are wrong, or the program did not start.
    """
    layout, boards, scenes = _plan(specs, table, bench_dir, work_dir, log)
    layout.wired_boards = boards
    path = work_dir / "lockstep"
    with ExitStack() as stack:
        endpoints: dict[str, DeviceEndpoint] = {}
        engine: socket.socket | None = None
        if boards:
            arguments = ["--lockstep", str(path)]
            endpoints |= stack.enter_context(_circuit(layout, specs, work_dir, log, arguments))
            engine = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            engine.connect(str(path))
            if not is_trusted(engine):
                raise DeviceError(
                    f"the program that listens at {path} belongs to another user",
                    remedy="Start the run again; it takes another folder.",
                )
            engine.setblocking(False)
            endpoints = {
                name: msgspec.structs.replace(each, address=f"unix://{each.address}")
                for name, each in endpoints.items()
            }
        for name in scenes:
            plan = layout.scenes.get(name)
            endpoints[name] = scene_endpoint(name, specs[name], plan, work_dir)
        chips = {
            board.name: ChipPlace(Path(board.control), Path(board.firmware))
            for board in layout.circuit.boards
        }
        simulation = LockstepSimulation(endpoints, engine, chips)
        stack.callback(simulation.close)
        yield simulation


def _plan(
    specs: Mapping[str, str],
    table: Mapping[str, Any],
    bench_dir: Path,
    work_dir: Path,
    log: logging.Logger,
) -> tuple[Layout, list[str], list[str]]:
    """Return what to simulate, and the names of boards and scenes; log which parts are left out."""
    boards = kinds_of(specs)
    scenes = [name for name in specs if name not in boards]
    layout = lay_out(read_parts(table), boards, scenes, work_dir=work_dir, bench_dir=bench_dir)
    for note in layout.notes:
        log.info("%s", note)
    return layout, list(boards), scenes


@contextmanager
def _circuit(
    layout: Layout,
    specs: Mapping[str, str],
    work_dir: Path,
    log: logging.Logger,
    arguments: Sequence[str],
) -> Iterator[dict[str, DeviceEndpoint]]:
    """Run the circuit's program; in its plan the boards come before the chips."""
    chosen = {name: choose_board(name, specs[name], log) for name in layout.wired_boards}
    plan = layout.circuit
    parts = {name: layout.described.get(name, Board(device=name)) for name in chosen}
    plan.boards = [
        _board(name, each, parts[name], work_dir) for name, each in chosen.items()
    ] + plan.boards
    for board in plan.boards:
        check_socket_path(Path(board.control))
    path = work_dir / "circuit.json"
    write_plan(path, plan)
    leaves = [Path(p) for b in plan.boards for p in (b.tty, b.control) if p]
    control = control_path(work_dir, layout.wired_boards[0])
    arguments = ["--plan", str(path), *arguments]
    with SimProcess(_PROGRAM, arguments, control=control, leaves=leaves, log=log) as program:
        ready = {each.control: each for each in (program.ready, *program.ready.others)}
        yield {
            name: board_endpoint(
                name,
                specs[name],
                ready[str(control_path(work_dir, name))],
                adapter=parts[name].detail(),
            )
            for name in chosen
        }


def _board(name: str, choice: BoardChoice, part: Board, work_dir: Path) -> BoardPlan:
    return BoardPlan(
        name=name,
        control=str(control_path(work_dir, name)),
        tty=str(work_dir / f"{name}.tty"),
        simulator=choice.simulator,
        kind=choice.kind.name,
        firmware=str(choice.firmware or ""),
        firmware_name=NAME if choice.firmware == cached_path() else "",
        clock_ppm=choice.clock_ppm,
        phase_usec=choice.phase_usec,
        adapter=part.adapter,
        latency_timer_writable=part.latency_timer_writable,
    )
