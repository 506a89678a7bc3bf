"""The module `firmata-io`: a board between `fmctl` and `fmdata`."""

from __future__ import annotations

import functools
from typing import Final

from mlink.errors import DeviceError
from mlink.module import Module
from mlink.types import LineCommand
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.chip.pulse_times import PulseTimes
from mlink_drivers.firmata.extra import ExtraKind
from mlink_drivers.firmata.lines.chip import ChipInRun
from mlink_drivers.firmata.lines.host_counters import HostCounters
from mlink_drivers.firmata.lines.i2c_answers import I2CAnswers
from mlink_drivers.firmata.lines.output.checks import check_settings
from mlink_drivers.firmata.lines.output.commands import LineCommands
from mlink_drivers.firmata.lines.output.punctuality import Punctuality
from mlink_drivers.firmata.lines.readings import Readings
from mlink_drivers.firmata.lines.recovery import Recovery
from mlink_drivers.firmata.lines.refusals import refusal
from mlink_drivers.firmata.lines.rows import (
    COUNTERS_HEADER,
    STEPPERS_HEADER,
    EventRows,
    PulseRows,
    ReflexRows,
    ReplyRows,
    Rows,
)
from mlink_drivers.firmata.lines.summary import BoardTexts, report_losses, report_traffic
from mlink_drivers.firmata.link.local import LocalTransport
from mlink_drivers.firmata.link.open import open_transport
from mlink_drivers.firmata.link.probe import FirmwareQueries
from mlink_drivers.firmata.link.session import Session, SessionState
from mlink_drivers.firmata.link.silence import LOOKS, PAUSE_S, SilenceWatch
from mlink_drivers.firmata.link.transport import DeviceLostError
from mlink_drivers.firmata.wire import encode
from mlink_drivers.firmata.wire.arrival import estimate_uncertainty_usec
from mlink_drivers.firmata.wire.decode import MAX_SYSEX_BYTES
from mlink_drivers.firmata.wire.protocol import (
    I2CReply,
    Message,
    Oversized,
    StringData,
)
from mlink_drivers.identity import identify, resolve
from mlink_drivers.trigger import EDGES_OUTPUT, EdgeRow, answers_input

_I2C_READS: Final = {
    bytes((kind,))
    for kind in (ExtraKind.I2C_READ, ExtraKind.I2C_READ_CONTINUOUSLY, ExtraKind.I2C_READ_AS)
}


