"""The program around simulated boards: their ports, their control sockets, and real time.

One thread. A slice of the simulation is due every 100 µs, or earlier when a byte will have left
the board; a request or a byte from the host wakes the program at once. Whatever woke it, the board
is first brought up to the present, and then told.
"""

from __future__ import annotations

import select
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mlink.errors import DeviceError
from mlink.realtime import quiet_gc, request_priority
from mlink_hil.control import messages
from mlink_hil.sim.board import Board, BoardCrashed
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.control_server import ControlServer
from mlink_hil.sim.lifetime import Lifetime, sleep_precisely
from mlink_hil.sim.pacer import Pacer
from mlink_hil.sim.pty_port import PtyPort
from mlink_hil.sim.seat import BoardTime, Seat
from mlink_hil.uno import CLOCK_HZ

SLICE_USEC = 100.0
_IDLE_SEC = 0.1
"""How long to wait for a request while there is no power."""
_PARENT_CHECK_NS = 1_000_000_000
_CHUNK = CLOCK_HZ // 1000
"""Cycles simulated in one go when catching up, so that bytes leave in between."""
REALTIME_PRIORITY = 10
"""Below our capture threads (15): the board must not starve them."""


class BoardProgram:
    """Runs boards in real time until one is asked to quit."""

    def __init__(
        self, clock: CommonClock, seats: Sequence[Seat], pacer: Pacer, lifetime: Lifetime
    ) -> None:
        self._clock = clock
        self._seats = seats
        self._pacer = pacer
        self._lifetime = lifetime

    def boot(self) -> None:
        """Switch everything on; the boards' first seconds pass faster than real ones."""
        for seat in self._seats:
            seat.boot()
        self._pacer.start(self._clock.cycle, time.monotonic_ns())
        for seat in self._seats:
            seat.node.switch_on(self._clock.cycle)

    def run(self) -> None:
        """Keep the boards in real time until the end."""
        clock, pacer, seats = self._clock, self._pacer, self._seats
        check_at = 0
        while not (self._lifetime.ended or any(seat.quit_asked for seat in seats)):
            powered = any(seat.powered for seat in seats)
            due_ns = pacer.due_ns(clock.cycle, clock.next_event)
            wait_sec = (due_ns - time.monotonic_ns()) / 1e9 if powered else _IDLE_SEC
            readers = [fd for seat in seats for fd in seat.readers]
            writers = [fd for seat in seats for fd in seat.writers]
            readable, writable, _ = select.select(readers, writers, (), max(0, wait_sec))
            now = time.monotonic_ns()
            if powered:
                self._advance(pacer.target(clock.cycle, due_ns, now))
            if readable or writable:
                self._serve(readable, writable)
            if now >= check_at:
                self._lifetime.check()
                check_at = now + _PARENT_CHECK_NS

    def _advance(self, target: int) -> None:
        """Bring the boards up to the present."""
        clock = self._clock
        while clock.cycle < target:
            clock.run_until(min(target, clock.cycle + _CHUNK))
            for seat in self._seats:
                seat.flush()

    def _serve(self, readable: list[int], writable: list[int]) -> None:
        """Take what came from the host and from the clients."""
        for seat in self._seats:
            seat.serve(readable, writable)
            if seat.powered and not seat.node.powered:
                self._switch_on(seat)

    def _switch_on(self, seat: Seat) -> None:
        """Boot a board that has got power again; others, if there are any, wait for it."""
        alone = not any(other.node.powered for other in self._seats)
        seat.boot()
        if alone:
            self._pacer.start(self._clock.cycle, time.monotonic_ns())
        seat.node.switch_on(self._clock.cycle)


def main(
    description: str,
    make_board: Callable[[Namespace], Board],
    add_arguments: Callable[[ArgumentParser], None] = lambda _parser: None,
) -> int:
    """Run a board's program; returns its exit code."""
    arguments = _parse(description, add_arguments)
    lifetime = Lifetime(arguments.parent)
    sleep_precisely()
    try:
        with ExitStack() as stack:
            board = make_board(arguments)
            stack.callback(board.close)
            port = stack.enter_context(PtyPort(arguments.tty_link))
            control = stack.enter_context(ControlServer(arguments.control))
            granted = request_priority(REALTIME_PRIORITY)
            pacer = Pacer(CLOCK_HZ, arguments.slice_usec)
            clock = CommonClock()
            node = Node("board", board, clock, clock_ppm=arguments.clock_ppm)
            clock.add(node)
            seat = Seat(node, board, port, control, BoardTime(pacer, node), granted.detail)
            ready = messages.Ready(
                tty=str(port.link),
                control=str(arguments.control),
                simulator=board.simulator,
                firmware=board.firmware,
                scheduling=granted.detail,
            )
            live(BoardProgram(clock, [seat], pacer, lifetime), ready)
    except (DeviceError, BoardCrashed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def live(
    program: BoardProgram, ready: messages.Ready, begin: Callable[[], None] = lambda: None
) -> None:
    """Switch a program's boards on, say that they are ready, and let them live to the end."""
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
        help="how much too fast the board's crystal is",
    )
    parser.add_argument("--slice-usec", type=float, default=SLICE_USEC, metavar="µs")
    return parser.parse_args()
