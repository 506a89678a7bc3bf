"""Module types of this package.

Imports no implementation, so that listing modules and checking benches is fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mlink.lateness import times_in_words
from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType
from mlink_hil.board_kinds import KINDS

MAX_PRESSES_HZ = 200
MAX_HISTOGRAM_BINS = 1000


class VirtualButtonSettings(ModuleSettings, kw_only=True):
    """Settings of `virtual-button`; lines are pins of the simulated board."""

    line: int = 7
    """Pin of the button, which connects it to ground (`active_low`) or to 5 V."""
    answer_line: int | None = None
    """Pin on which the loop under test answers each edge; without it no latency is measured."""
    presses_hz: float = 5.0
    """Presses per second, above 0, at most 200."""
    press_msec: float = 50.0
    """Length of a press, above 0 ms."""
    active_low: bool = True
    """Whether a press pulls the line low; else high."""
    seed: int = 1
    """Of the random pauses between presses, ±20 %."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Find what can be seen to be wrong before a run."""
        problems = [
            f"{key}: no board has a pin {pin} (an Uno: 2 to 19; 0 and 1 are the serial line)"
            for key, pin in (("line", self.line), ("answer_line", self.answer_line))
            if pin is not None and not any(pin in kind.user_pins for kind in KINDS.values())
        ]
        if self.answer_line == self.line:
            problems.append("answer_line: must not be the button's own line")
        if not 0 < self.presses_hz <= MAX_PRESSES_HZ:
            problems.append(f"presses_hz: must be above 0 and at most {MAX_PRESSES_HZ}")
        if self.press_msec <= 0:
            problems.append("press_msec: must be above 0")
        return problems


def _presses(figures: Mapping[str, float | str]) -> str:
    seen, answered = figures.get("edges_seen", 0), figures.get("edges_answered")
    if answered is None:
        return f"{seen:.0f} edges of the button, to which no answer is awaited"
    text = f"{answered:.0f} of {seen:.0f} edges answered"
    return ", ".join(filter(None, (text, times_in_words(figures, "latency"))))


virtual_button = ModuleType(
    id="virtual-button",
    title="Virtual Button",
    summary="Presses a button of a simulated board, and times the answers on another pin.",
    category=Category.GENERATOR,
    settings=VirtualButtonSettings,
    implementation="mlink_hil.modules.button:VirtualButtonModule",
    inputs=(PortSpec("control", DataType.ControlCommand, "Control"),),
    outputs=(
        PortSpec("edges", DataType.LineReading, "Edges on the pins"),
        PortSpec("latencies", DataType.TableRow, "Latency of each answer"),
    ),
    uses_device=True,
    sentence=_presses,
    virtual_time=True,
)


class LatencyCheckSettings(ModuleSettings, kw_only=True):
    """Settings of `latencycheck`; their names are those of Syntalos."""

    mode: Literal[0, 1] = 0
    """0: times from an edge of A to the next edge of B; 1: from each edge of A to its next."""
    trigger_edge: Literal[0, 1, 2] = 0
    """Edges that count. 0: rising, 1: falling, 2: both."""
    ack_line: int = 8
    """Line of `line-out` that is pulsed after each measurement."""
    ack_pulse_ms: float = 30
    """Length of that pulse, above 0 ms."""
    histogram_bins: int = 30
    """Number of bars of the histogram in the run's summary."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Find what can be seen to be wrong before a run."""
        problems = []
        if self.ack_line < 0:
            problems.append("ack_line: must be 0 or more")
        if self.ack_pulse_ms <= 0:
            problems.append("ack_pulse_ms: must be above 0")
        if not 1 <= self.histogram_bins <= MAX_HISTOGRAM_BINS:
            problems.append(f"histogram_bins: must be 1 to {MAX_HISTOGRAM_BINS}")
        return problems


def _latencies(figures: Mapping[str, float | str]) -> str:
    text = f"{figures.get('latencies', 0):.0f} latencies measured"
    return ", ".join(filter(None, (text, times_in_words(figures, "latency"))))


latencycheck = ModuleType(
    id="latencycheck",
    title="Latency Check",
    summary="Times from edges on one line to edges on another, or between edges of one.",
    category=Category.PROCESSING,
    settings=LatencyCheckSettings,
    implementation="mlink_hil.modules.latencycheck:LatencyCheckModule",
    inputs=(
        PortSpec("line-a-in", DataType.LineReading, "Line A"),
        PortSpec("line-b-in", DataType.LineReading, "Line B"),
    ),
    outputs=(
        PortSpec("line-out", DataType.LineCommand, "Acknowledgement"),
        PortSpec("latencies-out", DataType.SignalBlockI32, "Latencies"),
    ),
    sentence=_latencies,
    virtual_time=True,
)
