"""A generator of every kind of stream, for benches of tests: `varied-source`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlink import catalog
from mlink.metadata import MetaSize
from mlink.module import Category, Module, ModuleSettings, ModuleType, PortSpec
from mlink.types import DataType, Frame, SignalBlock, SignalBlockF32, SignalBlockU16

PERIOD_USEC = 20_000


class VariedSettings(ModuleSettings, kw_only=True):
    """It has none."""


class VariedSource(Module[VariedSettings]):
    """Sends a frame, a row and a block of each kind of signal every 20 ms, each of them varied."""

    def prepare(self) -> None:
        """Say what will come."""
        self._number = 0
        self._halted = False
        outputs = self.context.outputs
        outputs["frames"].metadata |= {"size": MetaSize(64, 48), "framerate": 50.0}
        outputs["rows"].metadata["table_header"] = ["time_usec", "number"]
        for port in ("f32", "u16"):
            outputs[port].metadata |= {
                "signal_names": ["a", "b"],
                "time_unit": "microseconds",
                "sample_rate": 1000.0,
            }

    def start(self) -> None:
        """Send the first in 20 ms."""
        self.context.call_later(PERIOD_USEC, self._send)

    def halt(self) -> None:
        """Send no more."""
        self._halted = True

    def _send(self) -> None:
        if self._halted:
            return
        number, self._number = self._number, self._number + 1
        now = self.context.clock.now_usec()
        rows = 1 + number % 4
        blocks: dict[str, SignalBlock] = {"f32": SignalBlockF32(), "u16": SignalBlockU16()}
        for block in blocks.values():
            block.timestamps = np.arange(now - rows + 1, now + 1, dtype=np.uint64)
        value = math.nan if number % 5 == 0 else number / 7
        blocks["f32"].data = np.full((rows, 2), value, np.float32)
        blocks["u16"].data = np.full((rows, 2), number, np.uint16)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
        items = {"frames": Frame.from_array(pixels, number + 5, now), "rows": [now, number]}
        for port, item in (items | blocks).items():
            if self.context.outputs[port].connected:
                self.context.outputs[port].submit(item)
        self.context.call_later(PERIOD_USEC, self._send)


varied_source = ModuleType(
    id="varied-source",
    title="Varied source",
    summary="Sends every kind of stream.",
    category=Category.GENERATOR,
    settings=VariedSettings,
    implementation="tests.support.varied_source:VariedSource",
    outputs=(
        PortSpec("frames", DataType.Frame, "Frames"),
        PortSpec("rows", DataType.TableRow, "Rows"),
        PortSpec("f32", DataType.SignalBlockF32, "Floats"),
        PortSpec("u16", DataType.SignalBlockU16, "Words"),
    ),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let benches of this process name it."""
    monkeypatch.setitem(catalog._installed().types, varied_source.id, varied_source)
