"""Module types `signalfilter` and `plot-timeseries`, with the ids and settings of Syntalos."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from mlink.module import Category, ModuleSettings, ModuleType, Ports, PortSpec
from mlink.proposals import proposal
from mlink.types import DataType

CUSTOM: Final = 4
"""Family of a stage whose sections are given."""
_NOTCH: Final = 3
_BANDS: Final = (2, 3)
_CHEBYSHEV: Final = {1: "ripple_db", 2: "stopband_db"}
_SECTION: Final = 6
FILTER_EXTRA: Final = "pip install 'mlink-hil[filter]'"


class StageSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One filter of `stages`; keys that its family does not use have no effect."""

    family: Literal[0, 1, 2, 3, 4] = 0
    """0: Butterworth, 1: Chebyshev I, 2: Chebyshev II, 3: notch, 4: your own sections (`sos`)."""
    response: Literal[0, 1, 2, 3] = 1
    """0: low-pass, 1: high-pass, 2: band-pass, 3: band-stop."""
    order: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    """Order of the filter; a notch has 2."""
    freq1: float = 300.0
    """Corner, or the centre of a band or notch, in Hz."""
    freq2: float = 10.0
    """Width of a band, in Hz."""
    ripple_db: float = 1.0
    """Ripple of the passband of Chebyshev I, in dB."""
    stopband_db: float = 60.0
    """Attenuation of the stopband of Chebyshev II, in dB."""
    q_factor: float = 20.0
    """Centre of a notch divided by its width."""
    sos: list[float] = []
    """Second-order sections, six numbers each: b0, b1, b2, a0, a1, a2."""

    @property
    def edges(self) -> list[float]:
        """The frequencies that have to be within 0 and half the sample rate, in Hz."""
        if self.family == CUSTOM:
            return []
        if self.family != _NOTCH and self.response in _BANDS:
            return [self.freq1 - self.freq2 / 2, self.freq1 + self.freq2 / 2]
        return [self.freq1]

    def problem(self) -> str:
        """Return what can be seen to be wrong without the sample rate; "" if nothing."""
        if self.family == CUSTOM:
            if not self.sos or len(self.sos) % _SECTION:
                return f"sos has {len(self.sos)} numbers, and needs six for each section"
            if not all(map(math.isfinite, self.sos)) or 0.0 in self.sos[3::_SECTION]:
                return "sos: the numbers must be finite, and each a0 other than 0"
            return ""
        if not all(edge > 0 and math.isfinite(edge) for edge in self.edges):
            edges = " to ".join(f"{edge:g} Hz" for edge in self.edges)
            return f"freq1 and freq2 give {edges}: frequencies must be above 0"
        if self.family != _NOTCH and self.response in _BANDS and not self.freq2 > 0:
            return f"freq2, the width of the band, must be above 0, not {self.freq2:g}"
        word = "q_factor" if self.family == _NOTCH else _CHEBYSHEV.get(self.family, "")
        value = getattr(self, word) if word else 1.0
        if not (value > 0 and math.isfinite(value)):
            return f"{word} must be above 0, not {value:g}"
        return ""


class SignalFilterSettings(ModuleSettings):
    """Settings of a `signalfilter` module."""

    input_type: Literal["SignalBlockF32", "SignalBlockI32", "SignalBlockU16"] = "SignalBlockF32"
    """Type of the stream, and of what is sent on."""
    use_all_channels: bool = True
    """Filter all channels; if false, those of `channel_selection`."""
    channel_selection: str = ""
    """Numbers of channels from 0, as "0-15, 20"; the others pass unchanged."""
    stages: list[StageSettings] = []
    """Filters, applied one after the other."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Find what can be seen to be wrong before a run.

        Returns:
            Each problem as "key: what".
        """
        problems = [
            f"stages: number {number}: {what}"
            for number, stage in enumerate(self.stages, start=1)
            if (what := stage.problem())
        ]
        try:
            selected_channels(self.channel_selection)
        except ValueError as error:
            problems.append(f"channel_selection: {error}")
        if self.stages and importlib.util.find_spec("scipy") is None:
            problems.append(f"stages: the filters need SciPy: {FILTER_EXTRA}")
        return problems


_MOST_CHANNELS: Final = 100_000


def selected_channels(text: str) -> list[int]:
    """Return the channels of a selection such as "0-15, 20", in order, each once.

    Raises:
        ValueError: It is not written like that; the message quotes the part.
    """
    found: set[int] = set()
    for part in filter(None, (each.strip() for each in text.split(","))):
        first, dash, last = (each.strip() for each in part.partition("-"))
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) <= 6 for end in ends):
            raise ValueError(f'{part[:40]!r} is no channel; write for example "0-15, 20"')
        low, high = int(ends[0]), int(ends[1])
        if low > high or high >= _MOST_CHANNELS:
            raise ValueError(f"{part[:40]!r} is no range of channels")
        found.update(range(low, high + 1))
    return sorted(found)


