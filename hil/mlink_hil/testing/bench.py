"""The fixture `bench` of a test: the run's boards and cameras, expectations, measurements."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from mlink.devices import SimulatedChip
from mlink.engine.virtual_time.stepping import LIMIT_USEC, EdgeOf
from mlink.errors import ControlError, MlinkError
from mlink_hil.testing.arguments import check_after, check_seconds
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.excuses import DURATION_UNITS
from mlink_hil.testing.expectations import Expectations
from mlink_hil.testing.handles.cameras import Camera
from mlink_hil.testing.handles.faults import Faults
from mlink_hil.testing.handles.lines import Board
from mlink_hil.testing.handles.measurements import Measurement
from mlink_hil.testing.handles.recording import RecordingHandle
from mlink_hil.testing.observed.events import Event, Span
from mlink_hil.testing.patterns import Pattern
from mlink_hil.testing.verdicts import (
    Inconclusive,
    Verdict,
    hidden_in_tracebacks,
    raise_unless_passed,
)

__tracebackhide__ = hidden_in_tracebacks


class TestBench(Expectations):
    """One test's view of a run, which it may share with other tests."""

    __test__ = False  # pytest collects classes by their name

    def __init__(self, run: BenchRun) -> None:
        self.began_usec = run.now_usec()
        super().__init__(run)
        self.measurements: list[Measurement] = []
        self.faults = Faults(run)

    def board(self, name: str | None = None) -> Board:
        """Return a board or a chip.

        Args:
            name: Its device's or its module's name; None for the only board of the bench.

        Raises:
            BenchError: There is no such board, or several and no name was given.
        """
        return Board(self.run, self.run.names.board(name), self.stimuli.append)

    def camera(self, name: str | None = None) -> Camera:
        """Return a camera.

        Args:
            name: Name of its module, its device, or its stream ("cam.video"); None for the only
                camera of the bench.

        Raises:
            BenchError: There is no such camera, or several and no name was given.
        """
        return Camera(self.run, self.run.names.frame_stream(name), self.fail)

    @property
    def recording(self) -> RecordingHandle:
        """The recording that this run writes."""
        return RecordingHandle(self.run)

    def events(self, pattern: Pattern, *, after: Event | None = None) -> list[Event]:
        """Return the events so far that match a pattern, once all sent up to now has arrived.

        Args:
            pattern: What to look for.
            after: Where the time begins; the test's start without it.

        Raises:
            Inconclusive: Some may have been missed.
        """
        check_after("events", "after", after)
        bound, now_usec = pattern(self.run.names), self.run.now_usec()
        start = self.began_usec if after is None else after.time_usec
        if lag := self.run.sight.catch_up(bound.channel):
            raise Inconclusive(f"not every {bound.text} is known: {lag}")
        if unseen := self.run.sight.unseen(bound.channel, start, now_usec):
            raise Inconclusive(f"not every {bound.text} is known: {unseen.text}")
        # what has come since, while a late tap was waited for, is left out
        events = self.run.history.of(bound.channel, start, now_usec)
        return [event for event in events if bound.matches(event)]

    def measure(
        self,
        name: str,
        value: float | Span,
        unit: str = "",
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Measurement:
        """Add a measurement to the reports, and check it against its limits if it has any.

        Args:
            name: Its name in the reports.
            value: A number, or the time between two events (`event.since(other)`), with bounds.
            unit: Unit of value and limits; "µs" for a time between events.
            at_least: Lower limit.
            at_most: Upper limit; on a slow host that of a duration is higher.

        Raises:
            ExpectationFailed: The value is surely outside its limits.
            Inconclusive: The bounds of the value, or a busy host, leave it open.
        """
        if at_most is not None and (isinstance(value, Span) or unit in DURATION_UNITS):
            at_most = self._on_this_host(at_most)
        judged = Measurement.judge(name, value, unit, at_least, at_most)
        measured = replace(judged, virtual=self.run.history.in_turns)
        excuse = ""
        if measured.outcome is Verdict.FAIL:
            exact = isinstance(value, Span) and value.exact
            excuse = self._excuses.of_measurement(measured, exact=exact)
        if excuse:
            measured = replace(measured, outcome=Verdict.INCONCLUSIVE)
        self.measurements.append(measured)
        raise_unless_passed(measured.outcome, [f"{measured}{excuse}"])
        return measured

    def wait(self, sec: float) -> None:
        """Wait; return earlier, with an exception, when the run fails.

        Raises:
            BenchError: `sec` is no length of time.
            MlinkError: The run has failed.
        """
        check_seconds("wait", "sec", sec)
        self.run.history.wait(lambda: not self.run.alive, sec)
        self.run.check()

    def run_until(
        self,
        time_usec: int | None = None,
        *,
        edge: EdgeOf | None = None,
        limit_usec: int = LIMIT_USEC,
    ) -> Event:
        """Let virtual time pass up to a moment, or to an edge, and stand there.

        Args:
            time_usec: Master time at which to stand, µs.
            edge: (board or chip, pin, "rising", "falling" or "any"): to stand at the next such
                edge, right after the instruction that caused it.
            limit_usec: Longest virtual time that is waited for the edge, µs.

        Returns:
            The edge, or the moment, for use as `after=`.

        Raises:
            BenchError: The run is in real time, or an argument is wrong.
            DeviceError: There is no such pin.
            ControlError: The edge did not come in time, or the run has ended before.
            MlinkError: The run has failed.
        """
        stepping = self.run.stepping("run_until")
        if isinstance(edge, tuple) and len(edge) == 3 and isinstance(edge[0], str):
            edge = (self.run.names.board(edge[0]), *edge[1:])
        try:
            moment = stepping.run_until(time_usec, edge=edge, limit_usec=limit_usec)
        except ControlError:
            self.run.check()  # a failure of the run explains more
            raise
        if edge is None or moment.edge is None:
            return self.now()
        found = self.run.history.last(f"{edge[0]}.{moment.edge.pin}")
        assert found is not None  # what has halted the board has been reported
        return found

    def pause(self) -> Event:
        """Return the present moment, at which a bench in virtual time stands.

        It stands whenever the test's own code runs, for as long as that takes.

        Raises:
            BenchError: The run is in real time.
        """
        self.run.stepping("pause")
        return self.now()

    def chip(
        self, name: str | None = None, elf: str | os.PathLike[str] | None = None
    ) -> SimulatedChip:
        """Return a simulated board or chip, to look into it; that has no effect on it.

        Args:
            name: Its device's, its module's or its own name; None for the only board.
            elf: ELF file of its firmware, for its symbols; None takes its firmware if that is one.

        Raises:
            BenchError: The run is in real time, or there is no such board.
        """
        stepping = self.run.stepping("chip")
        return stepping.chip(self.run.names.board(name), elf)

    def finish(self) -> None:
        """Release the lines that the test has driven, and wait until all is at rest again.

        The fixture calls it at the end of the test, so that the next test starts from rest.
        """
        for channel in {event.channel for event in self.stimuli}:
            device, _, line = channel.rpartition(".")
            if self.run.stimulus.drives(device, int(line)):
                with contextlib.suppress(MlinkError):  # the board, or the run, may be gone
                    self.run.stimulus.drive(device, int(line), None)
        if self.stimuli:
            with contextlib.suppress(MlinkError):
                self.run.settle()  # the answer to the release belongs to this test
