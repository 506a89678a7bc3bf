"""Checks the levels of digital inputs, where the line to the board may have lost or changed one.

Port reports have no check value, nor has any message of an older firmware, and the last edge of a
line may be lost. So levels are queried: where something indicates that, and each second where
nothing would. An answer that differs from the last reading becomes a reading: no wrong level stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from mlink.context import ModuleContext
from mlink.errors import DeviceError
from mlink.reflexes import Edges
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.chip import encode as chip_encode
from mlink_drivers.firmata.chip.commands import ChipCommands
from mlink_drivers.firmata.lines.doubts import Doubts
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.protocol import PinMode

_WIDEST_BITS: Final = 32
"""Resolution assumed where the board reports none: any sample is possible."""
LONGEST_WRONG_USEC: Final = 2_000_000
"""How late a level may be known while bytes change: two queries, and the looks at their answers."""
_PAUSE_NS: Final = 1_000_000_000
_SOON_NS: Final = 200_000_000
"""Shortest interval of queries: what has a cause may repeat while the line is full."""
_FENCE_NS: Final = 1_000_000_000
"""After this time without an answer, those to version queries and to orders were lost."""
_QUEUE_NS: Final = 500_000_000
"""An answer counts when edges before it, which may be in the chip's queue, have had this time."""


