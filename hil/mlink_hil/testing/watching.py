"""Waits until a window of time has been seen completely, or enough events of a pattern in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.events import Window
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
        return Inside.sort(filter(bound.matches, events), window)

    def decided() -> bool:
        last = history.last(bound.channel)
        # times only grow: after a later event, nothing in the window can come
        over = last is not None and last.earliest_usec > window.end_usec
        return over or (enough is not None and enough(look()))

    left_sec = (window.end_usec - run.now_usec()) / 1e6
    if not history.wait(decided, max(left_sec, 0.0)) and run.alive:
        run.complete(bound.channel, window.end_usec, decided)
    inside = look()
    if enough is None or not enough(inside):
        run.check()  # the run's failure explains more than a missing event
    return inside
