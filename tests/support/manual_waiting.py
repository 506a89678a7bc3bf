"""A `Waiting` whose time moves only while somebody waits: calls are made at once, in order."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from mlink.waiting import Alarm, Call, OnReadable, Registration


class ManualWaiting:
    """Knows moments only; a test advances it by `until` or `advance`."""

    is_virtual = True
    granted = None

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self._now_ns = now_ns
        self._alarms: list[Alarm] = []
        self._numbers = itertools.count()

    def now_ns(self) -> int:
        return self._now_ns

    def on_readable(self, fd: int, call: OnReadable) -> Registration:
        raise NotImplementedError

    def at(self, time_ns: int, call: Call) -> Registration:
        alarm = Alarm(time_ns, next(self._numbers), call)
        heapq.heappush(self._alarms, alarm)
        return alarm

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        end_ns = self._now_ns + round(timeout_s * 1e9)
        while not done():
            if not self._alarms or self._alarms[0].time_ns > end_ns:
                self._now_ns = end_ns
                return done()
            alarm = heapq.heappop(self._alarms)
            self._now_ns = max(self._now_ns, alarm.time_ns)
            if alarm.call is not None:
                alarm.call()
        return True

    def advance(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    @property
    def pending(self) -> int:
        """Calls that are still to be made."""
        return sum(alarm.call is not None for alarm in self._alarms)

    def look_again(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self._alarms.clear()
