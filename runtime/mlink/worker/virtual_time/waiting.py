"""What a driver waits for, in virtual time: its calls are made in the turns of its module."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from mlink.clock import ManualClock
from mlink.realtime import Granted
from mlink.waiting import Call, OnReadable, Registration, Watch
from mlink.worker.virtual_time.agenda import Agenda


class Turns(Protocol):
    """The part of the host that lets other modules run."""

    def pause(self, until_usec: int) -> bool:
        """Let others run until a time; return False when the run is over for this module."""


class _Alarm:
    """A call at a moment."""

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call

    def cancel(self) -> None:
        """Make the call no more."""
        self._call = None

    def make(self) -> None:
        """Make the call, unless it was cancelled."""
        if self._call is not None:
            self._call()


class VirtualWaiting:
    """Implements `mlink.waiting.Waiting`; its moments are exact to the µs.

    Args:
        time: Virtual time, µs.
        turns: Lets other modules run while a driver waits.
        fail: Called with an exception of a call.
    """

    is_virtual = True
    granted: Granted | None = None

    def __init__(
        self, time: ManualClock, turns: Turns, fail: Callable[[BaseException], object]
    ) -> None:
        self._time = time
        self._turns = turns
        self._fail = fail
        self._agenda = Agenda()
        self._watches: dict[int, Watch] = {}
        self._poll = select.poll()

    @property
    def next_usec(self) -> int | None:
        """Time of the next call in µs; None when there is none."""
        return self._agenda.next_usec

    def now_ns(self) -> int:
        """Return virtual time in ns."""
        return self._time.time_usec * 1000

    def on_readable(self, fd: int, call: OnReadable) -> Registration:
        """Call in each turn in which a descriptor is readable; cancel before closing it."""
        watch = self._watches[fd] = Watch(fd, call, self._forget)
        self._poll.register(fd, select.POLLIN)
        return watch

    def at(self, time_ns: int, call: Call) -> Registration:
        """Call once at a moment, rounded up to whole µs."""
        alarm = _Alarm(call)
        self._agenda.call_at(max(-(-time_ns // 1000), self._time.time_usec), alarm.make)
        return alarm

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Let virtual time pass until `done` returns True, at most `timeout_s`."""
        end_usec = self._time.time_usec + round(timeout_s * 1e6)
        while not done():
            if self.serve():
                continue
            now_usec, due_usec = self._time.time_usec, self.next_usec
            if now_usec >= end_usec:
                return done()
            until = end_usec if due_usec is None else min(due_usec, end_usec)
            if not self._turns.pause(until):
                return done()
        return True

    def look_again(self) -> None:
        """Do nothing: conditions are evaluated in each turn."""

    def serve(self) -> bool:
        """Make the calls that are due; return whether there was any."""
        served = False
        for fd, _ in self._poll.poll(0) if self._watches else ():
            if (watch := self._watches.get(fd)) is not None:
                served = True
                self._make(lambda watch=watch: watch.call(self.now_ns()))  # type: ignore[misc]
        due_usec = self._agenda.next_usec
        if due_usec is not None and due_usec <= self._time.time_usec:
            served = True
            self._make(lambda: self._agenda.run_due(self._time.time_usec))
        return served

    def settle(self) -> None:
        """Do nothing: calls are made in this thread."""

    def close(self) -> None:
        """Make no more calls."""
        self._agenda = Agenda()
        for watch in list(self._watches.values()):
            watch.cancel()

    def _forget(self, watch: Watch) -> None:
        if self._watches.get(watch.fd) is watch:
            del self._watches[watch.fd]
            self._poll.unregister(watch.fd)

    def _make(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the other calls must still be made
            self._fail(error)
