"""A test's handles for boards and their lines."""

from __future__ import annotations

from collections.abc import Callable

from mlink.errors import DeviceError
from mlink_hil.control.checked import checked
from mlink_hil.control.messages import Drive, StatsReply
from mlink_hil.control.watcher import BoardLink
from mlink_hil.testing.arguments import check_seconds
from mlink_hil.testing.bench_run import BenchRun
from mlink_hil.testing.observed.events import Event
from mlink_hil.testing.verdicts import hidden_in_tracebacks

__tracebackhide__ = hidden_in_tracebacks


class Line:
    """One line of a board, to drive and to read.

    Args:
        run: The run.
        board: Device of the board.
        number: The line.
        note: Called with the event of each drive.
    """

    def __init__(
        self, run: BenchRun, board: str, number: int, note: Callable[[Event], object]
    ) -> None:
        self._run = run
        self._board = board
        self._note = note
        self.number = number

    def drive(self, level: bool | None) -> Event:
        """Wire the line to 5 V (True), to ground (False) or to nothing (None).

        Returns:
            The moment at which it took effect.

        Raises:
            BenchError: The line's number or the level is of a wrong type.
            DeviceError: The board is real and this line is not wired to a tester, or a virtual
                board is gone or has no such line.
            ControlError: The run has ended.
        """
        checked(Drive(self.number, level))  # a tester's line as well
        event = self._run.stimulus.drive(self._board, self.number, level)
        self._note(event)
        return event

    def release(self) -> Event:
        """Wire the line to nothing, as `drive(None)`: the board's pull-up, if any, sets its level.

        A tester's line becomes an input with pull-up.
        """
        return self.drive(None)

    def pulse(self, level: bool, msec: float) -> tuple[Event, Event]:
        """Drive the line for a time, then release it.

        The test process times it, so a busy host makes the pulse longer; not in virtual time.

        Returns:
            The moments at which both took effect.
        """
        check_seconds("pulse", "msec", msec)
        began = self.drive(level)
        self._run.sleep(msec / 1000)
        return began, self.release()

    @property
    def level(self) -> bool:
        """What the line reads now (virtual boards), or has last reported (real ones)."""
        return self._run.stimulus.level(self._board, self.number)


class Board:
    """A board of the bench, by the name of its device.

    Args:
        run: The run.
        name: The device.
        note: Called with the event of each drive of its lines.
    """

    def __init__(self, run: BenchRun, name: str, note: Callable[[Event], object]) -> None:
        self._run = run
        self._note = note
        self.name = name

    def line(self, number: int) -> Line:
        """Return a line.

        Args:
            number: Number of the pin (an Uno has 2 to 19; A0 is 14).
        """
        return Line(self._run, self.name, number, self._note)

    def analog(self, channel: int, volts: float | None) -> None:
        """Put a voltage on an analog input of a virtual board.

        Args:
            channel: Number of the input (0 for A0).
            volts: The voltage; None disconnects the input.

        Raises:
            DeviceError: The board is a real one.
        """
        self._link_to("put a voltage on an input of").analog(channel, volts)

    def stats(self) -> StatsReply:
        """Return the counters of a virtual board's simulation.

        Raises:
            DeviceError: The board is a real one.
        """
        return self._link_to("read the simulation's counters of").stats()

    @property
    def simulated(self) -> bool:
        """Whether the board is a virtual one."""
        return self.name in self._run.boards

    def _link_to(self, what: str) -> BoardLink:
        link = self._run.boards.get(self.name)
        if link is None:
            raise DeviceError(
                f"a test cannot {what} the real board '{self.name}'",
                remedy='Mark the test with @pytest.mark.mlink_needs("simulated").',
            )
        return link
