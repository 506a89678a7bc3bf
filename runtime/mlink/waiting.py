"""What a driver waits for: bytes on a descriptor, and moments. A driver owns no thread that sleeps.

The driver registers calls. In real time `ServiceLoop` makes them in one thread with the priority
that was granted; in virtual time the module's host makes them in its turns
(`worker/virtual_time/`). The same driver code runs in both. Calls are made one at a time.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from mlink.closing import ClosesOnExit
from mlink.realtime import IO_PRIORITY, Granted, request_priority, wake_on_time

_JOIN_S: Final = 5.0
_EXACT_NS: Final = 3_000_000
"""Waits shorter than this use select(), which has µs; poll() has ms and is faster."""
_LARGEST_SELECT_FD: Final = 1023
_log = logging.getLogger(__name__)

Call = Callable[[], object]
OnReadable = Callable[[int], object]
"""Called with the present time in ns of CLOCK_MONOTONIC (virtual in virtual time)."""


class Registration(Protocol):
    """A call that was registered."""

    def cancel(self) -> None:
        """Make the call no more.

        Once this has returned, no call on a descriptor is running in another thread. A call at a
        moment may still be running.
        """


class Waiting(Protocol):
    """Makes a driver's calls when what they wait for has come; any thread may register calls."""

    is_virtual: bool
    """Whether time is virtual: it moves only while modules wait."""
    granted: Granted | None
    """Scheduling of the thread that makes the calls; None until it runs, and in virtual time."""

    def now_ns(self) -> int:
        """Return the present time, ns of CLOCK_MONOTONIC; virtual in virtual time."""

    def on_readable(self, fd: int, call: OnReadable) -> Registration:
        """Call each time a descriptor is readable or hung up; cancel before closing it."""

    def at(self, time_ns: int, call: Call) -> Registration:
        """Call once at a moment, as `now_ns` counts."""

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `done` returns True; calls are made meanwhile.

        `done` is evaluated after each call that was made, and after `look_again`. May be used in a
        call of this object.

        Returns:
            False when `timeout_s` is over.
        """

    def look_again(self) -> None:
        """Let running `until` evaluate their conditions again."""

    def settle(self) -> None:
        """Wait until the call that runs in another thread has ended, at most 5 s."""

    def close(self) -> None:
        """Make no more calls."""


class Watch:
    """The call for a descriptor.

    Args:
        fd: The descriptor.
        call: Called when it is readable.
        forget: Called to cancel it.
    """

    __slots__ = ("_forget", "call", "fd")

    def __init__(self, fd: int, call: OnReadable, forget: Callable[[Watch], object]) -> None:
        self.fd, self.call, self._forget = fd, call, forget

    def cancel(self) -> None:
        """Make the call no more."""
        self._forget(self)


class Alarm:
    """A call at a moment; `heapq` orders them by moment, then by registration."""

    __slots__ = ("call", "number", "time_ns")

    def __init__(self, time_ns: int, number: int, call: Call) -> None:
        self.time_ns, self.number = time_ns, number
        self.call: Call | None = call

    def __lt__(self, other: Alarm) -> bool:
        return (self.time_ns, self.number) < (other.time_ns, other.number)

    def cancel(self) -> None:
        """Make the call no more."""
        self.call = None


class ServiceLoop(ClosesOnExit):
    """`Waiting` in real time: owns one thread, from the first registration to `close`.

    A registration after `close` starts another thread.

    Args:
        name: Name of the thread.
        on_error: Called in the thread with an exception of a call; by default it is logged.
        priority: Wanted real-time priority, 1 to 99.
    """

    is_virtual = False

    def __init__(
        self,
        name: str,
        on_error: Callable[[Exception], object] | None = None,
        *,
        priority: int = IO_PRIORITY,
    ) -> None:
        self.granted: Granted | None = None
        self._name = name
        self._on_error = on_error
        self._priority = priority
        self._calling = threading.RLock()
        """Held while calls are made."""
        self._made = threading.Condition(self._calling)
        self._waiters = 0
        self._rounds = 0
        """How often the thread has waited."""
        self._changing = threading.Lock()
        """Guards all that follows; never held while a call is made."""
        self._watches: dict[int, Watch] = {}
        self._alarms: list[Alarm] = []
        self._numbers = itertools.count()
        self._poll = select.poll()
        self._wake_fd = -1
        self._thread: threading.Thread | None = None

    now_ns = staticmethod(time.monotonic_ns)
    """Returns the present time, ns of CLOCK_MONOTONIC."""

    def on_readable(self, fd: int, call: OnReadable) -> Registration:
        """Call each time a descriptor is readable or hung up; cancel before closing it."""
        watch = Watch(fd, call, self._forget)
        with self._changing:
            self._watches[fd] = watch
            self._poll.register(fd, select.POLLIN)
            self._serve()
        return watch

    def at(self, time_ns: int, call: Call) -> Registration:
        """Call once at a moment, ns of CLOCK_MONOTONIC."""
        alarm = Alarm(time_ns, next(self._numbers), call)
        with self._changing:
            heapq.heappush(self._alarms, alarm)
            if self._alarms[0] is alarm:
                self._serve()
        return alarm

    def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `done` returns True, at most `timeout_s`; in a call, others are made."""
        thread = self._thread
        if threading.current_thread() is not thread:
            with self._made:
                self._waiters += 1
                try:
                    return self._made.wait_for(done, timeout_s)
                finally:
                    self._waiters -= 1
        end_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        while not done():
            left_ns = end_ns - time.monotonic_ns()
            if left_ns <= 0 or self._thread is not thread:
                return done()
            self._turn(left_ns)
        return True

    def look_again(self) -> None:
        """Let running `until` evaluate their conditions again."""
        with self._changing:
            self._wake()

    def close(self) -> None:
        """Make no more calls, end the thread; may be called again, also in a call."""
        with self._changing:
            thread, self._thread = self._thread, None
            self._watches.clear()
            self._alarms.clear()
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)
            if thread.is_alive():
                _log.error("%s did not end within %g s", self._name, _JOIN_S)

    def _forget(self, watch: Watch) -> None:
        """Remove a descriptor's call; wait for one that runs in the loop's thread."""
        with self._changing:
            if self._watches.get(watch.fd) is watch:
                del self._watches[watch.fd]
                self._poll.unregister(watch.fd)
            rounds = self._rounds
            self._wake()
        if self._thread is None or threading.current_thread() is self._thread:
            return
        # A file stays open as long as the thread waits for it: its lock would not be free.
        with self._made:
            self._waiters += 1
            self._made.wait_for(lambda: self._rounds != rounds or self._thread is None, _JOIN_S)
            self._waiters -= 1

    def settle(self) -> None:
        """Wait until the call that runs in the loop's thread has ended, at most 5 s."""
        if self._calling.acquire(timeout=_JOIN_S):
            self._calling.release()
        else:
            _log.error("%s: a call did not return within %g s", self._name, _JOIN_S)

    # -- the thread ----------------------------------------------------------------------------

    def _serve(self) -> None:
        """Start the thread, or let it see a new registration."""
        if self._thread is None:
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._poll = select.poll()
            for fd in (self._wake_fd, *self._watches):
                self._poll.register(fd, select.POLLIN)
            # A daemon thread, so that a script that does not close the loop can end.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        elif threading.current_thread() is not self._thread:
            self._wake()

    def _wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        wake_on_time()
        self.granted = request_priority(self._priority)
        thread, wake_fd = threading.current_thread(), self._wake_fd
        while self._thread is thread:
            self._turn(None)
        with self._changing:
            if self._wake_fd == wake_fd:
                self._wake_fd = -1
            os.close(wake_fd)

    def _turn(self, limit_ns: int | None) -> None:
        """Wait once, at most `limit_ns`, and make the calls that are due."""
        ready = self._wait(limit_ns)
        now_ns = time.monotonic_ns()  # before the calls, which release the interpreter lock
        with self._calling:
            self._rounds += 1
            for fd in ready:
                if (watch := self._watches.get(fd)) is not None:
                    self._make(watch.call, now_ns)
                elif fd == self._wake_fd:
                    self._clear()
            if self._alarms:
                self._make_due()
            if self._waiters:
                self._made.notify_all()

    def _wait(self, limit_ns: int | None) -> list[int]:
        """Return the descriptors that are ready before the limit and the next alarm."""
        with self._changing:
            alarm = self._alarms[0] if self._alarms else None
        if alarm is not None:
            left_ns = max(0, alarm.time_ns - time.monotonic_ns())
            limit_ns = left_ns if limit_ns is None else min(limit_ns, left_ns)
        if limit_ns is None:
            return [fd for fd, _ in self._poll.poll()]
        if limit_ns > _EXACT_NS:
            return [fd for fd, _ in self._poll.poll((limit_ns - _EXACT_NS // 2) // 1_000_000)]
        with self._changing:
            fds = [self._wake_fd, *self._watches]
        if max(fds) > _LARGEST_SELECT_FD:
            return [fd for fd, _ in self._poll.poll(-(-limit_ns // 1_000_000))]
        return select.select(fds, [], [], limit_ns / 1e9)[0]

    def _make_due(self) -> None:
        while True:
            with self._changing:
                if not self._alarms or self._alarms[0].time_ns > time.monotonic_ns():
                    return
                alarm = heapq.heappop(self._alarms)
            if alarm.call is not None:
                self._make(alarm.call)

    def _make(self, call: Callable[..., object], *arguments: int) -> None:
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - the other calls must still be made
            if self._on_error is None:
                _log.exception("%s: a call failed", self._name)
            else:
                self._on_error(error)

    def _clear(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass  # cleared by an `until` within a call
