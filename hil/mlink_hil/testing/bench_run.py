"""A run of a bench in a thread of the test process, with a tap on every stream."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.engine.encode import encode_raw_videos
from mlink.engine.options import RunOptions
from mlink.engine.plan import LOOP_CATEGORIES
from mlink.engine.run import Engine
from mlink.engine.status import Failure, Phase, RunResult, RunStatus
from mlink.engine.virtual_time.participant import Participant
from mlink.engine.virtual_time.stepping import Stepping
from mlink.errors import BenchError, ControlError, DeviceError, MlinkError, ModuleError
from mlink.tap.attach import add_tap
from mlink.tap.catalog import TAP_NAME
from mlink.tap.link import TapLink
from mlink.types import DataType
from mlink_hil.board_kinds import UNO, kinds_of
from mlink_hil.control.watcher import BoardLink
from mlink_hil.faults.injector import Injector, injector_of
from mlink_hil.faults.kinds import Fault
from mlink_hil.lab import slowness, wires_of
from mlink_hil.testing.host.starvation import Snapshot, Starvation
from mlink_hil.testing.names import Names
from mlink_hil.testing.observed.events import fault_event
from mlink_hil.testing.observed.history import History
from mlink_hil.testing.observed.sight import Sight
from mlink_hil.testing.observed.tap_events import ItemEvents, RegionEvents
from mlink_hil.testing.settling import settle
from mlink_hil.testing.stimulus import Stimulus
from mlink_hil.testing.testers import add_testers, testers
from mlink_hil.testing.verdicts import hidden_in_tracebacks
from mlink_hil.wiring.devices_under_test import chips

_START_SEC, _STOP_SEC = 120.0, 40.0
"""Longest start and stop of a run, on a host that is not slow."""
_COMM_LENGTH = 15
"""The kernel cuts the names of processes to so many characters."""
_LET_RUN_SEC = 3.0
_FIRST_FRAME_SEC = 3.0
_LAST_ITEMS_SEC = 5.0
"""Longest wait for what the tap sent before the end of the run."""


class BenchRun:
    """One run; `start` returns when all modules run, `stop` when its files are closed.

    Args:
        bench: The bench; a tap and modules for its testers are added.
        options: The run's options; their limits are longer on a slow host.
        tapped: Whether to receive the items of streams; without, there are the edges of simulated
            boards alone, and modules have no work for the tap.
    """

    def __init__(self, bench: Bench, options: RunOptions, *, tapped: bool = True) -> None:
        self.in_turns = options.virtual is not None
        """Whether the run, and the test's thread with it, is in virtual time."""
        self.kind_of_time = "virtual time" if self.in_turns else "real time"
        """The kind of time, and why it is that, for reports."""
        self.slow = 1.0 if self.in_turns else slowness(bench)
        """Factor of all deadlines and limits on this host; 1 where it is not slow."""
        wires = wires_of(bench)
        self.bench = bench = add_testers(bench, wires)
        options = options.on_slow_host(self.slow)
        self.history = History()
        self._participant = Participant([TAP_NAME], self._catch_up)
        if self.in_turns:
            options = replace(options, participant=self._participant)
            self.history.let_pass = self._participant.wait
        self.options = options
        self.result: RunResult | None = None
        self.expected_failures: set[str] = set()
        """Modules whose failure a test expects."""
        self._raised: set[str] = set()
        """The failures that `check` has raised, in a test or in its clean-up."""
        self.keep_recording = False
        """Set when a test on this run has failed."""
        self.boards: dict[str, BoardLink] = {}
        """The virtual boards by device, while the run lasts."""
        self.injector: Injector | None = None
        """Makes faults, while the run lasts."""
        self._tapped = tapped
        self._folder = Path(tempfile.mkdtemp(prefix="mlink-hil-"))
        with_tap = add_tap(bench, self._folder / "tap", testers(wires), streams=tapped)
        self.tap = TapLink(self._folder / "tap", ItemEvents(self.history, self._lost))
        self.names = Names(bench, self.boards.__contains__, self.tap.metadata, wires)
        self.engine = Engine(with_tap, options, self)
        self._stepping = Stepping(self._participant, lambda: self.engine.simulation)
        self._regions: dict[str, str] = {}
        """Channel of each region that tests have watched → its stream."""
        self._seen_from: dict[str, int] = {}
        self.sight = Sight(self, self._seen_from)
        self.ended_usec: int | None = None
        """Master time of the run's end; None while it lasts."""
        self._starvation = Starvation()
        self.stimulus = Stimulus(self.boards, self.names, self.history, self.tap, self._starvation)
        self.stimulus.wakes = self.in_turns
        self.stimulus.commanded = any(
            port.data_type is DataType.LineCommand and port.id in {c.port for c in each.connections}
            for each in bench.modules.values()
            for port in each.inputs
        )
        specs = bench.used_devices().values()
        self._virtual = all(spec.startswith("virtual:") for spec in specs)
        self._running = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hil-engine", daemon=True)

    def start(self) -> None:
        """Start the run, and wait until cameras deliver and lines are at rest.

        Raises:
            MlinkError: The run failed, or did not start in time.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SEC * self.slow
        while not (self._running.is_set() and self.tap.hello.is_set()):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                self.check()
                raise ModuleError(
                    f"the run of {self.bench.path} did not start",
                    remedy="Run it with `mlink run` to see its log.",
                )
            (self._running if not self._running.is_set() else self.tap.hello).wait(0.05)
        try:
            assert self.engine.live is not None  # it runs
            self.injector = injector_of(self.engine.live)
            self.injector.observe(self._on_fault)
            if self.engine.work_dir is not None:
                devices = {*self.bench.used_devices(), *chips(self.bench)}
                kinds = kinds_of(self.bench.used_devices())
                self.stimulus.connect(self.engine.work_dir, devices, kinds)
                now_usec = self.now_usec()
                for device in self.boards:
                    pins = kinds.get(device, UNO).user_pins
                    self._seen_from.update({f"{device}.{pin}": now_usec for pin in pins})
            if self._virtual and not self.in_turns:
                self._starvation.find(without=self._outside_the_loop())
            seen = self.names.frame_streams() if self._tapped else ()
            for stream in seen:  # a test can then see what changes
                self.history.wait(partial(self._has_come, stream), _FIRST_FRAME_SEC)
            self.settle()
        except MlinkError:
            self.stop()
            self.check()
            raise

    def settle(self) -> None:
        """Wait until lines are at rest, and the cameras that tests watch have shown that."""
        settle(self, set(self._regions.values()))
        self._starvation.mark()

    def _has_come(self, channel: str) -> bool:
        return self.history.last(channel) is not None

    def stop(self) -> RunResult | None:
        """End the run, if it still lasts, and disconnect from its boards and its tap.

        Returns:
            The run's result; None if it never ran, or did not end in time.
        """
        injector, self.injector = self.injector, None
        if injector is not None:
            injector.close()
        self.stimulus.close()
        if self._thread.ident is not None:
            self.engine.request_stop("the test has ended")
            self._thread.join(_STOP_SEC * self.slow)
        self.tap.close()
        self.history.end()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.result

    def encode(self) -> None:
        """Encode what the run has recorded raw, as `mlink run` does.

        Raises:
            ModuleError: The encoding failed.
        """
        if self.result is None:
            return
        known = len(self.result.failures)
        encode_raw_videos(self.result)
        for failure in self.result.failures[known:]:
            raise ModuleError(failure.message, remedy=failure.remedy)

    @property
    def alive(self) -> bool:
        """Whether the run still lasts."""
        return self._thread.is_alive()

    @property
    def failures(self) -> list[Failure]:
        """The failures so far, without those that a test expects."""
        return [f for f in self.engine.failures if f.module not in self.expected_failures]

    def check(self) -> None:
        """Raise the failure of the run, if it has failed.

        Raises:
            MlinkError: The run has failed.
        """
        __tracebackhide__ = hidden_in_tracebacks
        if self._error is not None:
            self._raised.add(repr(self._error))
            raise self._error
        if failures := self.failures:
            raise self._failed("", failures)

    def check_end(self) -> None:
        """Raise what has failed in the run and no `check` has raised: after its end, at the latest.

        Raises:
            MlinkError: The run has failed, or has not ended.
        """
        __tracebackhide__ = hidden_in_tracebacks
        if self.alive:
            raise ModuleError(
                f"the run of {self.bench.name} did not end within {_STOP_SEC * self.slow:g} s",
                remedy="Run it with `mlink run` to see in its log what it waits for.",
            )
        if self._error is not None and repr(self._error) not in self._raised:
            raise self._error
        if failures := [each for each in self.failures if str(each) not in self._raised]:
            raise self._failed(" at its end, after its last test", failures)

    def _failed(self, when: str, failures: list[Failure]) -> ModuleError:
        """Return the error of failures, which is then raised; the first remedy is for all."""
        self._raised.update(map(str, failures))
        text = "\n".join(f"  {failure}" for failure in failures)
        remedy = next((each.remedy for each in failures if each.remedy), "")
        if not remedy and when:
            remedy = f"Look at what {failures[0].module or 'the run'} does when it ends; "
            remedy += "`mlink run` with this bench shows the log."
        return ModuleError(f"the run of {self.bench.name} failed{when}:\n{text}", remedy=remedy)

    def stepping(self, call: str) -> Stepping:
        """Return what steps through the run's virtual time.

        Args:
            call: What a test has called, for the message.

        Raises:
            BenchError: The run is in real time.
        """
        __tracebackhide__ = hidden_in_tracebacks
        if not self.in_turns:
            raise BenchError(
                f"bench.{call} is for virtual time; {self.bench.name} runs in real time",
                remedy="Run it with --mlink-time=virtual; all its devices have to be simulated.",
            )
        return self._stepping

    def now_usec(self) -> int:
        """Return the master time in µs."""
        if self.in_turns:
            return self._participant.now_usec
        return self.to_usec(time.monotonic_ns())

    def to_usec(self, monotonic_ns: int) -> int:
        """Return the master time of a moment on CLOCK_MONOTONIC, or in virtual time, in µs."""
        return self.tap.to_usec(monotonic_ns)

    def sleep(self, sec: float) -> None:
        """Let time pass."""
        if self.in_turns:
            self._participant.wait(lambda: False, sec)
        else:
            time.sleep(sec)

    # what the engine reports --------------------------------------------------------------

    def on_status(self, status: RunStatus) -> None:
        """Note when all modules run, and when they stop."""
        if status.phase is Phase.RUN:
            self._running.set()
        elif status.phase is Phase.STOP and self.ended_usec is None and self.tap.hello.is_set():
            self.ended_usec = self.now_usec()

    def on_log(self, module: str, level: int, message: str) -> None:
        """Do nothing: what matters of the log is in the run's failures."""

    def on_output(self, module: str, text: str) -> None:
        """Do nothing with what a script prints."""

    # ---------------------------------------------------------------------------------------

    def _on_fault(self, time_usec: int, event: str, fault: Fault) -> None:
        """Add the event of a fault, of the bench file or of a test."""
        self.history.add([fault_event(time_usec, event, fault)])

    def _run(self) -> None:
        """Run the engine's thread."""
        try:
            self.result = self.engine.run()
        except MlinkError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - `check` raises it in the test's thread
            self._error = error
        finally:
            self._participant.end()
            if self.tap.hello.is_set():
                self.tap.ended.wait(_LAST_ITEMS_SEC)
            self.history.end()

    def _catch_up(self, news: frozenset[str]) -> None:
        """Return when all has arrived that the tap and boards have sent; they wait meanwhile."""
        if TAP_NAME in news:
            try:
                self.tap.catch_up()
            except ControlError:
                if self.alive and not self.tap.ended.is_set():
                    raise  # else the run's failure explains more
        for name in sorted(news & self.boards.keys()):
            try:
                self.boards[name].barrier()
            except DeviceError:
                if self.boards[name].simulated_on():
                    raise

    def watch_region(self, stream: str, area: tuple[int, int, int, int], channel: str) -> None:
        """Report a region's brightness as a channel, if it is not reported yet.

        Args:
            stream: The camera's stream.
            area: (x, y, width, height) in pixels from the top left.
            channel: The region's channel.
        """
        if channel not in self._regions:
            self._regions[channel] = stream
            bound_usec = self.tap.uncertainty_usec(stream)
            note = RegionEvents(self.history, channel, bound_usec, partial(self._lost, stream))
            self.tap.add_region(stream, area, note)
            self._note_first_picture(stream, channel)

    def _lost(self, stream: str) -> int:
        return self.tap.accounts[stream].lost

    def _note_first_picture(self, stream: str, channel: str) -> None:
        """Note from when on a region is seen, if the tap did not keep the stream's first frame."""
        regions = self.history.of(channel)
        first_usec = regions[0].time_usec if regions else self.now_usec()
        frames = self.history.of(stream)
        if frames and frames[0].time_usec < first_usec:
            self._seen_from[channel] = first_usec

    def is_exact(self, channel: str) -> bool:
        """Return whether a busy host cannot move what happens on a channel (see `Event.exact`)."""
        return channel.rpartition(".")[0] in self.boards and not self.stimulus.commanded

    def starved_usec(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long each process of a virtual bench's loop waited for a processor, in µs.

        Empty on a real bench, where the host cannot delay what happens on lines.

        Args:
            since: Where the count begins; None is the last stimulus.
        """
        return self._starvation.waits_usec(since)

    def let_run(self) -> None:
        """Wait, 3 s at most, until no process of a virtual bench waits for a processor."""
        self._starvation.let_run(_LET_RUN_SEC)

    def processor_times(self) -> Snapshot:
        """Return a snapshot to count `starved_usec` from."""
        return self._starvation.snapshot()

    def _outside_the_loop(self) -> set[str]:
        """Return the names of processes that are no part of the loop: recorders, the tap."""
        names = {
            module.name
            for module in self.bench.modules.values()
            if module.type.category not in LOOP_CATEGORIES
        }
        return {f"ml:{name}"[:_COMM_LENGTH] for name in (*names, TAP_NAME)}
