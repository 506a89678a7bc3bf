"""What the fixture `bench` gives to a test: the run's boards and cameras, and expectations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mlink.errors import MlinkError
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.cameras import Camera
from mlink_hil.testing.events import Event, Span, Window, rate_of
from mlink_hil.testing.faults import Faults
from mlink_hil.testing.host.real_time import RealTime
from mlink_hil.testing.host.starvation import Snapshot
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

_Enough = Callable[[Inside], bool]

_WORTH_TELLING_USEC = 500
"""A shorter wait for a processor explains nothing."""
_LONGEST_EXCUSE_USEC = 5_000_000
"""A host that kept a loop waiting for longer decides nothing."""
_BUSY_SHARE = 0.25
"""Of a test's time, spent in waiting for a processor: its host was busy. An idle one's is 0.05."""
_LEAST_BUSY_USEC = 5_000
"""Shorter waits in all do not spoil a measurement."""
_DURATION_UNITS = frozenset({"µs", "us", "ms", "s"})
"""Durations: a slow host makes them longer."""
_TIMED_UNITS = _DURATION_UNITS | {"Hz"}
"""Measurements in these tell of the host as well."""


class Rig:
    """One test's view of a run, which other tests may share."""

    def __init__(self, run: BenchRun) -> None:
        self.run = run
        self.measurements: list[Measurement] = []
        self.stimuli: list[Event] = []
        self.deadlines: list[tuple[int, str]] = []
        """(master time in µs, what was expected by then)"""
        self.began_usec = run.now_usec()
        self.faults = Faults(run)
        self._real_time = RealTime(run.boards)
        self._waits_before = run.processor_times()

    # what there is ------------------------------------------------------------------------

    def board(self, name: str | None = None) -> Board:
        """Return a board by its device's name; the only one without a name."""
        return Board(self, self.run.names.board(name))

    def camera(self, name: str | None = None) -> Camera:
        """Return a camera by its module's name; the only one without a name."""
        return Camera(self, self.run.names.frame_stream(name))

    @property
    def recording(self) -> RecordingHandle:
        """The recording that this run writes."""
        return RecordingHandle(self.run)

    def now(self) -> Event:
        """Return the present as an event, to expect something after it."""
        now_ns = time.monotonic_ns()
        return Event("now", self.run.to_usec(now_ns), caused=True, noted_ns=now_ns)

    def note_stimulus(self, event: Event) -> None:
        """Remember what the test did, for timelines."""
        self.stimuli.append(event)

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
            return self._with_waits(inside.sure[0], origin)
        how = f"within {within_usec} µs {'of' if around else 'after'} {origin}"
        if not_before_usec:
            how = f"{not_before_usec} to {within_usec} µs after {origin}"
        if verdict is Verdict.FAIL:
            head = f"no {bound.text} {how}{self._nearest(bound, window)}"
            if excuse := self._excuse(bound, window, lambda f: f.some() is not Verdict.FAIL):
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
            excuse = self._excuse(
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
            waits = self._waits(began)
            if unseen := self.run.tap.lost.get(bound.channel, 0) - lost:
                verdict, head = Verdict.INCONCLUSIVE, f"{head}\nbut {unseen} were not seen"
            elif sum(waits.values()) >= missing * 1e6 / hz / 2:
                verdict, head = Verdict.INCONCLUSIVE, head + _busy(waits)
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
        if at_most is not None and (isinstance(value, Span) or unit in _DURATION_UNITS):
            at_most = self._patient(at_most)
        measured = Measurement.judge(name, value, unit, at_least, at_most)
        lapse = self._lapse(measured.unit) if measured.outcome is Verdict.FAIL else ""
        if lapse:
            measured = replace(measured, outcome=Verdict.INCONCLUSIVE)
        self.measurements.append(measured)
        raise_unless_passed(measured.outcome, [f"{measured}{lapse}"])
        return measured

    def wait(self, sec: float) -> None:
        """Let time pass; the run's failure ends it."""
        self.run.history.wait(lambda: not self.run.alive, sec)
        self.run.check()

    def finish(self) -> None:
        """Take the test's hands off the lines that it has driven."""
        for channel in {event.channel for event in self.stimuli}:
            device, _, line = channel.rpartition(".")
            if self.run.drives(device, int(line)):
                with contextlib.suppress(MlinkError):  # the board, or the run, may be gone
                    self.run.drive(device, int(line), None)
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

    def _watch(self, bound: Bound, window: Window, *, enough: _Enough | None = None) -> Inside:
        """Wait until there is enough, or all of the window has surely been seen."""
        self.deadlines.append((window.origin.time_usec + window.high_usec, bound.text))
        return self._await(bound, window, enough=enough)

    def _await(self, bound: Bound, window: Window, *, enough: _Enough | None) -> Inside:
        """Do so for a window that may be longer than what the test has asked for."""
        history = self.run.history

        def look() -> Inside:
            events = history.of(bound.channel, window.start_usec, window.end_usec)
            return Inside.sort(filter(bound.matches, events), window)

        def decided() -> bool:
            last = history.last(bound.channel)
            # times only grow, so that what was in the window has come
            over = last is not None and last.earliest_usec > window.end_usec
            return over or (enough is not None and enough(look()))

        left_sec = (window.end_usec - self.run.now_usec()) / 1e6
        if not history.wait(decided, max(left_sec, 0.0)) and self.run.alive:
            self.run.complete(bound.channel, window.end_usec, decided)
        inside = look()
        if enough is None or not enough(inside):
            self.run.check()  # a run that has failed is told in its own words
        return inside

    def _with_waits(self, event: Event, origin: Event) -> Event:
        """Note how long the host kept the loop waiting between a stimulus and its answer."""
        if not self.stimuli or origin is not self.stimuli[-1]:
            return event  # what was counted is since the last stimulus
        waited_usec = sum(self.run.starved_usec().values())
        return replace(event, waited_usec=min(waited_usec, max(0, event.since(origin).lowest_usec)))

    def _excuse(self, bound: Bound, window: Window, explained: _Enough) -> str:
        """Say whether something came late only because the host of a virtual bench was busy."""
        counted_usec = -1
        while True:
            waits = self._waits()
            starved_usec = sum(waits.values())
            if starved_usec < max(_WORTH_TELLING_USEC, counted_usec + _WORTH_TELLING_USEC):
                # no wait explains its lateness: at most, that it was not seen
                unseen_usec = self._unseen_usec(bound, window)
                if 0 < unseen_usec <= 2 * starved_usec:
                    return _busy(waits)
                return self._real_time.lapse()
            if starved_usec > _LONGEST_EXCUSE_USEC:
                return _busy(waits)  # its processes wait longer than time passes: no end of it
            counted_usec = starved_usec
            longer = Window(window.origin, window.low_usec, window.high_usec + starved_usec)
            if explained(self._await(bound, longer, enough=explained)):
                return _busy(waits)

    def _lapse(self, unit: str) -> str:
        """Say why a measurement of this test may tell of the host; empty when it does not."""
        if lapse := self._real_time.lapse():
            return lapse
        if unit not in _TIMED_UNITS:
            return ""
        waits = self._waits(self._waits_before)
        busy_usec = max(_LEAST_BUSY_USEC, _BUSY_SHARE * (self.run.now_usec() - self.began_usec))
        return _busy(waits) if sum(waits.values()) >= busy_usec else ""

    def _waits(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long the loop's processes waited, in µs: a wait counts when it is over."""
        self.run.let_run()
        return self.run.starved_usec(since)

    def _unseen_usec(self, bound: Bound, window: Window) -> int:
        """Return the longest time in a window, in µs, of which a camera has shown nothing.

        What came and went in it was not seen. 0 where frames came one after the other.
        """
        events = self.run.history.of(bound.channel, window.start_usec, window.end_usec)
        gaps = [event.early_usec for event in events if event.early_usec]
        if bound.channel.partition("[")[0] not in self.run.names.frame_streams() or not gaps:
            return 0
        period_usec = min(gaps)
        return max(gaps) - period_usec if max(gaps) > 1.5 * period_usec else 0

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


def _busy(waits: Mapping[str, int]) -> str:
    told = ", ".join(f"{name} {usec} µs" for name, usec in waits.items() if usec > 0)
    return f"\nbut this machine was busy; it kept waiting for a processor: {told}"
