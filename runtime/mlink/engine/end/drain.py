"""How far a worker has come with its queues at the stop: what is left, and how fast it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

from mlink.engine.plan import Edge
from mlink.engine.workers import WorkerHandle

_FIRST_LINE_S = 2.0
_LINE_PERIOD_S = 5.0


class Drain:
    """Watches one worker from now on, and makes a line for the log now and then.

    Args:
        worker: The worker that drains.
        edges: The run's subscriptions.
        workers: All workers by module name; the sources have the counts of what was sent.
    """

    def __init__(
        self, worker: WorkerHandle, edges: Sequence[Edge], workers: Mapping[str, WorkerHandle]
    ) -> None:
        self._worker = worker
        self._inputs = [
            (edge, [each for each in edges if each.stream == edge.stream].index(edge))
            for edge in edges
            if edge.target == worker.name
        ]
        """Each subscription, and its number among those to its stream."""
        self._workers = workers
        self._began_s = monotonic()
        self._taken_before = self._taken()
        self._next_line_s = self._began_s + _FIRST_LINE_S

    def line(self) -> str:
        """Return a line when one is due and items are left, else ""."""
        now = monotonic()
        if now < self._next_line_s:
            return ""
        left = sum(self._left(edge, number) for edge, number in self._inputs)
        if left <= 0:
            return ""
        self._next_line_s = now + _LINE_PERIOD_S
        rate = (self._taken() - self._taken_before) / (now - self._began_s)
        pace = "none since the stop"
        if rate:
            digits = 0 if round(rate, 2) >= 10 else 2
            pace = f"{rate:,.{digits}f} per second, about {left / rate:,.0f} s"
        return f"takes what is left in its queue: {left:,} items, {pace}; a second Ctrl-C gives up"

    def _left(self, edge: Edge, number: int) -> int:
        """Return the items of a subscription that wait: sent, and neither received nor lost.

        The sender knows what it has lost before the subscriber comes to the gap.
        """
        source, count = self._workers[edge.source], self._worker.received.get(edge.target_port)
        refused = source.lost.get(edge.source_port, [])[number : number + 1]
        lost = max([count.lost if count else 0, *refused])
        return source.sent.get(edge.source_port, 0) - lost - (count.received if count else 0)

    def _taken(self) -> int:
        """Return the items received."""
        counts = [self._worker.received.get(edge.target_port) for edge, _ in self._inputs]
        return sum(count.received for count in counts if count is not None)
