"""One board in a simulator program, with its serial port, its control socket and its power."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Container, Sequence

from mlink_hil.control.messages import LEFT, READ, WRITTEN
from mlink_hil.sim.boards.board import RECEIVE_AHEAD, Board
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.circuit.node import Node
from mlink_hil.sim.server.adapter import Adapter
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
        clock: The common clock.
        port: Its serial port, which is also its power.
        adapter: What is between the board and the port.
        control: Its control socket.
        time: Its cycles in real time.
        scheduling: The scheduling that the system granted, for statistics.
    """

    def __init__(
        self,
        node: Node,
        board: Board,
        clock: CommonClock,
        port: Port,
        adapter: Adapter,
        control: ControlServer,
        time: BoardTime,
        scheduling: str,
    ) -> None:
        self.node = node
        self._board = board
        self._port = port
        self._control = control
        self._clock = clock
        self._adapter = adapter
        self._time = time
        self._requests = Requests(board, node.board, port, time, control, scheduling)
        node.board.on_byte = self._on_byte
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
        return self._board.backlog + self._adapter.on_way >= self._adapter.receive_ahead

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
    def due(self) -> int | None:
        """Common cycle from which on the host has bytes of the board; None without any."""
        return self._adapter.due(sends_on=self.node.next_event is not None)

    def _on_byte(self, byte: int) -> None:
        cycle = self.node.board.cycle
        self._adapter.leave(byte, self.node.common(cycle))
        if self._requests.notes_line:
            self._requests.note_line(LEFT, self._time.time_ns(cycle))

    @property
    def woken(self) -> set[int]:
        """Processes whose modules need a turn for an edge; emptied by the program."""
        return self._control.woken

    @property
    def reader(self) -> int:
        """Process that has the port open; NOT_KNOWN without one."""
        return self._port.reader

    def take_halted(self) -> bool:
        """Return whether an edge has halted the board, once for each."""
        halted, self.node.board.has_halted = self.node.board.has_halted, False
        return halted

    def flush(self) -> bool:
        """Write the bytes that the host has by now to the port; return whether there are any."""
        cycle, due = self._clock.cycle, self.due
        if due is None or due > cycle:
            return False
        data = self._requests.faults.line.from_board(self._adapter.take(cycle))
        self._port.write(data)
        if self._requests.notes_line:
            self._requests.note_line(WRITTEN, count=len(data))
        return True

    def serve(self, readable: Container[int], writable: Container[int]) -> None:
        """Feed the host's bytes to the board and answer the clients' requests.

        Args:
            readable: Descriptors that are ready to read.
            writable: Descriptors that are ready to write.
        """
        if self._port.fd in readable:
            data = self._requests.faults.line.to_board(self._port.read(RECEIVE_AHEAD))
            if self._requests.notes_line:
                self._requests.note_line(READ, self._time.time_ns(self.node.board.cycle), len(data))
            if data and self.powered:
                self._accept(data)
        self._control.serve(readable, writable, self._requests.carry_out)
        if self._control.halts != self.node.board.halt_pins:
            self.node.board.halt_pins = self._control.halts
            self.node.board.has_halted = False
        self.node.powered &= self.powered

    def _accept(self, data: bytes) -> None:
        """Let the board receive bytes of the host when they come out of the adapter."""
        due = self._adapter.accept(data, self._clock.cycle)
        if due <= self._clock.cycle:
            self._arrive(due)
        else:
            self._clock.at(due, self._arrive)

    def _arrive(self, cycle: int) -> None:
        data = self._adapter.arrived(cycle)
        if data and self.powered:
            self.node.run_until(cycle)
            self._board.feed(data)


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


def next_event(clock: CommonClock, boards: Sequence[ServedBoard]) -> int | None:
    """Return the common cycle that a program should wake up for; None without one.

    Args:
        clock: The boards' common clock.
        boards: The boards of a program.
    """
    events = (clock.next_event, *(board.due for board in boards))
    return min((each for each in events if each is not None), default=None)


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
