"""Calls at equal intervals of the master timer; a delay of one does not move the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlink.module import ModuleContext
from mlink.waiting import Registration


class Ticks:
    """Calls a function at multiples of an interval of the master timer, until it is closed.

    A late call is made at once, and the next one keeps its own time: none is left out.

    Args:
        context: Context of the module, which has started.
        interval_ns: Time between two calls, in ns.
        call: Called with the number of the tick, from 1.
    """

    def __init__(
        self, context: ModuleContext[Any], interval_ns: int, call: Callable[[int], object]
    ) -> None:
        self._waiting = context.waiting
        self._interval_ns = interval_ns
        self._call = call
        self._zero_ns = self._waiting.now_ns() - context.clock.now_usec() * 1000
        self._number = 0
        self._closed = False
        self._next: Registration | None = None
        self._plan()

    def _plan(self) -> None:
        self._number += 1
        self._next = self._waiting.at(self._zero_ns + self._number * self._interval_ns, self._tick)

    def _tick(self) -> None:
        if not self._closed:
            self._call(self._number)
            self._plan()

    def close(self) -> None:
        """Make no more calls; one that runs has ended when this returns."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()
        self._waiting.settle()
