"""Expectations of a test: events within a time, their number, their rate, their order."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mlink.errors import BenchError
from mlink_hil.testing.arguments import (
    check_after,
    check_rate,
    check_span,
    check_usec,
    count_limits,
)
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.excuses import HostExcuses
from mlink_hil.testing.observed.events import Event, Window, rate_of
from mlink_hil.testing.patterns import Bound, Pattern
from mlink_hil.testing.report.failure import nearest_event, window_timeline
from mlink_hil.testing.verdicts import (
    Inside,
    Verdict,
    hidden_in_tracebacks,
    limits_verdict,
    raise_unless_passed,
)
from mlink_hil.testing.watching import Enough, first_of, watch

__tracebackhide__ = hidden_in_tracebacks


class Expectations:
    """What a test expects of a run.

    All times are master times in µs, each with an uncertainty. An expectation whose deadline lies
    within these uncertainties raises `Inconclusive`; so does one that a virtual bench missed
    because its host was busy. On a slow host (`[host] slow` of the devices file) deadlines are
    as many times longer.
    """

    def __init__(self, run: BenchRun) -> None:
        self.run = run
        self.stimuli: list[Event] = []
        """What the test has driven so far."""
        self.deadlines: list[tuple[int, str]] = []
        """(master time in µs, what was expected by then)"""
        self.watched: dict[str, None] = {}
        """Channels on which something was expected, in their order."""
        self._excuses = HostExcuses(run)

    def now(self) -> Event:
        """Return the present as an event, to expect something after it.

        It is known exactly: an event that may be after it, and arrives later, counts as after it.
        """
        noted_ns = time.monotonic_ns()
        now_usec = self.run.to_usec(noted_ns)
        if self.run.history.in_turns:
            now_usec = self.run.now_usec()
        return Event("now", now_usec, caused=True, exact=True, noted_ns=noted_ns)

    def expect(
        self,
        pattern: Pattern,
        *,
        within_usec: int,
        after: Event | None = None,
        around: Event | None = None,
        not_before_usec: int = 0,
    ) -> Event:
        """Expect one event that matches; return it as soon as it is there.

        Args:
            pattern: What to expect.
            within_usec: Longest time after the event `after`, or before or after `around`.
            after: Where the time begins; the present without it.
            around: The event that may come before as well as after the expected one.
            not_before_usec: Shortest time after `after`.

        Raises:
            ExpectationFailed: Surely no such event came in time.
            Inconclusive: The uncertainty of the times, or a busy host, leaves it open.
            BenchError: Nothing can come in this time.
        """
        check_span(within_usec, not_before_usec, after, around)
        origin = after or around or self.now()
        within_usec = self._on_this_host(within_usec)
        low = -within_usec if around is not None else not_before_usec
        bound = pattern(self.run.names)
        window = Window(origin, low, within_usec)
        inside = self._watch(bound, window, enough=lambda found: bool(found.sure))
        verdict = inside.some()
        if verdict is Verdict.PASS:
            answer = first_of(inside, window)
            # the host's delays are counted since the last stimulus
            if self.stimuli and origin is self.stimuli[-1]:
                return self._excuses.with_wait(answer, origin)
            return answer
        how = f"within {within_usec} µs {'of' if around else 'after'} {origin}"
        if not_before_usec:
            how = f"{not_before_usec} to {within_usec} µs after {origin}"
        if verdict is Verdict.FAIL:
            head = f"no {bound.text} {how}{nearest_event(self.run.history, bound, window)}"
            excuse = self._excuses.of_lateness(
                bound, window, lambda found: found.some() is not Verdict.FAIL
            )
            if excuse:
                verdict, head = Verdict.INCONCLUSIVE, head + excuse
        else:
            head = f"undecided whether {bound.text} came {how}"
            if inside.possible:
                head += f": it came {inside.possible[0].since(origin)} after it"
            head += inside.why_open
        self._raise(verdict, head, window, [bound.channel])
        raise AssertionError  # not reached

    def expect_none(self, pattern: Pattern, *, for_usec: int, after: Event | None = None) -> None:
        """Expect no event that matches; wait until the time is over.

        Args:
            pattern: What must not come.
            for_usec: Length of the time after `after`, not 0. It is not longer on a slow host.
            after: Where the time begins; the present without it.

        Raises:
            ExpectationFailed: Such an event came.
            Inconclusive: One came, but not surely within the time, or may have been missed.
            BenchError: Nothing can come in this time.
        """
        check_after("expect_none", "after", after)
        check_usec("expect_none", "for_usec", for_usec)
        origin = after or self.now()
        bound = pattern(self.run.names)
        window = Window(origin, 0, for_usec)
        inside = self._watch(bound, window, enough=lambda found: bool(found.sure))
        found = [*inside.sure, *inside.possible]
        seen = f", but one came {found[0].since(origin)} after it" if found else inside.why_open
        head = f"expected no {bound.text} for {for_usec} µs after {origin}{seen}"
        self._raise(inside.none(), head, window, [bound.channel])

    def expect_count(
        self,
        pattern: Pattern,
        exactly: int | None = None,
        *,
        within_usec: int,
        after: Event | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> list[Event]:
        """Expect a number of events that match; wait until the time is over.

        One of `exactly`, `at_least` and `at_most` is needed.

        On a slow host, missing events may come later, as in `expect`; there must not be more than
        `at_most` within the time itself.

        Args:
            pattern: What to count.
            exactly: The number, in the place of `at_least` and `at_most`.
            within_usec: Length of the time after `after`.
            after: Where the time begins; the present without it.
            at_least: Lowest number; None is 0.
            at_most: Highest number; None for any.

        Returns:
            The events, in order of time.

        Raises:
            ExpectationFailed: There were surely fewer or more.
            Inconclusive: The uncertainty of the times, or a busy host, leaves it open.
            BenchError: Any number would be right, or none.
        """
        check_after("expect_count", "after", after)
        check_usec("expect_count", "within_usec", within_usec)
        at_least, at_most = count_limits(exactly, at_least, at_most)
        origin = after or self.now()
        bound = pattern(self.run.names)
        window = Window(origin, 0, within_usec)
        too_many = None if at_most is None else lambda found: len(found.sure) > at_most
        inside = self._watch(bound, window, enough=too_many)
        if len(inside.sure) < at_least:
            longer_usec = self._on_this_host(within_usec)
            if longer_usec > within_usec:
                window = Window(origin, 0, longer_usec)
                inside = self._watch(
                    bound, window, enough=lambda found: len(found.sure) >= at_least
                )
        wanted = f"{at_least} to {at_most}"
        if at_least == at_most:
            wanted = f"{at_least}"
        elif at_most is None:
            wanted = f"at least {at_least}"
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
        elif verdict is Verdict.INCONCLUSIVE:
            head += inside.why_open
        self._raise(verdict, head, window, [bound.channel])
        return list(inside.sure)

    def expect_rate(
        self, pattern: Pattern, hz: float, *, tolerance: float = 0.05, for_usec: int = 1_000_000
    ) -> float:
        """Expect events at a rate, from now on; the rate is counted over whole intervals.

        Args:
            pattern: What to count.
            hz: The rate.
            tolerance: Largest deviation, as a share of `hz` (0.05: ± 5 %); below 1.
            for_usec: How long to count; longer on a slow host, where single times scatter more.

        Returns:
            The rate in Hz.

        Raises:
            ExpectationFailed: The rate was surely outside the tolerance.
            Inconclusive: The uncertainty of the times, or a busy host, leaves it open.
            BenchError: The rate needs no event, or the time is none.
        """
        check_rate(hz, tolerance)
        check_usec("expect_rate", "for_usec", for_usec)
        origin = self.now()
        for_usec = self._on_this_host(for_usec)
        bound = pattern(self.run.names)
        window = Window(origin, 0, for_usec)
        began = self.run.processor_times()
        inside = self._watch(bound, window)
        events = sorted((*inside.sure, *inside.possible), key=lambda event: event.time_usec)
        lowest, rate, highest = rate_of(events)
        verdict = limits_verdict(lowest, highest, hz - tolerance * hz, hz + tolerance * hz)
        how = "not" if verdict is Verdict.FAIL else "undecided whether"
        head = f"{bound.text} came at {rate:.3f} Hz ({lowest:.3f} to {highest:.3f}), {how} at "
        head += f"{hz:g} Hz ± {tolerance * 100:g}%"
        missing = hz * for_usec / 1e6 - len(events)
        if inside.why_open:  # also what was missed beyond the first and last events matters
            verdict, head = Verdict.INCONCLUSIVE, head + inside.why_open
        elif (
            verdict is Verdict.FAIL
            and missing > 0
            and not self.run.is_exact(bound.channel)
            and (excuse := self._excuses.of_gaps(began, missing * 1e6 / hz / 2))
        ):
            verdict, head = Verdict.INCONCLUSIVE, head + excuse
        self._raise(verdict, head, window, [bound.channel])
        return rate

    def expect_sequence(
        self, *patterns: Pattern, within_usec: int, after: Event | None = None
    ) -> list[Event]:
        """Expect one event for each pattern, in this order.

        Args:
            patterns: What to expect.
            within_usec: Longest time from `after` to the last event.
            after: Where the time begins; the present without it.

        Returns:
            The events.

        Raises:
            ExpectationFailed: One of them surely did not come in time.
            Inconclusive: The uncertainty of the times, or a busy host, leaves it open.
            BenchError: There is no pattern, or nothing can come in this time.
        """
        check_after("expect_sequence", "after", after)
        check_usec("expect_sequence", "within_usec", within_usec)
        if not patterns:
            raise BenchError(
                "expect_sequence() has no pattern: it would pass whatever comes",
                remedy="Write the patterns in their order: expect_sequence(a, b, within_usec=…).",
            )
        origin = after or self.now()
        found: list[Event] = []
        for pattern in patterns:
            start = found[-1] if found else origin
            left = origin.time_usec + self._on_this_host(within_usec) - start.time_usec
            within = max(0, round(left / self.run.slow))
            found.append(self.expect(pattern, within_usec=within, after=start))
        return found

    def fail(self, head: str, origin: Event, span_usec: int, channels: Sequence[str]) -> None:
        """Fail the test, with a timeline.

        Args:
            head: What happened.
            origin: Where the timeline begins, a little before.
            span_usec: Time after `origin`, at whose end the timeline has a mark.
            channels: Channels to show first.

        Raises:
            ExpectationFailed: Always.
        """
        self._raise(Verdict.FAIL, head, Window(origin, 0, span_usec), channels)

    def timeline(self, window: Window, channels: Sequence[str] = ()) -> list[str]:
        """Return the lines of a timeline around a window, as failures show it.

        Args:
            window: The window.
            channels: Channels to show first, after those that the test has driven.
        """
        return window_timeline(
            self.run.history,
            window,
            now_usec=self.run.now_usec(),
            stimuli=self.stimuli,
            channels=channels,
        )

    # ---------------------------------------------------------------------------------------

    def _on_this_host(self, usec: float) -> int:
        """Return a deadline as it is on this host, which may be a slow one."""
        return round(usec * self.run.slow)

    def _watch(self, bound: Bound, window: Window, *, enough: Enough | None = None) -> Inside:
        """Wait until there is enough, or all of the window has surely been seen."""
        self.watched[bound.channel] = None
        self.deadlines.append((window.origin.time_usec + window.high_usec, bound.text))
        return watch(self.run, bound, window, enough)

    def _raise(self, verdict: Verdict, head: str, window: Window, channels: Sequence[str]) -> None:
        """Raise the exception of a verdict, if it has one, with a timeline."""
        if verdict is not Verdict.PASS:
            raise_unless_passed(verdict, [head, "", *self.timeline(window, channels)])
