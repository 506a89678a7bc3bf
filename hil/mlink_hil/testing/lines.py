"""Handles of a test on boards and their lines."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlink.errors import DeviceError
from mlink_hil.control.messages import StatsReply
from mlink_hil.control.watcher import BoardLink
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.events import Event


class Line:
    """One line of a board, as a test drives and watches it."""

    def __init__(
        self, run: BenchRun, board: str, number: int, note: Callable[[Event], object]
    ) -> None:
        self._run = run
        self._board = board
        self._note = note
        self.number = number

    def drive(self, level: bool | None) -> Event:
        """Wire the line to 5 V (True), to ground (False) or to nothing (None).

        The event returned is the moment at which it took effect.
        """
        event = self._run.stimulus.drive(self._board, self.number, level)
        self._note(event)
        return event

    def release(self) -> Event:
        """Wire the line to nothing: what it reads is the board's matter (pull-up)."""
        return self.drive(None)

    def pulse(self, level: bool, msec: float) -> tuple[Event, Event]:
        """Drive for a while, timed by this process, then release; return both moments."""
        began = self.drive(level)
        time.sleep(msec / 1000)
        return began, self.release()

    @property
    def level(self) -> bool:
        """What the line reads now (virtual boards), or has last reported (real ones)."""
        return self._run.stimulus.level(self._board, self.number)


class Board:
    """A board of the bench, by the name of its device."""

    def __init__(self, run: BenchRun, name: str, note: Callable[[Event], object]) -> None:
        self._run = run
        self._note = note
        self.name = name

    def line(self, number: int) -> Line:
        """Return a line by its number (the pin; A0 of an Uno is 14)."""
        return Line(self._run, self.name, number, self._note)

    def analog(self, channel: int, volts: float | None) -> None:
        """Put a voltage on an analog input of a virtual board, or take it off (None)."""
        self._link_of("put a voltage on").analog(channel, volts)

    def stats(self) -> StatsReply:
        """Tell how a virtual board's simulation does."""
        return self._link_of("ask for the simulation of").stats()

    @property
    def simulated(self) -> bool:
        """Whether the board is a virtual one."""
        return self.name in self._run.boards

    def _link_of(self, what: str) -> BoardLink:
        link = self._run.boards.get(self.name)
        if link is None:
            raise DeviceError(
                f"a test cannot {what} the real board '{self.name}'",
                remedy='Mark the test with @pytest.mark.mlink_needs("simulated").',
            )
        return link
