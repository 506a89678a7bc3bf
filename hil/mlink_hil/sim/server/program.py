"""The program around simulated boards: serves their ports and control sockets in real time.

One thread. A slice of the simulation is due every 100 µs, or earlier when a byte will have left
a board; a request or a byte from the host wakes the program at once. On every wake-up the boards
are first advanced to the present; then requests and bytes are handled.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from mlink.errors import DeviceError
from mlink.realtime import quiet_gc, request_priority, wake_on_time
from mlink_hil.control import messages
from mlink_hil.sim.boards.board import Board, BoardCrashed
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.server.adapter import NoAdapter
from mlink_hil.sim.server.control_server import ControlServer
from mlink_hil.sim.server.lifetime import Lifetime
from mlink_hil.sim.server.pacer import Pacer
from mlink_hil.sim.server.pty_port import PtyPort
from mlink_hil.sim.server.served_board import (
    BoardTime,
    ServedBoard,
    boot_together,
    next_event,
    wait_for,
)
from mlink_hil.uno import CLOCK_HZ

SLICE_USEC = 100.0
_IDLE_SEC = 0.1
"""How long to wait for a request while no board has power."""
_PARENT_CHECK_NS = 1_000_000_000
_CHUNK = CLOCK_HZ // 1000
"""Cycles simulated at a time when catching up, so that bytes leave in between."""
REALTIME_PRIORITY = 10
"""Below the priority of capture threads (15), so that boards do not starve them."""


class BoardProgram:
    """Runs boards in real time until a client asks one to quit, or the parent is gone.

    Args:
        clock: Common clock of all boards.
        boards: The boards with their ports and control sockets.
        pacer: Mapping of the clock to real time.
        lifetime: When the program has to end.
    """

    def __init__(
        self, clock: CommonClock, boards: Sequence[ServedBoard], pacer: Pacer, lifetime: Lifetime
    ) -> None:
        self._clock = clock
        self._boards = boards
        self._pacer = pacer
        self._lifetime = lifetime

    def boot(self) -> None:
        """Boot all boards, as fast as the host can, and switch them on together."""
        boot_together(self._boards, self._clock, self._pacer, time.monotonic_ns)

    def run(self) -> None:
        """Run the boards in real time until the end.

        Raises:
            BoardCrashed: A processor has stopped, or a model has raised.
        """
        clock, pacer, boards = self._clock, self._pacer, self._boards
        check_at = 0
        while not (self._lifetime.ended or any(board.quit_asked for board in boards)):
            powered = any(board.powered for board in boards)
            due_ns = pacer.due_ns(clock.cycle, next_event(clock, boards))
            wait_sec = (due_ns - time.monotonic_ns()) / 1e9 if powered else _IDLE_SEC
            readable, writable = wait_for(boards, max(0, wait_sec))
            now = time.monotonic_ns()
            if powered:
                self._advance(pacer.target(clock.cycle, due_ns, now))
            if readable or writable:
                self._serve(readable, writable)
            if now >= check_at:
                self._lifetime.check()
                check_at = now + _PARENT_CHECK_NS

    def _advance(self, target: int) -> None:
        """Advance the boards to a common cycle; their bytes leave on the way."""
        clock = self._clock
        while clock.cycle < target:
            clock.run_until(min(target, clock.cycle + _CHUNK))
            for board in self._boards:
                board.flush()

    def _serve(self, readable: list[int], writable: list[int]) -> None:
        """Handle bytes of the host and requests of clients."""
        for board in self._boards:
            board.serve(readable, writable)
            if board.powered and not board.node.powered:
                self._switch_on(board)

    def _switch_on(self, board: ServedBoard) -> None:
        """Boot a board that has power again; the others stand still meanwhile."""
        alone = not any(other.node.powered for other in self._boards)
        board.boot()
        if alone:
            self._pacer.start(self._clock.cycle, time.monotonic_ns())
        board.node.switch_on(self._clock.cycle)


def main(
    description: str,
    make_board: Callable[[Namespace], Board],
    add_arguments: Callable[[ArgumentParser], None] = lambda _parser: None,
) -> int:
    """Run the program of one board; return its exit code.

    Args:
        description: For `--help`.
        make_board: Returns the board, by the program's arguments.
        add_arguments: Adds further arguments.
    """
    arguments = _parse(description, add_arguments)
    lifetime = Lifetime(arguments.parent)
    wake_on_time()
    try:
        with ExitStack() as stack:
            board = make_board(arguments)
            stack.callback(board.close)
            adapter = NoAdapter(in_turns=False)
            port = stack.enter_context(PtyPort(arguments.tty_link, adapter))
            control = stack.enter_context(ControlServer(arguments.control))
            granted = request_priority(REALTIME_PRIORITY)
            pacer = Pacer(CLOCK_HZ, arguments.slice_usec)
            clock = CommonClock()
            node = Node(
                "board",
                board,
                clock,
                clock_ppm=arguments.clock_ppm,
                phase_usec=arguments.phase_usec,
            )
            clock.add(node)
            served = ServedBoard(
                node, board, clock, port, adapter, control, BoardTime(pacer, node), granted.detail
            )
            ready = messages.Ready(
                tty=str(port.link),
                control=str(arguments.control),
                simulator=board.simulator,
                firmware=board.firmware,
                scheduling=granted.detail,
            )
            live(BoardProgram(clock, [served], pacer, lifetime), ready)
            if lifetime.ended:
                sys.stderr.write(f"{lifetime.reason}\n")
    except (DeviceError, BoardCrashed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


class Program(Protocol):
    """A program that simulates boards."""

    def boot(self) -> None:
        """Boot all boards and switch them on together."""

    def run(self) -> None:
        """Run the boards until the end."""


def live(program: Program, ready: messages.Ready, begin: Callable[[], None] = lambda: None) -> None:
    """Boot the boards, print the ready message, and run until the end.

    Args:
        program: The boards.
        ready: Message for `control/process.py`, printed on standard output.
        begin: Called when the boards have power, to start models and parts.
    """
    program.boot()
    begin()
    sys.stdout.buffer.write(messages.encode(ready))
    sys.stdout.buffer.flush()
    with quiet_gc():
        program.run()


def _parse(description: str, add_arguments: Callable[[ArgumentParser], None]) -> Namespace:
    parser = ArgumentParser(description=description)
    add_arguments(parser)
    parser.add_argument("--tty-link", type=Path, required=True, metavar="PATH")
    parser.add_argument("--control", type=Path, required=True, metavar="SOCKET")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process is gone")
    parser.add_argument(
        "--clock-ppm",
        type=float,
        default=0.0,
        metavar="PPM",
        help="error of the board's crystal (positive: fast)",
    )
    parser.add_argument(
        "--phase-usec",
        type=float,
        default=0.0,
        metavar="µs",
        help="how long the firmware has run when real time begins",
    )
    parser.add_argument("--slice-usec", type=float, default=SLICE_USEC, metavar="µs")
    return parser.parse_args()
