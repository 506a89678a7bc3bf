"""A thread outside of a run, such as a test's, that takes part in its virtual time.

While the thread's own code runs, virtual time stands still. Time passes while it waits: the engine
then leads the run until something has come for the thread, or its time has. So what the thread
sees, and when, follows from the run alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from mlink.engine.virtual_time.conductor import NEVER_USEC
from mlink.errors import ControlError

_STEP_S = 1.0


class Participant:
    """Has the turn from the start of the run on; `wait` gives it to the run for a while.

    Args:
        modules: Modules whose turns bring something for the thread, such as the tap.
        catch_up: Called in the thread with the devices and modules that may have sent something,
            before it looks whether its wait is over. Returns when all of that has arrived.
            None: only an edge that halts a device brings something.
    """

    def __init__(
        self,
        modules: Iterable[str] = (),
        catch_up: Callable[[frozenset[str]], object] | None = None,
    ) -> None:
        self.now_usec = 0
        """Master time, µs."""
        self.until_usec = 0
        """Master time up to which the thread waits, µs."""
        self._modules = frozenset(modules)
        self._catch_up = catch_up
        self.zero_usec = 0
        """Virtual time at which the run has started, µs."""
        self._news: set[str] = set()
        self._waiting = threading.Lock()
        self._changed = threading.Condition()
        self._has_turn = True
        self._goes_on = False
        """Whether the run goes on without the thread."""
        self._ended = False
        self._wake: Callable[[], object] = bool

    # the thread ---------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Let virtual time pass until `done` returns True, at most `timeout_s` of it.

        Returns:
            What `done` returned last; False after the time, or at the end of the run.

        Raises:
            ControlError: Another thread waits already.
        """
        with self._alone():
            until_usec = self.now_usec + round(timeout_s * 1e6)
            while not done():
                if self._ended or self.now_usec >= until_usec:
                    return False
                self._pass_time(until_usec)
            return True

    def go_on(self) -> None:
        """Let the run go on without the thread, until `pause`."""
        with self._alone(), self._changed:
            self._goes_on, self.until_usec, self._has_turn = True, NEVER_USEC, False
        self._wake()

    def pause(self) -> None:
        """Take the turn as soon as the turn that is under way has ended."""
        with self._alone():
            with self._changed:
                self._goes_on = False
            if not self._has_turn:
                self._pass_time(0)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make sure that no other thread waits."""
        if not self._waiting.acquire(blocking=False):
            raise ControlError(
                "two threads of a test or program wait in virtual time at once",
                remedy="Wait in one thread, or run in real time.",
            )
        try:
            yield
        finally:
            self._waiting.release()

    def _pass_time(self, until_usec: int) -> None:
        with self._changed:
            self.until_usec, self._has_turn = until_usec, False
        self._wake()
        with self._changed:
            while not (self._has_turn or self._ended):
                self._changed.wait(_STEP_S)
            news, self._news = frozenset(self._news), set()
        if news and self._catch_up is not None:
            self._catch_up(news)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self._ended

    # the engine ---------------------------------------------------------------------------

    def begin(self, wake: Callable[[], object], zero_usec: int) -> None:
        """Begin with the run.

        Args:
            wake: Wakes the engine when the thread gives its turn; called in the thread.
            zero_usec: Virtual time of the run's start, µs.
        """
        self._wake, self.zero_usec = wake, zero_usec

    @property
    def has_turn(self) -> bool:
        """Whether the thread's code runs, so that time stands still."""
        return self._has_turn

    @property
    def has_news(self) -> bool:
        """Whether something may have come for the thread."""
        return bool(self._news) and not self._goes_on

    def note_turn(self, module: str) -> None:
        """Note that a module has had a turn."""
        if module in self._modules:
            self._news.add(module)

    def note_sent(self, devices: Iterable[str]) -> None:
        """Note that devices have sent something."""
        if self._catch_up is not None:
            self._news.update(devices)

    def note_halted(self, devices: Iterable[str]) -> None:
        """Note that edges have halted devices."""
        self._news.update(devices)

    def give(self, now_usec: int) -> None:
        """Give the turn to the thread, at a master time."""
        with self._changed:
            self.now_usec, self._has_turn = now_usec, True
            self._changed.notify_all()

    def end(self) -> None:
        """End all waits: the run is over."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
