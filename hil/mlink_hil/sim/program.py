"""The program around a simulated board: its serial port, its control socket, and real time.

One thread. A slice of the simulation is due every 100 µs, or earlier when a byte will have left
the board; a request or a byte from the host wakes the program at once. Whatever woke it, the board
is first brought up to the present, and then told.
"""

from __future__ import annotations

import select
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mlink.errors import DeviceError
from mlink.realtime import Granted, quiet_gc, request_priority
from mlink_hil.sim import messages
from mlink_hil.sim.board import CLOCK_HZ, RECEIVE_AHEAD, Board, BoardCrashed
from mlink_hil.sim.control_server import ControlServer
from mlink_hil.sim.lifetime import Lifetime, sleep_precisely
from mlink_hil.sim.pacer import Pacer
from mlink_hil.sim.pty_port import PtyPort
from mlink_hil.sim.requests import Requests

_SLICE_USEC = 100.0
_IDLE_SEC = 0.1
"""How long to wait for a request while there is no power."""
_PARENT_CHECK_NS = 1_000_000_000
_CHUNK = CLOCK_HZ // 1000
"""Cycles simulated in one go when catching up, so that bytes leave in between."""
_REALTIME_PRIORITY = 10
"""Below our capture threads (15): the board must not starve them."""


class BoardProgram:
    """Runs one board in real time until it is asked to quit."""

    def __init__(
        self,
        board: Board,
        port: PtyPort,
        control: ControlServer,
        pacer: Pacer,
        lifetime: Lifetime,
        granted: Granted,
    ) -> None:
        self._board = board
        self._port = port
        self._control = control
        self._pacer = pacer
        self._lifetime = lifetime
        self._sent = bytearray()
        self._requests = Requests(board, port, pacer, control, granted.detail)
        board.on_byte = self._sent.append

    def boot(self) -> None:
        """Switch the board on; its first seconds pass faster than real ones."""
        self._board.boot()
        self._flush()
        self._pacer.start(self._board.cycle, time.monotonic_ns())

    def run(self) -> None:
        """Keep the board in real time until the end."""
        board, pacer, control = self._board, self._pacer, self._control
        check_at = 0
        while not (self._lifetime.ended or self._requests.quit_asked):
            powered = self._powered
            due_ns = pacer.due_ns(board.cycle, board.next_event)
            wait_sec = (due_ns - time.monotonic_ns()) / 1e9 if powered else _IDLE_SEC
            readers = control.readers
            if self._port.fd >= 0 and board.backlog < RECEIVE_AHEAD:
                readers = [*readers, self._port.fd]
            readable, writable, _ = select.select(readers, control.writers, (), max(0, wait_sec))
            now = time.monotonic_ns()
            if powered:
                self._advance(pacer.target(board.cycle, due_ns, now))
            if readable or writable:
                self._serve(readable, writable)
            if now >= check_at:
                self._lifetime.check()
                check_at = now + _PARENT_CHECK_NS

    def _advance(self, target: int) -> None:
        """Bring the board up to the present."""
        board = self._board
        while board.cycle < target:
            board.run_until(min(target, board.cycle + _CHUNK))
            if self._sent:
                self._flush()

    def _flush(self) -> None:
        """Hand the bytes that left the board to the port."""
        self._port.write(self._requests.faults.line.from_board(bytes(self._sent)))
        self._sent.clear()

    def _serve(self, readable: list[int], writable: list[int]) -> None:
        """Take what came from the host and from the clients."""
        if self._port.fd in readable:
            data = self._requests.faults.line.to_board(self._port.read(RECEIVE_AHEAD))
            if data and self._powered:
                self._board.feed(data)
        powered = self._powered
        self._control.serve(readable, writable, self._requests.carry_out)
        if not powered and self._powered:
            self.boot()

    @property
    def _powered(self) -> bool:
        """Whether the processor runs: it gets its supply, and enough of it."""
        return self._port.fd >= 0 and not self._requests.faults.browned_out


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
            granted = request_priority(_REALTIME_PRIORITY)
            frequency_hz = round(CLOCK_HZ * (1 + arguments.clock_ppm * 1e-6))
            pacer = Pacer(frequency_hz, arguments.slice_usec)
            program = BoardProgram(board, port, control, pacer, lifetime, granted)
            program.boot()
            ready = messages.Ready(
                tty=str(port.link),
                control=str(arguments.control),
                simulator=board.simulator,
                firmware=board.firmware,
                scheduling=granted.detail,
            )
            sys.stdout.buffer.write(messages.encode(ready))
            sys.stdout.buffer.flush()
            with quiet_gc():
                program.run()
    except (DeviceError, BoardCrashed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


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
    parser.add_argument("--slice-usec", type=float, default=_SLICE_USEC, metavar="µs")
    return parser.parse_args()
