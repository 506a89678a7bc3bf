"""Module types of this package; light to import."""

from __future__ import annotations

from mlink.module import Category, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType


class VirtualButtonSettings(ModuleSettings, kw_only=True):
    """Settings of `virtual-button`; lines are pins of the virtual board."""

    line: int = 7
    """Pin of the button, which connects it to ground (`active_low`) or to 5 V."""
    answer_line: int | None = None
    """Pin on which the loop under test answers each edge; its latency is measured."""
    presses_hz: float = 5.0
    press_msec: float = 50.0
    active_low: bool = True
    seed: int = 1
    """Of the random times between presses, ±20 %."""


virtual_button = ModuleType(
    id="virtual-button",
    title="Virtual Button",
    summary="Presses a button of a virtual board, and times the answers on another pin.",
    category=Category.GENERATOR,
    settings=VirtualButtonSettings,
    implementation="mlink_hil.button:VirtualButtonModule",
    outputs=(
        PortSpec("edges", DataType.LineReading, "Edges on the pins"),
        PortSpec("latencies", DataType.TableRow, "Latency of each answer"),
    ),
    uses_device=True,
)
