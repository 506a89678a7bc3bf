"""Module types of `devel.datasource`, `devel.clock` and `flowmeter`, with the ids of Syntalos."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.proposals import proposal
from mlink.types import DataType


class DataSourceSettings(ModuleSettings):
    """Settings of a `devel.datasource` module."""

    fps: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 200
    """Frames per second; rows, readings and signals follow it."""
    color_video: bool = True
    """Whether frames have colours; else they are grey."""
    sample_rate: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 2000.0
    """Samples per second of the signals, in Hz."""
    test_freq_low: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    """Frequency of the low sine, in Hz."""
    test_freq_high: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    """Frequency of the high sine, in Hz."""


class ClockSettings(ModuleSettings):
    """Settings of a `devel.clock` module."""

    interval_us: Annotated[int, msgspec.Meta(ge=100, le=3_600_000_000)] = 500_000
    """Time from pulse to pulse, in µs."""
    high_priority: bool = False
    """For compatibility with Syntalos; has no effect: pulses have real-time priority if granted."""


class FlowMeterSettings(ModuleSettings):
    """Settings of a `flowmeter` module."""

    data_type: str = "Frame"
    """Type of the stream that is counted."""

    def check(self, bench_dir: object) -> list[str]:  # noqa: ARG002
        """Refuse an unknown type.

        Returns:
            Each problem as "key: what".
        """
        if self.data_type in DataType.__members__:
            return []
        remedy = proposal(self.data_type, DataType.__members__, "types")
        return [f"data_type: unknown type '{self.data_type}'. {remedy}"]


def flowmeter_ports(settings: FlowMeterSettings) -> Ports:
    """Return the single input, of the type that the settings name."""
    known = DataType.__members__.get(settings.data_type, DataType.Frame)
    return (PortSpec("data-in", known, "Data"),), ()


datasource = ModuleType(
    id="devel.datasource",
    title="Test Data Source",
    summary="Sends made-up items of every stream type, the same in every run.",
    category=Category.GENERATOR,
    settings=DataSourceSettings,
    implementation="mlink.modules.devel.datasource:DataSourceModule",
    outputs=(
        PortSpec("frames-out", DataType.Frame, "Frames"),
        PortSpec("rows-out", DataType.TableRow, "Rows"),
        PortSpec("linecmd-out", DataType.LineCommand, "Line Commands"),
        PortSpec("linerd-out", DataType.LineReading, "Line Readings"),
        PortSpec("float-out", DataType.SignalBlockF32, "Float Signals"),
        PortSpec("int-out", DataType.SignalBlockI32, "Integer Signals"),
        PortSpec("uint16-out", DataType.SignalBlockU16, "16-bit Signals"),
    ),
    virtual_time=True,
)

clock = ModuleType(
    id="devel.clock",
    title="Clock",
    summary="Sends a pulse at equal intervals of the master timer, and records when.",
    category=Category.GENERATOR,
    settings=ClockSettings,
    implementation="mlink.modules.devel.clock:ClockModule",
    outputs=(
        PortSpec("pulse-out", DataType.ControlCommand, "Pulses"),
        PortSpec("table-out", DataType.TableRow, "Times"),
    ),
    virtual_time=True,
)

flowmeter = ModuleType(
    id="flowmeter",
    title="Flow Meter",
    summary="Counts the items of a stream and shows their rate; records nothing.",
    category=Category.DISPLAY,
    settings=FlowMeterSettings,
    implementation="mlink.modules.devel.flowmeter:FlowMeterModule",
    ports=flowmeter_ports,
    virtual_time=True,
)
