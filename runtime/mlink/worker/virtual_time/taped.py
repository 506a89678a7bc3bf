"""The context of a module whose recorded run is replayed: the same events at the same times.

The tape is the journal of the recorded run. A delayed call or a wait that matches a recorded one
ends when that did, and the items of replayed sources are dispatched when they were.
"""

from __future__ import annotations

from pathlib import Path

from mlink.channel import Channel
from mlink.control import EngineMessages
from mlink.module import ModuleSettings
from mlink.transport.codec import is_small
from mlink.transport.doorbell import Doorbell
from mlink.worker.input_port import WorkerInput
from mlink.worker.virtual_time.agenda import earliest
from mlink.worker.virtual_time.host import VirtualHost
from mlink.worker.virtual_time.tape import Event, Tape
from mlink.worker_spec import WorkerSpec


class TapedHost(VirtualHost):
    """Implements `mlink.module.ModuleContext` in virtual time, with a tape."""

    def __init__(
        self,
        spec: WorkerSpec,
        settings: ModuleSettings,
        channel: Channel[EngineMessages],
        doorbell: Doorbell,
    ) -> None:
        super().__init__(spec, settings, channel, doorbell)
        known = {port.id: port for port in self.all_inputs}
        taped = [known[port] for port in spec.tape_ports if port in known]
        self._tape = Tape(Path(spec.tape), taped, spec.sources)

    @property
    def _live_inputs(self) -> list[WorkerInput]:
        return [port for port in self.all_inputs if port not in self._tape.ports]

    def begin(self, t0_monotonic_ns: int) -> None:
        """Start with the turn, and with the recorded readings of the clock."""
        super().begin(t0_monotonic_ns)
        self._shown.follow(self._tape.start)

    def ask_stop(self, at_usec: int = 0) -> None:  # noqa: ARG002 - the tape has the time
        """Request the module's stop: it stops acquiring at once."""
        if not self.stop_asked:
            self._shown.follow(self._tape.stop)
        super().ask_stop()

    def note_finish(self) -> None:
        """Record that the module's stop() follows."""
        super().note_finish()
        self._shown.follow(self._tape.finish)

    def _event_of_call(self, number: int, delay_usec: int, due_usec: int) -> Event:
        return self._tape.timer(number, delay_usec, due_usec)

    def _wait(self, timeout_usec: int | None) -> None:
        recorded = self._tape.wait(timeout_usec, self._time.time_usec) if timeout_usec else None
        if recorded is None:
            super()._wait(timeout_usec)
        else:
            self._wait_as_recorded(recorded)
            self._shown.follow(recorded)

    def _wait_as_recorded(self, end: Event) -> None:
        """Wait until the recorded end of a wait, and dispatch all that came before it."""
        self._busy_calls = 0
        while not self._is_over():
            self._dispatch()
            if self._time.time_usec >= end.time_usec:
                return
            self._give_turn(end.time_usec)
        if self.stop_asked and not self.failed:
            self._replay_rest(end.time_usec)

    def _serve_driver(self) -> bool:
        did = super()._serve_driver()
        self._tape.pull()
        return did

    def _next_due(self) -> int | None:
        return earliest(super()._next_due(), self._tape.next_usec)

    def _do_next(self, due_usec: int) -> None:
        """Make the delayed call, or dispatch the item of the tape, that is due at `due_usec`."""
        if due_usec == super()._next_due():
            super()._do_next(due_usec)
            return
        event, pulled = self._tape.pop()
        if pulled is not None and event.port is not None:
            self._shown.follow(event)
            event.port.dispatch(pulled, event.time_usec)

    def _note_running(self) -> None:
        if self._sees_stop_here():
            self._await_stop()
        else:
            super()._note_running()

    def _sees_stop_here(self) -> bool:
        """Return whether the recorded module saw the stop here: by `running`, not in a wait."""
        tape = self._tape
        if tape.stop is None or not self._has_turn or not self._shown.used_up:
            return False
        due = self._next_due()
        sent = sum(port.sent for port in self.outputs.values() if is_small(port.data_type))
        return (due is None or due >= tape.stop.time_usec) and tape.stop_is_next(sent)

    def _await_stop(self) -> None:
        """Give turns back until the stop is requested."""
        while not self.stop_asked and not self.failed:
            self._hand_over(None)

    def _take_rest(self, ports: list[WorkerInput]) -> None:
        self._replay_rest(self._tape.last_usec)
        super()._take_rest(ports)
        if self._tape.missing:
            self.log.warning(
                "%d items that this module received in the lab are not in the recording",
                self._tape.missing,
            )
            self._tape.missing = 0

    def _replay_rest(self, last_usec: int) -> None:
        """Repeat the recorded events after the stop, up to `last_usec`."""
        self._tape.pull()
        while not self.failed and (due := self._next_due()) is not None and due <= last_usec:
            self._time.time_usec = max(self._time.time_usec, due)
            self._do_next(due)
