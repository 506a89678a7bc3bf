"""Sets the modes of lines up: checks them, keeps them, and orders the reports of inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection

from mlink.errors import DeviceError
from mlink.types import LineModeFlags
from mlink_drivers.firmata.chip.commands import ChipCommands
from mlink_drivers.firmata.lines.output.checks import check_mode
from mlink_drivers.firmata.lines.output.pulses import PulseTimer
from mlink_drivers.firmata.lines.output.writer import INPUTS, LineState, LineWriter
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.link.session import Session
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.budget import ByteBudget, analog_bytes
from mlink_drivers.firmata.wire.handshake import BoardDescription
from mlink_drivers.firmata.wire.pin_layout import mode_name
from mlink_drivers.firmata.wire.protocol import PINS_PER_PORT, PinMode


class LineModes:
    """The modes of a board's lines. `LineCommands` calls it under its lock.

    Args:
        session: The connection to the board.
        writer: Sends messages and has the state of each line.
        pulses: Pulses of a line that becomes an input are forgotten here.
        readings: Is informed which lines are inputs.
        budget: Counts the periodic reports of the board.
        on_warning: Called with a warning, which may repeat.
        analog_lines: Lines for which SET_MODE input means analog.
        servo_lines: Lines for which SET_MODE output means a servo.
        chip: Commands of mlink's firmware; None to use only those of standard Firmata.
    """

    def __init__(
        self,
        session: Session,
        writer: LineWriter,
        pulses: PulseTimer,
        readings: Readings,
        budget: ByteBudget,
        *,
        on_warning: Callable[[str], None],
        analog_lines: Collection[int],
        servo_lines: Collection[int],
        chip: ChipCommands | None,
    ) -> None:
        self._session = session
        self._writer = writer
        self._pulses = pulses
        self._readings = readings
        self._budget = budget
        self._on_warning = on_warning
        self._analog_lines = analog_lines
        self._servo_lines = servo_lines
        self._chip = chip
        self.i2c_is_on: Callable[[], bool] = lambda: False
        """Whether an order has switched I2C on."""

    @property
    def _board(self) -> BoardDescription:
        return self._session.description  # another one after each reconnection

    def set_by_flags(self, line: int, flags: LineModeFlags) -> None:
        """Carry out SET_MODE; an output starts low, a servo is not driven.

        Raises:
            DeviceError: The pin does not support the mode, or its reports do not fit on the line.
        """
        if LineModeFlags.IS_OUTPUT in flags:
            if line in self._servo_lines:
                self.use(line, PinMode.SERVO)
                return
            self.use(line, PinMode.OUTPUT)
            self._pulses.write(line, 0)
        elif line in self._analog_lines or self._board.layout.is_analog_only(line):
            self.use(line, PinMode.ANALOG)
        elif LineModeFlags.PULL_UP in flags:
            self.use(line, PinMode.PULLUP)
        else:
            self.use(line, PinMode.INPUT)

    def make_analog_output(self, line: int) -> PinMode:
        """Set a line up for analog values if it is not; return its mode, SERVO or PWM.

        Raises:
            DeviceError: The line is an input, or supports neither.
        """
        present = self._writer.lines.get(line)
        is_servo = line in self._servo_lines or (present and present.mode is PinMode.SERVO)
        mode = PinMode.SERVO if is_servo else PinMode.PWM
        self.make_output(line, mode)
        return mode

    def make_output(self, line: int, mode: PinMode) -> None:
        """Set an output's mode if it differs.

        Raises:
            DeviceError: The line is an input, or does not support the mode.
        """
        present = self._writer.lines.get(line)
        if present is not None:
            if present.mode is mode:
                return
            if present.is_input:
                raise DeviceError(
                    f"line {line} of {self._board} is set up as"
                    f" {mode_name(present.mode)} and cannot be written to",
                    remedy="Send SET_MODE with IS_OUTPUT first, or use another line.",
                )
        self.use(line, mode)

    def use(self, line: int, mode: PinMode, *, is_counted: bool = False) -> None:
        """Set a line's mode, also when it has this mode already.

        Raises:
            DeviceError: The pin does not support the mode, or its reports do not fit on the line.
        """
        check_mode(self._board, line, mode)
        layout = self._board.layout
        if self.i2c_is_on() and layout.supports(line, PinMode.I2C):
            raise DeviceError(
                f"line {line} of {self._board} is SDA or SCL of the I2C bus, which is in use",
                remedy="Use another line.",
            )
        before = self._writer.lines.get(line)
        silence = b""
        if before is not None and before.mode is PinMode.ANALOG and mode is not PinMode.ANALOG:
            channel = layout.channel_of(line)
            assert channel is not None
            silence = self._chip.end_samples(channel) if self._chip is not None else b""
            silence = silence or encode.report_analog(channel, False)
            self._budget.remove(("analog", line))
        elif self._chip is not None and (is_counted or mode not in (PinMode.INPUT, PinMode.PULLUP)):
            silence = self._chip.unwatch(line)
        if mode is PinMode.ANALOG:
            channel = layout.channel_of(line)
            assert channel is not None
            self._budget.add(("analog", line), analog_bytes(channel))
            self.check_budget()
        known = LineState(mode, is_counted=is_counted)
        if before is not None:
            if mode is PinMode.SERVO:
                known.servo_pulses_usec = before.servo_pulses_usec
            if mode in INPUTS:
                self._pulses.forget(line)
        self._writer.lines[line] = known
        if silence:
            self._writer.send(silence)
        self.apply(line, known)
        if mode not in INPUTS and (before is None or before.is_input):
            self.arm_safe_state()  # its order lists the outputs

    def check_i2c(self) -> None:
        """Check that no line of the I2C bus is in use for something else.

        Raises:
            DeviceError: One is: the firmware would take it without a word.
        """
        for line in self._board.layout.pins_with(PinMode.I2C):
            if (known := self._writer.lines.get(line)) is not None:
                raise DeviceError(
                    f"line {line} of {self._board} is set up as {mode_name(known.mode)}, and"
                    " I2C needs it",
                    remedy="Use another line for that, or no I2C.",
                )

    def apply(self, line: int, known: LineState) -> None:
        """Send a line's mode, and for an input the order to report it."""
        set_mode = encode.pin_mode(line, known.mode)
        if known.mode is PinMode.ANALOG:
            channel = self._board.layout.channel_of(line)
            assert channel is not None
            self._readings.expect_analog(channel, line)
            if self._chip is not None and self._chip.samples(channel):
                self._writer.send(set_mode + self._chip.sample(channel, line))
                if warning := self._chip.interval_warning:
                    self._on_warning(warning)
            else:
                self._warn_of_host_time(line)
                self._writer.send(set_mode + encode.report_analog(channel, True))
        elif known.is_counted:
            self._readings.forget(line, is_input=True)
            self._writer.send(set_mode)
        elif known.is_input and self._chip is not None and self._chip.stamps(line):
            self._readings.expect_edges(line)
            self._writer.send(set_mode + self._chip.watch(line))
        elif known.is_input:
            self._warn_of_host_time(line)
            self._readings.expect_digital(line)
            if not self._board.writes_single_pins:
                # before 2.5 an input's bit in a port write switches its pull-up
                pull_up = known.mode is PinMode.PULLUP
                if self._board.pulls_up_by_write(line):
                    set_mode = encode.pin_mode(line, PinMode.INPUT)
                set_mode += self._writer.port_write(line, int(pull_up))
            self._writer.send(
                set_mode
                + encode.protocol_version_query()  # the fence, see inputs.py
                + encode.report_digital(line // PINS_PER_PORT, True)
            )
        else:
            self._readings.forget(line)
            if known.servo_pulses_usec is not None:
                set_mode = encode.servo_config(line, *known.servo_pulses_usec) + set_mode
            self._writer.send(set_mode)

    def _warn_of_host_time(self, line: int) -> None:
        if self._chip is not None and self._chip.keeps_time:
            self._on_warning(
                f"{self._board} cannot timestamp line {line}: its readings carry their"
                " time of arrival"
            )

    def arm_safe_state(self) -> None:
        """Send the safe state of the settings, if there is one, for the present outputs."""
        if self._chip is not None and (order := self._chip.safe_outputs(self._writer.outputs)):
            self._writer.send(order)

    def check_budget(self) -> None:
        """Check that the board's reports fit on its line; a line nearly full gives a warning.

        Raises:
            DeviceError: They do not fit.
        """
        if warning := self._budget.check(str(self._board)):
            self._on_warning(warning)
