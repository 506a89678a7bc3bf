"""The `plot-timeseries` module: the newest seconds of its channels, as text in the terminal.

It draws into the status of the module, which the live view shows; it records nothing. What arrives
is averaged into a few dozen columns at once, so memory does not grow with the sample rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlink.errors import ModuleError
from mlink.metadata import usec_per_unit
from mlink.module import InputPort, Module
from mlink.modules.signals.catalog import Graph, PlotSettings
from mlink.types import DataType, LineReading, SignalBlock

_COLUMNS: Final = 40
_MOST_DRAWN: Final = 16
_FASTEST_HZ: Final = 5.0
_BARS: Final = " ▁▂▃▄▅▆▇█"
_LATEST: Final = 1 << 62


@dataclass(slots=True)
class Column:
    """The values of one channel in one column of time."""

    total: float = 0.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf


@dataclass(slots=True)
class Drawn:
    """What is drawn of a channel: a mean for each column (NaN: none), and the range of values."""

    values: NDArray[np.float64]
    low: float
    high: float


class Track:
    """The newest values of one channel, as the mean of each column of time.

    Args:
        name: Its name.
        digital: Whether it holds its last value until the next.
        column_usec: Time of a column, in µs.
    """

    def __init__(self, name: str, column_usec: float, *, digital: bool) -> None:
        self.name, self.digital = name, digital
        self._column_usec = column_usec
        self._columns: dict[int, Column] = {}

    def add(self, times_usec: NDArray[np.float64], values: NDArray[Any]) -> None:
        """Take values with their times; those that are not finite are left out."""
        numbers = np.clip(times_usec // self._column_usec, 0, _LATEST).astype(np.int64)
        kept = np.isfinite(values) & (numbers > numbers.max() - 2 * _COLUMNS)
        numbers, values = numbers[kept], values[kept].astype(np.float64)
        for number in np.unique(numbers):
            found = values[numbers == number]
            if self.digital:  # it is what it was last
                found = found[-1:]
                self._columns.pop(int(number), None)
            column = self._columns.setdefault(int(number), Column())
            column.total += float(found.sum())
            column.count += len(found)
            column.low = min(column.low, float(found.min()))
            column.high = max(column.high, float(found.max()))
        while len(self._columns) > 2 * _COLUMNS:
            del self._columns[min(self._columns)]

    def view(self, now_usec: float) -> Drawn:
        """Return what is drawn at a time."""
        last = int(now_usec // self._column_usec)
        first = last - _COLUMNS + 1
        drawn = Drawn(np.full(_COLUMNS, np.nan), math.inf, -math.inf)
        column = None
        if self.digital and (before := [each for each in self._columns if each < first]):
            column = self._columns[max(before)]
        for index, number in enumerate(range(first, last + 1)):
            column = self._columns.get(number, column if self.digital else None)
            if column is not None:
                drawn.values[index] = column.total / column.count
                drawn.low, drawn.high = min(drawn.low, column.low), max(drawn.high, column.high)
        return drawn


class PlotModule(Module[PlotSettings]):
    """Draws each enabled channel as a line of bars, with its range of values."""

    _samples = 0

    def prepare(self) -> None:
        """Take what the inputs send."""
        self._tracks: dict[tuple[str, int], Track] = {}
        self._known = {(each.port_id, each.col_idx): each for each in self.settings.channels}
        self._column_usec = self.settings.history_length * 1e6 / _COLUMNS
        for port in self.context.inputs.values():
            takes = self._on_reading if port.data_type is DataType.LineReading else self._on_block
            port.on_item = partial(takes, port)

    def run(self) -> None:
        """Draw at intervals until the stop."""
        period_ns = round(1e9 / min(self.settings.update_frequency, _FASTEST_HZ))
        waiting = self.context.waiting
        next_ns = waiting.now_ns() + period_ns
        while self.context.running:
            if (left_ns := next_ns - waiting.now_ns()) > 0:
                self.context.serve(max(1, left_ns // 1000))
                continue
            next_ns = waiting.now_ns() + period_ns
            self.context.set_status(self.drawing(self.context.clock.now_usec()))

    def stop(self) -> None:
        """Report how many values there were."""
        self.context.report("samples", self._samples)

    def drawing(self, now_usec: float) -> str:
        """Return the lines of all channels that are drawn."""
        drawn = {key: track.view(now_usec) for key, track in self._tracks.items()}
        lines = []
        for key, found in list(drawn.items())[:_MOST_DRAWN]:
            low, high = self._range(key, drawn)
            name = self._tracks[key].name
            lines.append(f"{name} {bars(found.values, low, high)} {low:.4g} to {high:.4g}")
        if len(drawn) > _MOST_DRAWN:
            lines.append(f"and {len(drawn) - _MOST_DRAWN} more")
        return "".join(f"\n  {line}" for line in lines)

    def _range(
        self, key: tuple[str, int], drawn: dict[tuple[str, int], Drawn]
    ) -> tuple[float, float]:
        """Return the range of values of a channel: that of its graph, or its own."""
        graph = next((each for each in self.settings.graphs if key in _members(each)), None)
        if graph is not None and not graph.y_auto:
            return graph.y_min, graph.y_max
        together = [drawn[each] for each in (_members(graph) if graph else [key]) if each in drawn]
        low, high = min(each.low for each in together), max(each.high for each in together)
        return (low, high) if low <= high else (0.0, 0.0)

    def _on_block(self, port: InputPort, block: SignalBlock) -> None:
        times = self._times_usec(port, block.timestamps)
        given = port.metadata.get("signal_names")
        names = given if isinstance(given, list) else []
        self._samples += block.rows
        scale, offset = (
            float(given) if isinstance(given := port.metadata.get(word), int | float) else usual
            for word, usual in (("data_scale", 1.0), ("data_offset", 0.0))
        )
        for column in range(block.cols):
            name = str(names[column]) if column < len(names) else f"{port.id} {column}"
            if (track := self._track(port, column, name)) is not None and block.rows:
                track.add(times, scale * block.data[:, column] + offset)

    def _on_reading(self, port: InputPort, reading: LineReading) -> None:
        self._samples += 1
        track = self._track(port, reading.line_id, f"line {reading.line_id}", digital=True)
        if track is not None:
            track.add(np.array([float(reading.time_usec)]), np.array([reading.value]))

    def _track(
        self, port: InputPort, column: int, name: str, *, digital: bool = False
    ) -> Track | None:
        """Return what a channel has shown so far; None if it is not drawn."""
        key = (port.id, column)
        known = self._known.get(key)
        if known is not None and not known.enabled:
            return None
        if key not in self._tracks:
            shown = known.signal_name if known is not None and known.signal_name else name
            digital = digital or (known is not None and known.digital)
            self._tracks[key] = Track(shown, self._column_usec, digital=digital)
        return self._tracks[key]

    def _times_usec(self, port: InputPort, times: NDArray[np.uint64]) -> NDArray[np.float64]:
        unit = str(port.metadata.get("time_unit") or "milliseconds")
        scale = usec_per_unit(unit, port.metadata.get("sample_rate"))
        if scale is not None:
            return times.astype(np.float64) * scale
        raise ModuleError(
            f"{port.id}: times in '{unit}' cannot be drawn without the sample rate",
            remedy="Set `sample_rate` in the source's metadata.",
        )


def _members(graph: Graph) -> list[tuple[str, int]]:
    return [(each.port_id, each.col_idx) for each in graph.channels]


def bars(values: NDArray[np.float64], low: float, high: float) -> str:
    """Return a line of bars, one for each value; a blank where it is NaN."""
    span = high - low if high > low else 1.0
    levels = len(_BARS) - 2
    places = np.rint(np.clip(np.nan_to_num((values - low) / span) * levels, 0, levels)).astype(int)
    return "".join(
        _BARS[place + 1] if np.isfinite(value) else _BARS[0]
        for place, value in zip(places, values, strict=True)
    )
