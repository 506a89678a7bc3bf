"""The life cycle of a worker: builds its module and leads it from prepare to close.

The order at a stop: halt() (sources stop acquiring), drain the inputs up to the item counts that
their sources declared, stop(), end the outputs, drain feedback inputs, drained(), wait for the
engine's Close (all modules have drained), close(). A failure skips the draining, never the rest.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import msgspec

from mlink import control
from mlink.control import InputPlan
from mlink.errors import ControlError, ModuleError
from mlink.metadata import decode_metadata, encode_all
from mlink.module import Module, ModuleSettings
from mlink.refusals import import_remedy, text_of
from mlink.steered_clock import SteeredClock
from mlink.transport.codec import is_small
from mlink.transport.plan import StreamPlan
from mlink.worker.ahead import ahead_of_own_threads
from mlink.worker.connection import Connection
from mlink.worker.failure import describe
from mlink.worker.forks import cut_off_forks_of, end, exit_code
from mlink.worker.host import ModuleHost
from mlink.worker.virtual_time.host import VirtualHost
from mlink.worker.virtual_time.taped import TapedHost

_AT_ONCE_USEC = 100_000

ModuleFactory = Callable[[ModuleHost], Module[Any]]


class Worker:
    """Owns a module, its ports and its datasets for one run.

    Args:
        connection: The worker's connection to its engine.
        build: Makes the module; None makes it from the spec's `implementation`.
    """

    def __init__(self, connection: Connection, build: ModuleFactory | None = None) -> None:
        spec = connection.spec
        settings_type: type[ModuleSettings] = _load(spec.settings_type)
        settings = msgspec.msgpack.decode(spec.settings, type=settings_type)
        host = VirtualHost if spec.virtual_time else ModuleHost
        host = TapedHost if spec.tape else host
        self.host: ModuleHost = host(spec, settings, connection.channel, connection.doorbell)
        self._build_module = build or _build_from_spec
        if connection.clock_page is not None and not spec.virtual_time:
            self.host.follow(SteeredClock(connection.clock_page))
        self._channel = connection.channel
        self._connection = connection
        self._pid = os.getpid()
        cut_off_forks_of(self.host)
        self._module: Module[Any] | None = None

    def run(self) -> int:
        """Build the module and follow the engine to the end; return the process's exit code."""
        self.load()
        return self.follow()

    def load(self) -> None:
        """Build the module and send Loaded."""
        self._guard("load", self._build)

    def follow(self) -> int:
        """Follow the engine until its Close, then close; return the process's exit code.

        The module, its journal and its datasets are closed also when the engine is lost. The code
        is 1 after a failure.
        """
        try:
            self._follow_engine()
        except ControlError as error:
            self.host.failed = True
            self.host.log.error("%s", error)
        except (KeyboardInterrupt, SystemExit) as error:  # a signal while it waited for the engine
            self.host.failed = True
            self.host.send_failure(error, "wait")
        self._close()
        return 1 if self.host.failed else 0

    def _follow_engine(self) -> None:
        while True:
            message = self.host.wait_for_message()
            if isinstance(message, control.Prepare):
                self._guard("prepare", lambda inputs=message.inputs: self._prepare(inputs))  # type: ignore[misc]
            elif isinstance(message, control.OpenOutputs):
                self._guard("connect", lambda plans=message.outputs: self._open_outputs(plans))  # type: ignore[misc]
            elif isinstance(message, control.ConnectInput):
                self._guard("connect", lambda m=message: self._connect_feedback(m.port, m.plan))  # type: ignore[misc]
            elif isinstance(message, control.Start):
                self._run_module(message.t0_monotonic_ns)
            elif isinstance(message, control.Close):
                return

    def _build(self) -> None:
        self._module = self._build_module(self.host)
        self.host.module = self._module
        self._channel.send(control.Loaded(os.getpriority(os.PRIO_PROCESS, 0)))

    def _prepare(self, inputs: dict[str, InputPlan]) -> None:
        assert self._module is not None
        for port_id, plan in inputs.items():
            self._connect(port_id, plan)
        self._set_common_metadata()
        self._module.prepare()
        self.host.open_journal()
        self._channel.send(control.Prepared(self._output_metadata()))

    def _connect(self, port_id: str, plan: InputPlan) -> None:
        port = self.host.input(port_id)
        port.source = plan.source
        port.feedback = plan.feedback
        port.metadata = decode_metadata(plan.metadata)
        if plan.stream is not None:
            memory, records, returned = self._connection.arrays_in[port_id]
            fd = records
            port.connect(plan.stream, memory, records, returned)
        else:
            fd, store = self._connection.pipes_in[port_id]
            port.connect_pipe(fd, store, lossless=plan.lossless, queue=plan.queue)
        self.host.watch(fd, port)

    def _connect_feedback(self, port_id: str, plan: InputPlan) -> None:
        self._connect(port_id, plan)
        self._channel.send(control.Acknowledged())

    def _open_outputs(self, plans: dict[str, StreamPlan]) -> None:
        for port in self.host.all_outputs:
            port_id = port.id
            if is_small(port.data_type):
                queues = self.host.spec.queues_out.get(port_id, [])
                port.open_pipes(self._connection.pipes_out.get(port_id, []), queues)
                continue
            port.open(plans.get(port_id), self._connection.arrays_out.get(port_id, []))
        self._channel.send(control.Acknowledged())

    def _set_common_metadata(self) -> None:
        for port in self.host.all_outputs:
            port.metadata.setdefault("src_mod_type", self.host.type_id)
            port.metadata.setdefault("src_mod_name", self.host.name)
            port.metadata.setdefault("src_mod_port_title", port.title)

    def _output_metadata(self) -> dict[str, bytes]:
        return encode_all({p.id: self.host.with_host(p.metadata) for p in self.host.all_outputs})

    def _run_module(self, t0_monotonic_ns: int) -> None:
        assert self._module is not None
        module, host = self._module, self.host
        host.begin(t0_monotonic_ns)
        if self._guard("start", self._start):
            self._guard("run", self._run_until_stop)
        host.ask_stop()
        if not host.failed:
            self._guard("drain", lambda: self._drain(feedback=False))
        host.note_finish()
        self._guard("stop", module.stop)
        sent = {port.id: port.end() for port in host.all_outputs}
        self._channel.send(control.OutputsEnded(sent, host.lost_counts(), host.skipped_counts()))
        if not host.failed:
            self._guard("drain", lambda: self._drain(feedback=True))
        self._guard("stop", module.drained)
        host.report_times()
        host.finished = True
        self._channel.send(
            control.Finished(
                host.sent_counts(),
                host.received_counts(),
                host.lost_counts(),
                host.skipped_counts(),
                host.handler_times.counts(),
            )
        )

    def _start(self) -> None:
        assert self._module is not None
        self._module.start()
        for port in self.host.all_outputs:
            port.frozen = True
        self.host.by_hand.frozen = True
        self._channel.send(control.Started(self._output_metadata()))

    def _run_until_stop(self) -> None:
        assert self._module is not None
        ahead = self._module.ahead or self._module.prompt
        ahead = ahead and not self.host.spec.virtual_time
        with ahead_of_own_threads(self.host.log) if ahead else nullcontext():
            began_usec = self.host.master_clock.now_usec()
            self._module.run()
            took_usec = self.host.master_clock.now_usec() - began_usec
            if took_usec < _AT_ONCE_USEC and not self.host.stop_asked and self.host.idle:
                self.host.hint(
                    f"run() returned after {took_usec / 1e6:.2f} s, and nothing of the script was "
                    "called after that: it has no on_data on a connected port and no delayed call. "
                    "Loop in run() while syl.is_running()"
                )
            self.host.serve()  # a script's run() may return early: its inputs are still served

    def _drain(self, *, feedback: bool) -> None:
        """Dispatch the remaining items of the feedback inputs, or of the others."""
        waiting = [
            port for port in self.host.all_inputs if port.connected and port.feedback == feedback
        ]
        self.host.drain(waiting)

    def _guard(self, phase: str, action: Callable[[], None]) -> bool:
        """Run a step of the life cycle; report the first failure. False after any failure."""
        self._end_if_forked(phase, None)
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - whatever a module raises ends the run
            self._end_if_forked(phase, error)
            if self.host.failed:
                self.host.log.warning("%s after the failure: %s", phase, text_of(error))
            else:
                self.host.failed = True
                self.host.send_failure(self._explained(error, phase), phase)
            return False
        self._end_if_forked(phase, None)
        return not self.host.failed

    def _explained(self, error: BaseException, phase: str) -> BaseException:
        return self._module.explain(error, phase) if self._module else error

    def _end_if_forked(self, phase: str, error: BaseException | None) -> None:
        """End this process if it is a fork that the module has made and that came back here."""
        if os.getpid() == self._pid:
            return
        if error is None:
            self.host.log.warning(
                "a fork of the module's process has returned from %s and is ended; let it end by "
                "os._exit()",
                phase,
            )
        elif not isinstance(error, SystemExit):
            text = describe(self._explained(error, phase)).message
            self.host.log.error("a fork of the module's process has failed: %s", text)
        end(exit_code(error))

    def _close(self) -> None:
        if self._module is not None:
            self._guard("close", self._module.close)
        self._guard("close", self.host.stop_waiting)
        self._guard("close", self.host.journal.close)
        for dataset in self.host.datasets:
            self._guard("close", dataset.save)
        for output in self.host.all_outputs:
            output.close()
        for port in self.host.all_inputs:
            port.close()
        logging.shutdown()
        try:
            self._channel.send(control.Closed())
        except ControlError:
            pass  # the engine has gone; the exit code shows a failure


def _build_from_spec(host: ModuleHost) -> Module[Any]:
    module_class: type[Module[Any]] = _load(host.spec.implementation)
    return module_class(host)


def _load(path: str) -> Any:
    module_name, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ModuleError(
            f"{path} cannot be loaded: {error}",
            remedy=import_remedy(str(error)),
        ) from error
