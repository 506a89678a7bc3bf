"""The program around simulated boards in virtual time: it simulates only when it is asked to.

The engine asks for the simulation up to a time. The program stops earlier where the boards are to
stand still, and when bytes of a board have to be delivered, which its adapter decides
(`adapter.py`). Requests of clients are answered at any time, while no board runs.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from mlink.devices import Reached
from mlink.peers import is_trusted
from mlink_hil.control.lockstep import REQUEST, encode_answer
from mlink_hil.control.socket_path import check_socket_path
from mlink_hil.sim.circuit.clock import CommonClock
from mlink_hil.sim.server.lifetime import Lifetime
from mlink_hil.sim.server.pacer import Pacer
from mlink_hil.sim.server.served_board import ServedBoard, boot_together, next_event, wait_for
from mlink_hil.uno import CLOCK_HZ

_CHECK_S = 1.0
_CHUNK = CLOCK_HZ // 40_000
"""Cycles simulated between two looks at the lines: bytes are delivered up to 25 µs late."""


class LockstepProgram:
    """Simulates boards in virtual time, at the engine's request.

    Args:
        clock: Common clock of all boards.
        boards: The boards by name, with their ports and control sockets.
        pacer: Maps the clock to virtual time.
        lifetime: When the program has to end.
        path: Where the engine connects.
    """

    def __init__(
        self,
        clock: CommonClock,
        boards: Sequence[tuple[str, ServedBoard]],
        pacer: Pacer,
        lifetime: Lifetime,
        path: Path,
    ) -> None:
        self._clock = clock
        self._names = [name for name, _ in boards]
        self._boards = [board for _, board in boards]
        self._pacer = pacer
        self._lifetime = lifetime
        check_socket_path(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._engine: socket.socket | None = None
        self._held_back = False
        """Whether a line may hold bytes for a board that is behind; none arrive otherwise."""
        self._look_at = 0
        """Cycle of the next look at the lines, while the boards stand before it."""
        self._readers: set[int] = set()
        """Processes that have something to read."""

    def boot(self) -> None:
        """Boot all boards and switch them on together, at virtual time 0."""
        boot_together(self._boards, self._clock, self._pacer, lambda: 0)

    def run(self) -> None:
        """Serve until a client asks for the end, also when the engine has closed its socket before.

        Who started the program would take it for one that has ended by itself.

        Raises:
            BoardCrashed: A processor has stopped, or a model has raised.
        """
        while not (self._lifetime.ended or any(board.quit_asked for board in self._boards)):
            ask = self._engine if self._engine is not None else self._listener
            readable, writable = wait_for(self._boards, _CHECK_S, ask.fileno())
            self._serve(readable, writable)
            if ask.fileno() in readable:
                self._answer()
            self._lifetime.check()

    def _answer(self) -> None:
        """Carry out the engine's request."""
        if self._engine is None:
            engine, _ = self._listener.accept()
            if is_trusted(engine):
                self._engine = engine
            else:
                engine.close()
            return
        request = self._engine.recv(REQUEST.size)
        if not request:
            self._engine.close()
            self._engine = None
            return
        self._serve_waiting()  # what was sent before the request
        self._readers.clear()
        self._engine.send(encode_answer(self._simulate(*REQUEST.unpack(request))))

    def _simulate(self, until_usec: int, stand_usec: int) -> Reached:
        """Simulate up to a time, or until bytes have to be delivered, or to where boards stand."""
        clock = self._clock
        target = self._pacer.cycle_at(until_usec * 1000)
        stand_at = self._pacer.cycle_at(stand_usec * 1000)
        halts = any(board.node.halts for board in self._boards)
        if halts and any(board.node.has_halted for board in self._boards):
            return self._stood(stand_usec)  # an edge since the last request, by what a client did
        if not self._look_at and (woken := self._deliver()):  # by a request since
            return Reached(-(-self._pacer.time_ns(clock.cycle) // 1000), woken)
        event = next_event(clock, self._boards)
        while clock.cycle < target or self._look_at:
            end = self._look_at or clock.cycle + _CHUNK
            if event is not None and not self._look_at:
                end = min(end, max(event, clock.cycle + 1))
            end = self._look_at = min(end, target)
            if not clock.run_until(end, stand_at, halts=halts):
                return self._stood(stand_usec)
            self._look_at = 0
            if woken := self._deliver():
                time_usec = -(-self._pacer.time_ns(clock.cycle) // 1000)
                clock.run_until(max(clock.cycle, self._pacer.cycle_at(time_usec * 1000)))
                return Reached(time_usec, woken, self._halted(), self._readers)
            if self._held_back:
                self._serve_waiting()
            event = next_event(clock, self._boards)
            if event is None and not self._held_back:
                clock.skip(min(target, stand_at), _CHUNK)
        return Reached(until_usec, [])

    def _stood(self, stand_usec: int) -> Reached:
        """Return where the boards stand: at the time asked for, or in the µs of an edge."""
        if halted := self._halted():
            return Reached(self._pacer.time_ns(self._clock.cycle) // 1000, [], halted)
        return Reached(stand_usec, [])

    def _halted(self) -> list[str]:
        """Return the boards that an edge has halted."""
        named = zip(self._names, self._boards, strict=True)
        return [name for name, board in named if board.take_halted()]

    def _deliver(self) -> list[str]:
        """Deliver bytes that have left boards; return the boards that have delivered any."""
        delivered = []
        for name, board in zip(self._names, self._boards, strict=True):
            if board.flush():
                board.woken.add(board.reader)
            if board.woken:
                delivered.append(name)
                self._readers |= board.woken
                board.woken.clear()
        return delivered

    def _serve_waiting(self) -> None:
        """Handle bytes and requests that have arrived."""
        readable, writable = wait_for(self._boards, 0)
        if readable or writable:
            self._serve(readable, writable)
        self._held_back = any(board.is_behind for board in self._boards)

    def _serve(self, readable: Sequence[int], writable: Sequence[int]) -> None:
        for board in self._boards:
            board.serve(readable, writable)
            if board.powered and not board.node.powered:
                board.boot()
                board.node.switch_on(self._clock.cycle)
