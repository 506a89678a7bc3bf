"""The module `firmata-io`: a board between `fmctl` and `fmdata`."""

from __future__ import annotations

from mlink.errors import DeviceError
from mlink.module import Module
from mlink.types import LineCommand
from mlink_drivers.firmata import encode
from mlink_drivers.firmata.arrival import estimate_uncertainty_usec
from mlink_drivers.firmata.board import Board
from mlink_drivers.firmata.catalog import FirmataSettings
from mlink_drivers.firmata.commands import LineCommands
from mlink_drivers.firmata.readings import Readings
from mlink_drivers.firmata.transport import DeviceLostError


class FirmataModule(Module[FirmataSettings]):
    """Connects in `prepare()`; commands are sent as they come, readings as they arrive."""

    _board: Board | None = None
    _readings: Readings | None = None
    _commands: LineCommands | None = None

    def prepare(self) -> None:
        """Connect to the board and tell what its readings are."""
        address, device = self._address()
        settings = self.settings
        self._readings = Readings(
            self.context.outputs["fmdata"],
            self.context.clock,
            device=device,
            fail=self.context.fail,
        )
        self._board = Board(
            address,
            baudrate=settings.baud_rate,
            name=device,
            handshake_timeout_s=settings.handshake_timeout_s,
            reset_on_close=settings.reset_on_close,
            listener=self._readings,
            log=self.log,
        )
        self._board.setSamplingInterval(settings.sampling_interval_msec)
        self._commands = LineCommands(
            self._board,
            self._readings,
            on_error=self._fail_unless_lost,
            analog_lines=settings.analog_lines,
            servo_lines=settings.servo_lines,
        )
        self.context.inputs["fmctl"].on_item = self._on_command
        self._set_metadata(self._board, device)
        self.log.info("connected to %s", self._board.description)
        self.context.set_status(str(self._board.description))

    def start(self) -> None:
        """Let readings through."""
        assert self._readings is not None
        self._readings.start()

    def halt(self) -> None:
        """Let no more readings through."""
        if self._readings is not None:
            self._readings.halt()

    def drained(self) -> None:
        """End the pulses that still run; no command comes any more."""
        if self._commands is not None:
            self._commands.pulses.end_all()
        self._report_figures()

    def close(self) -> None:
        """Quieten the board and give the port back."""
        self.context.inputs["fmctl"].on_item = None
        if self._commands is not None:
            self._commands.pulses.close()
        if self._board is not None:
            self._board.exit(self._silence())

    def _address(self) -> tuple[str, str]:
        """What to open, and what to call it."""
        endpoint = self.context.device
        if endpoint is not None:
            return endpoint.address, f"{endpoint.name} ({endpoint.spec})"
        if self.settings.serial_port:
            return self.settings.serial_port, self.settings.serial_port
        raise DeviceError(
            f"module '{self.context.name}' has no board to connect to",
            remedy=f'Set device = "…" in [modules.{self.context.name}] to a name of [devices].',
        )

    def _set_metadata(self, board: Board, device: str) -> None:
        transport = board.session.transport
        major, minor = board.firmware_version
        self.context.outputs["fmdata"].metadata.update(
            {
                "time_unit": "microseconds",
                "timestamp_source": "host-arrival",
                "uncertainty_usec": estimate_uncertainty_usec(
                    transport.baud_rate, transport.adapter_latency_usec
                ),
                "is_digital": not self.settings.analog_lines,
                "data_unit": "raw" if self.settings.analog_lines else "ttl",
                "board": device,
                "firmware_name": board.firmware,
                "firmware_version": f"{major}.{minor}",
                "protocol_version": "{}.{}".format(*board.firmata_version),
            }
        )

    def _on_command(self, command: LineCommand) -> None:
        assert self._commands is not None
        try:
            self._commands.execute(command)
        except DeviceError as error:
            self._fail_unless_lost(error)

    def _fail_unless_lost(self, error: Exception) -> None:
        """Report a failure; that of a lost board was reported when it was noticed."""
        if not isinstance(error, DeviceLostError):
            self.context.fail(error)

    def _silence(self) -> bytes:
        """Bytes that stop all our reporting, for boards that are not reset at the end."""
        assert self._readings is not None
        return b"".join(
            [encode.report_digital(port, False) for port in self._readings.ports]
            + [encode.report_analog(channel, False) for channel in self._readings.channels]
        )

    def _report_figures(self) -> None:
        if self._board is None or self._commands is None or self._readings is None:
            return
        statistics = self._board.session.statistics
        self.context.report("readings_sent", self._readings.sent)
        self.context.report("commands_executed", self._commands.executed)
        self.context.report("bytes_in", statistics.bytes_in)
        self.context.report("bytes_out", statistics.bytes_out)
        self.context.report("resync_bytes", statistics.dropped_bytes)
