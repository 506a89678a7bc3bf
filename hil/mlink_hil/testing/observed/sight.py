"""What a test has seen of a channel, and what it may have missed.

An event can be missed on its way to the test: a full queue before the tap, a tap that lags, a link
that broke, a history that keeps the newest only, a region that was not watched yet. An expectation
that such an event could decide is inconclusive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from mlink.errors import DeviceError
from mlink.tap.account import BEFORE_ALL
from mlink.tap.link import TapLink
from mlink_hil.control.watcher import BoardLink
from mlink_hil.testing.host.starvation import Snapshot
from mlink_hil.testing.observed.events import Unseen
from mlink_hil.testing.observed.history import History

_LAG_SEC = 10.0
"""Longest wait for a tap that lags behind."""
_GRACE_SEC = 0.5
"""How long after a deadline an item may still be on its way to the test process, at most; longer by
the time for which processes of a virtual bench wait for a processor."""


class SeenRun(Protocol):
    """What this needs of a run; `BenchRun` has it."""

    boards: dict[str, BoardLink]
    tap: TapLink
    history: History
    ended_usec: int | None

    @property
    def alive(self) -> bool:
        """Whether the run still lasts."""

    def now_usec(self) -> int:
        """Return the master time."""

    def to_usec(self, monotonic_ns: int) -> int:
        """Return the master time of a moment on CLOCK_MONOTONIC."""

    def processor_times(self) -> Snapshot:
        """Return a moment to count `starved_usec` from."""

    def starved_usec(self, since: Snapshot | None = None) -> dict[str, int]:
        """Return how long each process of the loop waited for a processor, in µs."""


class Sight:
    """Finds what a run's test may have missed.

    Args:
        run: The run.
        seen_from: Channel → master time from which on it is seen; channels that are seen from the
            run's start are not in it. May be filled later.
    """

    def __init__(self, run: SeenRun, seen_from: Mapping[str, int]) -> None:
        self._run = run
        self._seen_from = seen_from

    def complete(self, channel: str, time_usec: int, decided: Callable[[], bool]) -> str:
        """Wait until no event up to a master time can still come on a channel.

        Exact for the pins of virtual boards. Else it waits until `decided`, or for 0.5 s and until
        the tap has forwarded all that was sent by then.

        Args:
            channel: The channel.
            time_usec: The master time.
            decided: Returns whether later events are irrelevant.

        Returns:
            Why an event may still come; "" when none can.
        """
        link = self._run.boards.get(channel.rpartition(".")[0])
        if link is not None:
            return self._await_board(link, channel, time_usec)
        left_sec = (time_usec - self._run.now_usec()) / 1e6
        since = self._run.processor_times()
        if self._run.history.wait(decided, max(left_sec, 0.0) + _GRACE_SEC):
            return ""
        return self._await_tap(time_usec + round(_GRACE_SEC * 1e6), since)

    def catch_up(self, channel: str) -> str:
        """Wait until what was sent up to now has arrived; return why it has not, or ""."""
        link, now_usec = self._run.boards.get(channel.rpartition(".")[0]), self._run.now_usec()
        if link is not None:
            return self._await_board(link, channel, now_usec)
        return self._await_tap(now_usec, self._run.processor_times())

    def unseen(self, channel: str, from_usec: int, to_usec: int) -> Unseen | None:
        """Return what may have been missed on a channel between two master times, or None."""
        forgotten_usec = self._run.history.forgotten_usec(channel)
        if forgotten_usec is not None and forgotten_usec >= from_usec:
            text = f"only the newest events of {channel} are kept, from {forgotten_usec} µs on"
            return Unseen(BEFORE_ALL, text)
        start_usec = self._seen_from.get(channel, BEFORE_ALL)
        if start_usec > from_usec:
            return Unseen(BEFORE_ALL, f"{channel} was watched from {start_usec} µs on only")
        stream = self._stream(channel)
        if stream is None:
            return None
        tap = self._run.tap
        if found := tap.accounts[stream].unseen(from_usec, to_usec):
            return Unseen(*found)
        if tap.broken:
            return Unseen(tap.drained_usec, tap.broken)
        if tap.ended.is_set() and not tap.complete and tap.drained_usec < to_usec:
            return Unseen(tap.drained_usec, "the tap of this run ended without its last account")
        return None

    def is_over(self, channel: str, time_usec: int) -> bool:
        """Return whether an event later than a master time has come, so that none before can."""
        last = self._run.history.last(channel)
        if last is None:
            return False
        stream = self._stream(channel)
        accounts = self._run.tap.accounts
        earliest_usec = last.earliest_usec
        if stream is not None:
            earliest_usec = accounts[stream].in_order_from(earliest_usec)
        return earliest_usec > time_usec

    def ended_before(self, time_usec: int) -> str:
        """Describe that the run ended before a master time; "" when it did not."""
        ended_usec = self._run.ended_usec
        if ended_usec is None or ended_usec >= time_usec:
            return ""
        return f"the run ended {time_usec - ended_usec} µs before the time was over"

    def _stream(self, channel: str) -> str | None:
        """Return the stream of a channel; None for pins of virtual boards and for faults."""
        channel = channel.partition("[")[0]
        return next(
            (
                stream
                for stream in (channel, channel.rpartition(".")[0])
                if stream in self._run.tap.accounts
            ),
            None,
        )

    def _await_board(self, link: BoardLink, channel: str, time_usec: int) -> str:
        while self._run.alive:
            try:
                present_ns = link.barrier()
                # virtual time stands still, and what has come up to now is all there is
                if self._run.history.in_turns or self._run.to_usec(present_ns) >= time_usec:
                    return ""
            except DeviceError as error:
                # the end of its program is the end of its events
                return f"{channel} is not watched any more: {error}" if link.simulated_on() else ""
            time.sleep(0.001)
        return ""

    def _await_tap(self, time_usec: int, since: Snapshot) -> str:
        """Wait for the tap; it lags on a busy machine, and so do the modules before it."""
        if self._run.history.in_turns:
            return ""  # it had its turn
        deadline = time.monotonic() + _LAG_SEC
        while self._run.alive and time.monotonic() < deadline:
            if self._run.tap.drained_usec >= time_usec:
                longest_usec = max(self._run.starved_usec(since).values(), default=0)
                if self._run.tap.drained_usec >= time_usec + longest_usec:
                    return ""
            if self._run.tap.broken:
                break
            time.sleep(0.005)
        if not self._run.alive:
            return ""
        lag_usec = time_usec - self._run.tap.drained_usec
        return self._run.tap.broken or (
            f"the tap of this run lags {max(lag_usec, 0)} µs behind, after a wait of {_LAG_SEC:g} s"
        )
