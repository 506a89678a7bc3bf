"""States which readings and rows came while bytes changed on the line, without check values.

Such messages cannot show that they are whole. Most changed bytes make a message that cannot be,
which is noticed; a few make a wrong level, time or value that is possible. So what came around each
one that was noticed is in doubt: it is sent and counted, and the table of events has from when
to when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from mlink.context import ModuleContext
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session

AROUND_S: Final = 10
"""Time before and after a change that was noticed: noise that goes on is noticed in it again."""
_AROUND_NS: Final = AROUND_S * 1_000_000_000
_REMEDY: Final = (
    "Check its cable and ground, keep it from motors and mains, or install mlink's present"
    " firmware, which adds check values: mlink flash DEVICE."
)


class _Items(NamedTuple):
    """Numbers of items that were sent without a check value."""

    readings: int = 0
    rows: int = 0

    def since(self, before: _Items) -> _Items:
        return _Items(self.readings - before.readings, self.rows - before.rows)

    def with_more(self, more: _Items) -> _Items:
        return _Items(self.readings + more.readings, self.rows + more.rows)

    def __str__(self) -> str:
        rows = f" and {self.rows} rows" if self.rows else ""
        return f"{self.readings} readings{rows}"


class Doubts:
    """The readings and rows in doubt of one board; `look` is called some times a second.

    Args:
        context: The module's context.
        session: The connection to the board.
        readings: Counts the readings, and those with a check value, which are not in doubt.
        note: Called with a keyword and a text for the table of events.
        count_rows: Returns the rows of tables so far that are from messages without a check value.
    """

    def __init__(
        self,
        context: ModuleContext[FirmataSettings],
        session: Session,
        readings: Readings,
        *,
        note: Callable[[str, str], None],
        count_rows: Callable[[], int] = lambda: 0,
    ) -> None:
        self._context = context
        self._session = session
        self._readings = readings
        self._note = note
        self._count_rows = count_rows
        self._noticed = False
        self._last_ns: int | None = None
        """When a change was noticed last."""
        self._recent: deque[tuple[int, _Items]] = deque([(session.waiting.now_ns(), _Items())])
        """Times of the last looks, and what had been sent without a check value by then."""
        self._since: _Items | None = None
        """What had been sent without a check value when the present doubt begins."""
        self._count = _Items()
        """What was in doubt before the present one."""

    @property
    def count(self) -> int:
        """Readings in doubt so far."""
        now = 0 if self._since is None else self._unchecked().since(self._since).readings
        return self._count.readings + now

    def notice(self) -> None:
        """Take a message that was refused, lost or corrected: bytes change on the line."""
        self._noticed = True

    def look(self, now_ns: int) -> None:
        """Begin a doubt, or end it when nothing was noticed for long."""
        recent = self._recent
        recent.append((now_ns, self._unchecked()))
        while len(recent) > 1 and recent[1][0] <= now_ns - _AROUND_NS:
            recent.popleft()
        if self._noticed:
            self._noticed, self._last_ns = False, now_ns
        is_noisy = self._last_ns is not None and now_ns - self._last_ns <= _AROUND_NS
        self._readings.expect_noise(is_noisy)
        since_ns, since = recent[0]
        if is_noisy and self._since is None and since != self._unchecked():
            self._since = since
            begin_usec = max(0, self._context.clock.from_monotonic_ns(since_ns))
            self._note("line-noisy", f"readings from {begin_usec} µs on may be wrong")
            if not any(self._count):
                self._context.log.warning(
                    "%s: bytes change on the line from the board, and messages of it have no check"
                    " value: readings and rows up to %d s before and after may have a wrong level,"
                    " value or time. They are counted, and `line-noisy` on events has the times."
                    " %s",
                    self._session.name,
                    AROUND_S,
                    _REMEDY,
                )
        elif not is_noisy:
            self._end()

    def finish(self) -> None:
        """End the present doubt: no reading follows."""
        self.look(self._session.waiting.now_ns())
        self._end()

    def report(self) -> None:
        """Report what is in doubt for the run's summary."""
        for key, count in zip(("readings_in_doubt", "rows_in_doubt"), self._count, strict=True):
            if count:
                self._context.report(key, count)
        if any(self._count):
            self._context.note_loss(
                f"{self._count} of {self._session.name} came while bytes changed on its line, and"
                " have no check value: their levels, values or times may be wrong",
                _REMEDY,
            )

    def _end(self) -> None:
        if self._since is None:
            return
        count = self._unchecked().since(self._since)
        self._count = self._count.with_more(count)
        self._since = None
        self._recent.clear()
        self._recent.append((self._session.waiting.now_ns(), self._unchecked()))
        self._note("line-quiet", f"{count} until now may be wrong")

    def _unchecked(self) -> _Items:
        return _Items(self._readings.sent - self._readings.checked, self._count_rows())
