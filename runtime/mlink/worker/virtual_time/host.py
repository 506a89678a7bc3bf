"""A module's world in a replay: time is virtual, and one module at a time has its turn.

The engine's conductor gives a turn with the master time that it is now.
The module takes what has arrived and what is due, and when it would wait it gives the turn back,
saying until when it waits; if nobody else would have a turn before, it goes on at once. So the
order of everything follows from the recording alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from mlink import control
from mlink.clock import ManualClock
from mlink.control import Channel, EngineMessages, WorkerSpec
from mlink.errors import ControlError
from mlink.module import ModuleSettings
from mlink.transport.codec import is_small
from mlink.transport.doorbell import Doorbell
from mlink.worker.host import BATCH, ModuleHost
from mlink.worker.ports import WorkerInput
from mlink.worker.virtual_time.agenda import Agenda
from mlink.worker.virtual_time.tape import Met, Tape, TapeClock

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
        self.master_clock = self._time = ManualClock()
        self._shown = TapeClock(self._time)
        self.clock = self.journal.clock(self._shown) if spec.journal else self._shown
        self._agenda = Agenda()
        self._call_numbers = itertools.count()
        self._has_turn = False
        self._busy_calls = 0
        self._free_until_usec = 0
        """Before when nobody else has a turn."""
        self._loud_before = 0
        self._loud = [p for p in self.outputs.values() if p.id not in spec.quiet_outputs]
        for port in self.outputs.values():
            port.while_full = self._read_ahead
        taped = [self.inputs[port] for port in spec.tape_ports if port in self.inputs]
        self._tape = Tape(Path(spec.tape), taped, spec.sources) if spec.tape else None

    @property
    def _live_inputs(self) -> list[WorkerInput]:
        taped = self._tape.ports if self._tape is not None else []
        return [port for port in self.inputs.values() if port not in taped]

    def begin(self, t0_monotonic_ns: int) -> None:  # noqa: ARG002 - real time is of no concern
        """Take the turn that comes with the start."""
        self.started = self._has_turn = True
        self.journal.note_start(self.inputs)
        self._shown.follow(self._tape.start if self._tape is not None else None)

    def ask_stop(self) -> None:
        """A stop is asked: the module stops acquiring at once."""
        if not self.stop_asked and self._tape is not None:
            self._shown.follow(self._tape.stop)
        super().ask_stop()

    def note_finish(self) -> None:
        """The module's stop() is about to be called."""
        super().note_finish()
        if self._tape is not None:
            self._shown.follow(self._tape.finish)

    @property
    def running(self) -> bool:
        """True from start() until a stop was asked; asking again and again takes time."""
        if self.started and not self.stop_asked and not self.failed:
            self.serve_control()
            if self._sees_stop_here():
                self._await_stop()
            else:
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
        number, due_usec = next(self._call_numbers), self._time.time_usec + max(1, delay_usec)
        met = Met(due_usec)
        if self._tape is not None:
            met = self._tape.timer(number, delay_usec, due_usec)

        noted = self.journal.call(number, delay_usec, call)

        def make() -> None:
            self._shown.follow(met)
            noted()

        self._agenda.call_at(met.time_usec, make)

    def step(self, timeout_usec: int) -> None:
        """Dispatch what is there, else wait once, at most `timeout_usec`, and dispatch then."""
        self._step(timeout_usec)

    def _step(self, timeout_usec: int | None) -> None:
        if not self.started:
            self.serve_control()
            return
        recorded = None
        if self._tape is not None and timeout_usec:
            recorded = self._tape.wait(timeout_usec, self._time.time_usec)
        if recorded is not None:
            self._wait_as_recorded(recorded)
            self._shown.follow(recorded)
        else:
            self._wait(timeout_usec)
        if timeout_usec is not None:
            self.journal.note_wait(timeout_usec)

    def _wait(self, timeout_usec: int | None) -> None:
        """Wait until something was dispatched, or so long."""
        until_usec = None if timeout_usec is None else self._time.time_usec + timeout_usec
        while not self._is_over():
            if self._dispatch():
                self._busy_calls = 0
                return
            if timeout_usec == 0:
                self._note_busy()
                return
            if until_usec is not None and self._time.time_usec >= until_usec:
                self._shown.follow(None)
                return
            self._busy_calls = 0
            self._give_turn(until_usec)

    def _wait_as_recorded(self, end: Met) -> None:
        """Wait until that end, and dispatch what came before it."""
        self._busy_calls = 0
        while not self._is_over():
            self._dispatch()
            if self._time.time_usec >= end.time_usec:
                return
            self._give_turn(end.time_usec)
        if self.stop_asked and not self.failed and self._tape is not None:
            self._meet_rest(self._tape, end.time_usec)

    def _is_over(self) -> bool:
        """Whether no more turns come; what still arrives is dispatched by `drain`."""
        if self.stop_asked or self.failed:
            self.serve_control()
        return self.stop_asked or self.failed

    def _dispatch(self) -> bool:
        """Do what is due, then take what live modules have sent, input by input; tell if any."""
        did = False
        if self._tape is not None:
            self._tape.pull()
        while not self.stop_asked and not self.failed and (due := self._next_due()) is not None:
            if due > self._time.time_usec:
                break
            did = True
            self._do_next(due)
        live = self._live_inputs
        before = sum(port.count.received for port in live)
        for port in live:
            while not self.stop_asked and not self.failed and self._take_from(port):
                pass
        return did or sum(port.count.received for port in live) != before

    def _next_due(self) -> int | None:
        """Return when a delayed call or an item of the tape is due next."""
        item = self._tape.next_usec if self._tape is not None else None
        times = [time_usec for time_usec in (self._agenda.next_usec, item) if time_usec is not None]
        return min(times, default=None)

    def _do_next(self, due_usec: int) -> None:
        """Make the delayed call, or dispatch the item of the tape, that is due first."""
        if due_usec == self._agenda.next_usec:
            self._agenda.run_due(due_usec)
            return
        assert self._tape is not None
        met, pulled = self._tape.pop()
        if pulled is not None and met.port is not None:
            self._shown.follow(met)
            met.port.dispatch(pulled, met.time_usec)

    def _give_turn(self, until_usec: int | None) -> None:
        """Let others have their turns until it is that time, or something is due or arrives."""
        times = [time_usec for time_usec in (self._next_due(), until_usec) if time_usec is not None]
        until = min(times, default=control.NO_TIME)
        self._send_status_when_due()
        if times and until < self._free_until_usec and self._loud_count() == self._loud_before:
            self._time.time_usec = max(self._time.time_usec, until)
            return
        self._hand_over(until)

    def _hand_over(self, until_usec: int) -> None:
        """Give the turn back, saying until when this module waits, and wait for the next one."""
        self._has_turn = False
        self._try_send(control.Waits(until_usec, self.sent_counts()))
        while not self._has_turn and not self.stop_asked and not self.failed:
            self._poll_once(_POLL_MS)

    def _sees_stop_here(self) -> bool:
        """Whether the module was not waiting in the lab when it saw the stop, but asked for it."""
        tape = self._tape
        if tape is None or tape.stop is None or not self._has_turn or not self._shown.told_all:
            return False
        due = self._next_due()
        sent = sum(port.sent for port in self.outputs.values() if is_small(port.data_type))
        return (due is None or due >= tape.stop.time_usec) and tape.stop_is_next(sent)

    def _await_stop(self) -> None:
        """Let all others have their turns, to the end."""
        while not self.stop_asked and not self.failed:
            self._hand_over(control.NO_TIME)

    def _loud_count(self) -> int:
        """Return how many items were sent that give somebody a turn."""
        return sum(port.sent for port in self._loud)

    def _note_busy(self) -> None:
        """Let a module that never waits see time move."""
        self._busy_calls += 1
        if self._has_turn and self._busy_calls > BUSY_CALLS:
            self._give_turn(self._time.time_usec + BUSY_USEC)

    def take_turn(self, message: control.Turn) -> None:
        """Go on: it is that time now."""
        self._time.time_usec = message.time_usec
        self._has_turn = True
        self._free_until_usec = message.free_until_usec
        self._loud_before = self._loud_count()

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
        if self._tape is not None:
            self._meet_rest(self._tape, self._tape.last_usec)
        for port in ports:
            while not self.failed and not port.ended:
                self._take_from(port)
        if self._tape is not None and self._tape.missing:
            self.log.warning(
                "%d items that this module met in the lab are not in the recording",
                self._tape.missing,
            )
            self._tape.missing = 0

    def _meet_rest(self, tape: Tape, last_usec: int) -> None:
        """Meet what was met in the lab after the stop, until then."""
        tape.pull()
        while not self.failed and (due := self._next_due()) is not None and due <= last_usec:
            self._time.time_usec = max(self._time.time_usec, due)
            self._do_next(due)

    def _take_from(self, port: WorkerInput) -> bool:
        """Dispatch a batch from this input; return whether more may wait."""
        return port.take(BATCH, self.master_clock.now_usec, lambda lost: self._note_gap(port, lost))
