"""Connects the session with the chip to a run: readings, losses, events, reflexes and clock file.

With another firmware nothing here has an effect, and readings carry their time of arrival.
"""

from __future__ import annotations

import functools
import logging
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
from mlink_drivers.firmata.chip.queries import PAUSE_S
from mlink_drivers.firmata.chip.session import TIMESTAMP_SOURCE, ChipSession, Seal
from mlink_drivers.firmata.lines.certainty import ClockCertainty
from mlink_drivers.firmata.lines.counters import Counters
from mlink_drivers.firmata.lines.i2c_answers import I2CAnswers
from mlink_drivers.firmata.lines.levels import LONGEST_WRONG_USEC, LevelChecks
from mlink_drivers.firmata.lines.losses import ChipLosses
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.lines.rows import EventRows, ReflexRows, Rows
from mlink_drivers.firmata.lines.steppers import Steppers
from mlink_drivers.firmata.lines.triggers import TriggerLines
from mlink_drivers.firmata.link.pace import BYTES_PER_MSEC, Pace
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire.arrival import USB_RATE, wire_time_ns

_QUERIES_PER_SAFE_TIME: Final = 4
_OF_ROWS: Final = (PulseEnd, ReflexFired, CounterReport, I2CResult, StepperReport)
"""Messages that become rows of tables."""


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
        self._record: ClockRecord | None = None
        self.safe_states = 0
        """How often the board has made its outputs safe in this run."""
        self.unchecked_rows = 0
        """Rows of tables from messages without a check value."""
        settings = self._settings
        self._losses = ChipLosses(
            context,
            session,
            readings,
            note=events.note,
            query=lambda: self.commands.status_query(),
            is_checked=lambda: self.chip.checked,
            on_refused=lambda is_noise: self.levels.suspect(is_noise=is_noise),
            unanswered=lambda: self.chip.clock.unanswered if self.chip.clock is not None else 0,
            on_lost=self._on_lost,
        )
        self.chip = ChipSession(
            session.send,
            session.waiting,
            settings.baud_rate,
            on_edge=self._on_edge,
            on_state=readings.take_level,
            on_event=self._on_event,
            on_blocks_missing=lambda count: self._losses.lose(
                "blocks of edges", count, "on the line to the board"
            ),
            on_exchange=self._on_exchange,
            on_silence=on_silence,
            on_refused=self._losses.refuse,
            on_seal=self._on_seal,
            may_report=lambda line: (
                line in self.commands.orders.once_watched
                or (self.triggers is not None and line in self.triggers.users())
            ),
            pause_s=_pause_s(settings.safe_state_msec),
            log=self._log,
        )
        self.commands = ChipCommands(
            self.chip,
            session.send,
            to_monotonic_ns=self._to_monotonic_ns,
            on_pulse=on_pulse,
            noise=lambda: session.statistics.dropped_bytes + self._losses.refused,
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
        self._certainty = ClockCertainty(context, self.chip, events.note)
        self.levels = LevelChecks(
            context,
            session,
            readings,
            self.commands,
            note=events.note,
            refuse=functools.partial(self._losses.refuse, unchecked=True),
            lose=self._losses.lose,
            count_rows=lambda: (
                self.unchecked_rows
                + (readings.host_counters.rows_sent if readings.host_counters is not None else 0)
            ),
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
        self._readings.is_checked = False
        self._steppers.on_restarted()
        chip.baud_rate = self._session.transport.baud_rate
        features = chip.probe()
        if features is None:
            if self.triggers is not None:
                self.triggers.arm()  # refuses it
            if settings.safe_state_msec:
                self._log.warning(
                    "safe_state_msec: the firmware of %s has no safe state; its outputs keep their"
                    " values when this program dies. Install mlink's firmware: mlink flash DEVICE",
                    self._session.description,
                )
            return
        self._readings.is_checked = chip.checked
        if not chip.checked:
            self._log.info(
                "the firmware of %s sends no check values, so bytes that change on the line are"
                " found only where a time is impossible. Install the present one: mlink flash"
                " DEVICE",
                self._session.description,
            )
        transport = self._session.transport
        if settings.fast_baud_rate > transport.baud_rate and transport.can_change_baud_rate:
            chip.raise_baud(settings.fast_baud_rate, self._session.set_baud_rate)
        if chip.is_usb:
            chip.baud_rate = USB_RATE
            self._session.note_wire_rate(USB_RATE)
        else:
            line = 1e6 / wire_time_ns(1, chip.baud_rate)
            self._session.outgoing.pace = Pace(features.receive_buffer, min(BYTES_PER_MSEC, line))
        self._losses.connect()
        if not chip.start_clock():
            self._log.warning(
                "%s does not answer clock queries; readings carry their time of arrival",
                self._session.description,
            )
        self._losses.query_surely()
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
    def metadata(self) -> dict[str, Any]:
        """What the board adds to the metadata of the stream of readings."""
        features = self.chip.features
        if features is None or not self.chip.keeps_time:
            return {"uncertainty_noisy_usec": LONGEST_WRONG_USEC, "check_values": False}
        return {
            "timestamp_source": TIMESTAMP_SOURCE,
            "uncertainty_usec": self.chip.uncertainty_usec,
            "uncertainty_noisy_usec": self.chip.noisy_usec,
            "device_clock_hz": features.tick_hz,
            "baud_rate": self.chip.baud_rate,
            "check_values": self.chip.checked,
        }

    def start(self) -> None:
        """Begin the tsync file, if the run is recorded and the board has a clock."""
        self._certainty.start()
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
        self._certainty.report()
        self.levels.report()
        if self.safe_states:
            self._context.report("safe_states", self.safe_states)
            self._context.note_loss(
                f"{self._session.name} made its outputs safe {self.safe_states} time(s): it"
                " received nothing for too long. Its reflexes and trains had ended then",
                "Set a longer safe_state_msec, which gives a busy host more time.",
            )
        if self._counters.missed:
            self._context.report("counts_missed_by_board", self._counters.missed)
            self._context.note_loss(
                f"{self._session.name} could not count {self._counters.missed} time(s): edges came"
                " faster than its interrupt",
                "Check the signal for bounces; at most 20,000 edges per second are counted.",
            )
        self._losses.report()

    def take_last_counts(self) -> None:
        """Learn what the board has lost of the last commands."""
        self._losses.take_last_counts()
        if self.i2c is not None:
            self.i2c.give_up()

    def close(self) -> None:
        """End the clock's thread and close the tsync file."""
        self.chip.close()
        self.finish()

    # -- messages of the board (reader thread) ---------------------------------------------------

    def _on_edge(self, line: int, level: bool, time_ns: int) -> None:
        if self._losses.awaits_counts:
            self._losses.note_unknown_start()
        if self.triggers is None or not self.triggers.take_edge(line, level, time_ns):
            self._readings.take_edge(line, level, time_ns)

    def _on_event(self, message: ExtensionMessage) -> None:
        self.unchecked_rows += isinstance(message, _OF_ROWS) and not self.chip.checked
        if isinstance(message, AnalogBlock):
            if self.chip.keeps_time:
                samples, lost = self.commands.take_samples(message)
                self._losses.lose("analog samples", lost, "on the line to the board")
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
            self._losses.take_edges_lost(message.total)
        elif isinstance(message, ScansMissed):
            self._losses.take_scans_missed(message.total, self.commands.sampled_channels)
        elif isinstance(message, ChipStatus):
            self.commands.status_came()
            self._losses.take_counts(message, self.commands.sampled_channels)
        elif isinstance(message, SafeStateTripped):
            self._on_safe_state()
        elif isinstance(message, BaudAnswer):
            self._log.warning("%s is back at %d baud", self._session.name, message.baud_rate)

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
        self.safe_states += 1
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

    def _on_seal(self, seal: Seal | None) -> None:
        self._session.outgoing.seal = seal

    def _on_lost(self) -> None:
        if self.triggers is not None:
            self.triggers.lose()
        self.levels.suspect()

    # -- the clock -----------------------------------------------------------------------------

    def _on_exchange(self, clock: ChipClock) -> None:
        record = self._record
        if record is not None:
            record.take(clock)
        self._certainty.look(clock)
        self.levels.look()
        if self.triggers is not None:
            self.triggers.on_exchange()
        if (features := self.chip.features) is not None:
            self._losses.query_in_time(features.receive_buffer)

    def _to_monotonic_ns(self, master_usec: int) -> int:
        return (
            self._session.waiting.now_ns() + (master_usec - self._context.clock.now_usec()) * 1000
        )


def _pause_s(safe_state_msec: int) -> float:
    """Interval of clock queries: several per safe time, because they prevent the safe state."""
    if not safe_state_msec:
        return PAUSE_S
    return min(PAUSE_S, safe_state_msec / 1000 / _QUERIES_PER_SAFE_TIME)
