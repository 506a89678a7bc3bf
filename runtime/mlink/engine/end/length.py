"""Ends a run in real time after its length, which counts from the call of start."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlink.clock import Clock
from mlink.engine.outcome import Outcome
from mlink.engine.stalls.place import Place
from mlink.engine.workers import State, WorkerHandle


class RunLength:
    """Watches the time that is left of a run.

    Args:
        duration_s: Length of the run in s; None for a run without one.
        grace_s: How much longer modules that still start may take, so that a short run has all its
            data.
        outcome: Ends the run.
    """

    def __init__(self, duration_s: float | None, grace_s: float, outcome: Outcome) -> None:
        self._duration_s = duration_s
        self._grace_s = grace_s
        self._outcome = outcome
        self._clock: Clock | None = None

    def begin(self, clock: Clock) -> None:
        """Count from now on; `clock` is the master timer, which has started."""
        self._clock = clock

    def left_s(self, most_s: float) -> float:
        """Return the time that is left, `most_s` at most."""
        if self._duration_s is None or self._clock is None:
            return most_s
        return max(0.0, min(most_s, self._duration_s - self._clock.now_usec() / 1e6))

    def check(
        self, workers: Iterable[WorkerHandle], place: Callable[[WorkerHandle], Place]
    ) -> None:
        """End the run if its time is over; workers that have not started by then have failed.

        Args:
            workers: All workers of the run.
            place: Returns where a worker stands.
        """
        if self._duration_s is None or self._clock is None or self._outcome.ending:
            return
        now_s = self._clock.now_usec() / 1e6
        if now_s < self._duration_s:
            return
        late = [worker for worker in workers if worker.state < State.STARTED]
        if late and now_s < self._duration_s + self._grace_s:
            return
        self._outcome.stop(f"{self._duration_s:g} s are over")
        for worker in late:
            if worker.state == State.STARTING:
                what = f"had not started when the {self._duration_s:g} s of the run were over"
                stands = place(worker)
                remedy = stands.remedy or "Let its start() return sooner, or make the run longer."
                self._outcome.fail_worker(worker, "start", what + stands.clause, remedy)
