"""A board's place in its program: its serial port, its control socket, its power."""

from __future__ import annotations

from collections.abc import Container

from mlink_hil.sim.board import RECEIVE_AHEAD, Board
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.control_server import ControlServer
from mlink_hil.sim.pacer import Pacer
from mlink_hil.sim.pty_port import NoPort, PtyPort
from mlink_hil.sim.requests import Requests


class BoardTime:
    """When a board's own cycles were, and how well its program keeps real time."""

    def __init__(self, pacer: Pacer, node: Node) -> None:
        self.pacer = pacer
        self._node = node

    def time_ns(self, cycle: int) -> int:
        """Return when a cycle of the board is or was, in ns of CLOCK_MONOTONIC."""
        return self.pacer.time_ns(self._node.common(cycle))

    def skew(self, cycle: int, ppm: float) -> None:
        """From `cycle` on, let the board's clock run fast by `ppm` parts per million."""
        self._node.skew(cycle, ppm)


class Seat:
    """Serves one board. `board` is the node's own, or what stands for it to the outside."""

    def __init__(
        self,
        node: Node,
        board: Board,
        port: PtyPort | NoPort,
        control: ControlServer,
        time: BoardTime,
        scheduling: str,
    ) -> None:
        self.node = node
        self._board = board
        self._port = port
        self._control = control
        self._sent = bytearray()
        self._requests = Requests(board, port, time, control, scheduling)
        node.board.on_byte = self._sent.append
        node.board.on_edge = self._requests.on_edge

    @property
    def quit_asked(self) -> bool:
        """Whether a client wants the program to end."""
        return self._requests.quit_asked

    @property
    def powered(self) -> bool:
        """Whether the processor runs: it gets its supply, and enough of it."""
        return self._port.powered and not self._requests.faults.browned_out

    def boot(self) -> None:
        """Let the firmware start; its first seconds pass faster than real ones."""
        if isinstance(self._port, PtyPort):
            self.node.board.boot()
            self.flush()

    @property
    def readers(self) -> list[int]:
        """Descriptors to wait for."""
        if self._port.fd >= 0 and self._board.backlog < RECEIVE_AHEAD:
            return [*self._control.readers, self._port.fd]
        return self._control.readers

    @property
    def writers(self) -> list[int]:
        """Descriptors of clients that have not yet taken what they were sent."""
        return self._control.writers

    def flush(self) -> None:
        """Hand the bytes that left the board to the port."""
        if self._sent:
            self._port.write(self._requests.faults.line.from_board(bytes(self._sent)))
            self._sent.clear()

    def serve(self, readable: Container[int], writable: Container[int]) -> None:
        """Take what came from the host and from the clients."""
        if self._port.fd in readable:
            data = self._requests.faults.line.to_board(self._port.read(RECEIVE_AHEAD))
            if data and self.powered:
                self._board.feed(data)
        self._control.serve(readable, writable, self._requests.carry_out)
        self.node.powered &= self.powered
