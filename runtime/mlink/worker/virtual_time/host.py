"""The context of a module in virtual time: one module at a time runs, on the conductor's clock.

The engine's conductor gives a turn together with the current master time. The module dispatches the
items that have arrived and makes the calls that are due. When it would wait, it gives the turn back
and sends until when it waits; if no other module has a turn before that time, it continues at once.
The order of a run therefore depends on its input alone, not on the speed of the machine.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable

from mlink import control
from mlink.channel import Channel
from mlink.clock import ManualClock, VirtualClock
from mlink.control import EngineMessages
from mlink.errors import ControlError
from mlink.module import ModuleSettings
from mlink.transport.doorbell import Doorbell
from mlink.waiting import Waiting
from mlink.worker.host import BATCH, ModuleHost
from mlink.worker.input_port import WorkerInput
from mlink.worker.virtual_time.agenda import Agenda, earliest
from mlink.worker.virtual_time.costs import drawn
from mlink.worker.virtual_time.tape import Event, TapeClock
from mlink.worker.virtual_time.waiting import VirtualWaiting
from mlink.worker_spec import WorkerSpec

BUSY_CALLS = 10
"""Calls in a row without a wait and without an item, after which each call takes time."""
BUSY_USEC = 1_000
"""Duration of such a call in µs; without it a loop that never waits would stop time."""
SHORT_USEC = 50
"""Time that a turn of the loop takes in real time, about: delays and waits in a row, each asked to
be shorter, take so long; else a run would take millions of turns for a second."""
_POLL_MS = 250.0


class VirtualHost(ModuleHost):
    """Implements `mlink.module.ModuleContext` in virtual time.

    Args:
        spec: The worker's spec, with its tape and quiet outputs.
        settings: The module's settings.
        channel: The control channel to the engine.
        doorbell: Rung by sources of streams in shared memory.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        settings: ModuleSettings,
        channel: Channel[EngineMessages],
        doorbell: Doorbell,
    ) -> None:
        super().__init__(spec, settings, channel, doorbell)
        self._time = ManualClock()
        """The conductor's time; the run starts at its `zero`."""
        self.master_clock = self._master = VirtualClock(self._time)
        self._shown = TapeClock(self.master_clock)
        self.clock = self.journal.clock(self._shown) if spec.journal else self._shown
        self._agenda = Agenda()
        self._driver = VirtualWaiting(self._time, self, self.fail)
        self._call_numbers = itertools.count()
        self._has_turn = False
        self._rests = False
        """Whether the turn is for calls alone, while other modules prepare or start."""
        self._busy_calls = 0
        self._short_waits = 0
        """Waits in a row that were shorter than SHORT_USEC, without an item."""
        self._chained = 0
        """The present delayed call is so many delayed calls shorter than SHORT_USEC deep."""
        self._free_until_usec = 0
        """Time before which no other module has a turn."""
        self._losses: tuple[dict[str, list[int]], dict[str, int]] = ({}, {})
        """Counts of lost items, as they were sent to the engine last."""
        self._loud_before = 0
        self._loud = [p for p in self.all_outputs if p.id not in spec.quiet_outputs]
        for port in self.all_outputs:
            port.while_full = self._read_ahead
            port.losing = spec.losing_out.get(port.id, [])
            port.now_ns = self._driver.now_ns
        for port_id, cost in spec.costs.items():
            draw = drawn(cost, f"{spec.seed} {spec.name}.{port_id}")
            self.inputs[port_id].before = functools.partial(self._compute, draw)
        if spec.warn_nondeterminism:
            from mlink.worker.virtual_time.nondeterminism import NondeterminismWatch, Warnings

            NondeterminismWatch(Warnings(self.log, self.hint), self.run_info.bench_dir).install()

    @property
    def _live_inputs(self) -> list[WorkerInput]:
        return self.all_inputs

    @property
    def waiting(self) -> Waiting:
        """What a driver waits for."""
        return self._driver

    def begin(self, t0_monotonic_ns: int) -> None:
        """Start with the turn; the run's zero is this virtual time in ns."""
        self._master.zero_usec = t0_monotonic_ns // 1000
        if self.module is not None and not self.module.ahead:  # threads of a script are the user's
            for port in self.all_outputs:
                port.restrict_to(threading.get_ident(), self.fail)
        self.started = self._has_turn = True
        self.journal.note_start(self.journaled_inputs)

    def ask_stop(self, at_usec: int = 0) -> None:
        """Request the module's stop: it stops acquiring at once, and its time is the run's end."""
        self._time.time_usec = max(self._time.time_usec, at_usec)
        super().ask_stop(at_usec)

    @property
    def running(self) -> bool:
        """True from start() until a stop was requested; reading it in a loop takes virtual time."""
        if self.started and not self.stop_asked and not self.failed:
            self.serve_control()
            self._note_running()
        return self.started and not self.stop_asked and not self.failed

    def serve(self, timeout_usec: int = -1) -> None:
        """Dispatch items until a stop is requested, or during one wait of `timeout_usec`.

        A wait takes virtual time only: other modules run meanwhile.

        Raises:
            ModuleError: It would wait until the stop, and the run has not started.
        """
        if timeout_usec >= 0:
            self.step(timeout_usec)
            return
        self._refuse_endless_wait()
        while not self.stop_asked and not self.failed:
            self.step(None)

    def serve_for(self, duration_usec: int, step_usec: int) -> None:
        """Dispatch items for this whole virtual time.

        Before the start and after the stop no module has turns: time passes for this one alone.
        """
        end_usec = self._time.time_usec + duration_usec
        while self.started and not self.stop_asked and not self.failed:
            if (left_usec := end_usec - self._time.time_usec) <= 0:
                return
            self.serve(min(left_usec, step_usec))
        self.serve_control()
        self._agenda.pass_alone(self._time, end_usec, moves=self.started)

    def call_later(
        self,
        delay_usec: int,
        call: Callable[[], object],
        *,
        timed: bool = True,  # noqa: ARG002
    ) -> None:
        """Call once, `delay_usec` µs from now; at least 1 µs, so that time always advances.

        A call that requests the next one without a delay, and so on, takes time as a loop does
        that never waits.
        """
        depth = self._chained + 1 if delay_usec < SHORT_USEC else 0
        wait_usec = max(1, _as_in_real_time(delay_usec, depth))
        number, due_usec = next(self._call_numbers), self._time.time_usec + wait_usec
        event = self._event_of_call(number, delay_usec, due_usec)
        noted = self.journal.call(number, delay_usec, call)

        def make() -> None:
            self._shown.follow(event)
            before, self._chained = self._chained, depth
            try:
                noted()
            finally:
                self._chained = before

        self._agenda.call_at(event.time_usec, make)

    def _event_of_call(self, number: int, delay_usec: int, due_usec: int) -> Event:  # noqa: ARG002
        """Return when a delayed call is made, and what the clock shows then."""
        return Event(due_usec)

    @property
    def idle(self) -> bool:
        """Whether nothing will call the module before the stop."""
        return super().idle and self._next_due() is None and self._driver.next_usec is None

    def step(self, timeout_usec: int | None) -> None:
        """Dispatch waiting items; without any, wait once for at most `timeout_usec` (None: any)."""
        if not self.started:
            self.serve_control()
            return
        since_usec = self.journal.last_usec
        self._wait(timeout_usec)
        if timeout_usec is not None:
            self.journal.note_wait(timeout_usec, since_usec)

    def _wait(self, timeout_usec: int | None) -> None:
        """Wait until an item or call was dispatched, at most `timeout_usec` (None: no limit)."""
        is_short = timeout_usec is not None and 0 < timeout_usec < SHORT_USEC
        self._short_waits = self._short_waits + 1 if is_short else 0
        if timeout_usec is not None and is_short:
            timeout_usec = _as_in_real_time(timeout_usec, self._short_waits)
        until_usec = None if timeout_usec is None else self._time.time_usec + timeout_usec
        while not self._is_over():
            if self._dispatch():
                self._busy_calls = self._short_waits = 0
                return
            if timeout_usec == 0:
                self._note_busy()
                return
            if until_usec is not None and self._time.time_usec >= until_usec:
                self._shown.follow(None)
                return
            self._busy_calls = 0
            self._give_turn(until_usec)

    def _is_over(self) -> bool:
        """Return whether no more turns come; later items are dispatched by `drain`."""
        if self.stop_asked or self.failed:
            self.serve_control()
        return self.stop_asked or self.failed

    def _dispatch(self) -> bool:
        """Make what is due, then dispatch items of live modules; return whether there were any."""
        did = self._serve_driver()
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

    def _serve_driver(self) -> bool:
        """Make what is due of the driver; return whether there was anything."""
        return self._driver.serve()

    def _next_due(self) -> int | None:
        """Return the time of the next delayed call; None without one."""
        return self._agenda.next_usec

    def _do_next(self, due_usec: int) -> None:
        """Do what is due at `due_usec`."""
        self._agenda.run_due(due_usec)

    def _give_turn(self, until_usec: int | None) -> None:
        """Wait until `until_usec`, or until something is due or arrives; others run meanwhile."""
        until = earliest(self._next_due(), self._driver.next_usec, until_usec)
        self._send_status_when_due()
        if (
            until is not None
            and until < self._free_until_usec
            and self._loud_count() == self._loud_before
        ):
            self._time.time_usec = max(self._time.time_usec, until)
            return
        self._hand_over(until)

    def _send_status_when_due(self) -> None:
        """Send the counts when a loss has to be reported, too: at once, by the bench's time."""
        losses = self.lost_counts(), self.skipped_counts()
        if losses != self._losses:
            self._losses, self._next_status = losses, 0.0
        super()._send_status_when_due()

    def pause(self, until_usec: int) -> bool:
        """Let other modules run until a time; return False when this module has to stop.

        A driver may also wait after the stop, until the module has finished: simulated devices go
        on meanwhile, and answer what they are asked last. After a failure no time passes.
        """
        if not self._is_over():
            self._give_turn(until_usec)
            return True
        if not self.started or self.run_failed or self._gives_up:
            return False
        self._send_status_when_due()
        self._return_turn(until_usec, stopping=True)
        while not self._has_turn and not self._gives_up:
            self._poll_once(_POLL_MS)
        return self._has_turn

    @property
    def _gives_up(self) -> bool:
        """Whether a module that stops may not wait any more."""
        return self.finished or self.failed or self.given_up

    def _hand_over(self, until_usec: int | None) -> None:
        """Give the turn back until `until_usec`, and wait for the next turn."""
        self._return_turn(until_usec)
        while not self._has_turn and not self.stop_asked and not self.failed:
            self._poll_once(_POLL_MS)

    def _return_turn(self, until_usec: int | None, *, stopping: bool = False) -> None:
        """Give the turn back until `until_usec`; None waits for no time."""
        self._has_turn = False
        until = control.NO_TIME if until_usec is None else until_usec
        self._try_send(control.Waits(until, self.sent_counts(), stopping))

    def _compute(self, draw: Callable[[], int]) -> None:
        """Let the time pass that the module takes for an item; it dispatches nothing meanwhile."""
        until_usec = self._time.time_usec + draw()
        while self._time.time_usec < until_usec and not self._is_over():
            self._hand_over(until_usec)

    def _loud_count(self) -> int:
        """Return the number of items sent that wake another module."""
        return sum(port.sent for port in self._loud)

    def _note_running(self) -> None:
        """Note that a module that runs asks whether it does."""
        self._note_busy()

    def _note_busy(self) -> None:
        """Advance time for a module that never waits."""
        self._busy_calls += 1
        if self._has_turn and self._busy_calls > BUSY_CALLS:
            self._give_turn(self._time.time_usec + BUSY_USEC)

    def take_turn(self, message: control.Turn) -> None:
        """Continue at the time of the message."""
        self._time.time_usec = message.time_usec
        self._has_turn = True
        self._rests = not message.enters
        self._free_until_usec = message.free_until_usec
        self._loud_before = self._loud_count()

    def _poll_once(self, wait_ms: float) -> None:
        ready = [fd for fd, _ in self._poll.poll(wait_ms)]
        if self._doorbell.fd in ready:
            self._doorbell.clear()
        self._read_ahead()
        self._forget_closed_pipes(ready)
        self.serve_control()

    def watch(self, fd: int, port: WorkerInput) -> None:
        """Let the loop read this input's pipe; that of a module with costs waits for its turn."""
        if self.spec.costs:
            self._pipes[fd] = port  # not polled: items that wait would wake the module at once
        else:
            super().watch(fd, port)

    def _read_ahead(self) -> None:
        """Empty the pipes, whose writers wait for room: no item is lost to a module without costs.

        Items for a module with costs wait in their queue as in real time, and a full one loses.
        """
        for port in self.all_inputs if not self.spec.costs else ():
            port.read_ahead()

    def _await_control(self) -> None:
        if self.started or not (self._has_turn and self._rests):
            self._poll_once(_POLL_MS)
            return
        self._driver.serve()
        try:
            self._agenda.run_due(self._time.time_usec)
        except Exception as error:  # noqa: BLE001 - a delayed call of the module's
            self.fail(error)
        self._return_turn(earliest(self._agenda.next_usec, self._driver.next_usec))

    def drain(self, ports: list[WorkerInput]) -> None:
        """Wait until all items have arrived, then dispatch them, input by input.

        Raises:
            ControlError: The engine has closed the channel.
        """
        while not self.failed and not all(port.end_known for port in ports):
            self._poll_once(_POLL_MS)
            if self.engine_lost:
                raise ControlError("lost the connection to the engine")
            if self.given_up:
                return
        self._take_rest(ports)

    def _take_rest(self, ports: list[WorkerInput]) -> None:
        """Dispatch what has arrived, input by input."""
        for port in ports:
            while not self.failed and not port.ended:
                self._take_from(port)

    def _take_from(self, port: WorkerInput) -> bool:
        """Dispatch at most BATCH items from this input; return whether more may wait."""
        return port.take(BATCH, self.master_clock.now_usec)


def _as_in_real_time(usec: int, in_a_row: int) -> int:
    """Return how long a delay or wait takes, the one after so many short ones in a row."""
    if in_a_row <= BUSY_CALLS:
        return usec
    return max(usec, SHORT_USEC) if usec > 0 else BUSY_USEC
