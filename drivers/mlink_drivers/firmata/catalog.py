"""The module type `firmata-io`, light to import: the board's code loads in its worker."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType


class FirmataSettings(ModuleSettings):
    """Settings of `firmata-io`."""

    serial_port: str = ""
    """What to open when the bench gives no device; Syntalos' key."""
    baud_rate: Annotated[int, Meta(gt=0)] = 57600
    """Bits per second; StandardFirmata's is 57600."""
    handshake_timeout_s: Annotated[float, Meta(gt=0)] = 8.0
    """Longest wait for the board's answers; one that resets on opening takes up to 3 s."""
    sampling_interval_msec: Annotated[int, Meta(ge=1, le=16383)] = 19
    """Interval of analog samples (sysex 0x7A); 19 ms is the firmware's own."""
    analog_lines: tuple[int, ...] = ()
    """Lines (pin numbers, A0 of an Uno is 14) whose SET_MODE input means analog."""
    servo_lines: tuple[int, ...] = ()
    """Lines whose SET_MODE output and analog writes mean a servo."""
    on_loss: Literal["stop"] = "stop"
    """What to do when the board goes away."""
    reset_on_close: bool = True
    """Whether to reset the board at the end, which takes its outputs low."""


firmata_io = ModuleType(
    id="firmata-io",
    title="Firmata IO",
    summary="Digital and analog lines of a board that runs Firmata.",
    category=Category.DEVICE,
    settings=FirmataSettings,
    implementation="mlink_drivers.firmata.module:FirmataModule",
    inputs=(PortSpec("fmctl", DataType.LineCommand, "Line Control"),),
    outputs=(PortSpec("fmdata", DataType.LineReading, "Line Readings"),),
    uses_device=True,
)
