"""All events of a run that have reached the test process, by channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice

from mlink_hil.testing.observed.events import Event

KEPT_EVENTS = 100_000
"""Per channel; beyond it the oldest half is dropped."""


class History:
    """Events in order of time, by channel; safe to use from many threads.

    The oldest half of a channel's events is dropped when there are more than 100,000.
    """

    def __init__(self) -> None:
        self._channels: dict[str, list[Event]] = {}
        self._forgotten: dict[str, int] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._ended = False
        self.let_pass: Callable[[Callable[[], bool], float], bool] | None = None
        """Waits in virtual time (`Participant.wait`); None in real time."""

    @property
    def in_turns(self) -> bool:
        """Whether time is virtual: it stands still while the test's code runs."""
        return self.let_pass is not None

    def add(self, events: Iterable[Event]) -> None:
        """Add events, in any order, and wake all that wait."""
        with self._changed:
            for event in events:
                kept = self._channels.setdefault(event.channel, [])
                kept.append(event)
                if len(kept) > 1 and kept[-2].time_usec > event.time_usec:
                    kept.sort(key=lambda each: each.time_usec)
                if len(kept) > KEPT_EVENTS:
                    newest_usec = max(each.latest_usec for each in kept[: KEPT_EVENTS // 2])
                    self._forgotten[event.channel] = newest_usec
                    del kept[: KEPT_EVENTS // 2]
            self._version += 1
            self._changed.notify_all()

    def end(self) -> None:
        """End all waits: nothing will be added any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def channels(self) -> list[str]:
        """Return the channels that have events, sorted."""
        with self._changed:
            return sorted(self._channels)

    def forgotten_usec(self, channel: str) -> int | None:
        """Return the latest time of an event of a channel that was dropped; None without one."""
        with self._changed:
            return self._forgotten.get(channel)

    def of(
        self, channel: str, from_usec: int | None = None, to_usec: int | None = None
    ) -> list[Event]:
        """Return a channel's events whose times may lie between two master times, in order.

        Args:
            channel: The channel.
            from_usec: First master time; None for the beginning of the run.
            to_usec: Last master time; None for the present.
        """
        with self._changed:
            events = self._channels.get(channel, [])
            found = []
            # Backwards: most requests are for what has just happened.
            for event in reversed(events):
                if from_usec is not None and event.latest_usec < from_usec:
                    break
                if to_usec is None or event.earliest_usec <= to_usec:
                    found.append(event)
        found.reverse()
        return found

    def last(self, channel: str, before_usec: int | None = None) -> Event | None:
        """Return a channel's newest event; None without one.

        Args:
            channel: The channel.
            before_usec: Master time before which the event must be; None for the present.
        """
        with self._changed:
            events = self._channels.get(channel, ())
            fitting = (
                event
                for event in reversed(events)
                if before_usec is None or event.time_usec < before_usec
            )
            return next(islice(fitting, 1), None)

    def wait(self, done: Callable[[], bool], timeout_sec: float) -> bool:
        """Wait until `done()` is true; it is called at the start and after each change.

        Returns:
            False when the time, or the run, is over first.
        """
        if self.let_pass is not None:
            return self.let_pass(done, timeout_sec)
        deadline = time.monotonic() + timeout_sec
        version = -1
        while True:
            with self._changed:
                while version == self._version and not self._ended:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        break
                version = self._version
            if done():
                return True
            if self._ended or time.monotonic() >= deadline:
                return False
