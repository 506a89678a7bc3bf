"""How long the handlers of a script's inputs take, in real time: its costs in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from mlink.lateness import Distribution


class HandlerTimes:
    """The durations of handlers by input, without the waits in them."""

    def __init__(self) -> None:
        self._by_port: dict[str, Distribution] = {}
        self._waited_ns = 0

    def of(self, port: str) -> Callable[[Callable[[Any], object], Any], None]:
        """Return a function that calls a handler with an item of this input, and times it."""
        durations = self._by_port[port] = Distribution()

        def call(handler: Callable[[Any], object], item: Any) -> None:
            began_ns, waited_ns = monotonic_ns(), self._waited_ns
            handler(item)
            durations.note(monotonic_ns() - began_ns - (self._waited_ns - waited_ns))

        return call

    def wait(self, wait: Callable[[], object]) -> None:
        """Make a call that waits, and may handle items meanwhile: it is no part of a handler."""
        began_ns, waited_ns = monotonic_ns(), self._waited_ns
        wait()
        self._waited_ns = waited_ns + monotonic_ns() - began_ns

    def counts(self) -> dict[str, dict[int, int]]:
        """Return how often each duration was taken: input → µs → how many."""
        return {port: each.counts for port, each in self._by_port.items() if each.counts}

    def figures(self) -> dict[str, float]:
        """Return the figures for the run's summary; none when nothing was handled."""
        together = Distribution()
        for each in self._by_port.values():
            together.add(each)
        if not together.counts:
            return {}
        return {
            "handler_p50_usec": together.quantile_usec(0.5),
            "handler_p99_usec": together.quantile_usec(0.99),
            "handler_max_usec": together.max_ns // 1000,
        }
