"""The module type `firmata-io`, light to import: the board's code loads in its worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType

LEAST_SAFE_STATE_MSEC = 40
"""Shorter than what a loaded host sleeps at times."""


class FirmataSettings(ModuleSettings):
    """Settings of `firmata-io`; docs/boards.md explains them."""

    serial_port: str = ""
    """What to open when the bench gives no device; Syntalos' key."""
    baud_rate: Annotated[int, Meta(gt=0)] = 57600
    """Bits per second; StandardFirmata's is 57600."""
    fast_baud_rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_000_000
    """What mlink's own firmware is raised to after the handshake; 0 leaves it as it is."""
    handshake_timeout_s: Annotated[float, Meta(gt=0)] = 8.0
    """Longest wait for the board's answers; one that resets on opening takes up to 3 s."""
    sampling_interval_msec: Annotated[int, Meta(ge=1, le=16383)] = 19
    """Interval of analog samples (sysex 0x7A); 19 ms is the firmware's own."""
    analog_lines: tuple[int, ...] = ()
    """Lines (pin numbers, A0 of an Uno is 14) whose SET_MODE input means analog."""
    servo_lines: tuple[int, ...] = ()
    """Lines whose SET_MODE output and analog writes mean a servo."""
    decimation: dict[str, Annotated[int, Meta(ge=1)]] = {}
    """Line → n: of this line's analog samples only each n-th is sent, the first included."""
    on_loss: Literal["continue", "stop"] = "stop"
    """What to do when the board goes away: go on without it until it is back, or end the run."""
    on_reconnect: Literal["replay", "safe", "stop"] = "replay"
    """What a board that is back gets: its modes and last values, or safe values; or the end."""
    safe_values: dict[str, Annotated[int, Meta(ge=0)]] = {}
    """Line → value of outputs for on_reconnect = "safe" and safe_state_msec; 0 for the others."""
    safe_state_msec: Annotated[int, Meta(ge=0, le=600_000)] = 0
    """Silence of this program after which mlink's firmware makes its outputs safe; 0: never."""
    reset_on_close: bool = True
    """Whether to reset the board at the end, which takes its outputs low."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Find lines that are no numbers, and sampling that no line of this baud rate carries."""
        problems = [
            f'{key}: "{line}" is not a line number, write for example "14"'
            for key, table in (("decimation", self.decimation), ("safe_values", self.safe_values))
            for line in table
            if not line.isascii() or not line.isdigit()
        ]
        from mlink.errors import DeviceError
        from mlink_drivers.firmata.wire.budget import ByteBudget, analog_bytes

        if 0 < self.safe_state_msec < LEAST_SAFE_STATE_MSEC:
            problems.append(
                f"safe_state_msec: {self.safe_state_msec} ms is too short to keep up,"
                f" set {LEAST_SAFE_STATE_MSEC} or more"
            )
        # the board may turn out to be slower: then it is refused before the run
        fastest = max(self.baud_rate, self.fast_baud_rate)
        budget = ByteBudget(fastest, self.sampling_interval_msec)
        for line in self.analog_lines:
            budget.add(line, analog_bytes(0))
        try:
            budget.check("the board")
        except DeviceError as error:
            problems.append(f"analog_lines: {error.message}; {error.remedy}")
        return problems


firmata_io = ModuleType(
    id="firmata-io",
    title="Firmata IO",
    summary="Digital and analog lines of a board that runs Firmata.",
    category=Category.DEVICE,
    settings=FirmataSettings,
    implementation="mlink_drivers.firmata.module:FirmataModule",
    inputs=(PortSpec("fmctl", DataType.LineCommand, "Line Control"),),
    outputs=(
        PortSpec("fmdata", DataType.LineReading, "Line Readings"),
        PortSpec("events", DataType.TableRow, "Board Events"),
        PortSpec("replies", DataType.TableRow, "Board Replies"),
        PortSpec("pulses", DataType.TableRow, "Pulse Times"),
        PortSpec("reflexes", DataType.TableRow, "Reflexes of the Board"),
    ),
    uses_device=True,
)
