"""A run of a bench in a thread of the test process, with a tap on every stream."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlink.bench import Bench
from mlink.engine.encode import encode_raw_videos
from mlink.engine.options import RunOptions
from mlink.engine.plan import LOOP_CATEGORIES
from mlink.engine.run import Engine
from mlink.engine.status import Failure, Phase, RunResult, RunStatus
from mlink.errors import DeviceError, MlinkError, ModuleError
from mlink.tap.attach import add_tap
from mlink.tap.catalog import TAP_NAME
from mlink.tap.link import TapLink
from mlink_hil.control.watcher import BoardLink
from mlink_hil.faults.injector import Injector, injector_of
from mlink_hil.faults.kinds import Fault
from mlink_hil.lab import slowness, wires_of
from mlink_hil.testing.events import Event
from mlink_hil.testing.history import History
from mlink_hil.testing.host.starvation import Snapshot, Starvation
from mlink_hil.testing.names import Names
from mlink_hil.testing.settling import settle
from mlink_hil.testing.stimulus import Stimulus
from mlink_hil.testing.tap_events import ItemEvents, RegionEvents
from mlink_hil.testing.testers import add_testers, testers
from mlink_hil.wiring.devices_under_test import chips

_START_SEC = 120.0
_STOP_SEC = 40.0
_COMM_LENGTH = 15
_LAG_SEC = 10.0
"""How long to wait for a tap that is behind."""
_LET_RUN_SEC = 3.0
_FIRST_FRAME_SEC = 3.0
_GRACE_SEC = 0.5
"""How long after a deadline an item may still be under way to the test, at most."""

FAULTS = "fault"
"""Channel of what was broken and mended: its value is 1 where something begins to be broken."""

_FAULT_WORDS = {"end": "end of {}", "failed": "{} was not made"}


class BenchRun:
    """One run; `start` returns when it is in full flow, `stop` when its files are closed."""

    def __init__(self, bench: Bench, options: RunOptions) -> None:
        self.slow = slowness(bench)
        """How many times as long deadlines, and limits of the run's phases, are on this host."""
        wires = wires_of(bench)
        self.bench = bench = add_testers(bench, wires)
        self.options = options = options.on_slow_host(self.slow)
        self.history = History()
        self.result: RunResult | None = None
        self.expected_failures: set[str] = set()
        """Modules that a test has broken on purpose."""
        self.keep_recording = False
        """Whether a test on this run has failed."""
        self.boards: dict[str, BoardLink] = {}
        self.injector: Injector | None = None
        """Breaks things in the run, while it lasts."""
        self._folder = Path(tempfile.mkdtemp(prefix="mlink-hil-"))
        tapped = add_tap(bench, self._folder / "tap", testers(wires))
        self.tap = TapLink(self._folder / "tap", ItemEvents(self.history))
        self.names = Names(bench, self.boards.__contains__, self.tap.metadata, wires)
        self.engine = Engine(tapped, options, self)
        self._regions: dict[str, str] = {}
        """Channel of each region that tests have looked at → its stream."""
        self._starvation = Starvation()
        self.stimulus = Stimulus(self.boards, self.names, self.history, self.tap, self._starvation)
        specs = bench.used_devices().values()
        self._virtual = all(spec.startswith("virtual:") for spec in specs)
        self._running = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hil-engine", daemon=True)

    def start(self) -> None:
        """Start; ModuleError with the run's own words when it does not get that far."""
        self._thread.start()
        deadline = time.monotonic() + _START_SEC * self.slow
        while not (self._running.is_set() and self.tap.hello.is_set()):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                self.check()
                raise ModuleError(
                    f"the run of {self.bench.path} did not start",
                    remedy="See what it says with: mlink run",
                )
            (self._running if not self._running.is_set() else self.tap.hello).wait(0.05)
        try:
            assert self.engine.live is not None  # it runs
            self.injector = injector_of(self.engine.live)
            self.injector.observe(self._on_fault)
            if self.engine.work_dir is not None:
                devices = {*self.bench.used_devices(), *chips(self.bench)}
                self.stimulus.connect(self.engine.work_dir, devices)
            if self._virtual:
                self._starvation.find(without=self._outside_the_loop())
            for stream in self.names.frame_streams():  # what it shows before is then known
                self.history.wait(partial(self._has_come, stream), _FIRST_FRAME_SEC)
            self.settle()
        except MlinkError:
            self.stop()
            self.check()
            raise

    def settle(self) -> None:
        """Wait until what is under way on lines has come to rest, and watched cameras show it."""
        settle(self, set(self._regions.values()))
        self._starvation.mark()

    def _has_come(self, channel: str) -> bool:
        return self.history.last(channel) is not None

    def stop(self) -> RunResult | None:
        """End the run, if it still lasts, and return how it went."""
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
        """Encode what the run has recorded raw, as `mlink run` does; ModuleError where it fails."""
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
        """What failed so far, without what a test broke on purpose."""
        return [f for f in self.engine.failures if f.module not in self.expected_failures]

    def check(self) -> None:
        """Raise what has failed in the run, in its own words."""
        if self._error is not None:
            raise self._error
        if failures := self.failures:
            text = "\n".join(f"  {failure}" for failure in failures)
            remedy = next((each.remedy for each in failures if each.remedy), "")
            raise ModuleError(f"the run of {self.bench.name} failed:\n{text}", remedy=remedy)

    def now_usec(self) -> int:
        """Return the master time."""
        return self.to_usec(time.monotonic_ns())

    def to_usec(self, monotonic_ns: int) -> int:
        """Return the master time of a moment on CLOCK_MONOTONIC."""
        return self.tap.to_usec(monotonic_ns)

    # what the engine tells ----------------------------------------------------------------

    def on_status(self, status: RunStatus) -> None:
        """Note that the run is in full flow."""
        if status.phase is Phase.RUN:
            self._running.set()

    def on_log(self, module: str, level: int, message: str) -> None:
        """Do nothing: what matters of the log is in the run's failures."""

    def on_output(self, module: str, text: str) -> None:
        """Do nothing with what a script prints."""

    # ---------------------------------------------------------------------------------------

    def _on_fault(self, time_usec: int, event: str, fault: Fault) -> None:
        """Note a fault of the bench file, or of a test."""
        self.history.add([fault_event(time_usec, event, fault)])

    def _run(self) -> None:
        """Run the engine's thread."""
        try:
            self.result = self.engine.run()
        except MlinkError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - told to the test, in the test's own thread
            self._error = error
        finally:
            self.history.end()

    def complete(self, channel: str, time_usec: int, decided: Callable[[], bool]) -> None:
        """Wait until nothing up to a master time can still come on a channel.

        Exact for the pins of virtual boards; else until it is decided, or a while is over.
        """
        device = channel.rpartition(".")[0]
        link = self.boards.get(device)
        if link is None:
            left_sec = (time_usec - self.now_usec()) / 1e6
            if not self.history.wait(decided, max(left_sec, 0.0) + _GRACE_SEC):
                self._drain(time_usec + round(_GRACE_SEC * 1e6))
            return
        while self.alive:
            try:
                if self.to_usec(link.barrier()) >= time_usec:
                    return
            except DeviceError:
                return  # unplugged: nothing comes any more
            time.sleep(0.001)

    def _drain(self, time_usec: int) -> None:
        """Wait until the tap has told all up to a master time; on a busy machine it lags behind."""
        deadline = time.monotonic() + _LAG_SEC
        while self.alive and self.tap.drained_usec < time_usec and time.monotonic() < deadline:
            time.sleep(0.005)

    def watch_region(self, stream: str, area: tuple[int, int, int, int], channel: str) -> None:
        """Follow a region's brightness as a channel; once for each region."""
        if channel not in self._regions:
            self._regions[channel] = stream
            bound_usec = self.tap.uncertainty_usec(stream)
            self.tap.add_region(stream, area, RegionEvents(self.history, channel, bound_usec))

    def starved_usec(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long the host kept the processes of a virtual bench's loop waiting, in µs.

        Since a snapshot, or the last stimulus. Empty on a real bench: what is late there is late.
        """
        return self._starvation.waits_usec(since)

    def let_run(self) -> None:
        """Wait until no process of a virtual bench waits for a processor."""
        self._starvation.let_run(_LET_RUN_SEC)

    def processor_times(self) -> Snapshot:
        """Return a moment to count `starved_usec` from."""
        return self._starvation.snapshot()

    def _outside_the_loop(self) -> set[str]:
        """Return the names of the processes that may be late without harm: recorders and such."""
        names = {
            module.name
            for module in self.bench.modules.values()
            if module.type.category not in LOOP_CATEGORIES
        }
        return {f"ml:{name}"[:_COMM_LENGTH] for name in (*names, TAP_NAME)}


def fault_event(time_usec: int, event: str, fault: Fault) -> Event:
    """Return the event on the channel `fault` of something that was done to break or mend."""
    what = _FAULT_WORDS.get(event, "{}").format(f"{fault.kind} {fault.target}")
    return Event(FAULTS, time_usec, int(event == "begin"), cells=(what,), caused=True)
