"""What the fixture `bench` gives to a test: the run's boards and cameras, and expectations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from mlink.errors import MlinkError
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.cameras import Camera
from mlink_hil.testing.events import Event, Span, Window, rate_of
from mlink_hil.testing.faults import Faults
from mlink_hil.testing.host.excuses import DURATION_UNITS, HostExcuses
from mlink_hil.testing.lines import Board
from mlink_hil.testing.measurements import Measurement
from mlink_hil.testing.patterns import Bound, Pattern
from mlink_hil.testing.recording import RecordingHandle
from mlink_hil.testing.report.timeline_text import draw_timeline, list_events
from mlink_hil.testing.verdicts import (
    Inside,
    Verdict,
    limits_verdict,
    raise_unless_passed,
)
from mlink_hil.testing.watching import Enough, watch


class TestBench:
    """One test's view of a run, which other tests may share."""

    __test__ = False  # pytest collects classes by their name

    def __init__(self, run: BenchRun) -> None:
        self.run = run
        self.measurements: list[Measurement] = []
        self.stimuli: list[Event] = []
        self.deadlines: list[tuple[int, str]] = []
        """(master time in µs, what was expected by then)"""
        self.began_usec = run.now_usec()
        self.faults = Faults(run)
        self._excuses = HostExcuses(run)

    # what there is ------------------------------------------------------------------------

    def board(self, name: str | None = None) -> Board:
        """Return a board by its device's name; the only one without a name."""
        return Board(self.run, self.run.names.board(name), self.stimuli.append)

    def camera(self, name: str | None = None) -> Camera:
        """Return a camera by its module's name; the only one without a name."""
        return Camera(self.run, self.run.names.frame_stream(name), self.fail)

    @property
    def recording(self) -> RecordingHandle:
        """The recording that this run writes."""
        return RecordingHandle(self.run)

    def now(self) -> Event:
        """Return the present as an event, to expect something after it."""
        now_ns = time.monotonic_ns()
        return Event("now", self.run.to_usec(now_ns), caused=True, noted_ns=now_ns)

    def events(self, pattern: Pattern, *, after: Event | None = None) -> list[Event]:
        """Return all events so far that a pattern matches."""
        bound = pattern(self.run.names)
        start = self.began_usec if after is None else after.time_usec
        return [
            event for event in self.run.history.of(bound.channel, start) if bound.matches(event)
        ]

    # expectations -------------------------------------------------------------------------

    def expect(
        self,
        pattern: Pattern,
        *,
        within_usec: int,
        after: Event | None = None,
        around: Event | None = None,
        not_before_usec: int = 0,
    ) -> Event:
        """Expect one such event within a time after an event (or before or after: `around`).

        Returns it at once when it has come. Raises ExpectationFailed when it surely did not come
        in time, Inconclusive when the uncertainty of the times does not tell.
        """
        __tracebackhide__ = True
        origin = after or around or self.now()
        within_usec = self._patient(within_usec)
        low = -within_usec if around is not None else not_before_usec
        bound = pattern(self.run.names)
        window = Window(origin, low, within_usec)
        inside = self._watch(bound, window, enough=lambda found: bool(found.sure))
        verdict = inside.some()
        if verdict is Verdict.PASS:
            answer = inside.sure[0]
            # the host's delays are counted since the last stimulus
            if self.stimuli and origin is self.stimuli[-1]:
                return self._excuses.with_wait(answer, origin)
            return answer
        how = f"within {within_usec} µs {'of' if around else 'after'} {origin}"
        if not_before_usec:
            how = f"{not_before_usec} to {within_usec} µs after {origin}"
        if verdict is Verdict.FAIL:
            head = f"no {bound.text} {how}{self._nearest(bound, window)}"
            if excuse := self._excuses.of_lateness(
                bound, window, lambda f: f.some() is not Verdict.FAIL
            ):
                verdict, head = Verdict.INCONCLUSIVE, head + excuse
        else:
            head = (
                f"it cannot be told whether {bound.text} was {how}: "
                f"it was {inside.possible[0].since(origin)} after it"
            )
        self._raise(verdict, head, window, [bound.channel])
        raise AssertionError  # not reached

    def expect_none(self, pattern: Pattern, *, for_usec: int, after: Event | None = None) -> None:
        """Expect no such event for a time after an event (or from now on)."""
        __tracebackhide__ = True
        origin = after or self.now()
        bound = pattern(self.run.names)
        window = Window(origin, 0, for_usec)
        inside = self._watch(bound, window, enough=lambda found: bool(found.sure))
        found = [*inside.sure, *inside.possible]
        seen = f": it was {found[0].since(origin)} after it" if found else ""
        head = f"there should be no {bound.text} for {for_usec} µs after {origin}{seen}"
        self._raise(inside.none(), head, window, [bound.channel])

    def expect_count(
        self,
        pattern: Pattern,
        exactly: int | None = None,
        *,
        within_usec: int,
        after: Event | None = None,
        at_least: int = 0,
        at_most: int | None = None,
    ) -> list[Event]:
        """Expect a number of such events; waits until the time is over.

        On a slow host, those that are still missing then may come later, as single ones may.
        """
        __tracebackhide__ = True
        if exactly is not None:
            at_least = at_most = exactly
        origin = after or self.now()
        bound = pattern(self.run.names)
        window = Window(origin, 0, within_usec)
        too_many = None if at_most is None else lambda found: len(found.sure) > at_most
        inside = self._watch(bound, window, enough=too_many)
        if len(inside.sure) < at_least and (patient := self._patient(within_usec)) > within_usec:
            window = Window(origin, 0, patient)
            inside = self._watch(bound, window, enough=lambda found: len(found.sure) >= at_least)
        wanted = f"{at_least}" if at_least == at_most else f"{at_least} to {at_most or 'any'}"
        counted = f"{len(inside.sure)}"
        if inside.possible:
            counted += f" to {len(inside.sure) + len(inside.possible)}"
        how = f"within {window.high_usec} µs after {origin}"
        head = f"{counted} × {bound.text} {how}, not {wanted}"
        verdict = inside.count(at_least, at_most)
        if verdict is Verdict.FAIL and len(inside.sure) + len(inside.possible) < at_least:
            excuse = self._excuses.of_lateness(
                bound, window, lambda f: len(f.sure) + len(f.possible) >= at_least
            )
            if excuse:
                verdict, head = Verdict.INCONCLUSIVE, head + excuse
        self._raise(verdict, head, window, [bound.channel])
        return list(inside.sure)

    def expect_rate(
        self, pattern: Pattern, hz: float, *, tolerance: float = 0.05, for_usec: int = 1_000_000
    ) -> float:
        """Expect events at a rate, ± a share of it; the rate is over whole intervals.

        Counts for longer on a slow host, where times of single events scatter more.
        """
        __tracebackhide__ = True
        origin = self.now()
        for_usec = self._patient(for_usec)
        bound = pattern(self.run.names)
        window = Window(origin, 0, for_usec)
        began = self.run.processor_times()
        lost = self.run.tap.lost.get(bound.channel, 0)
        inside = self._watch(bound, window)
        events = sorted((*inside.sure, *inside.possible), key=lambda event: event.time_usec)
        lowest, rate, highest = rate_of(events)
        verdict = limits_verdict(lowest, highest, hz - tolerance * hz, hz + tolerance * hz)
        told = "not" if verdict is Verdict.FAIL else "it cannot be told whether"
        head = f"{bound.text} came at {rate:.3f} Hz ({lowest:.3f} to {highest:.3f}), {told} at "
        head += f"{hz:g} Hz ± {tolerance:.1%}"
        missing = hz * for_usec / 1e6 - len(events)
        if verdict is Verdict.FAIL and missing > 0:
            if unseen := self.run.tap.lost.get(bound.channel, 0) - lost:
                verdict, head = Verdict.INCONCLUSIVE, f"{head}\nbut {unseen} were not seen"
            elif excuse := self._excuses.of_gaps(began, missing * 1e6 / hz / 2):
                verdict, head = Verdict.INCONCLUSIVE, head + excuse
        self._raise(verdict, head, window, [bound.channel])
        return rate

    def expect_sequence(
        self, *patterns: Pattern, within_usec: int, after: Event | None = None
    ) -> list[Event]:
        """Expect events in this order, the last within a time after an event."""
        __tracebackhide__ = True
        origin = after or self.now()
        found: list[Event] = []
        for pattern in patterns:
            start = found[-1] if found else origin
            left = origin.time_usec + self._patient(within_usec) - start.time_usec
            within = max(0, round(left / self.run.slow))
            found.append(self.expect(pattern, within_usec=within, after=start))
        return found

    def measure(
        self,
        name: str,
        value: float | Span,
        unit: str = "",
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Measurement:
        """Note a measurement for the reports, and judge it by its limits if it has any."""
        __tracebackhide__ = True
        if at_most is not None and (isinstance(value, Span) or unit in DURATION_UNITS):
            at_most = self._patient(at_most)
        measured = Measurement.judge(name, value, unit, at_least, at_most)
        excuse = ""
        if measured.outcome is Verdict.FAIL:
            excuse = self._excuses.of_measurement(measured.unit)
        if excuse:
            measured = replace(measured, outcome=Verdict.INCONCLUSIVE)
        self.measurements.append(measured)
        raise_unless_passed(measured.outcome, [f"{measured}{excuse}"])
        return measured

    def wait(self, sec: float) -> None:
        """Let time pass; the run's failure ends it."""
        self.run.history.wait(lambda: not self.run.alive, sec)
        self.run.check()

    def finish(self) -> None:
        """Take the test's hands off the lines that it has driven."""
        for channel in {event.channel for event in self.stimuli}:
            device, _, line = channel.rpartition(".")
            if self.run.stimulus.drives(device, int(line)):
                with contextlib.suppress(MlinkError):  # the board, or the run, may be gone
                    self.run.stimulus.drive(device, int(line), None)
        if self.stimuli:
            with contextlib.suppress(MlinkError):
                self.run.settle()  # the answer to letting go belongs to this test

    def fail(self, head: str, origin: Event, span_usec: int, channels: Sequence[str]) -> None:
        """Fail with a timeline around an event."""
        __tracebackhide__ = True
        self._raise(Verdict.FAIL, head, Window(origin, 0, span_usec), channels)

    # ---------------------------------------------------------------------------------------

    def _patient(self, usec: float) -> int:
        """Return a deadline as it is on this host, which may be a slow one."""
        return round(usec * self.run.slow)

    def _watch(self, bound: Bound, window: Window, *, enough: Enough | None = None) -> Inside:
        """Wait until there is enough, or all of the window has surely been seen."""
        self.deadlines.append((window.origin.time_usec + window.high_usec, bound.text))
        return watch(self.run, bound, window, enough)

    def _nearest(self, bound: Bound, window: Window) -> str:
        """Say what came nearest to a window."""
        events = [e for e in self.run.history.of(bound.channel) if bound.matches(e)]
        if not events:
            return "; there was none in the whole run"
        nearest = min(events, key=lambda e: abs(e.time_usec - window.origin.time_usec))
        later = [e for e in events if e.time_usec > window.origin.time_usec]
        nearest = later[0] if later else nearest
        usec = nearest.time_usec - window.origin.time_usec
        if usec > window.high_usec:
            return f"; the next came after {usec} µs, {usec - window.high_usec} µs too late"
        return f"; the nearest was {-usec} µs before it" if usec < 0 else ""

    def _raise(self, verdict: Verdict, head: str, window: Window, channels: Sequence[str]) -> None:
        __tracebackhide__ = True
        if verdict is not Verdict.PASS:
            raise_unless_passed(verdict, [head, "", *self.timeline(window, channels)])

    def timeline(self, window: Window, channels: Sequence[str] = ()) -> list[str]:
        """Draw what was seen around a window."""
        __tracebackhide__ = True
        span = max(window.high_usec - min(window.low_usec, 0), 200)
        zero = window.origin.time_usec
        start = zero + min(window.low_usec, 0) - span // 4
        end = zero + window.high_usec + span // 2
        history = self.run.history
        for channel in channels:  # what came too late shall be in the picture, if it is not far
            later = [e for e in history.of(channel, end) if e.time_usec < end + 8 * span]
            if later and not any(e.caused for e in later):
                end = max(end, later[0].time_usec + span // 4)
        first = list(dict.fromkeys([*(e.channel for e in self.stimuli[-3:]), *channels]))
        marks = [(zero, str(window.origin.channel)), (zero + window.high_usec, "deadline")]
        lines = draw_timeline(
            history, start, end, now_usec=self.run.now_usec(), marks=marks, first=first
        )
        return [*lines, "", *list_events(history, first, start, end, zero)]
