"""The `latencycheck` module: measures the time between edges on lines, by their readings' times.

With two lines: from an edge on A to the first edge on B after it; a second edge on A before that
replaces the first. With one line: from each edge on A to the next. Each latency is sent on, and
acknowledged by a pulse on a line, so that a device can start the next measurement.
"""

from __future__ import annotations

import math

import numpy as np

from mlink.errors import ModuleError
from mlink.module import Module, ModuleContext
from mlink.types import (
    LineCommand,
    LineCommandKind,
    LineModeFlags,
    LineReading,
    SignalBlockI32,
)
from mlink_hil.catalog import LatencyCheckSettings

_DUAL = 0
_RISING, _FALLING = 0, 1
_STATUS_EVERY = 16
_BARS = " ▁▂▃▄▅▆▇█"


class LatencyCheckModule(Module[LatencyCheckSettings]):
    """Measures as readings arrive; port names and settings are those of Syntalos."""

    def __init__(self, context: ModuleContext[LatencyCheckSettings]) -> None:
        super().__init__(context)
        self._levels: dict[tuple[str, int], bool] = {}
        self._pending: int | None = None
        """Time of the last edge on A that B has not answered, µs."""
        self._unmatched_b: int | None = None
        """Time of an edge on B for which no edge on A has arrived yet, µs."""
        self._latencies: list[int] = []
        self._lines = context.outputs["line-out"]
        self._values = context.outputs["latencies-out"]

    def prepare(self) -> None:
        """Check the connections and describe the output.

        Raises:
            ModuleError: line-b-in is connected in mode 1, or not connected in mode 0.
        """
        a, b = self.context.inputs["line-a-in"], self.context.inputs["line-b-in"]
        self._values.metadata.update(
            {
                "signal_names": ["Latency"],
                "time_unit": "microseconds",
                "data_unit": "µs",
                "data_name_proposal": f"{self.context.name}/values",
            }
        )
        if not a.connected:
            self.log.info("line-a-in is not connected: nothing to measure")
            return
        if self.settings.mode == _DUAL and not b.connected:
            raise ModuleError(
                "line-b-in is not connected, and mode 0 measures from A to B",
                remedy="Connect line-b-in, or set mode = 1 to time the edges of A alone.",
            )
        if self.settings.mode != _DUAL and b.connected:
            raise ModuleError(
                "line-b-in is connected, but mode 1 measures line A alone",
                remedy="Disconnect line-b-in, or set mode = 0 to measure from A to B.",
            )
        if self.settings.mode == _DUAL:
            a.on_item, b.on_item = self._on_a, self._on_b
        else:
            a.on_item = self._on_single

    def start(self) -> None:
        """Make the acknowledgement line an output."""
        if not self.context.inputs["line-a-in"].connected:
            return
        self._lines.submit(
            LineCommand(
                LineCommandKind.SET_MODE, self.settings.ack_line, flags=LineModeFlags.IS_OUTPUT
            )
        )

    def stop(self) -> None:
        """Report percentiles and a histogram of the latencies."""
        report = self.context.report
        report("latencies", len(self._latencies))
        if not self._latencies:
            return
        percentiles = np.percentile(self._latencies, [50, 95, 99])
        for name, value in zip(("p50", "p95", "p99"), percentiles, strict=True):
            report(f"latency_{name}_usec", round(float(value), 1))
        report("latency_max_usec", max(self._latencies))
        counts, limits = np.histogram(self._latencies, self.settings.histogram_bins)
        report("histogram", f"{limits[0]:g} µs {bars([int(n) for n in counts])} {limits[-1]:g} µs")

    # edges --------------------------------------------------------------------------------

    def _is_edge(self, port: str, reading: LineReading) -> bool:
        """Return whether a reading is an edge that counts; lines are low before the first one."""
        key, level = (port, reading.line_id), reading.value != 0
        before = self._levels.get(key, False)
        self._levels[key] = level
        if level == before:
            return False
        wanted = self.settings.trigger_edge
        return level if wanted == _RISING else not level if wanted == _FALLING else True

    def _on_a(self, reading: LineReading) -> None:
        if not self._is_edge("a", reading):
            return
        self._pending = reading.time_usec
        late_b, self._unmatched_b = self._unmatched_b, None
        # Each input has its own queue: this edge on B arrived before its edge on A.
        if late_b is not None and late_b >= reading.time_usec:
            self._complete(late_b)

    def _on_b(self, reading: LineReading) -> None:
        if not self._is_edge("b", reading):
            return
        if self._pending is not None and reading.time_usec >= self._pending:
            self._complete(reading.time_usec)
        elif self._pending is None:
            self._unmatched_b = reading.time_usec

    def _complete(self, time_usec: int) -> None:
        assert self._pending is not None
        self._emit(time_usec, time_usec - self._pending)
        self._pending = None
        self._acknowledge()

    def _on_single(self, reading: LineReading) -> None:
        if not self._is_edge("a", reading):
            return
        if self._pending is not None:
            self._emit(reading.time_usec, reading.time_usec - self._pending)
        self._pending = reading.time_usec
        self._acknowledge()

    def _emit(self, time_usec: int, latency_usec: int) -> None:
        self._latencies.append(latency_usec)
        block = SignalBlockI32()
        block.timestamps = np.array([time_usec], np.uint64)
        block.data = np.array([[latency_usec]], np.int32)
        self._values.submit(block)
        if len(self._latencies) % _STATUS_EVERY == 1:
            self.context.set_status(f"{len(self._latencies)} measured, last {latency_usec} µs")

    def _acknowledge(self) -> None:
        self._lines.submit(
            LineCommand(
                LineCommandKind.WRITE_DIGITAL_PULSE,
                self.settings.ack_line,
                value=1,
                duration_usec=round(self.settings.ack_pulse_ms * 1000),
            )
        )


def bars(counts: list[int]) -> str:
    """Return counts as a row of bars; each count above zero has a visible bar.

    Heights are in eighths, relative to the largest count.
    """
    most = max(counts, default=0) or 1
    return "".join(_BARS[math.ceil(count * (len(_BARS) - 1) / most)] for count in counts)
