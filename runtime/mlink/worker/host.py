"""The context of a module in its worker: the loop that serves its ports.

The loop waits on the module's pipes, its doorbell and the control channel. Control messages are
handled in the main thread, between items, so a module needs no locks against the engine.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlink import control
from mlink.channel import Channel
from mlink.clock import MasterClock
from mlink.control import EngineMessages
from mlink.errors import ControlError, ModuleError
from mlink.metadata import decode_metadata
from mlink.module import Module, ModuleSettings
from mlink.recording.journal.reading import GROUP
from mlink.transport.doorbell import Doorbell
from mlink.waiting import ServiceLoop, Waiting
from mlink.worker.facts import ModuleFacts
from mlink.worker.handler_times import HandlerTimes
from mlink.worker.input_port import WorkerInput
from mlink.worker.second_source import SecondSources
from mlink.worker.stages import StageTimes
from mlink.worker.timers import Timers
from mlink.worker_spec import WorkerSpec

BATCH = 64
"""Most items dispatched from one input before other inputs and control messages are served."""

_WAIT_LIMIT_USEC = 250_000
_DRAIN_WAIT_USEC = 100_000
_SHORT_REST_NS = 100_000_000
"""Shorter waits after the stop need no message to the engine."""


class ModuleHost(ModuleFacts):
    """Implements `mlink.module.ModuleContext` in real time for the module of this process.

    Args:
        spec: The worker's spec.
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
        super().__init__(spec, settings, channel)
        self.stop_asked = False
        self.finished = False
        """Whether the module has finished: its files are closed next."""
        self.failed = False
        self.run_failed = False
        """Whether the run had failed when the stop was requested."""
        self.engine_lost = False
        self.module: Module[Any] | None = None
        self.inbox: list[EngineMessages] = []
        self._doorbell = doorbell
        self._poll = select.poll()
        self._poll.register(doorbell.fileno(), select.POLLIN)
        self._poll.register(channel.fileno(), select.POLLIN)
        self._control_poll = select.poll()  # before the start no items are dispatched
        self._control_poll.register(channel.fileno(), select.POLLIN)
        self._pipes: dict[int, WorkerInput] = {}
        self._more_waits = False
        self._finishing = False
        """Whether the module's stop() was called."""
        self._timers = Timers(self.log.warning)
        self._waiting: ServiceLoop | None = None
        self.handler_times = HandlerTimes()
        for port in self.inputs.values() if spec.time_handlers else ():
            port.timed = self.handler_times.of(port.id)
        self._stages = StageTimes(Path(spec.stages_dir), spec.name) if spec.stages_dir else None
        if self._stages is not None:
            self._stages.attach(self.inputs, self.outputs)
        self.by_hand = SecondSources(self, lambda: self.master_clock.now_usec(), self.log)
        """What people command beside the bench."""
        self.offer, self.refuse = self.by_hand.offer, self.by_hand.refuse

    def begin(self, t0_monotonic_ns: int) -> None:
        """Start master time; its zero is this CLOCK_MONOTONIC reading in ns.

        A steered clock has its zero from its page.
        """
        if isinstance(self.master_clock, MasterClock):
            self.master_clock.t0_monotonic_ns = t0_monotonic_ns
        self.started = True
        self.journal.note_start(self.journaled_inputs)

    @property
    def journaled_inputs(self) -> dict[str, WorkerInput]:
        """The inputs that the module's journal has."""
        return {**self.inputs, **self.by_hand.of_values}

    @property
    def waiting(self) -> Waiting:
        """What a driver waits for; its thread starts with the first registration."""
        if self._waiting is None:
            loop = ServiceLoop if self._stages is None else self._stages.loop
            self._waiting = loop(f"io {self.name}", self.fail)
        return self._waiting

    def stop_waiting(self) -> None:
        """End the driver's thread."""
        if self._waiting is not None:
            self._waiting.close()

    @property
    def running(self) -> bool:
        """True from start() until a stop was requested; handles waiting control messages."""
        if not self.stop_asked and self.started:
            self.serve_control()
        return self.started and not self.stop_asked and not self.failed

    def fail(self, error: BaseException | str) -> None:
        """Report a failure, from any thread; only the first one is sent.

        It wakes the loop, which then ends; the module is still stopped and closed.
        """
        if self.failed or self.by_hand.refuses(error):
            return
        self.failed = True
        self.send_failure(error, "running")
        self._doorbell.ring()

    def serve(self, timeout_usec: int = -1) -> None:
        """Dispatch items until a stop is requested, or during one wait of `timeout_usec`.

        Args:
            timeout_usec: Longest wait in µs; negative waits until the stop, 0 does not wait.

        An exception of a handler is passed on.

        Raises:
            ModuleError: It would wait until the stop, and the run has not started.
        """
        if timeout_usec >= 0:
            since_usec = self.journal.last_usec
            self.handler_times.wait(lambda: self.step(timeout_usec))
            self.journal.note_wait(timeout_usec, since_usec)
        else:
            self._refuse_endless_wait()
            self.handler_times.wait(self._serve_until_stop)

    def serve_for(self, duration_usec: int, step_usec: int) -> None:
        """Dispatch items and control messages for this whole time, in every phase.

        A wait that lasts on after the stop is reported to the engine, which gives the module that
        time. One that begins between the stop and `stop()` is not: a loop of them would never end.
        It ends early when the engine has gone, or gives up the wait for this module.

        Args:
            duration_usec: The time in µs.
            step_usec: Longest single wait in µs.
        """
        end_ns = time.monotonic_ns() + duration_usec * 1000
        rest_noted = self.stop_asked and not self._finishing
        while (left_ns := end_ns - time.monotonic_ns()) > 0:
            if self.engine_lost or self.given_up:
                return
            if self.stop_asked and not rest_noted and left_ns > _SHORT_REST_NS:
                rest_noted = True
                self._try_send(control.Rests(left_ns / 1e9))
            self.serve(min(-(-left_ns // 1000), step_usec))

    def _refuse_endless_wait(self) -> None:
        if not self.started and not self.stop_asked and not self.failed:
            raise ModuleError(
                "it waits for data without a limit before the start: nothing ends that wait",
                remedy="Wait in run() or on_data, or give the wait a limit: await_data(100_000).",
            )

    def _serve_until_stop(self) -> None:
        while not self.stop_asked and not self.failed:
            self.step(_WAIT_LIMIT_USEC)

    def call_later(
        self, delay_usec: int, call: Callable[[], object], *, timed: bool = True
    ) -> None:
        """Call once from the loop, `delay_usec` µs from now; `timed` counts how late it is.

        Args:
            delay_usec: Delay in µs of the master timer.
            call: The function; called in the module's main thread.
            timed: Whether its delay is in the figures of the run.
        """
        number = self._timers.next_number
        call = self.journal.call(number, delay_usec, call)
        self._timers.add(delay_usec, call, timed=timed and self.started)

    # the loop -----------------------------------------------------------------------------

    def watch(self, fd: int, port: WorkerInput) -> None:
        """Let the loop dispatch this input's items when its pipe is readable.

        Args:
            fd: Read end of the input's pipe.
            port: The input.
        """
        self._pipes[fd] = port
        self._poll.register(fd, select.POLLIN)

    def step(self, timeout_usec: int) -> None:
        """Wait once for at most `timeout_usec`, then handle control messages, timers and items.

        It does not wait while items of the last batch remain. Status counts are sent from here.
        """
        self._send_status_when_due()
        wait_ms = 0.0 if self._more_waits else self._timers.limit(timeout_usec / 1000)
        ready = self._ready(wait_ms)
        for fd in ready:
            if port := self._pipes.get(fd):
                port.waiting = self._more_waits = True
            elif fd == self._doorbell.fd:
                self._doorbell.clear()
            else:
                self.serve_control()
        if self._timers:
            self._timers.run_due()
        if self._more_waits and self.started:
            self._more_waits = self.take_items()
        self._forget_closed_pipes(ready)

    def _ready(self, wait_ms: float) -> list[int]:
        """Wait for any descriptor; by select() when a timer runs, since poll() rounds up to ms."""
        if self._timers and wait_ms > 0:
            waited_on = [self._doorbell.fd, self._channel.fileno(), *self._pipes]
            return select.select(waited_on, [], [], wait_ms / 1000)[0]
        return [fd for fd, _ in self._poll.poll(wait_ms)]

    def take_items(self) -> bool:
        """Dispatch at most BATCH items from each input; return whether more may wait.

        It returns early when counts are due: they show the engine that a slow module works.
        """
        more = False
        for port in self.all_inputs:
            if not port.waiting:
                continue
            port.waiting = port.take(BATCH, self.master_clock.now_usec, self._next_status)
            more |= port.waiting
        return more

    @property
    def idle(self) -> bool:
        """Whether nothing will call the module before the stop: no handler, no delayed call."""
        handles = any(port.connected and port.on_item for port in self.all_inputs)
        return not (handles or self._timers)

    def _forget_closed_pipes(self, ready: list[int]) -> None:
        """Stop polling pipes whose writer has closed them: they would always be readable."""
        for fd in ready:
            port = self._pipes.get(fd)
            if port is not None and port.hung_up:
                self._poll.unregister(fd)
                del self._pipes[fd]

    def wait_for_message(self) -> EngineMessages:
        """Return the next message about the module's life cycle; no items are dispatched.

        Raises:
            ControlError: The engine has closed the channel.
        """
        while not self.inbox:
            self._await_control()
            self.serve_control()
            if self.engine_lost:
                raise ControlError("lost the connection to the engine")
        return self.inbox.pop(0)

    def _await_control(self) -> None:
        """Wait for a control message, while the module does not run."""
        self._control_poll.poll(self._timers.limit(1000.0))
        try:
            self._timers.run_due()
        except Exception as error:  # noqa: BLE001 - a delayed call of the module's
            self.fail(error)

    def open_journal(self) -> None:
        """Open the module's journal, if the spec requests one and the run is recorded."""
        dataset = self.create_dataset(self.name, group=GROUP) if self.spec.journal else None
        if dataset is not None:
            self.journal.open(
                dataset,
                self.name,
                self.journaled_inputs,
                self.outputs,
                self.spec.sources,
                self.master_clock,
                fail=self.fail,
                in_thread=not self.spec.virtual_time,
            )

    def note_finish(self) -> None:
        """Record in the journal that the module's stop() follows."""
        self._finishing = True
        self.journal.note_finish()

    def drain(self, ports: list[WorkerInput]) -> None:
        """Dispatch items until each input has reached the item count that its source declared.

        Returns early after a failure, when the connection to the engine is lost, or when the
        engine gives up the wait for this module by its Close.
        """
        while not self.failed and not all(port.ended for port in ports):
            self.step(_DRAIN_WAIT_USEC)
            if self.engine_lost or self.given_up:
                return

    @property
    def given_up(self) -> bool:
        """Whether the engine has sent Close: it does not wait for the rest of the items."""
        return any(isinstance(message, control.Close) for message in self.inbox)

    def serve_control(self) -> None:
        """Handle waiting control messages; those about the life cycle are put into `inbox`.

        Stop calls the module's `halt` at once. A closed channel counts as a stop and a failure.
        """
        while True:
            try:
                message = self._channel.receive()
            except EOFError:
                self._lose_engine()
                return
            if message is None:
                return
            if isinstance(message, control.Stop):
                self.run_failed = message.failed
                self.ask_stop(message.at_usec)
            elif isinstance(message, control.StreamEnded):
                self.input(message.port).note_end(message.sent)
                self._more_waits = True
            elif isinstance(message, control.UpdateMetadata):
                self.input(message.port).metadata = decode_metadata(message.metadata)
            elif isinstance(message, control.Turn):
                self.take_turn(message)
            else:
                self.inbox.append(message)

    def take_turn(self, message: control.Turn) -> None:
        """Continue in virtual time; does nothing in real time."""

    def ask_stop(self, at_usec: int = 0) -> None:  # noqa: ARG002 - for virtual time
        """Request the module's stop: it stops acquiring at once, by `halt`.

        Args:
            at_usec: Virtual time at which the run ends; no meaning in real time.
        """
        if self.stop_asked:
            return
        self.stop_asked = True
        self.journal.note_stop()
        if self.module is not None and self.started:
            try:
                self.module.halt()
            except Exception as error:  # noqa: BLE001 - reported; the drain continues
                self.fail(error)

    def _lose_engine(self) -> None:
        if self.engine_lost:
            return
        self.engine_lost = True
        self.failed = True
        self.log.error("lost the connection to the engine; closing files")
        self.ask_stop()

    def report_times(self) -> None:
        """Report how late delayed calls were, and how long handlers took."""
        if self._stages is not None:
            self._stages.save()
        for key, figure in {**self._timers.figures(), **self.handler_times.figures()}.items():
            self.report(key, figure)
