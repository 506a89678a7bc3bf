"""Waits until a window of time has been seen completely, or enough events of a pattern in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed.events import Event, Unseen, Window
from mlink_hil.testing.patterns import Bound
from mlink_hil.testing.verdicts import Inside, hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks

Enough: TypeAlias = Callable[[Inside], bool]
"""Returns whether the events found so far decide; then there is no need to wait for more."""


def watch(run: BenchRun, bound: Bound, window: Window, enough: Enough | None = None) -> Inside:
    """Wait for the events of a pattern in a window, and return them.

    Args:
        run: The run to watch.
        bound: The pattern.
        window: The window; it may lie in the past.
        enough: Ends the wait early.

    Raises:
        MlinkError: The run has failed, and the events that came before do not decide.
    """
    history = run.history

    def look() -> Inside:
        events = history.of(bound.channel, window.start_usec, window.end_usec)
        return Inside.sort(((each, bound.surely_matches(each)) for each in events), window)

    def decided() -> bool:
        over = run.sight.is_over(bound.channel, window.end_usec)
        return over or (enough is not None and enough(look()))

    left_sec = (window.end_usec - run.now_usec()) / 1e6
    lag = ""
    if not history.wait(decided, max(left_sec, 0.0)) and run.alive:
        lag = run.sight.complete(bound.channel, window.end_usec, decided)
    inside = look()
    until_usec = min(window.end_usec, run.now_usec())
    unseen = run.sight.unseen(bound.channel, window.start_usec, until_usec)
    if unseen is None and lag:
        unseen = Unseen(run.tap.drained_usec, lag)
    inside = replace(inside, unseen=unseen, cut=run.sight.ended_before(window.end_usec))
    if enough is None or not enough(inside):
        run.check()  # the run's failure explains more than a missing event
    return inside


def first_of(inside: Inside, window: Window) -> Event:
    """Return the first event that surely is one, with a bound for one that may have come before it.

    Args:
        inside: What was seen in a window, with an event that surely is one.
        window: The window.
    """
    answer = inside.sure[0]
    left_open = [each for each in inside.possible if each.after_loss]
    before = [each.earliest_usec for each in left_open if each.time_usec < answer.time_usec]
    if inside.unseen is not None:
        before.append(inside.unseen.from_usec)
    if not before:
        return answer
    earliest_usec = max(min(before), window.start_usec)
    return replace(answer, early_usec=max(answer.early_usec, answer.time_usec - earliest_usec))
