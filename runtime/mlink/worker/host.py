"""A module's world inside its worker: ports, time, log, and the loop that serves them.

The loop waits on the module's doorbell and on the control channel. Control messages are acted
on in the main thread, between items, so that a module needs no locks against the engine.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from mlink import control
from mlink.clock import Clock, MasterClock
from mlink.control import Channel, EngineMessages, WorkerSpec
from mlink.devices import DeviceEndpoint
from mlink.errors import ControlError
from mlink.metadata import decode_metadata
from mlink.module import Module, ModuleSettings, RunInfo
from mlink.recording.journal import GROUP
from mlink.storage.edl import Dataset, Group, create_dataset
from mlink.transport.doorbell import Doorbell
from mlink.worker.failure import describe
from mlink.worker.module_journal import ModuleJournal
from mlink.worker.ports import WorkerInput, WorkerOutput
from mlink.worker.timers import Timers

BATCH = 64
"""Items of one input dispatched before the others and the engine get their turn."""

_STATUS_PERIOD_S = 0.25
_WAIT_LIMIT_USEC = 250_000
_DRAIN_WAIT_USEC = 100_000


class ModuleHost:
    """Implements `mlink.module.ModuleContext` for one module in this process."""

    def __init__(
        self,
        spec: WorkerSpec,
        settings: ModuleSettings,
        channel: Channel[EngineMessages],
        doorbell: Doorbell,
    ) -> None:
        self.spec = spec
        self.settings: Any = settings
        self.inputs = {port.id: WorkerInput(port) for port in spec.inputs}
        self.outputs = {port.id: WorkerOutput(port) for port in spec.outputs}
        self.master_clock: Clock = MasterClock()
        self.clock: Clock = self.master_clock
        self.journal = ModuleJournal()
        if spec.journal:
            self.clock = self.journal.clock(self.master_clock)
        self.log = logging.getLogger(f"mlink.module.{spec.name}")
        self.run_info = RunInfo(
            run_uuid=spec.run_uuid,
            bench_name=spec.bench_name,
            bench_dir=Path(spec.bench_dir),
            work_dir=Path(spec.work_dir),
            recording_dir=Path(spec.recording_dir) if spec.recording_dir else None,
            debug=spec.debug,
            time_created=datetime.fromisoformat(spec.time_created) if spec.time_created else None,
        )
        self.datasets: list[Dataset | Group] = []
        self.started = False
        self.stop_asked = False
        self.failed = False
        self.engine_lost = False
        self.module: Module[Any] | None = None
        self.inbox: list[EngineMessages] = []
        self._channel = channel
        self._doorbell = doorbell
        self._poll = select.poll()
        self._poll.register(doorbell.fileno(), select.POLLIN)
        self._poll.register(channel.fileno(), select.POLLIN)
        self._control_poll = select.poll()  # before the start, items may wait but are not taken
        self._control_poll.register(channel.fileno(), select.POLLIN)
        self._pipes: dict[int, WorkerInput] = {}
        self._more_waits = False
        self._timers = Timers()
        self._status_text = ""
        self._next_status = 0.0
        self._gap_warned: dict[str, float] = {}

    def begin(self, t0_monotonic_ns: int) -> None:
        """Master time runs; its zero was at this CLOCK_MONOTONIC reading."""
        assert isinstance(self.master_clock, MasterClock)
        self.master_clock.t0_monotonic_ns = t0_monotonic_ns
        self.started = True
        self.journal.note_start(self.inputs)

    # what modules see ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The module's name in the bench."""
        return self.spec.name

    @property
    def type_id(self) -> str:
        """The module's type."""
        return self.spec.type_id

    @property
    def device(self) -> DeviceEndpoint | None:
        """The device that the bench gives this module."""
        return self.spec.device

    @property
    def running(self) -> bool:
        """True from start() until a stop was asked; looks at the control channel."""
        if not self.stop_asked and self.started:
            self.serve_control()
        return self.started and not self.stop_asked and not self.failed

    def create_dataset(self, preferred_name: str = "", group: str = "") -> Dataset | None:
        """Make a dataset of the recording; None when the run is not recorded."""
        if self.run_info.recording_dir is None:
            return None
        dataset = create_dataset(
            self.run_info.recording_dir,
            preferred_name or self.name,
            group=group,
            collection_id=self.run_info.run_uuid,
            time_created=self.run_info.time_created,
        )
        self.datasets.append(dataset)
        return dataset

    def fail(self, error: BaseException | str) -> None:
        """Report a failure, from any thread; only the first one is passed on."""
        if self.failed:
            return
        self.failed = True
        self.send_failure(error, "running")
        self._doorbell.ring()

    def send_failure(self, error: BaseException | str, phase: str) -> None:
        """Tell the engine what failed, in words for the user."""
        found = describe(error, debug=self.run_info.debug)
        self._try_send(
            control.Failed(
                phase=phase,
                message=control.cut(found.message),
                remedy=control.cut(found.remedy),
                detail=control.cut(found.detail),
            )
        )

    def request_stop(self, reason: str) -> None:
        """Ask for the run's end, as a success."""
        self._try_send(control.StopRequest(reason))

    def set_status(self, text: str) -> None:
        """Show a short text for this module."""
        self._status_text = control.cut(text)

    def report(self, key: str, value: float | str) -> None:
        """Give a figure to the summary and to the recording."""
        self._try_send(control.Report(key, value))

    def serve(self, timeout_usec: int = -1) -> None:
        """Dispatch what arrives: until a stop is asked, or for one wait of `timeout_usec`."""
        if timeout_usec >= 0:
            self.step(timeout_usec)
            self.journal.note_wait(timeout_usec)
            return
        while not self.stop_asked and not self.failed:
            self.step(_WAIT_LIMIT_USEC)

    def call_later(self, delay_usec: int, call: Callable[[], object]) -> None:
        """Call once from the loop, `delay_usec` from now."""
        number = self._timers.next_number
        self._timers.add(delay_usec, self.journal.call(number, delay_usec, call))

    # the loop -----------------------------------------------------------------------------

    def watch(self, fd: int, port: WorkerInput) -> None:
        """Have the loop take this input's items when its pipe holds some."""
        self._pipes[fd] = port
        self._poll.register(fd, select.POLLIN)

    def step(self, timeout_usec: int) -> None:
        """Wait once, at most `timeout_usec`, then dispatch control, timers and items."""
        self._send_status_when_due()
        wait_ms = 0.0 if self._more_waits else self._timers.limit(timeout_usec / 1000)
        ready = self._ready(wait_ms)
        for fd in ready:
            if port := self._pipes.get(fd):
                port.waiting = self._more_waits = True
            elif fd == self._doorbell.fd:
                self._doorbell.clear()
                self._wake_shared_inputs()
            else:
                self.serve_control()
        if self._timers:
            self._timers.run_due()
        if self._more_waits and self.started:
            self._more_waits = self.take_items()
        self._forget_closed_pipes(ready)

    def _ready(self, wait_ms: float) -> list[int]:
        """Wait for any descriptor; to the µs when a delayed call is due, which poll() rounds up."""
        if self._timers and wait_ms > 0:
            waited_on = [self._doorbell.fd, self._channel.fileno(), *self._pipes]
            return select.select(waited_on, [], [], wait_ms / 1000)[0]
        return [fd for fd, _ in self._poll.poll(wait_ms)]

    def _wake_shared_inputs(self) -> None:
        """A frame or signal block has come: it may be for any of the inputs in shared memory."""
        self._more_waits = True
        for port in self.inputs.values():
            port.waiting = True

    def take_items(self) -> bool:
        """Dispatch a batch from each input; return whether more may wait."""
        more = False
        for port in self.inputs.values():
            if not port.waiting:
                continue
            port.waiting = port.take(
                BATCH,
                self.master_clock.now_usec,
                lambda lost, port=port: self._note_gap(port, lost),  # type: ignore[misc]
            )
            more |= port.waiting
        return more

    def _forget_closed_pipes(self, ready: list[int]) -> None:
        """Wait no longer on pipes whose writers are gone: they would wake the loop for ever."""
        for fd in ready:
            port = self._pipes.get(fd)
            if port is not None and port.hung_up:
                self._poll.unregister(fd)
                del self._pipes[fd]

    def wait_for_message(self) -> EngineMessages:
        """Wait for the next message that concerns the module's life (none are dispatched)."""
        while not self.inbox:
            self._await_control()
            self.serve_control()
            if self.engine_lost:
                raise ControlError("the engine went away")
        return self.inbox.pop(0)

    def _await_control(self) -> None:
        """Wait for a control message, while the module does not run."""
        self._control_poll.poll(self._timers.limit(1000.0))
        try:
            self._timers.run_due()
        except Exception as error:  # noqa: BLE001 - a delayed call of the module's
            self.fail(error)

    def open_journal(self) -> None:
        """Begin to write down what the module meets and sends, if that is wanted."""
        dataset = self.create_dataset(self.name, group=GROUP) if self.spec.journal else None
        if dataset is not None:
            self.journal.open(
                dataset,
                self.name,
                self.inputs,
                self.outputs,
                self.spec.sources,
                self.master_clock,
                fail=self.fail,
                in_thread=not self.spec.virtual_time,
            )

    def note_finish(self) -> None:
        """The module's stop() is about to be called."""
        self.journal.note_finish()

    def drain(self, ports: list[WorkerInput]) -> None:
        """Dispatch what is still on its way, to the end that the sources declared."""
        while not self.failed and not all(port.ended for port in ports):
            self.step(_DRAIN_WAIT_USEC)
            if self.engine_lost:
                return

    def serve_control(self) -> None:
        """Act on waiting control messages; those of the module's life go to `inbox`."""
        while True:
            try:
                message = self._channel.receive()
            except EOFError:
                self._lose_engine()
                return
            if message is None:
                return
            if isinstance(message, control.Stop):
                self.ask_stop()
            elif isinstance(message, control.StreamEnded):
                self.inputs[message.port].note_end(message.sent)
                self._more_waits = True
            elif isinstance(message, control.UpdateMetadata):
                self.inputs[message.port].metadata = decode_metadata(message.metadata)
            elif isinstance(message, control.Turn):
                self.take_turn(message)
            else:
                self.inbox.append(message)

    def take_turn(self, message: control.Turn) -> None:
        """Go on in virtual time; only replays have it (mlink.worker.virtual_time.host)."""

    def ask_stop(self) -> None:
        """A stop is asked: the module stops acquiring at once."""
        if self.stop_asked:
            return
        self.stop_asked = True
        self.journal.note_stop()
        if self.module is not None and self.started:
            try:
                self.module.halt()
            except Exception as error:  # noqa: BLE001 - reported; the drain goes on
                self.fail(error)

    def _lose_engine(self) -> None:
        if self.engine_lost:
            return
        self.engine_lost = True
        self.failed = True
        self.log.error("the engine went away; closing files")
        self.ask_stop()

    def _note_gap(self, port: WorkerInput, lost: int) -> None:
        """Warn of a loss at once, then at most once a second for each input."""
        now = time.monotonic()
        if now >= self._gap_warned.get(port.id, 0.0):
            self._gap_warned[port.id] = now + 1.0
            self.log.warning(
                "%d item(s) of %s lost before input '%s' (%d in all): this module is too slow,"
                " or their source lost them",
                lost,
                port.source,
                port.id,
                port.count.lost,
            )

    # status -------------------------------------------------------------------------------

    def sent_counts(self) -> dict[str, int]:
        """Items sent, by output."""
        return {port.id: port.sent for port in self.outputs.values()}

    def received_counts(self) -> dict[str, control.InputCount]:
        """Items received and lost, by connected input."""
        return {port.id: port.count for port in self.inputs.values() if port.source}

    def _send_status_when_due(self) -> None:
        now = time.monotonic()
        if now < self._next_status or not self.started:
            return
        self._next_status = now + _STATUS_PERIOD_S
        self._try_send(
            control.Status(self.sent_counts(), self.received_counts(), self._status_text)
        )

    def _try_send(self, message: control.WorkerMessage) -> None:
        with suppress(ControlError):  # the engine is gone: the loop will read the channel's end
            self._channel.send(message)
