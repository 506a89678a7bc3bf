"""A generator of every kind of stream, for benches of tests: `varied-source`."""

from __future__ import annotations

import math
import os

import numpy as np

from mlink import catalog
from mlink.metadata import MetaSize
from mlink.module import Category, Module, ModuleSettings, ModuleType, PortSpec
from mlink.types import (
    DataType,
    Frame,
    SignalBlock,
    SignalBlockF32,
    SignalBlockU16,
    StreamItem,
)
from tests.support import ROOT


class VariedSettings(ModuleSettings, kw_only=True):
    """Settings of `varied-source`."""

    period_usec: int = 20_000
    lead_usec: int = 0
    """How much later than their delivery frames and blocks of floats say that they are."""


class VariedSource(Module[VariedSettings]):
    """Sends a frame, a row and a block of each kind of signal each period, if somebody listens."""

    def prepare(self) -> None:
        """Announce what will come."""
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
        """Send the first after a period."""
        self._due_usec = self.context.clock.now_usec()
        self._schedule()

    def halt(self) -> None:
        """Send no more."""
        self._halted = True

    def _schedule(self) -> None:
        self._due_usec += self.settings.period_usec
        delay_usec = max(0, self._due_usec - self.context.clock.now_usec())
        self.context.call_later(delay_usec, self._send)

    def _send(self) -> None:
        if self._halted:
            return
        number, self._number = self._number, self._number + 1
        now = self.context.clock.now_usec()
        for port, output in self.context.outputs.items():
            lead_usec = self.settings.lead_usec if port in ("frames", "f32") else 0
            if output.connected:
                output.submit(self._item(port, number, now + lead_usec))
        self._schedule()

    def _item(self, port: str, number: int, now: int) -> StreamItem:
        if port == "rows":
            return [now, number]
        if port == "frames":
            pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
            return Frame.from_array(pixels, number + 5, now)
        rows = 1 + number % 4
        block: SignalBlock = SignalBlockF32() if port == "f32" else SignalBlockU16()
        block.timestamps = np.arange(now - rows + 1, now + 1, dtype=np.uint64)
        value = math.nan if number % 5 == 0 else number / 7
        block.data = (
            np.full((rows, 2), value, np.float32)
            if port == "f32"
            else np.full((rows, 2), number % 65536, np.uint16)
        )
        return block


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


def install() -> None:
    """Let benches of this process name it, and workers import it."""
    catalog._installed().types[varied_source.id] = varied_source
    os.environ["PYTHONPATH"] = str(ROOT)
