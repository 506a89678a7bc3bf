"""A module's world in a replay: time is virtual, and one module at a time has its turn.

The engine's conductor (mlink.engine.conductor) gives a turn with the master time that it is now.
The module takes what has arrived and what is due, and when it would wait it gives the turn back,
saying until when it waits. So the order of everything follows from the recording alone.
"""

from __future__ import annotations

from collections.abc import Callable

from mlink import control
from mlink.clock import ManualClock
from mlink.control import Channel, EngineMessages, WorkerSpec
from mlink.errors import ControlError
from mlink.module import ModuleSettings
from mlink.transport.doorbell import Doorbell
from mlink.worker.agenda import Agenda
from mlink.worker.host import BATCH, ModuleHost
from mlink.worker.ports import WorkerInput

BUSY_CALLS = 10
"""Calls in a row that neither wait nor find anything, before each of them takes time."""
BUSY_USEC = 1_000
"""What such a call takes then; a loop that never waits would not see time move otherwise."""
_POLL_MS = 250.0


class VirtualHost(ModuleHost):
    """Implements `mlink.module.ModuleContext` on the conductor's clock."""

    def __init__(
        self,
        spec: WorkerSpec,
        settings: ModuleSettings,
        channel: Channel[EngineMessages],
        doorbell: Doorbell,
    ) -> None:
        super().__init__(spec, settings, channel, doorbell)
        self.clock = self._time = ManualClock()
        self._agenda = Agenda()
        self._has_turn = False
        self._busy_calls = 0
        for port in self.outputs.values():
            port.while_full = self._read_ahead

    def begin(self, t0_monotonic_ns: int) -> None:  # noqa: ARG002 - real time is of no concern
        """Take the turn that comes with the start."""
        self.started = self._has_turn = True

    @property
    def running(self) -> bool:
        """True from start() until a stop was asked; asking again and again takes time."""
        if self.started and not self.stop_asked and not self.failed:
            self.serve_control()
            self._note_busy()
        return self.started and not self.stop_asked and not self.failed

    def serve(self, timeout_usec: int = -1) -> None:
        """Dispatch what arrives: until a stop is asked, or for one wait of `timeout_usec`."""
        if timeout_usec >= 0:
            self.step(timeout_usec)
            return
        while not self.stop_asked and not self.failed:
            self._step(None)

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call once, `delay_usec` from now; at least 1 µs, so that time moves in any case."""
        self._agenda.call_at(self._time.time_usec + max(1, delay_usec), call)

    def step(self, timeout_usec: int) -> None:
        """Dispatch what is there, else wait once, at most `timeout_usec`, and dispatch then."""
        self._step(self._time.time_usec + timeout_usec)

    def _step(self, until_usec: int | None) -> None:
        if not self.started or self.stop_asked or self.failed:
            self.serve_control()
            return  # what still arrives is dispatched by `drain`, when all of it is there
        if self._dispatch():
            self._busy_calls = 0
            return
        if until_usec is not None and until_usec <= self._time.time_usec:
            self._note_busy()
            return
        due = self._agenda.next_usec
        times = [time_usec for time_usec in (due, until_usec) if time_usec is not None]
        self._busy_calls = 0
        self._give_turn(min(times, default=None))
        if not self.stop_asked and not self.failed:
            self._dispatch()

    def _dispatch(self) -> bool:
        """Do what is due, then take all that has arrived, input by input; tell if any."""
        did = self._agenda.run_due(self._time.time_usec)
        before = self._received()
        for port in self.inputs.values():
            while not self.stop_asked and not self.failed and self._take_from(port):
                pass
        return did or self._received() != before

    def _received(self) -> int:
        return sum(port.count.received for port in self.inputs.values())

    def _give_turn(self, until_usec: int | None) -> None:
        """Let others have their turns until it is that time, or something arrives."""
        self._has_turn = False
        self._send_status_when_due()
        until = control.NO_TIME if until_usec is None else until_usec
        self._try_send(control.Waits(until, self.sent_counts()))
        while not self._has_turn and not self.stop_asked and not self.failed:
            self._poll_once(_POLL_MS)

    def _note_busy(self) -> None:
        """Let a module that never waits see time move."""
        self._busy_calls += 1
        if self._has_turn and self._busy_calls > BUSY_CALLS:
            self._give_turn(self._time.time_usec + BUSY_USEC)

    def take_turn(self, message: control.Turn) -> None:
        """Go on: it is that time now."""
        self._time.time_usec = message.time_usec
        self._has_turn = True

    # what arrives while others have their turns -------------------------------------------

    def _poll_once(self, wait_ms: float) -> None:
        ready = [fd for fd, _ in self._poll.poll(wait_ms)]
        if self._doorbell.fd in ready:
            self._doorbell.clear()
        self._read_ahead()
        self._forget_closed_pipes(ready)
        self.serve_control()

    def _read_ahead(self) -> None:
        """Make room in the pipes, whose writers wait for it: in a replay nothing is lost."""
        for port in self.inputs.values():
            port.read_ahead()

    def _await_control(self) -> None:
        self._poll_once(_POLL_MS)

    def drain(self, ports: list[WorkerInput]) -> None:
        """Wait until everything is there, then dispatch it, input by input."""
        while not self.failed and not all(port.end_known for port in ports):
            self._poll_once(_POLL_MS)
            if self.engine_lost:
                raise ControlError("the engine went away")
        for port in ports:
            while not self.failed and not port.ended:
                self._take_from(port)

    def _take_from(self, port: WorkerInput) -> bool:
        """Dispatch a batch from this input; return whether more may wait."""
        return port.take(BATCH, self.clock.now_usec, lambda lost: self._note_gap(port, lost))
