"""What a board with mlink's firmware loses in a run: readings, bytes of commands, its own messages.

Each loss is counted, logged, and a row of the table of events; the sums are in the run's summary.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from mlink.errors import DeviceError
from mlink.module import ModuleContext
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.chip.messages import ChipStatus
from mlink_drivers.firmata.chip.numbers import BoardCount
from mlink_drivers.firmata.chip.session import WRONG_CHECK_VALUE
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session

_WARN_PAUSE_S: Final = 1.0
"""Shortest interval of warnings about losses."""
_COUNTS_PAUSE_S: Final = 1.0
"""Interval at which the board's counts of lost bytes are queried; earlier after a burst."""
_LAST_COUNTS_S: Final = 1.0
"""Longest wait for them at the end of a run."""
_SILENT_QUERIES: Final = 3
"""Unanswered queries of the clock in a row after which a board counts as silent."""
_LOST_BYTES: Final = {
    "receive_lost": ("its receive buffer was full", "Send it fewer commands at once."),
    "framing_errors": (
        "they arrived without a stop bit",
        "Check its cable, or set a lower fast_baud_rate (0 keeps that of its firmware).",
    ),
}
"""Count of bytes that the board has lost → why, and what the user can do."""
_REFUSED_REMEDY: Final = (
    "Bytes change on the way from the board: check its cable and ground, keep it from motors and"
    " mains, or set a lower fast_baud_rate."
)
_UNSTEADY_REMEDY: Final = (
    "Its check value is right, so the board's clock is not steady or stood still, or edges"
    " faster than 20,000 per second left it no time to send: check its supply and its inputs; a"
    " simulated board needs a processor."
)


