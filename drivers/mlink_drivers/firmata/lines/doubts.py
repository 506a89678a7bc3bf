"""States which readings came while bytes changed on the line, from a board without check values.

Such a board cannot show that a message is whole. Most changed bytes make a message that cannot be,
which is noticed; a few make a wrong level or time that is possible. So the readings around each
one that was noticed are in doubt: they are sent and counted, and the table of events has from when
to when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

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


class Doubts:
    """The readings in doubt of one board; `look` is called some times a second.

    Args:
        context: The module's context.
        session: The connection to the board.
        readings: Counts the readings, and those with a check value, which are not in doubt.
        note: Called with a keyword and a text for the table of events.
    """

    def __init__(
        self,
        context: ModuleContext[FirmataSettings],
        session: Session,
        readings: Readings,
        *,
        note: Callable[[str, str], None],
    ) -> None:
        self._context = context
        self._session = session
        self._readings = readings
        self._note = note
        self._noticed = False
        self._last_ns: int | None = None
        """When a change was noticed last."""
        self._recent: deque[tuple[int, int]] = deque([(session.waiting.now_ns(), 0)])
        """Times of the last looks, and how many unchecked readings had been sent by then."""
        self._since: int | None = None
        """Unchecked readings that had been sent when the present doubt begins."""
        self._count = 0
        """Readings in doubt before the present one."""

    @property
    def count(self) -> int:
        """Readings in doubt so far."""
        return self._count + (0 if self._since is None else self._unchecked() - self._since)

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
        if is_noisy and self._since is None and since < self._unchecked():
            self._since = since
            begin_usec = max(0, self._context.clock.from_monotonic_ns(since_ns))
            self._note("line-noisy", f"readings from {begin_usec} µs on may be wrong")
            if not self._count:
                self._context.log.warning(
                    "%s: bytes change on the line from the board, and its firmware sends no check"
                    " values: readings up to %d s before and after may have a wrong level or time."
                    " They are counted, and `line-noisy` on events has the times. %s",
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
        """Report the readings in doubt for the run's summary."""
        if self._count:
            self._context.report("readings_in_doubt", self._count)
            self._context.note_loss(
                f"{self._count} reading(s) of {self._session.name} came while bytes changed on its"
                " line, and have no check value: their levels or times may be wrong",
                _REMEDY,
            )

    def _end(self) -> None:
        if self._since is None:
            return
        count = self._unchecked() - self._since
        self._count += count
        self._since = None
        self._recent.clear()
        self._recent.append((self._session.waiting.now_ns(), self._unchecked()))
        self._note("line-quiet", f"{count} readings until now may be wrong")

    def _unchecked(self) -> int:
        return self._readings.sent - self._readings.checked