class FirmataModule(Module[FirmataSettings]):
    """A Firmata board; it connects in `prepare` and sends commands and readings at once."""

    prompt = True

    _session: Session | None = None
    _readings: Readings | None = None
    _commands: LineCommands | None = None
    _recovery: Recovery | None = None
    _chip: ChipInRun | None = None
    _rows: tuple[Rows, ...] = ()
    _warned: frozenset[str] = frozenset()
    _silence_watch: SilenceWatch | None = None
    _silences = 0
    _i2c_unanswered = False
    """Whether the last read of an I2C device has had no answer yet."""

    def prepare(self) -> None:
        """Connect to the board and set the metadata of its streams.

        Raises:
            DeviceError: The board cannot be opened or does not match the settings.
        """
        spec, device = self._address()
        settings, outputs, clock = self.settings, self.context.outputs, self.context.clock
        queries = FirmwareQueries(settings.baud_rate)
        address = resolve(spec, ask=queries)
        if (baud_rate := queries.baud_rate(address)) != settings.baud_rate:
            self.log.warning(
                "%s answers at %d baud, not at %d; set baud_rate = %d to have it found sooner",
                *(address, baud_rate, settings.baud_rate, baud_rate),
            )
            settings.baud_rate = baud_rate  # for reconnecting, and for falling back to it
        events = EventRows(outputs["events"], clock)
        pulses = PulseRows(outputs["pulses"], clock)
        self._replies = ReplyRows(outputs["replies"], clock)
        reflexes = ReflexRows(outputs["reflexes"], clock)
        counters = Rows(outputs["counters"], clock, COUNTERS_HEADER)
        steppers = Rows(outputs["steppers"], clock, STEPPERS_HEADER)
        self._rows = (events, self._replies, pulses, reflexes, counters, steppers)
        triggers = None
        if settings.cameras:
            triggers = Rows(outputs[EDGES_OUTPUT], clock, EdgeRow.header())
            self._rows += (triggers,)
        self._pulse_rows = pulses
        self._punctuality = Punctuality(self.log.warning, self.context.waiting.now_ns)
        self._events = events
        readings = self._readings = Readings(
            outputs["fmdata"],
            clock,
            fail=self.context.fail,
            on_lost=self._on_lost,
            on_restarted=self._on_restarted,
            on_other=self._on_other,
            decimation={int(line): every for line, every in settings.decimation.items()},
        )
        identity = identify(address)  # before it is opened: later the port may be gone
        transport = open_transport(address, settings.baud_rate)
        if self.context.waiting.is_virtual and not isinstance(transport, LocalTransport):
            raise DeviceError(
                f"{device} runs in real time only", remedy="In virtual time use virtual:uno."
            )
        session = self._session = Session(
            transport,
            self._readings,
            waiting=self.context.waiting,
            name=device,
            handshake_timeout_s=settings.handshake_timeout_s,
            reset_on_close=settings.reset_on_close,
        )
        self._texts = BoardTexts(device, self.log, events.note)
        session.connect()
        self._silence_watch = SilenceWatch(
            session.waiting,
            count_signs=self._count_signs,
            query=self._query_sign,
            sent_ns=lambda: session.sent_ns,
            on_silence=self._on_silence,
            on_look=lambda: self._chip.levels.look() if self._chip is not None else None,
        )
        self._i2c_answers = I2CAnswers(self._replies, device, self.log)
        self._chip = ChipInRun(
            self.context,
            session,
            self._readings,
            events,
            reflexes,
            on_pulse=self._on_chip_pulse,
            on_silence=session.drop,
            counters=counters,
            i2c=self._i2c_answers,
            steppers=steppers,
            triggers=triggers,
        )
        self._connect_chip()
        session.send(encode.sampling_interval(settings.sampling_interval_msec))
        self._host_counters = HostCounters(
            counters,
            session.waiting,
            on_missed=lambda text: events.note("counts-missed", text),
        )
        self._commands = LineCommands(
            session,
            self._readings,
            check_settings(settings, session, self._warn_once),
            chip=self._chip.commands,
            i2c=self._chip.i2c,
            on_error=self._fail_unless_lost,
            on_warning=self._warn_once,
            on_pulse=pulses.take,
            punctuality=self._punctuality,
            analog_lines=settings.analog_lines,
            servo_lines=settings.servo_lines,
            host_counters=self._host_counters,
            reserved=self._chip.triggers.users() if self._chip.triggers is not None else None,
        )
        self._recovery = Recovery(
            session,
            self._commands,
            events,
            settings,
            spec=spec,
            identity=identity,
            connect=self._connect_chip,
            fail=self.context.fail,
            set_status=self.context.set_status,
            log=self.log,
            note_away=lambda ns: readings.note_away(ns, settings.sampling_interval_msec),
        )
        self._fmctl = self.context.inputs["fmctl"]
        self._fmctl.on_item = self._on_command
        if (lines := self._chip.triggers) is not None:
            outputs[EDGES_OUTPUT].metadata["uncertainty_usec"] = self._chip.chip.uncertainty_usec
            for camera in settings.cameras:
                port = self.context.inputs[answers_input(camera)]
                port.on_item = functools.partial(lines.take_answer, camera)
        self._commands.arm_safe_state()
        self._set_metadata(session, device)
        self.log.info("connected to %s", session.description)
        self.log.info("%s", session.transport.latency_report)
        if session.waiting.granted is not None:
            self.log.info("the reader has %s", session.waiting.granted.detail)
        events.note("connected", str(identity or session.transport.address))
        self.context.set_status(str(session.description))

    def start(self) -> None:
        """Begin to send readings and rows."""
        assert self._readings is not None
        for rows in self._rows:
            rows.start()
        if self._chip is not None:
            self._chip.start()
            if (lines := self._chip.triggers) is not None:
                for camera in self.settings.cameras:
                    if not self.context.inputs[answers_input(camera)].connected:
                        lines.leave_out(camera)
        self._readings.start()

    def halt(self) -> None:
        """Stop sending readings."""
        if self._recovery is not None:
            self._recovery.finish()
        if self._readings is not None:
            self._readings.halt()
        if self._chip is not None and self._chip.triggers is not None:
            self._chip.triggers.stop()

    def stop(self) -> None:
        """End the tables; a pulse that is still running has no end in them."""
        if self._commands is not None:
            self._commands.report_running_pulses()
        if self._chip is not None:
            self._chip.levels.finish()
        for rows in self._rows:
            rows.close()
        if self._chip is not None:
            self._chip.finish()

    def drained(self) -> None:
        """End the running pulses: no command arrives any more."""
        if self._commands is not None:
            self._commands.end_pulses()
        if self._session is not None:
            self._session.await_sent()
        if self._chip is not None:
            self._chip.take_last_counts()
            if self._chip.triggers is not None:
                self._chip.triggers.finish()
        if self._session is None or self._commands is None or self._readings is None:
            return
        figures = self._punctuality.figures()
        report_traffic(self.context, self._session, self._readings, self._commands, figures)
        self._texts.report()
        self._i2c_answers.report()
        if faults := self._i2c_answers.faults:
            self.context.report("i2c_faults", faults)
        if self._silences:
            self.context.report("silences", self._silences)
        if self._chip is not None:
            self._chip.report()
        report_losses(self.context, self._session, self._commands, self._host_counters)
        if self._recovery is not None:
            self._recovery.report(self.context)
        self._hint(self._readings, self._commands)

    def close(self) -> None:
        """Stop the board's reports, reset it and close the port."""
        self.context.inputs["fmctl"].on_item = None
        for rows in self._rows:
            rows.close()
        if self._commands is not None:
            self._commands.pulses.close()
        if self._silence_watch is not None:
            self._silence_watch.close()
        if self._recovery is not None:
            self._recovery.close()
        if self._chip is not None:
            self._chip.close()
        if self._session is not None:
            self._session.close(self._silence())

    def _address(self) -> tuple[str, str]:
        """Return the device to open and its name in messages."""
        endpoint = self.context.device
        if endpoint is not None:
            return endpoint.address, f"{endpoint.name} ({endpoint.spec})"
        if self.settings.serial_port:
            return self.settings.serial_port, self.settings.serial_port
        raise DeviceError(
            f"module '{self.context.name}' has no board to connect to",
            remedy=f'Set device = "…" in [modules.{self.context.name}] to a name of [devices].',
        )

    def _set_metadata(self, session: Session, device: str) -> None:
        board, transport = session.description, session.transport
        major, minor = board.firmware_version
        self.context.outputs["fmdata"].metadata.update(
            {
                "time_unit": "microseconds",
                "timestamp_source": "host-arrival",
                "uncertainty_usec": estimate_uncertainty_usec(
                    transport.baud_rate, transport.adapter_latency_usec
                ),
                "adapter_latency_usec": transport.adapter_latency_usec,
                "sampling_interval_msec": self.settings.sampling_interval_msec,
                "is_digital": not self.settings.analog_lines,
                "data_unit": "raw" if self.settings.analog_lines else "ttl",
                "board": device,
                "firmware_name": board.firmware_name,
                "firmware_version": f"{major}.{minor}",
                "protocol_version": "{}.{}".format(*board.protocol_version),
            }
        )
        assert self._chip is not None
        self.context.outputs["fmdata"].metadata.update(self._chip.metadata)

    def _connect_chip(self) -> None:
        """Start the chip's clock, whose queries notice silence; else the watch for other boards."""
        assert self._chip is not None
        assert self._silence_watch is not None
        self._i2c_unanswered = False
        self._chip.connect()
        if not self._chip.chip.keeps_time:
            self._silence_watch.start()

    # -- events (mostly in the reader thread) ----------------------------------------------------

    def _on_lost(self, error: DeviceError) -> None:
        if self._chip is not None and self._chip.triggers is not None:
            self._chip.triggers.off()
        if self._recovery is not None:
            self._recovery.on_lost(error)
        else:
            self.context.fail(error)

    def _count_signs(self) -> int:
        """Count samples where lines are sampled often, else all messages: a board may babble."""
        assert self._session is not None
        assert self._readings is not None
        if self._readings.channels and self.settings.sampling_interval_msec <= PAUSE_S * 1000:
            return self._readings.samples
        return self._session.statistics.messages_in

    def _query_sign(self, repeat: bool) -> None:
        assert self._session is not None
        assert self._readings is not None
        try:
            if self._readings.query_sign(repeat):
                self._session.send(encode.protocol_version_query())
        except DeviceError:
            pass  # the board is lost, which the session has reported

    def _on_silence(self) -> None:
        """Treat a silent board as one whose cable was pulled."""
        assert self._session is not None
        assert self._readings is not None
        if self._session.state is not SessionState.CONNECTED:
            return
        self._silences += 1
        quiet_s = LOOKS * PAUSE_S
        channels = len(self._readings.channels)
        per_channel = round(quiet_s * 1000 / self.settings.sampling_interval_msec)
        self._readings.note_lost(max(1, channels * per_channel))
        if self._recovery is not None:
            self._recovery.noted_ns = self._session.waiting.now_ns()
        what = "sent no sample" if channels else "answered no query"
        reason = f"the board is silent: it {what} for {quiet_s:g} s"
        remedy = "Press its reset button; check its power supply, its cable and its firmware."
        if self._i2c_unanswered:
            reason += ", since the read of an I2C device that has not answered"
            remedy = (
                "StandardFirmata hangs when it reads an I2C device that is absent: check the"
                " device's address and wires, then press the board's reset button. mlink's"
                " firmware does not hang: mlink flash DEVICE"
            )
        self._session.drop(DeviceError(reason, remedy=remedy))

    def _on_restarted(self, arrival_ns: int) -> None:
        if self._recovery is not None:
            self._recovery.on_restarted(arrival_ns)

    def _on_other(self, message: Message, arrival_ns: int) -> None:
        if self._replies.take(message, arrival_ns) and self._chip is not None:
            self._chip.unchecked_rows += 1  # check values are of the extension's messages only
        if isinstance(message, I2CReply):
            self._i2c_unanswered = False
        if isinstance(message, StringData):
            assert self._session is not None
            self._texts.take(message.text)
            error = refusal(self._session.name, message.text)
            # Without check values the command may be one that has changed on the line.
            if error is not None and self._chip is not None and self._chip.chip.checked:
                self.context.fail(error)
        elif isinstance(message, Oversized):
            self._warn_once(
                f"the board sends messages of more than {MAX_SYSEX_BYTES} bytes: they are lost, "
                "and counted in the stream `replies`"
            )

    def _on_chip_pulse(self, pulse: PulseTimes) -> None:
        self._punctuality.made_by_chip(pulse)
        self._pulse_rows.take(pulse)

    def _on_command(self, command: LineCommand) -> None:
        assert self._commands is not None
        try:
            self._i2c_unanswered |= command.extra[:1] in _I2C_READS
            self._commands.execute(command, self._fmctl.sent_ns)
        except DeviceError as error:
            self._fail_unless_lost(error)

    def _fail_unless_lost(self, error: Exception) -> None:
        """Report a failure, but for the loss of the board, which the session reports."""
        if not isinstance(error, DeviceLostError):
            self.context.fail(error)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned:
            self._warned |= {warning}
            self.log.warning("%s", warning)

    def _silence(self) -> bytes:
        """Return the messages that stop all reports, for boards that are not reset at the end."""
        assert self._readings is not None
        chip = self._chip.commands.disarm() if self._chip is not None else b""
        return chip + b"".join(
            [encode.report_digital(port, False) for port in self._readings.ports]
            + [encode.report_analog(channel, False) for channel in self._readings.channels]
        )

    def _hint(self, readings: Readings, commands: LineCommands) -> None:
        """Hint at a board that has done nothing."""
        idle = commands.executed == 0 and readings.sent == 0
        if idle and not self.settings.cameras:
            remedy = "send it the mode of each line, by send_mode() in the script's start()"
            if not self._fmctl.connected:
                remedy = 'connect a script: inputs = { fmctl = "SCRIPT.PORT" }'
            self.context.hint(f"the board received no command and sent no reading: {remedy}")
