"""The module type `firmata-io` and its settings; the driver itself is imported in the worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mlink.lateness import times_in_words
from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.types import DataType
from mlink_drivers.trigger import EDGES_OUTPUT, BoardLine, answers_input

LEAST_SAFE_STATE_MSEC = 40
"""Least `safe_state_msec`: a loaded host may pause a process for nearly as long."""


_LAST_LINE = 127


class FirmataSettings(ModuleSettings):
    """Settings of `firmata-io`; docs/boards.md has examples."""

    serial_port: str = ""
    """The port to open when the bench sets no device; the key of Syntalos."""
    baud_rate: Annotated[int, Meta(gt=0, le=12_000_000)] = 57600
    """Bits per second after opening; StandardFirmata uses 57600."""
    fast_baud_rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_000_000
    """Bits per second that mlink's firmware changes to after the handshake; 0 for no change."""
    handshake_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 8.0
    """Longest wait for the board's answers; a board that resets when opened needs up to 3 s."""
    sampling_interval_msec: Annotated[int, Meta(ge=1, le=16383)] = 19
    """Interval of analog samples (sysex 0x7A); 19 ms is the firmware's default."""
    analog_lines: tuple[int, ...] = ()
    """Lines (pin numbers, A0 of an Uno is 14) whose SET_MODE input means analog."""
    servo_lines: tuple[int, ...] = ()
    """Lines whose SET_MODE output and analog writes mean a servo."""
    decimation: dict[str, Annotated[int, Meta(ge=1)]] = {}
    """Line → n: only the first and each n-th analog sample of the line after it is sent."""
    on_loss: Literal["continue", "stop"] = "stop"
    """When the board is lost: go on without it until it is back, or end the run."""
    on_reconnect: Literal["replay", "safe", "stop"] = "replay"
    """When the board is back: restore modes and last values, write safe values, or end the run."""
    safe_values: dict[str, Annotated[int, Meta(ge=0)]] = {}
    """Line → value of outputs for on_reconnect = "safe" and safe_state_msec; 0 for other lines."""
    safe_state_msec: Annotated[int, Meta(ge=0, le=600_000)] = 0
    """Silence of the host after which mlink's firmware makes its outputs safe; 0 for never."""
    reset_on_close: bool = True
    """Whether to reset the board at the end; a reset sets its outputs low."""

    cameras: dict[str, BoardLine] = {}
    """Camera → its trigger or strobe; taken from the settings of the cameras."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Return problems: keys that are not line numbers, and samples that exceed the line."""
        problems = [
            f'{key}: "{line}" is not a line number, write for example "14"'
            for key, table in (("decimation", self.decimation), ("safe_values", self.safe_values))
            for line in table
            if not line.isascii() or not line.isdigit()
        ]
        if self.cameras:
            problems.append(
                "cameras: these lines are taken from the settings `trigger` and `strobe` of cameras"
            )
        from mlink.errors import DeviceError
        from mlink_drivers.firmata.wire.budget import ByteBudget, analog_bytes

        if 0 < self.safe_state_msec < LEAST_SAFE_STATE_MSEC:
            problems.append(
                f"safe_state_msec: {self.safe_state_msec} ms is too short,"
                f" set {LEAST_SAFE_STATE_MSEC} or more"
            )
        # The board may be slower than this; then `prepare` reports it.
        fastest = max(self.baud_rate, self.fast_baud_rate)
        budget = ByteBudget(fastest, self.sampling_interval_msec)
        for line in self.analog_lines:
            budget.add(line, analog_bytes(0))
        try:
            budget.check("the board")
        except DeviceError as error:
            problems.append(f"analog_lines: {error.message}; {error.remedy}")
        return problems


_INPUTS = (PortSpec("fmctl", DataType.LineCommand, "Line Control"),)
_OUTPUTS = (
    PortSpec("fmdata", DataType.LineReading, "Line Readings"),
    PortSpec("events", DataType.TableRow, "Board Events"),
    PortSpec("replies", DataType.TableRow, "Board Replies"),
    PortSpec("pulses", DataType.TableRow, "Pulse Times"),
    PortSpec("reflexes", DataType.TableRow, "Reflexes of the Board"),
    PortSpec("counters", DataType.TableRow, "Counters of the Board"),
    PortSpec("steppers", DataType.TableRow, "Steppers of the Board"),
)


def _ports(settings: FirmataSettings) -> Ports:
    if not settings.cameras:
        return _INPUTS, _OUTPUTS
    answers = [
        PortSpec(answers_input(name), DataType.TableRow, f"Trigger of {name}")
        for name in settings.cameras
    ]
    edges = PortSpec(EDGES_OUTPUT, DataType.TableRow, "Trigger Edges")
    return (*_INPUTS, *answers), (*_OUTPUTS, edges)


def _grant(settings: FirmataSettings, camera: str, wish: BoardLine) -> list[str]:
    """Take the trigger or strobe of a camera; return what keeps the board from it."""
    if not 0 <= wish.line <= _LAST_LINE:
        return [f"line {wish.line} is not a line of a board (0 to {_LAST_LINE})"]
    if wish.line in (*settings.analog_lines, *settings.servo_lines):
        return [f"line {wish.line} is one of the board's analog_lines or servo_lines"]
    for other, known in settings.cameras.items():
        if known.line == wish.line and known != wish:
            return [f"line {wish.line} is used by camera '{other}' with other values"]
        if known.line == wish.line and not wish.rate_hz:
            return [f"line {wish.line} is the strobe of camera '{other}'"]
    settings.cameras = {**settings.cameras, camera: wish}
    return []


def _sentence(figures: Mapping[str, float | str]) -> str:
    text = f"{figures.get('readings_sent', 0):.0f} readings sent"
    if "board_clock_uncertainty_usec" in figures:
        text += f", by the board's clock ±{figures['board_clock_uncertainty_usec']:.0f} µs"
    text += f"; {figures.get('commands_executed', 0):.0f} commands executed"
    late = times_in_words(figures, "command_late")
    return f"{text}, {late} from the sending to the port" if late else text


def _absent(device: str) -> str:
    from mlink_drivers.identity import absent_port  # it loads pyserial and PyUSB

    return absent_port(device)


firmata_io = ModuleType(
    id="firmata-io",
    title="Firmata IO",
    summary="Digital and analog lines of a board that runs Firmata.",
    category=Category.DEVICE,
    settings=FirmataSettings,
    implementation="mlink_drivers.firmata.module:FirmataModule",
    inputs=_INPUTS,
    outputs=_OUTPUTS,
    ports=_ports,
    grant=_grant,
    sentence=_sentence,
    uses_device=True,
    one_per_device=True,
    absent_device=_absent,
    virtual_time=True,
)
