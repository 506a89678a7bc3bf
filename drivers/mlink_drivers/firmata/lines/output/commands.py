"""Checks the commands of `fmctl` against the board's pins and sends them.

The mode and last value of every line are kept (`modes.py`, `writer.py`), also while the board is
away, so that `replay` can restore them on a board that was reconnected.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from mlink.errors import DeviceError
from mlink.types import LineCommand, LineCommandKind
from mlink_drivers.firmata.chip.commands import ChipCommands
from mlink_drivers.firmata.chip.extra import (
    ChipOrder,
    Count,
    Move,
    PulseTrain,
    Reflex,
    Stepper,
    StopCounter,
    StopStepper,
    WatchEdges,
    is_chip_extra,
    parse_chip_extra,
)
from mlink_drivers.firmata.chip.i2c import ChipI2C
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.extra import (
    I2CConfig,
    I2CTransfer,
    QueryPinState,
    RawSysex,
    ScanI2C,
    ServoConfig,
    SetPinMode,
    parse_extra,
)
from mlink_drivers.firmata.lines.host_counters import HostCounters
from mlink_drivers.firmata.lines.i2c_sysex import I2CAndSysex
from mlink_drivers.firmata.lines.output.checks import check_value
from mlink_drivers.firmata.lines.output.modes import LineModes
from mlink_drivers.firmata.lines.output.pulses import PulseTimer
from mlink_drivers.firmata.lines.output.punctuality import Punctuality
from mlink_drivers.firmata.lines.output.writer import LineWriter
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.link.transport import DeviceLostError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.budget import ByteBudget
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.protocol import PinMode

DEFAULT_PULSE_USEC: Final = 50_000
"""Duration of a pulse whose command has 0, as in Syntalos."""


class LineCommands:
    """Executes line commands on a board.

    The module's main thread calls `execute`, the reconnection's thread `replay`; the pulse timer's
    thread only writes. A lost board is not an error here: the session reports it.

    Args:
        session: The connection to the board.
        readings: Is informed which lines are inputs.
        budget: Counts the periodic reports of the board.
        on_error: Called with an error in the pulse timer's thread.
        on_warning: Called with a warning, which may repeat.
        on_pulse: Called with the times of each pulse that has ended.
        punctuality: Takes the delays of commands; by default they lead to warnings only.
        analog_lines: Lines for which SET_MODE input means analog.
        servo_lines: Lines for which SET_MODE output means a servo.
        chip: Commands of mlink's firmware; None to use only those of standard Firmata.
        i2c: Its transfers on the I2C bus; None likewise.
        host_counters: Count the reports of boards whose firmware does not count.
        reserved: Lines that no script may command → what uses them.
    """

    def __init__(
        self,
        session: Session,
        readings: Readings,
        budget: ByteBudget,
        *,
        on_error: Callable[[Exception], None],
        on_warning: Callable[[str], None],
        on_pulse: Callable[[PulseTimes], None] | None = None,
        punctuality: Punctuality | None = None,
        analog_lines: Collection[int] = (),
        servo_lines: Collection[int] = (),
        chip: ChipCommands | None = None,
        i2c: ChipI2C | None = None,
        host_counters: HostCounters | None = None,
        reserved: Mapping[int, str] | None = None,
    ) -> None:
        self.executed = 0
        self._session = session
        self._readings = readings
        self._chip = chip
        self._on_warning = on_warning
        self._reserved = reserved or {}
        self._host_counters = host_counters or HostCounters(
            None, session.waiting, on_missed=on_warning
        )
        readings.host_counters = self._host_counters
        self._lock = threading.Lock()
        self._writer = LineWriter(session)
        self._punctuality = punctuality or Punctuality(on_warning, session.waiting.now_ns)
        self.pulses = PulseTimer(
            self._writer.write,
            session.waiting,
            on_error=on_error,
            on_ended=on_pulse,
            on_due=self._punctuality.made_by_host,
        )
        self._modes = LineModes(
            session,
            self._writer,
            self.pulses,
            readings,
            budget,
            on_warning=on_warning,
            analog_lines=analog_lines,
            servo_lines=servo_lines,
            chip=chip,
        )
        self._i2c_sysex = I2CAndSysex(
            session, self._writer.send, budget, self._modes.check_budget, i2c
        )
        self._modes.i2c_is_on = lambda: self._i2c_sysex.is_on

    @property
    def undelivered(self) -> int:
        """Messages that were not sent because the board was away."""
        return self._writer.undelivered

    def take_unproven(self, sign_ns: int) -> int:
        """Return how many messages a lost board may not have executed; they are forgotten.

        Args:
            sign_ns: When the board gave its last sign of life (ns of CLOCK_MONOTONIC).
        """
        return self._writer.unproven.take(sign_ns)

    def execute(self, command: LineCommand, commanded_ns: int = 0) -> None:
        """Execute a command.

        Args:
            command: The command.
            commanded_ns: When a module has sent it, in ns of CLOCK_MONOTONIC; 0 is now.

        Raises:
            DeviceError: The pin does not support it, or its parameters are invalid.
        """
        commanded_ns = commanded_ns or self._session.waiting.now_ns()
        writer = self._writer
        with self._lock:
            undelivered = writer.undelivered
            try:
                self._execute(command, commanded_ns)
            except DeviceLostError:
                writer.undelivered += 1
                raise
            self.executed += 1
            if writer.undelivered == undelivered:
                self._punctuality.sent(command, commanded_ns, self._session.waiting.now_ns())

    @property
    def _board(self) -> BoardDescription:
        return self._session.description  # another one after each reconnection

    def _execute(self, command: LineCommand, commanded_ns: int) -> None:
        line, kind = command.line_id, command.kind
        self._refuse_reserved(line)
        pulses = kind is LineCommandKind.WRITE_DIGITAL_PULSE
        if self._chip is not None and not pulses and kind is not LineCommandKind.DEVICE_SPECIFIC:
            self._chip.cut(line)
        if kind is LineCommandKind.SET_MODE:
            self._host_counters.release(line)
            self._modes.set_by_flags(line, command.flags)
        elif kind is LineCommandKind.WRITE_DIGITAL:
            self._modes.make_output(line, PinMode.OUTPUT)
            self.pulses.write(line, int(command.value != 0))
        elif pulses:
            self._modes.make_output(line, PinMode.OUTPUT)
            self._pulse(line, _duration_usec(command), commanded_ns)
        elif kind is LineCommandKind.WRITE_ANALOG:
            check_value(self._board, line, self._modes.make_analog_output(line), command.value)
            self.pulses.write(line, command.value)
        elif kind is LineCommandKind.WRITE_ANALOG_PULSE:
            check_value(self._board, line, self._modes.make_analog_output(line), command.value)
            self.pulses.pulse(
                line, command.value, _duration_usec(command), commanded_ns=commanded_ns
            )
        elif kind is LineCommandKind.DEVICE_SPECIFIC:
            self._device_specific(line, command.extra, commanded_ns)
        else:
            raise DeviceError(
                f"board {self._board} does not support the command {kind.name}",
                remedy="Send SET_MODE, WRITE_DIGITAL, WRITE_ANALOG, a pulse of these,"
                " or DEVICE_SPECIFIC.",
            )

    def mode_of(self, line: int) -> PinMode | None:
        """Return the mode of a line; None before its first command."""
        known = self._writer.lines.get(line)
        return known.mode if known is not None else None

    def replay(self, rest_values: Mapping[int, int] | None = None) -> None:
        """Restore a restarted board: modes, reports, I2C, orders to the chip, output values.

        Args:
            rest_values: Line → value to write instead of the last one, 0 for other outputs; servos
                without a value are not driven. None restores the last values.
        """
        with self._lock, self.pulses.held():
            self._readings.forget_all()
            self._host_counters.on_restarted()
            if self._chip is not None:
                self._chip.forget_all()
            self._writer.forget_ports()
            for line, known in self._writer.lines.items():
                self._modes.apply(line, known)
                if known.is_input or known.value is None:
                    continue
                if rest_values is not None:
                    if known.mode is PinMode.SERVO and line not in rest_values:
                        continue
                    known.value = rest_values.get(line, 0)
                self._writer.write(line, known.value)
            repeated = self._i2c_sysex.replay()
            if self._chip is not None:
                repeated += self._chip.replay(trains=rest_values is None)
                repeated += self._chip.safe_outputs(self._writer.outputs)
            if repeated:
                self._writer.send(repeated)

    def end_pulses(self) -> None:
        """End all pulses; call it after the last command."""
        self.pulses.end_all()
        if self._chip is not None and (stop := self._chip.end_pulses()):
            self._writer.send(stop)

    def report_running_pulses(self) -> None:
        """Report the pulses that have not ended, without an end; each is reported once."""
        self.pulses.report_running()
        if self._chip is not None:
            self._chip.give_up_pulses()

    def arm_safe_state(self) -> None:
        """Send the safe state of the settings, if there is one, for the present outputs."""
        self._modes.arm_safe_state()

    # -- device-specific -----------------------------------------------------------------------

    def _device_specific(self, line: int, extra: bytes, commanded_ns: int) -> None:
        try:
            order = parse_chip_extra(extra) if is_chip_extra(extra) else parse_extra(extra)
        except ValueError as error:
            raise DeviceError(
                f"the extra bytes '{extra.hex(' ')}' of a DEVICE_SPECIFIC command for"
                f" {self._board} are not valid: {error}",
                remedy="Make them with the functions of mlink_drivers.firmata.extra.",
            ) from error
        if isinstance(order, SetPinMode):
            self._modes.use(line, order.mode)
        elif isinstance(order, ServoConfig):
            widths = order.min_pulse_usec, order.max_pulse_usec
            self._modes.use(line, PinMode.SERVO)
            self._writer.lines[line].servo_pulses_usec = widths
            self._writer.send(
                encode.servo_config(line, *widths) + encode.pin_mode(line, PinMode.SERVO)
            )
        elif isinstance(order, QueryPinState):
            if not 0 <= line < self._board.layout.pin_count:
                raise DeviceError(
                    f"{self._board} has no line {line}",
                    remedy=f"Use another line; {self._board.layout.describe(line)}.",
                )
            self._writer.send(encode.pin_state_query(line))
        elif isinstance(order, RawSysex | I2CConfig | I2CTransfer | ScanI2C):
            if not isinstance(order, RawSysex):
                self._modes.check_i2c()
            self._i2c_sysex.execute(order)
        else:
            self._chip_order(line, order, commanded_ns)

    def _chip_order(self, line: int, order: ChipOrder, commanded_ns: int) -> None:
        if self._chip is None:
            raise DeviceError(
                f"orders to the chip of {self._board} need the module firmata-io",
                remedy="Send this command in a bench.",
            )
        if isinstance(order, PulseTrain):
            self._modes.make_output(line, PinMode.OUTPUT)
        elif isinstance(order, Reflex):
            if self._chip.requirements.has_firmware:
                self._chip.requirements.require_edges(line)
            self._refuse_reserved(order.output)
            self._modes.make_output(order.output, PinMode.OUTPUT)
        elif isinstance(order, WatchEdges):
            self._chip.requirements.require_edges(line)
            (self._readings.expect_edges if order.kind else self._readings.forget)(line)
        elif isinstance(order, Count) and not self._chip.requirements.has_firmware:
            self._count_by_host(line, order)
            return
        elif isinstance(order, StopCounter) and not self._chip.requirements.has_firmware:
            self._host_counters.stop(order.index)
            return
        elif isinstance(order, Count):
            self._chip.requirements.require_counters(line)
            mode = PinMode.PULLUP if order.pull_up else PinMode.INPUT
            for counted in (line, order.second_line):
                if counted is not None:
                    self._chip.requirements.require_edges(counted)
                    self._modes.use(counted, mode, is_counted=True)
        elif isinstance(order, Stepper | Move | StopStepper):
            self._chip.requirements.require_steppers(order)
            if isinstance(order, Stepper):
                self._take_lines(order)
        self._chip.execute(line, order, commanded_ns)
        self._writer.note_sent()
        if isinstance(order, Count) and (warning := self._chip.requirements.counters_warning):
            self._on_warning(warning)
        if isinstance(order, PulseTrain) and self._chip.late_warning:
            self._on_warning(self._chip.late_warning)

    def _count_by_host(self, line: int, order: Count) -> None:
        mode = PinMode.PULLUP if order.pull_up else PinMode.INPUT
        self._host_counters.count(line, order)
        for counted in (line, order.second_line):
            if counted is not None:
                self._modes.use(counted, mode)
        self._on_warning(
            f"{self._board} has no counters, so the host counts its reports: edges that come faster"
            " than these are not seen, and times are those of arrival. Exact counts need mlink's"
            " firmware: mlink flash DEVICE"
        )

    def _refuse_reserved(self, line: int) -> None:
        if line in self._reserved:
            raise DeviceError(
                f"line {line} of {self._board} is {self._reserved[line]}: no script can command it",
                remedy="Use another line.",
            )

    def _take_lines(self, order: Stepper) -> None:
        for output in order.lines:
            self._refuse_reserved(output)
            self._modes.make_output(output, PinMode.OUTPUT)
        mode = PinMode.PULLUP if order.pull_up else PinMode.INPUT
        for limit in order.limits:
            known = self._writer.lines.get(limit) if limit is not None else None
            if limit is not None and (known is None or not known.is_input):
                self._modes.use(limit, mode)

    def _pulse(self, line: int, duration_usec: int, commanded_ns: int) -> None:
        """Start a pulse by the chip, or by the host's timer where the chip cannot."""
        if self._chip is not None and not self.pulses.is_active(line):
            # A PWM pin may use a timer that pulses need; which one depends on the board.
            slots = sum(known.mode is PinMode.PWM for known in self._writer.lines.values())
            self._writer.lines[line].value = 0
            try:
                if self._chip.pulse(line, duration_usec, commanded_ns, slots):
                    self._writer.note_sent()
                    return
            except DeviceLostError:
                self._writer.undelivered += 1
                return
        self.pulses.pulse(line, 1, duration_usec, commanded_ns=commanded_ns)


def _duration_usec(command: LineCommand) -> int:
    return command.duration_usec if command.duration_usec > 0 else DEFAULT_PULSE_USEC