def _filter_ports(settings: SignalFilterSettings) -> Ports:
    kind = DataType[settings.input_type]
    return (
        (PortSpec("signals-in", kind, "Signals"),),
        (PortSpec("signals-out", kind, "Filtered Signals"),),
    )


class PlotPort(msgspec.Struct, kw_only=True):
    """One input of a plot."""

    id: str
    """Id of the input."""
    title: str = ""
    """Its title; "" is the id."""
    data_type: str = "SignalBlockF32"
    """SignalBlockF32, SignalBlockI32, SignalBlockU16 or LineReading."""


class PlotChannel(msgspec.Struct, kw_only=True):
    """One channel of an input, and how it is drawn."""

    port_id: str
    """The input."""
    col_idx: int
    """Number of the channel in its stream, from 0."""
    signal_name: str = ""
    """Name to show; "" is that of the stream."""
    digital: bool = False
    """Draw it as low and high."""
    enabled: bool = True
    """Whether it is drawn."""


class GraphChannel(msgspec.Struct, kw_only=True):
    """One channel in a graph."""

    port_id: str
    """The input."""
    col_idx: int
    """Number of the channel in its stream, from 0."""


class Graph(msgspec.Struct, kw_only=True):
    """Several channels with one range of values."""

    id: int | str = 0
    """Any name or number."""
    size_weight: float = 1.0
    """For compatibility with benches of Syntalos; has no effect."""
    y_auto: bool = True
    """Draw from the smallest to the largest value; if false, from `y_min` to `y_max`."""
    y_min: float = 0.0
    """Lower end of the range, without `y_auto`."""
    y_max: float = 1.0
    """Upper end of the range, without `y_auto`."""
    channels: list[GraphChannel] = []
    """The channels of the graph."""


PLOT_TYPES: Final = (
    DataType.SignalBlockF32,
    DataType.SignalBlockI32,
    DataType.SignalBlockU16,
    DataType.LineReading,
)


_DEFAULT_PORTS: Final = (
    PlotPort(id="default-float-in", title="Float In"),
    PlotPort(id="default-int-in", title="Integer In", data_type="SignalBlockI32"),
)


class PlotSettings(ModuleSettings):
    """Settings of a `plot-timeseries` module."""

    ports_in: list[PlotPort] = []
    """The inputs: id, title, data type (signals or LineReading); without any, two for signals."""
    channels: list[PlotChannel] = []
    """What is known of channels; others have the names of their stream and are drawn."""
    graphs: list[Graph] = []
    """Which channels share a range of values."""
    history_length: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """Length of the time that is drawn, in s."""
    update_frequency: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Drawings per second; a terminal gets at most 5."""
    buffer_size: int = 512
    """For compatibility with benches of Syntalos; has no effect."""
    settings_panel_visible: bool = False
    """For compatibility with benches of Syntalos; has no effect."""

    def check(self, bench_dir: Path) -> list[str]:  # noqa: ARG002
        """Refuse inputs of other types, and two of one id.

        Returns:
            Each problem as "key: what".
        """
        names = [kind.name for kind in PLOT_TYPES]
        problems = [
            f"ports_in: '{port.id}' has the type '{port.data_type}', which cannot be drawn. "
            + proposal(port.data_type, names, "types")
            for port in self.ports_in
            if DataType.__members__.get(port.data_type) not in PLOT_TYPES
        ]
        ids = [port.id for port in self.ports_in]
        if twice := next((each for each in ids if ids.count(each) > 1), ""):
            problems.append(f"ports_in: there are two inputs '{twice}'")
        problems += [
            f"graphs: y_min and y_max must be numbers, and y_max more than y_min {graph.y_min:g}"
            for graph in self.graphs
            if not graph.y_auto and not 0 < graph.y_max - graph.y_min < math.inf
        ]
        return problems


def _plot_ports(settings: PlotSettings) -> Ports:
    known = DataType.__members__
    return tuple(
        PortSpec(port.id, known.get(port.data_type, DataType.SignalBlockF32), port.title)
        for port in settings.ports_in or _DEFAULT_PORTS
    ), ()


signalfilter = ModuleType(
    id="signalfilter",
    title="Signal Filter",
    summary="Filters the channels of a signal stream; times do not change (extra `filter`).",
    category=Category.PROCESSING,
    settings=SignalFilterSettings,
    implementation="mlink.modules.signals.signalfilter:SignalFilterModule",
    ports=_filter_ports,
    virtual_time=True,
)

plot_timeseries = ModuleType(
    id="plot-timeseries",
    title="Time Series Plot",
    summary="Draws the newest seconds of signals and line readings in the terminal.",
    category=Category.DISPLAY,
    settings=PlotSettings,
    implementation="mlink.modules.signals.plot:PlotModule",
    ports=_plot_ports,
    virtual_time=True,
)