class LevelChecks:
    """Queries the levels of the digital inputs of one board; `look` is called some times a second.

    Args:
        context: The module's context.
        session: The connection to the board.
        readings: Has the inputs, and compares the answers.
        commands: Has the lines whose edges the chip reports.
        note: Called with a keyword and a text for the table of events.
        refuse: Called with the reason for each message that contradicts the one before.
        lose: Called with what was lost, its number and why.
        count_rows: As for `Doubts`.
    """

    def __init__(
        self,
        context: ModuleContext[FirmataSettings],
        session: Session,
        readings: Readings,
        commands: ChipCommands,
        *,
        note: Callable[[str, str], None],
        refuse: Callable[[str], None],
        lose: Callable[[str, int, str], None],
        count_rows: Callable[[], int] = lambda: 0,
    ) -> None:
        self._context = context
        self._log: logging.Logger = context.log
        self._session = session
        self._readings = readings
        self._commands = commands
        self._note = note
        self._refuse = refuse
        self._lose = lose
        self._doubts = Doubts(context, session, readings, note=note, count_rows=count_rows)
        self._suspicious = False
        self._is_firmata = False
        self._queried_ns = 0
        self._asked_again: set[int] = set()
        """Lines whose first levels have not come in time."""
        self._dropped_before = 0
        self._heard = -1, 0
        """Bytes from the board so far, and the time of the look that first found them, in ns."""
        self.dropped = 0
        """Bytes in this run that belonged to no message."""
        self.corrected = 0
        """Readings that an answer has corrected."""

    def start(self) -> None:
        """Begin with a board that was connected."""
        self._dropped_before = self._session.statistics.dropped_bytes
        self._suspicious = False
        self._readings.ask_port = self._ask_port
        board = self._session.description
        # Other firmwares may send what they like; those of Firmata report changes of inputs only.
        self._is_firmata = "firmata" in board.firmware_name.lower()
        layout = board.layout
        self._readings.expect_firmata(
            self._is_firmata,
            {
                channel: (1 << layout.resolution(pin, PinMode.ANALOG, _WIDEST_BITS)) - 1
                for channel, pin in layout.analog_pins().items()
            }
            if self._is_firmata
            else {},
        )

    def suspect(self, *, is_noise: bool = False) -> None:
        """Query the levels soon: readings were lost, or bytes change on the line."""
        self._suspicious = True
        if is_noise:
            self._doubts.notice()

    def look(self) -> None:
        """Query the levels if it is time, and use the answers to earlier queries."""
        session, readings = self._session, self._readings
        if dropped := session.statistics.dropped_bytes - self._dropped_before:
            self._dropped_before += dropped
            self._take_dropped(dropped)
        now_ns = session.waiting.now_ns()
        if session.statistics.bytes_in != self._heard[0]:
            self._heard = session.statistics.bytes_in, now_ns
        for line, level in readings.correct_levels(now_ns - _QUEUE_NS):
            self._take_corrected(line, level)
        reports, edges = readings.take_contradictions()
        strange, samples = readings.take_impossible()
        for count, reason in (
            (reports if self._is_firmata else 0, "a report of a port that changes nothing"),
            (strange, "a report of lines that are no inputs"),
            (samples, "a sample that cannot be"),
        ):
            for _ in range(count):
                self._refuse(reason)
        has_left = now_ns >= session.sent_ns
        if has_left:
            overdue, missed = readings.overdue_lines(now_ns, _FENCE_NS)
            self._lose("edges", missed, "the first level of their line had not come")
            if overdue:
                self._ask_first_levels(overdue)
        are_lost = has_left and readings.pass_lost_fences(now_ns, _FENCE_NS)
        # A board from which nothing comes is silent or unplugged: no byte has changed.
        if are_lost and now_ns - self._heard[1] < _FENCE_NS:
            self.suspect(is_noise=True)
        # Of other lines all edges have one level.
        edges.intersection_update(self._commands.checkable_lines(unasked=False))
        if edges:
            self.suspect(is_noise=True)
        self._suspicious |= bool(reports or strange)
        self._doubts.look(now_ns)
        readings.ask_again()
        if now_ns - self._queried_ns < (_SOON_NS if self._suspicious else _PAUSE_NS):
            return
        self._queried_ns = now_ns
        ports = readings.query_ports(suspicious=self._suspicious)
        query = b"".join(encode.report_digital(port, True) for port in ports)
        lines = self._commands.checkable_lines(unasked=not self._suspicious)
        if lines:
            query += chip_encode.watch_edges(dict.fromkeys(lines, Edges.BOTH))
        self._suspicious = False
        try:
            if query:
                session.send(query)
            gone = set(lines) - set(self._commands.checkable_lines(unasked=False))
            if gone:  # a command has ended the reports of a line meanwhile
                session.send(chip_encode.watch_edges(dict.fromkeys(gone, Edges.NONE)))
        except DeviceError:
            pass  # the board is lost, which the session has reported

    def finish(self) -> None:
        """End the doubt about readings: no more are sent, and the table of events ends."""
        self._doubts.finish()

    def report(self) -> None:
        """Report the figures for the run's summary."""
        if self.corrected:
            self._context.report("levels_corrected", self.corrected)
        if self._readings.unconfirmed:
            self._context.report("levels_unconfirmed", self._readings.unconfirmed)
        self._doubts.report()
        if self.dropped:
            self._context.note_loss(
                f"{self.dropped} byte(s) from {self._session.name} belonged to no message: readings"
                " may be missing",
                "Bytes were lost or changed on the line: check its cable and ground, or set a lower"
                " baud rate. A firmware that sends other texts than Firmata's does the same.",
            )

    def _ask_first_levels(self, overdue: dict[int, int]) -> None:
        """Send the orders of lines again whose answers were lost, with the edges since then."""
        watched = self._commands.orders.watched
        orders = {line: watched[line] for line in overdue if line in watched}
        if not orders:
            return
        names = ", ".join(map(str, orders))
        if new := orders.keys() - self._asked_again:
            self._asked_again |= new
            self._log.warning(
                "%s: the first level of line %s has not come, so its readings begin later. It is"
                " queried again. Check the board's cable and supply",
                *(self._session.name, names),
            )
        count = sum(overdue[line] for line in orders)
        self._lose("edges", count, f"the first level of line {names} had not come")
        try:
            self._session.send(chip_encode.watch_edges(orders))
        except DeviceError:
            pass  # the board is lost, which the session has reported

    def _ask_port(self, port: int) -> None:
        try:
            self._session.send(encode.report_digital(port, True))
        except DeviceError:
            pass  # the board is lost, which the session has reported

    def _take_dropped(self, count: int) -> None:
        if not self.dropped:
            self._log.warning(
                "%s: %d byte(s) from the board belong to no message: bytes were lost or changed on"
                " the line, and readings may be missing. Check its cable and ground. More are"
                " counted",
                self._session.name,
                count,
            )
        self.dropped += count
        self._note("bytes-dropped", f"{count} bytes from the board belong to no message")
        self.suspect(is_noise=True)

    def _take_corrected(self, line: int, level: bool) -> None:
        if not self.corrected:
            self._log.warning(
                "%s: line %d is %d, which no reading had: a message was lost or changed on its way."
                " The new reading has the time at which that was found. More are counted",
                self._session.name,
                line,
                level,
            )
        self.corrected += 1
        self._doubts.notice()
        self._note("level-corrected", f"line {line} is {int(level)}")
