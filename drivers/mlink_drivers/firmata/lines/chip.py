"""Connects the session with the chip to a run: readings, losses, events, reflexes and clock file.

With another firmware nothing here has an effect, and readings carry their time of arrival.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from mlink.errors import DeviceError
from mlink.module import ModuleContext
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.chip.clock import ChipClock
from mlink_drivers.firmata.chip.clock_record import ClockRecord
from mlink_drivers.firmata.chip.commands import ChipCommands
from mlink_drivers.firmata.chip.i2c import ChipI2C
from mlink_drivers.firmata.chip.messages import (
    AnalogBlock,
    BaudAnswer,
    ChipStatus,
    CounterReport,
    EventsLost,
    ExtensionMessage,
    I2CResult,
    PulseEnd,
    ReflexFired,
    SafeStateTripped,
    ScansMissed,
    StepperReport,
)
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.chip.session import (
    CHECKED_VERSION,
    PAUSE_S,
    TIMESTAMP_SOURCE,
    ChipSession,
    Seal,
)
from mlink_drivers.firmata.lines.counters import Counters
from mlink_drivers.firmata.lines.i2c_answers import I2CAnswers
from mlink_drivers.firmata.lines.levels import LevelChecks
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.lines.rows import EventRows, ReflexRows, Rows
from mlink_drivers.firmata.lines.steppers import Steppers
from mlink_drivers.firmata.lines.triggers import TriggerLines
from mlink_drivers.firmata.link.pace import Pace
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire.arrival import USB_RATE

_COUNT: Final = 1 << 16
"""The board's 16-bit counts wrap at this value."""
_WARN_PAUSE_S: Final = 1.0
"""Shortest interval of warnings about losses."""
_COUNTS_PAUSE_S: Final = 1.0
"""Interval at which the board's counts of lost bytes are queried; earlier after a burst."""
_LAST_COUNTS_S: Final = 0.25
"""Longest wait for them at the end of a run."""
_LOST_BYTES: Final = {
    "receive_lost": ("its receive buffer was full", "Send it fewer commands at once."),
    "framing_errors": (
        "they arrived without a stop bit",
        "Check its cable, or set a lower fast_baud_rate (0 keeps that of its firmware).",
    ),
}
"""Count of bytes that the board has lost → why, and what the user can do."""
_QUERIES_PER_SAFE_TIME: Final = 4
_REFUSED_REMEDY: Final = (
    "Bytes change on the way from the board: check its cable and ground, keep it from motors and"
    " mains, or set a lower fast_baud_rate."
)


