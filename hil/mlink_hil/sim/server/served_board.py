"""One board in a simulator program, with its serial port, its control socket and its power."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Container, Sequence

from mlink_hil.sim.boards.board import RECEIVE_AHEAD, Board
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.server.control_server import ControlServer
from mlink_hil.sim.server.pacer import Pacer
from mlink_hil.sim.server.pty_port import NoPort, Port
from mlink_hil.sim.server.requests import Requests


class BoardTime:
    """Maps a board's own cycles to real time: by its node to common ones, by the pacer to ns."""

    virtual = False

    def __init__(self, pacer: Pacer, node: Node) -> None:
        self.pacer = pacer
        self._node = node

    def present_ns(self, cycle: int, *, powered: bool) -> int:
        """Return the present, ns of CLOCK_MONOTONIC.

        Args:
            cycle: How far the board has run, which is its present while it has power.
            powered: Whether it runs.
        """
        return self.time_ns(cycle) if powered else time.monotonic_ns()

    def time_ns(self, cycle: int) -> int:
        """Return the time of a cycle of the board, ns of CLOCK_MONOTONIC."""
        return self.pacer.time_ns(self._node.common(cycle))

    def skew(self, cycle: int, ppm: float) -> None:
        """Let the board's clock run fast by `ppm` parts per million from `cycle` on."""
        self._node.skew(cycle, ppm)


class VirtualBoardTime(BoardTime):
    """The same in virtual time, which the common clock counts exactly."""

    virtual = True

    def __init__(self, pacer: Pacer, node: Node, clock: CommonClock) -> None:
        super().__init__(pacer, node)
        self._clock = clock

    def present_ns(self, cycle: int, *, powered: bool) -> int:
        """Return the virtual time up to which all boards have run, ns."""
        del cycle, powered
        return self.pacer.time_ns(self._clock.cycle)


class ServedBoard:
    """Serves one board: moves bytes between it and its port, and answers its clients.

    Args:
        node: The board on the common clock.
        board: The board as clients see it: the node's own, or the WiredBoard around it.
        port: Its serial port, which is also its power.
        control: Its control socket.
        time: Its cycles in real time.
        scheduling: The scheduling that the system granted, for statistics.
    """

    def __init__(
        self,
        node: Node,
        board: Board,
        port: Port,
        control: ControlServer,
        time: BoardTime,
        scheduling: str,
    ) -> None:
        self.node = node
        self._board = board
        self._port = port
        self._control = control
        self._sent = bytearray()
        self._requests = Requests(board, node.board, port, time, control, scheduling)
        node.board.on_byte = self._sent.append
        node.board.on_edge = self._requests.on_edge

    @property
    def quit_asked(self) -> bool:
        """Whether a client has asked the program to end."""
        return self._requests.quit_asked

    @property
    def powered(self) -> bool:
        """Whether the processor runs: it is plugged in and there is no brown-out."""
        return self._port.powered and not self._requests.faults.browned_out

    def boot(self) -> None:
        """Boot the firmware as fast as the host can; a chip without a port starts in real time."""
        if not isinstance(self._port, NoPort):
            self.node.board.boot()
            self.flush()

    @property
    def is_behind(self) -> bool:
        """Whether the board still receives as many bytes as its line may hold."""
        return self._board.backlog >= RECEIVE_AHEAD

    @property
    def readers(self) -> list[int]:
        """Descriptors to poll for reading; not the port's while the board is behind."""
        if self._port.fd >= 0 and not self.is_behind:
            return [*self._control.readers, self._port.fd]
        return self._control.readers

    @property
    def writers(self) -> list[int]:
        """Descriptors of clients with unsent replies, to poll for writing."""
        return self._control.writers

    @property
    def has_sent(self) -> bool:
        """Whether bytes have left the board that were not written to the port yet."""
        return bool(self._sent)

    def take_woken(self) -> bool:
        """Return whether an edge has to give a module a turn, once for each."""
        woken, self._control.has_woken = self._control.has_woken, False
        return woken

    def take_halted(self) -> bool:
        """Return whether an edge has halted the board, once for each."""
        halted, self.node.board.has_halted = self.node.board.has_halted, False
        return halted

    def flush(self) -> None:
        """Write the bytes that have left the board to the port."""
        if self._sent:
            self._port.write(self._requests.faults.line.from_board(bytes(self._sent)))
            self._sent.clear()

    def serve(self, readable: Container[int], writable: Container[int]) -> None:
        """Feed the host's bytes to the board and answer the clients' requests.

        Args:
            readable: Descriptors that are ready to read.
            writable: Descriptors that are ready to write.
        """
        if self._port.fd in readable:
            data = self._requests.faults.line.to_board(self._port.read(RECEIVE_AHEAD))
            if data and self.powered:
                self._board.feed(data)
        self._control.serve(readable, writable, self._requests.carry_out)
        if self._control.halts != self.node.board.halt_pins:
            self.node.board.halt_pins = self._control.halts
            self.node.board.has_halted = False
        self.node.powered &= self.powered


def boot_together(
    boards: Sequence[ServedBoard], clock: CommonClock, pacer: Pacer, now_ns: Callable[[], int]
) -> None:
    """Boot boards as fast as the host can, and switch them on together.

    Args:
        boards: The boards of a program.
        clock: Their common clock.
        pacer: Maps it to the time of the program; its mapping starts when all have booted.
        now_ns: Returns that time, ns.
    """
    for board in boards:
        board.boot()
    pacer.start(clock.cycle, now_ns())
    for board in boards:
        board.node.switch_on(clock.cycle)


def wait_for(
    boards: Sequence[ServedBoard], timeout_sec: float, *more: int
) -> tuple[list[int], list[int]]:
    """Wait for bytes of the host and for requests; return the descriptors that are ready.

    Args:
        boards: The boards of a program.
        timeout_sec: Longest wait; 0 looks only.
        more: Further descriptors to read.

    Returns:
        (to read, to write)
    """
    readers = [*more, *(fd for board in boards for fd in board.readers)]
    writers = [fd for board in boards for fd in board.writers]
    readable, writable, _ = select.select(readers, writers, (), timeout_sec)
    return readable, writable
