"""The phases of a run, from the checked bench to the closed recording.

    spawn → prepare (in stream order) → start (a device before its commander) → run → stop → close

All of it runs in one thread, which waits on the workers' channels. The first failure ends the run:
the other modules still drain and close.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from mlink import control
from mlink.bench import Bench, ModuleConfig
from mlink.clock import MasterClock
from mlink.devices import DeviceEndpoint, Simulation
from mlink.engine.companions import LiveRun, accompanied
from mlink.engine.encode import encode_raw_videos
from mlink.engine.end.conclusion import Conclusion
from mlink.engine.end.ending import RunEnding
from mlink.engine.end.length import RunLength
from mlink.engine.fleet import Fleet
from mlink.engine.guests import Hosting
from mlink.engine.interrupt import Interrupts
from mlink.engine.mailbox import RunMessages
from mlink.engine.options import RunOptions
from mlink.engine.outcome import Outcome
from mlink.engine.plan import order_modules, start_order
from mlink.engine.reaching import Reaching
from mlink.engine.recording import Recording
from mlink.engine.remote import Looked, RunControl
from mlink.engine.report import Reporter, ReporterLogHandler
from mlink.engine.setup.descriptors import enough_descriptors
from mlink.engine.setup.devices import open_devices
from mlink.engine.setup.priorities import kept_awake, report_priorities
from mlink.engine.setup.simulation import endpoints_of, open_simulation, users_of
from mlink.engine.setup.spawn import spawn_workers
from mlink.engine.setup.specs import worker_spec
from mlink.engine.setup.workdir import RunWorkDir
from mlink.engine.stalls.place import Place, crash_of, place_of_devices
from mlink.engine.status import Failure, Phase, RunObserver, RunResult
from mlink.engine.streams import Streams, metadata_too_large
from mlink.engine.virtual_time.conductor import Conductor
from mlink.engine.virtual_time.moments import Moments
from mlink.engine.virtual_time.turn_limit import Shares, TurnLimit
from mlink.engine.virtual_time.turns import Turns
from mlink.engine.workers import State, WorkerHandle
from mlink.errors import BenchError, ControlError, MlinkError
from mlink.metadata import METADATA_REMEDY
from mlink.refusals import proc_is_missing, refusals_as_errors, too_little_address_space
from mlink.steered_clock import SteeredClock
from mlink.storage.uuid7 import uuid7
from mlink.worker_spec import WorkerSpec

__all__ = ["Engine", "RunOptions", "run_bench"]

_STEP_S = 0.25
_WATCH = "mlink.worker.virtual_time.nondeterminism"
"""What workers of scripts import in virtual time."""


def run_bench(bench: Bench, options: RunOptions, observer: RunObserver) -> RunResult:
    """Run a bench to its end, then encode its raw videos.

    Args:
        bench: A checked bench.
        options: Length, recording and timeouts of the run.
        observer: Called with status, logs and printed lines while the run lasts.

    Returns:
        The result; failures of modules are in it and not raised.

    Raises:
        BenchError: A part of the bench cannot be set up.
        StorageError: The recording or the run's folder cannot be created.
    """
    result = Engine(bench, options, observer).run()
    if options.encode:
        encode_raw_videos(result)
    return result


class Engine:
    """One run of one bench; `run` may be called once.

    `request_stop`, `abort` and `failures` may be used from other threads while `run` runs.
    """

    def __init__(self, bench: Bench, options: RunOptions, observer: RunObserver) -> None:
        self.bench = bench
        self.options = options
        with refusals_as_errors():
            self._interrupts = Interrupts()
        self.work_dir: Path | None = None
        """The run's folder for sockets; removed at the end of the run."""
        self._order = order_modules(bench)
        self._streams = Streams(bench, self._order)
        kind = "virtual" if options.simulated else "real"
        self._reporter = Reporter(bench, self._streams, observer, kind=kind)
        self._outcome = Outcome(self._reporter, tolerates=options.virtual is None)
        self._logs = ReporterLogHandler(self._reporter)
        self._fleet: Fleet | None = None
        self._workers: Mapping[str, WorkerHandle] = {}
        self._messages: RunMessages | None = None
        self._t0_ns = 0
        self._length = RunLength(options.duration_s, options.stop_grace_s, self._outcome)
        self._conductor: Conductor | None = None
        if options.virtual is not None:
            conductor = Conductor(options.virtual, self._order, self._streams.edges)
            self._conductor = conductor
            self._reporter.virtual_usec = lambda: conductor.run_usec
        self.simulation: Simulation | None = None
        """The simulated devices, in virtual time while the run lasts."""
        strict = options.strict or bench.strict
        self._conclusion = Conclusion(self._outcome, self._reporter, strict=strict)
        self.live: LiveRun | None = None
        """The run as companions see it; None until all workers have loaded."""

    @property
    def failures(self) -> list[Failure]:
        """The failures so far; readable from any thread."""
        return self._outcome.failures

    @property
    def stop_reason(self) -> str:
        """Why the run ends as a success; empty while nothing has requested its end."""
        return self._outcome.stop_reason

    def request_stop(self, reason: str = "stop requested") -> None:
        """Request the end of the run, as a success; may be called from any thread."""
        self._interrupts.request(reason)

    def abort(self, reason: str) -> None:
        """End the run without waiting for its modules; may be called from any thread."""
        self._interrupts.abort(reason)

    # phases -------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Run to the end and return the result.

        Failures of modules are in the result.

        Raises:
            BenchError: Modules of the bench are on other hosts.
            StorageError: The run's folder or the recording cannot be created.
            MlinkError: The system refuses something else that a run needs.
        """
        if (missing := too_little_address_space() or proc_is_missing()) is not None:
            raise missing
        if self.bench.on_hosts:
            raise BenchError(
                "modules of this bench are on other hosts, and this would run them all here",
                remedy="Start it by `mlink run`, or leave `host` out of its modules.",
            )
        run_uuid = self.options.run_uuid or uuid7().bytes
        enough_files = enough_descriptors(self.bench, self._streams)
        with refusals_as_errors(), enough_files, ExitStack() as stack:
            stack.enter_context(self._interrupts)
            stack.enter_context(self._logs)
            work = stack.enter_context(RunWorkDir())
            self.work_dir = work.path
            recording: Recording | None = None
            if self.options.record:
                recording = Recording(self.bench, self.options, run_uuid)
                self._reporter.recording = recording
                self._conclusion.keep(recording, stack)
            try:
                with refusals_as_errors():
                    self._run_workers(work, recording, run_uuid)
            except MlinkError as error:
                self._outcome.add_error("engine", error)
            self._logs.pass_on()
            return self._conclusion.result(self._workers, started=bool(self._t0_ns))

    def _run_workers(self, work: RunWorkDir, recording: Recording | None, run_uuid: bytes) -> None:
        self._reporter.enter(Phase.SPAWN)
        implementations = [each.type.implementation for each in self.bench.modules.values()]
        preload = sorted({each.partition(":")[0] for each in implementations})
        with ExitStack() as stack:
            in_turns = self.options.virtual is not None
            preload += [_WATCH] if in_turns else []
            # it imports while devices open
            fleet = Fleet(
                preload,
                work.path,
                fixed_hashes=in_turns,
                hurried=lambda: self._interrupts.forced,
                clock_page=self.options.clock_page,
            )
            stack.enter_context(fleet)
            fleet.watch(self._interrupts.fileno())
            self._fleet, self._workers = fleet, fleet.workers
            self._messages = RunMessages(
                self._workers,
                self._streams,
                self._reporter,
                self._outcome,
                self._conductor,
                lambda worker: crash_of(worker, work.path, self.bench.dir),
            )
            hosting = Hosting(
                self._pump,
                self._interrupts.wake,
                lambda: self._outcome.ending,
                lambda: self._interrupts.aborted,
            )
            devices = self._open_devices(stack, work.path, hosting)
            if recording is not None:
                recording.note_devices(devices)
            recording_dir = recording.path.resolve() if recording else None

            def spec(module: ModuleConfig) -> WorkerSpec:
                return worker_spec(
                    self.bench,
                    module,
                    self.options,
                    work,
                    recording_dir=recording_dir,
                    run_uuid=run_uuid,
                    device=devices.get(module.device) if module.device else None,
                )

            if not self._outcome.ending:
                self._with_control(lambda control: control.prepare(run_uuid, self._go_on))
            self._load(fleet, spec)
            created = self.options.virtual.time_created if self.options.virtual else ""
            self.live = LiveRun(
                self.bench,
                work.path,
                recording_dir,
                run_uuid,
                self._workers,
                devices=devices,
                time_created=datetime.fromisoformat(created) if created else None,
                virtual=self._moments,
                report=self._reporter.report,
                hint=self._reporter.hint,
            )
            try:
                self._lead_to_end(self.live, hosting)
            except MlinkError as error:  # of a companion; the modules close their files
                self._outcome.add_error("engine", error)
            all_started = self._t0_ns and self._reaching.all_have(State.STARTING)
            if not all_started and (reason := self._interrupts.reason()):
                before = "all modules had started" if self._t0_ns else "its start"
                text = f"ended before {before}: {reason}"
                self._outcome.add(Failure("", "start", text, "Run it again."))
            self._with_control(lambda control: control.ended(success=not self._outcome.failures))
            self._end(self._messages)
        for event in fleet.last_events:
            self._messages.handle(event)

    def _load(self, fleet: Fleet, make_spec: Callable[[ModuleConfig], WorkerSpec]) -> None:
        """Fork the workers and wait until they have loaded their modules."""
        reaching, in_real_time = self._reaching, self._conductor is None

        def wait(done: Callable[[], bool]) -> None:
            reaching.wait(done, self.options.load_timeout_s, "load", State.LOADED)

        if not self._outcome.ending:
            costly = self.options.virtual.costs if self.options.virtual else ()
            spawn_workers(fleet, self.bench, self._streams, make_spec, wait, costly)
            wait(lambda: reaching.all_have(State.LOADED))
        if not self._outcome.ending:
            report_priorities(self._workers, self._reporter, in_real_time=in_real_time)

    def _lead_to_end(self, live: LiveRun, hosting: Hosting) -> None:
        """Prepare and start the modules, and wait for the end of the run."""
        real = self._conductor is None
        stay_awake = kept_awake(self.bench, self._streams, self._reporter, in_real_time=real)
        is_replay = not real and not self.options.simulated
        with accompanied(live, hosting, replay=is_replay), stay_awake:
            if not self._outcome.ending:
                self._prepare()
            if not self._outcome.ending:
                with self._outcome.starting():
                    self._start()
            if not self._outcome.ending:
                self._wait_for_end(live)

    def _open_devices(
        self, stack: ExitStack, work_dir: Path, hosting: Hosting
    ) -> Mapping[str, DeviceEndpoint]:
        """Open the devices for the length of the run."""
        limit_s = self.options.load_timeout_s
        if not self.options.simulated:
            return stack.enter_context(open_devices(self.bench, work_dir, hosting, limit_s))
        opened = open_simulation(self.bench, work_dir, hosting, limit_s)
        self.simulation = stack.enter_context(opened)
        if self.simulation is not None and (fd := self.simulation.fileno()) >= 0:
            assert self._fleet is not None
            self._fleet.watch(fd)
        return endpoints_of(self.bench, self.simulation)

    def _prepare(self) -> None:
        self._reporter.enter(Phase.PREPARE)
        limit_s = self.options.prepare_timeout_s
        if (turns := self._turns) is not None and self.simulation is not None:
            turns.prepare(self._order, self._send_prepare, self._outcome.fail_worker, limit_s)
        else:
            sources = {name: self._streams.sources(name) for name in self._order}
            self._reaching.in_order(sources, self._send_prepare, State.PREPARED, limit_s)
        if not self._outcome.ending:
            self._connect_feedback()

    def _connect_feedback(self) -> None:
        for edge in self._streams.edges:
            if edge.feedback:
                self._workers[edge.target].pending_acks += 1
                self._workers[edge.target].send(
                    control.ConnectInput(edge.target_port, self._streams.input_plan(edge))
                )
        self._reaching.wait(
            lambda: not any(worker.pending_acks for worker in self._workers.values()),
            self.options.start_timeout_s,
            "connect",
            State.PREPARED,
        )

    def _send_prepare(self, worker: WorkerHandle) -> None:
        plans = self._streams.input_plans(worker.name)
        if text := metadata_too_large(plans):
            self._outcome.fail_worker(worker, "prepare", text, METADATA_REMEDY)
        worker.send(control.Prepare(plans))

    def _start(self) -> None:
        self._t0_ns = time.monotonic_ns()
        if (control := self.options.control) is not None:
            start = control.await_start(self._go_on)
            if start is None or self._outcome.ending:
                self._t0_ns = 0
                return
            self._t0_ns = start.t0_ns
            for key, value in {**start.figures, **control.started(self._t0_ns)}.items():
                self._reporter.report("network", key, value)
        page = self.options.clock_page
        clock = MasterClock(self._t0_ns) if page is None else SteeredClock(page)
        self._reporter.start_clock(clock)
        self._reporter.enter(Phase.START)
        before = start_order(self.bench)
        limit_s = self.options.start_timeout_s
        if (turns := self._turns) is not None and self._conductor is not None:
            self._conductor.begin_run()
            turns.start(list(before), self._send_start, self._outcome.fail_worker, limit_s)
        else:
            self._length.begin(clock)
            self._reaching.in_order(before, self._send_start, State.STARTED, limit_s)

    def _send_start(self, worker: WorkerHandle) -> None:
        worker.advance(State.STARTING)
        t0_ns = self._t0_ns if self._conductor is None else self._conductor.zero_usec * 1000
        worker.send(control.Start(t0_ns))

    def _wait_for_end(self, live: LiveRun) -> None:
        page = self.options.clock_page
        live.begin(self._t0_ns, None if page is None else SteeredClock(page))
        self._reporter.enter(Phase.RUN)
        if (turns := self._turns) is not None:
            if self.options.participant is not None:
                assert self._conductor is not None  # there are turns
                self.options.participant.begin(self._interrupts.wake, self._conductor.zero_usec)
            if turns.run():
                duration_s = self.options.duration_s
                over = "the recording is" if duration_s is None else f"{duration_s:g} s are"
                self._outcome.stop(f"{over} over")
            return
        while not self._outcome.ending:
            self._pump(self._length.left_s(_STEP_S))
            self._with_control(lambda control: self._take(control.look()))

    def _take(self, looked: Looked | None) -> None:
        """Take what others of the run have reported."""
        for failure in looked.failures if looked is not None else ():
            self._outcome.add(failure)
        if looked is not None and looked.stop:
            self._outcome.stop(looked.stop)

    def _end(self, messages: RunMessages) -> None:
        ending = RunEnding(
            self._workers,
            self._streams.edges,
            messages,
            self._outcome,
            self._reporter,
            self._interrupts,
            self._pump,
            self._place,
            self.options.stop_grace_s,
            self._turns if self._t0_ns else None,
        )
        ending.stop()
        self._report_pace()
        assert self._fleet is not None
        if text := self._fleet.rouse_server():
            self._reporter.log("", logging.WARNING, text)
        ending.close()

    def _with_control(self, call: Callable[[RunControl], object]) -> None:
        """Make a call for a run that others take part in; an error of it fails the run."""
        if self.options.control is not None:
            try:
                call(self.options.control)
            except MlinkError as error:
                self._outcome.add_error("network", error)

    def _go_on(self, timeout_s: float) -> bool:
        """Handle what workers send, for at most so long; return False when the run ends."""
        self._pump(timeout_s)
        return not self._outcome.ending

    def _report_pace(self) -> None:
        """Report how late turns were at a chosen speed; not in recordings of simulated benches."""
        figures = self._conductor.figures() if self._conductor is not None else {}
        if not self.options.simulated:
            for key, value in figures.items():
                self._reporter.report("replay", key, value)
        elif figures and figures["late_turns"]:
            late = f"{figures['late_turns']} turns were late by up to {figures['latest_ms']:.0f} ms"
            text = f"slower than the chosen speed: {late}"
            self._reporter.log("", logging.INFO, text, of_wall_clock=True)

    # waiting ------------------------------------------------------------------------------

    @cached_property
    def _turns(self) -> Turns | None:
        """Gives the modules their turns in virtual time; None in real time."""
        if self._conductor is None or (work_dir := self.work_dir) is None:
            return None
        return Turns(
            self._conductor,
            self._workers,
            self._pump,
            lambda: self._outcome.ending,
            self.simulation,
            users_of(self.bench),
            self.options.participant,
            TurnLimit(
                self.options.turn_limit_s,
                partial(self._reporter.log, of_wall_clock=True),
                self._outcome.fail_worker,
                self._place,
                lambda devices: place_of_devices(devices, work_dir, self.bench.dir),
            ),
            self._moments,
            Shares(partial(self._reporter.log, of_wall_clock=True)),
        )

    @cached_property
    def _moments(self) -> Moments | None:
        """What companions do in virtual time; None in real time."""
        if self._conductor is None:
            return None
        return Moments(self._conductor, users_of(self.bench), self._pump)

    @property
    def _reaching(self) -> Reaching:
        return Reaching(self._workers, self._outcome, self._reporter, self._pump, self._place)

    def _place(self, worker: WorkerHandle) -> Place:
        """Return where a worker stands."""
        assert self._fleet is not None
        return self._fleet.place_of(worker, self.bench.dir)

    def _pump(self, timeout_s: float) -> None:
        assert self._fleet is not None
        assert self._messages is not None
        try:
            for event in self._fleet.pump(timeout_s):
                self._messages.handle(event)
        except ControlError as error:  # the fork server has gone; its workers drain and close
            self._outcome.add_error("run", error)
        self._logs.pass_on()
        if reason := self._interrupts.reason():
            if not self._outcome.stop_reason:
                self._reporter.log("", logging.INFO, f"the run ends: {reason}")
            self._outcome.stop(reason)
        self._length.check(self._workers.values(), self._place)
        self._conclusion.take_errors()
        self._reporter.tick(self._workers)