class ChipInRun:
    """The chip in a run; call `connect` each time the board was opened.

    Args:
        context: The module's context.
        session: The connection to the board.
        readings: Receives edges, levels and samples.
        events: The table of events.
        reflexes: The table of reflexes.
        counters: The table of counters; None without one.
        i2c: Takes the answers of I2C devices; None when no script reads any.
        steppers: The table of steppers; None without one.
        triggers: The table of edges for cameras; None without one.
        on_pulse: Called with the times of each pulse of the chip that has ended.
        on_silence: Called when the board stops answering.
    """

    def __init__(
        self,
        context: ModuleContext[FirmataSettings],
        session: Session,
        readings: Readings,
        events: EventRows,
        reflexes: ReflexRows,
        *,
        on_pulse: Callable[[PulseTimes], None],
        on_silence: Callable[[DeviceError], None],
        counters: Rows | None = None,
        i2c: I2CAnswers | None = None,
        steppers: Rows | None = None,
        triggers: Rows | None = None,
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._log: logging.Logger = context.log
        self._session = session
        self._readings = readings
        self._events = events
        self._reflexes = reflexes
        self._counts: ChipStatus | None = None
        self._events_total = 0
        self._scans_total = 0
        self._warn_at = 0.0
        self._warn_bytes_at = 0.0
        self._counts_at = 0.0
        """When the counts were queried last, s."""
        self._bytes_before = 0
        """Bytes that had been sent to the board by then."""
        self._answers = 0
        self._bytes_lost = dict.fromkeys(_LOST_BYTES, 0)
        self._refused: Counter[str] = Counter()
        """Messages of the board that were not used, by the reason."""
        self._record: ClockRecord | None = None
        settings = self._settings
        self.chip = ChipSession(
            session.send,
            session.waiting,
            settings.baud_rate,
            on_edge=self._on_edge,
            on_state=readings.take_level,
            on_event=self._on_event,
            on_blocks_missing=self._on_blocks_missing,
            on_exchange=self._on_exchange,
            on_silence=on_silence,
            on_refused=self._on_refused,
            on_seal=self._on_seal,
            pause_s=_pause_s(settings.safe_state_msec),
            log=self._log,
        )
        self.commands = ChipCommands(
            self.chip,
            session.send,
            to_monotonic_ns=self._to_monotonic_ns,
            on_pulse=on_pulse,
            sampling_interval_msec=settings.sampling_interval_msec,
            safe_state_msec=settings.safe_state_msec,
            safe_values={int(line): value for line, value in settings.safe_values.items()},
        )
        self.i2c = (
            ChipI2C(self.chip, session.send, on_answer=i2c.take, on_scan=i2c.take_scan)
            if i2c is not None
            else None
        )
        readings.chip = self.chip
        self.levels = LevelChecks(
            context,
            session,
            readings,
            self.commands,
            note=events.note,
            refuse=self._on_refused,
        )
        self._counters = Counters(
            self.chip,
            self.commands.orders,
            counters,
            on_missed=lambda text: self._events.note("counts-missed", text),
            log=self._log,
        )

        self._steppers = Steppers(self.chip, self.commands.orders, steppers)
        self.triggers: TriggerLines | None = None
        if triggers is not None:
            self.triggers = TriggerLines(
                settings.cameras,
                self.chip,
                triggers,
                session.send,
                report=context.report,
                note_loss=context.note_loss,
                log=self._log,
            )

    def connect(self) -> None:
        """Query the board's features, raise its baud rate and start its clock.

        Raises:
            DeviceLostError: The board was lost meanwhile.
        """
        chip, settings = self.chip, self._settings
        self.levels.start()
        self._steppers.on_restarted()
        chip.baud_rate = self._session.transport.baud_rate
        if chip.probe() is None:
            if self.triggers is not None:
                self.triggers.arm()  # refuses it
            if settings.safe_state_msec:
                self._log.warning(
                    "safe_state_msec: the firmware of %s has no safe state; its outputs keep their"
                    " values when this program dies. Install mlink's firmware: mlink flash DEVICE",
                    self._session.description,
                )
            return
        if chip.version < CHECKED_VERSION:
            self._log.info(
                "the firmware of %s sends no check values, so bytes that change on the line are"
                " found only where a time is impossible. Install the present one: mlink flash"
                " DEVICE",
                self._session.description,
            )
        transport = self._session.transport
        if settings.fast_baud_rate > transport.baud_rate and transport.can_change_baud_rate:
            features = chip.features
            assert features is not None
            if chip.raise_baud(settings.fast_baud_rate, self._session.set_baud_rate):
                self._session.pace = Pace(features.receive_buffer)
        if chip.is_usb:
            chip.baud_rate = USB_RATE
            self._session.note_wire_rate(USB_RATE)
        self._counts = None
        if not chip.start_clock():
            self._log.warning(
                "%s does not answer clock queries; readings carry their time of arrival",
                self._session.description,
            )
        self._query_counts()
        clock = chip.clock
        assert clock is not None
        self._log.info(
            "%s has a clock: %s, %+.0f ppm, ± %d µs",
            self._session.description,
            "USB of its own" if chip.is_usb else f"{chip.baud_rate} baud",
            clock.rate_ppm,
            chip.uncertainty_usec,
        )
        if self.triggers is not None:
            self.triggers.arm()

    @property
    def bytes_lost(self) -> int:
        """Bytes sent to the board that it lost in this run."""
        return sum(self._bytes_lost.values())

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the stream of readings; empty when the board has no clock."""
        features = self.chip.features
        if features is None or not self.chip.keeps_time:
            return {}
        return {
            "timestamp_source": TIMESTAMP_SOURCE,
            "uncertainty_usec": self.chip.uncertainty_usec,
            "device_clock_hz": features.tick_hz,
            "baud_rate": self.chip.baud_rate,
            "check_values": self.chip.checked,
        }

    def start(self) -> None:
        """Begin the tsync file, if the run is recorded and the board has a clock."""
        if not self.chip.keeps_time:
            return
        context = self._context
        dataset = context.create_dataset(f"{context.name}-clock")
        if dataset is None:
            return
        features = self.chip.features
        assert features is not None
        dataset.set_attribute("device_clock_hz", features.tick_hz)
        self._record = ClockRecord(
            dataset, context.clock, run_info=context.run_info, fail=context.fail
        )
        assert self.chip.clock is not None
        self._record.take(self.chip.clock)

    def finish(self) -> None:
        """Close the tsync file."""
        record, self._record = self._record, None
        if record is not None:
            record.finish(self.chip.clock)

    def report(self) -> None:
        """Report the clock's rate and uncertainty, and losses, for the run's summary."""
        clock, report = self.chip.clock, self._context.report
        if clock is not None and clock.is_set:
            report("board_clock_ppm", round(clock.rate_ppm, 2))
            report("board_clock_uncertainty_usec", self.chip.uncertainty_usec)
        self.levels.report()
        if self._readings.lost:
            report("readings_lost_by_board", self._readings.lost)
        if self._counters.missed:
            report("counts_missed_by_board", self._counters.missed)
            self._context.note_loss(
                f"{self._session.name} could not count {self._counters.missed} time(s): edges came"
                " faster than its interrupt",
                "Check the signal for bounces; at most 20,000 edges per second are counted.",
            )
        if self.bytes_lost:
            report("bytes_lost_by_board", self.bytes_lost)
        if refused := self._refused.total():
            report("board_messages_refused", refused)
            reasons = ", ".join(f"{reason} ({count})" for reason, count in self._refused.items())
            self._context.note_loss(
                f"{refused} message(s) of {self._session.name} were not used: {reasons}",
                _REFUSED_REMEDY,
            )
        for name, count in self._bytes_lost.items():
            why, remedy = _LOST_BYTES[name]
            if count:
                self._context.note_loss(
                    f"{self._session.name} lost {count} byte(s) of commands: {why}. Commands with "
                    "these bytes were not executed, or not as they were sent",
                    remedy,
                )

    def take_last_counts(self) -> None:
        """Learn what the board has lost of the last commands."""
        waiting, answers = self._session.waiting, self._answers
        if self._counts is None:
            return
        try:
            self._query_counts()
        except DeviceError:
            return  # the board is lost, which the session has reported
        waiting.until(lambda: self._answers != answers, _LAST_COUNTS_S)

    def close(self) -> None:
        """End the clock's thread and close the tsync file."""
        self.chip.close()
        self.finish()

    # -- messages of the board (reader thread) ---------------------------------------------------

    def _on_edge(self, line: int, level: bool, time_ns: int) -> None:
        if self.triggers is None or not self.triggers.take_edge(line, level, time_ns):
            self._readings.take_edge(line, level, time_ns)

    def _on_event(self, message: ExtensionMessage) -> None:
        if isinstance(message, AnalogBlock):
            if self.chip.keeps_time:
                samples, lost = self.commands.take_samples(message)
                if lost:
                    self._lost("analog samples", lost, "on the line to the board")
                self._readings.take_samples(samples)
        elif isinstance(message, PulseEnd):
            if self.triggers is None or not self.triggers.take_end(message):
                self.commands.pulse_ended(message)
        elif isinstance(message, ReflexFired):
            self._on_reflex(message)
        elif isinstance(message, CounterReport):
            self._counters.take(message)
        elif isinstance(message, I2CResult):
            if self.i2c is not None:
                self.i2c.take(message)
        elif isinstance(message, StepperReport):
            self._steppers.take(message)
        elif isinstance(message, EventsLost):
            lost = (message.total - self._events_total) % _COUNT
            self._events_total = message.total
            self._lost("edges", lost, "the board's queue was full")
        elif isinstance(message, ScansMissed):
            missed = (message.total - self._scans_total) % _COUNT
            self._scans_total = message.total
            lost = missed * self.commands.sampled_channels
            self._lost("analog samples", lost, "the board could not keep up")
        elif isinstance(message, ChipStatus):
            self._take_counts(message)
        elif isinstance(message, SafeStateTripped):
            self._on_safe_state()
        elif isinstance(message, BaudAnswer):
            self._log.warning("%s is back at %d baud", self._session.name, message.baud_rate)

    def _take_counts(self, counts: ChipStatus) -> None:
        self.commands.status_came()
        before, self._counts = self._counts, counts
        self._answers += 1
        if before is None:  # losses before this connection do not count
            self._events_total = counts.events_lost
            self._scans_total = counts.scans_missed
            return
        for name in _LOST_BYTES:
            self._lost_bytes((getattr(counts, name) - getattr(before, name)) % _COUNT, name)

    def _lost_bytes(self, count: int, name: str) -> None:
        if not count:
            return
        self._bytes_lost[name] += count
        why, _ = _LOST_BYTES[name]
        now = self._session.waiting.now_ns() / 1e9
        if now >= self._warn_bytes_at:
            self._warn_bytes_at = now + _WARN_PAUSE_S
            self._log.warning(
                "%s lost %d bytes of what was sent to it (%d in all): %s. Commands with these bytes"
                " were not executed, or not as they were sent; send fewer at once",
                self._session.name,
                count,
                self.bytes_lost,
                why,
            )
            self._context.set_status(
                f"{self._session.description}: {self.bytes_lost} bytes to it lost"
            )
        self._events.note("bytes-lost", f"{count} bytes to the board: {why}")

    def _query_counts(self) -> None:
        self._counts_at = self._session.waiting.now_ns() / 1e9
        self._bytes_before = self._session.statistics.bytes_out
        self._session.send(self.commands.status_query())

    def _query_counts_in_time(self) -> None:
        """Query the counts now and then, and after as much as may have filled the buffer."""
        features = self.chip.features
        if features is None or self._counts is None:
            return
        sent = self._session.statistics.bytes_out - self._bytes_before
        since_s = self._session.waiting.now_ns() / 1e9 - self._counts_at
        if sent > features.receive_buffer // 2 or since_s >= _COUNTS_PAUSE_S:
            self._query_counts()

    def _on_reflex(self, fired: ReflexFired) -> None:
        if not self.chip.keeps_time:
            return
        known = self.commands.orders.reflexes.get(fired.index)
        edge_ns = self.chip.time_ns(fired.edge_ticks)
        self._reflexes.take(
            fired.index,
            edge_ns,
            self.chip.time_ns(fired.action_ticks, edge_ns),
            (known[0], known[1].output) if known is not None else None,
        )

    def _on_safe_state(self) -> None:
        self.commands.tripped()
        if self.triggers is not None:
            self.triggers.off()
            self.triggers.arm()
        self._events.note("safe-state", "the board received nothing for too long")
        self._log.warning(
            "%s received nothing for too long and made its outputs safe; its reflexes and trains"
            " have ended. A longer safe_state_msec gives a busy host more time",
            self._session.name,
        )

    def _on_refused(self, reason: str) -> None:
        """Count a message that is not used; the first of each kind is reported at once."""
        self._refused[reason] += 1
        self.levels.suspect()
        self._events.note("message-refused", reason)
        total = self._refused.total()
        if self._refused[reason] == 1:
            self._log.warning(
                "%s: a message of the board is not used: %s. %s More are counted",
                self._session.name,
                reason,
                _REFUSED_REMEDY,
            )
        self._context.set_status(f"{self._session.description}: {total} messages refused")

    def _on_seal(self, seal: Seal | None) -> None:
        self._session.seal = seal

    def _on_blocks_missing(self, count: int) -> None:
        self._lost("blocks of edges", count, "on the line to the board")

    def _lost(self, what: str, count: int, why: str) -> None:
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
        if self.triggers is not None:
            self.triggers.lose()
        self.levels.suspect()
        self._events.note("readings-lost", f"{count} {what}: {why}")

    # -- the clock -----------------------------------------------------------------------------

    def _on_exchange(self, clock: ChipClock) -> None:
        record = self._record
        if record is not None:
            record.take(clock)
        self.levels.look()
        if self.triggers is not None:
            self.triggers.on_exchange()
        try:
            self._query_counts_in_time()
        except DeviceError:
            pass  # the board is lost, which the session has reported

    def _to_monotonic_ns(self, master_usec: int) -> int:
        return (
            self._session.waiting.now_ns() + (master_usec - self._context.clock.now_usec()) * 1000
        )


def _pause_s(safe_state_msec: int) -> float:
    """Interval of clock queries: several per safe time, because they prevent the safe state."""
    if not safe_state_msec:
        return PAUSE_S
    return min(PAUSE_S, safe_state_msec / 1000 / _QUERIES_PER_SAFE_TIME)