class ChipLosses:
    """Counts and reports the losses of one board.

    Args:
        context: The module's context.
        session: The connection to the board.
        readings: Counts the readings that are lost.
        note: Called with a keyword and a text for the table of events.
        query: Returns the query of the board's counts.
        is_checked: Whether the board's messages have check values; else counts are confirmed.
        on_refused: Called when a message is not used: whether bytes change on the line.
        unanswered: Returns the queries of its clock since its last answer.
        on_lost: Called when readings are lost.
    """

    def __init__(
        self,
        context: ModuleContext[FirmataSettings],
        session: Session,
        readings: Readings,
        *,
        note: Callable[[str, str], None],
        query: Callable[[], bytes],
        is_checked: Callable[[], bool],
        unanswered: Callable[[], int],
        on_refused: Callable[[bool], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._context = context
        self._log: logging.Logger = context.log
        self._session = session
        self._readings = readings
        self._note = note
        self._query = query
        self._is_checked = is_checked
        self._unanswered = unanswered
        self._on_refused = on_refused
        self._on_lost = on_lost
        self._counts: defaultdict[str, BoardCount] = defaultdict(BoardCount)
        """What the connected board has lost, by the name of the count."""
        self._warn_at = 0.0
        self._warn_bytes_at = 0.0
        self._counts_at = 0.0
        """When the counts were queried last, s."""
        self._bytes_before = 0
        """Bytes that had been sent to the board by then."""
        self._answers = 0
        """Answers of the connected board."""
        self._bytes_lost = dict.fromkeys(_LOST_BYTES, 0)
        self._is_noisy = False
        """Whether a message was refused because bytes change on the line."""
        self._refused: Counter[str] = Counter()
        """Messages of the board that were not used, by the reason."""

    # -- bytes to the board, which counts what it loses ------------------------------------------

    def connect(self) -> None:
        """Begin with a board that was connected: what it has lost before does not count."""
        self._counts.clear()
        self._answers = 0
        self.awaits_counts = self._is_checked()

    def query(self) -> None:
        """Query the counts.

        Raises:
            DeviceLostError: The board was lost meanwhile.
        """
        self._counts_at = self._session.waiting.now_ns() / 1e9
        self._bytes_before = self._session.statistics.bytes_out
        self._session.send(self._query())

    def query_surely(self) -> int:
        """Query the counts, without check values twice; return the number of queries.

        Raises:
            DeviceLostError: The board was lost meanwhile.
        """
        count = 1 if self._is_checked() else 2
        for _ in range(count):
            self.query()
        return count

    def query_in_time(self, receive_buffer: int) -> None:
        """Query the counts now and then, and after as much as may have filled the buffer.

        Args:
            receive_buffer: Size of the board's buffer, in bytes.
        """
        if not self._answers and not self._is_checked():
            return  # with check values every board answers, so the answer was lost
        sent = self._session.statistics.bytes_out - self._bytes_before
        since_s = self._session.waiting.now_ns() / 1e9 - self._counts_at
        if sent > receive_buffer // 2 or since_s >= _COUNTS_PAUSE_S:
            try:
                self.query()
            except DeviceError:
                pass  # the board is lost, which the session has reported

    def take_last_counts(self) -> None:
        """Learn what the board has lost of the last commands."""
        answers = self._answers
        if not answers and not self._is_checked():
            return
        try:
            answers += self.query_surely()
        except DeviceError:
            return  # the board is lost, which the session has reported
        if self._session.waiting.until(lambda: self._answers >= answers, _LAST_COUNTS_S):
            return
        if (unanswered := self._unanswered()) >= _SILENT_QUERIES:
            self._context.note_loss(
                f"{self._session.name} did not answer at the end of the run, nor the {unanswered}"
                " queries before: readings and counts of that time are missing",
                "Check its supply, and its inputs for edges that come faster than 20,000 per"
                " second, which leave it no time to answer.",
            )

    def take_counts(self, counts: ChipStatus, channels: int) -> None:
        """Take the board's counts; it samples so many channels."""
        self._answers += 1
        self.awaits_counts = False
        self.take_edges_lost(counts.events_lost)
        self.take_scans_missed(counts.scans_missed, channels)
        for name in _LOST_BYTES:
            self._lose_bytes(self._new(name, getattr(counts, name)), name)

    def _new(self, name: str, total: int) -> int:
        """Return how much a count has grown, as far as that is known."""
        count = self._counts[name]
        found = count.take(total, checked=self._is_checked())
        if count.is_doubted:
            self._counts_at = 0.0  # the next answer confirms it
        return found

    def _lose_bytes(self, count: int, name: str) -> None:
        if not count:
            return
        self._bytes_lost[name] += count
        total, (why, _) = sum(self._bytes_lost.values()), _LOST_BYTES[name]
        now = self._session.waiting.now_ns() / 1e9
        if now >= self._warn_bytes_at:
            self._warn_bytes_at = now + _WARN_PAUSE_S
            self._log.warning(
                "%s lost %d bytes of what was sent to it (%d in all): %s. Commands with these bytes"
                " were not executed, or not as they were sent; send fewer at once",
                self._session.name,
                count,
                total,
                why,
            )
            self._context.set_status(f"{self._session.description}: {total} bytes to it lost")
        self._note("bytes-lost", f"{count} bytes to the board: {why}")

    # -- readings ----------------------------------------------------------------------------

    def note_unknown_start(self) -> None:
        """Count what may be missing before the first edge: no answer had the number of its block.

        That answer comes before all edges, so it was lost, and blocks behind it may be.
        """
        self.awaits_counts = False
        self.lose("blocks of edges at least", 1, "on the line to the board, before the first one")

    def take_edges_lost(self, total: int) -> None:
        """Take the board's count of edges for which its queue had no room."""
        self.lose("edges", self._new("edges", total), "the board's queue was full")

    def take_scans_missed(self, total: int, channels: int) -> None:
        """Take the board's count of scans that it has not made, of so many channels each."""
        missed = self._new("scans", total)
        self.lose("analog samples", missed * channels, "the board could not keep up")

    def lose(self, what: str, count: int, why: str) -> None:
        """Count readings that are lost; nothing happens for none."""
        if not count:
            return
        total = self._readings.lost + count
        now = self._session.waiting.now_ns() / 1e9
        if now >= self._warn_at:
            self._warn_at = now + _WARN_PAUSE_S
            self._log.warning(
                "%s: %d %s lost (%d readings in all): %s",
                self._session.name,
                count,
                what,
                total,
                why,
            )
            self._context.set_status(f"{self._session.description}: {total} readings lost")
        self._readings.note_lost(count)
        self._on_lost()
        self._note("readings-lost", f"{count} {what}: {why}")

    # -- messages of the board -----------------------------------------------------------------

    @property
    def refused(self) -> int:
        """Messages of the board that were not used."""
        return self._refused.total()

    def refuse(self, reason: str, *, unchecked: bool = False) -> None:
        """Count a message that is not used; the first of each kind is reported at once.

        Args:
            reason: Why, in words.
            unchecked: Whether messages of its kind never have a check value.
        """
        self._refused[reason] += 1
        is_noise = unchecked or not self._is_checked() or reason == WRONG_CHECK_VALUE
        self._is_noisy |= is_noise
        self._on_refused(is_noise)
        self._note("message-refused", reason)
        total = self._refused.total()
        if self._refused[reason] == 1:
            self._log.warning(
                "%s: a message of the board is not used: %s. %s More are counted",
                self._session.name,
                reason,
                _REFUSED_REMEDY if is_noise else _UNSTEADY_REMEDY,
            )
        self._context.set_status(f"{self._session.description}: {total} messages refused")

    def report(self) -> None:
        """Report the losses for the run's summary."""
        report = self._context.report
        if self._readings.lost:
            report("readings_lost_by_board", self._readings.lost)
        if bytes_lost := sum(self._bytes_lost.values()):
            report("bytes_lost_by_board", bytes_lost)
        if refused := self._refused.total():
            report("board_messages_refused", refused)
            reasons = ", ".join(f"{reason} ({count})" for reason, count in self._refused.items())
            self._context.note_loss(
                f"{refused} message(s) of {self._session.name} were not used: {reasons}",
                _REFUSED_REMEDY if self._is_noisy else _UNSTEADY_REMEDY,
            )
        for name, count in self._bytes_lost.items():
            why, remedy = _LOST_BYTES[name]
            if count:
                self._context.note_loss(
                    f"{self._session.name} lost {count} byte(s) of commands: {why}. Commands with "
                    "these bytes were not executed, or not as they were sent",
                    remedy,
                )
