"""The plot in the terminal: what it draws of signals and of line readings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlink
from mlink.errors import ModuleError
from mlink.modules.signals.catalog import (
    Graph,
    GraphChannel,
    PlotChannel,
    PlotPort,
    PlotSettings,
    plot_timeseries,
)
from mlink.modules.signals.plot import PlotModule, bars
from mlink.types import LineReading, SignalBlockF32
from tests.support.fake_context import FakeContext
from tests.support.refusals import refusal_of


def plot(tmp_path: Path, **settings: Any) -> tuple[PlotModule, FakeContext]:
    context = FakeContext(plot_timeseries, PlotSettings(**settings), tmp_path)
    module = PlotModule(context)
    module.prepare()
    return module, context


def send(context: FakeContext, times: list[int], *columns: list[float]) -> None:
    block = SignalBlockF32()
    block.timestamps, block.data = np.array(times), np.column_stack(columns)
    context.inputs["default-float-in"].on_item(block)


def test_a_ramp_is_a_line_of_rising_bars(tmp_path: Path) -> None:
    module, context = plot(tmp_path, history_length=4.0)
    context.inputs["default-float-in"].metadata["signal_names"] = ["ramp"]
    send(context, list(range(0, 4000, 10)), [float(n) for n in range(400)])
    (line,) = module.drawing(3_999_999).strip().splitlines()
    name, drawn, low, _, high = line.split()
    assert (name, low, high) == ("ramp", "0", "399")
    assert drawn == "".join(sorted(drawn))
    assert drawn[0] == "▁"
    assert drawn[-1] == "█"


def test_old_values_leave_the_drawing_and_memory(tmp_path: Path) -> None:
    module, context = plot(tmp_path, history_length=1.0)
    for start in range(0, 100_000, 100):
        send(context, [start], [1.0 if start < 50_000 else 2.0])
    assert "2 to 2" in module.drawing(100_000_000)
    assert len(module._tracks["default-float-in", 0]._columns) <= 80


def test_levels_of_lines_are_held(tmp_path: Path) -> None:
    ports = [PlotPort(id="lines", data_type="FirmataData")]
    module, context = plot(tmp_path, ports_in=ports, history_length=4.0)
    take = context.inputs["lines"].on_item
    take(LineReading(7, 1, 1_000_000))
    take(LineReading(7, 0, 3_000_000))
    drawn = module.drawing(3_999_999)
    assert f"line 7 {' ' * 10}{'█' * 20}{'▁' * 10} 0 to 1" in drawn
    assert f"line 7 {'▁' * 40} 0 to 0" in module.drawing(60_000_000)


def test_graphs_share_their_range_and_switched_off_channels_are_not_drawn(tmp_path: Path) -> None:
    def channel(column: int) -> GraphChannel:
        return GraphChannel(port_id="default-float-in", col_idx=column)

    channels = [
        PlotChannel(port_id="default-float-in", col_idx=0, signal_name="one"),
        PlotChannel(port_id="default-float-in", col_idx=3, enabled=False),
    ]
    graphs = [
        Graph(channels=[channel(0), channel(1)]),
        Graph(channels=[channel(2)], y_auto=False, y_min=-1.0, y_max=5.0),
    ]
    module, context = plot(tmp_path, channels=channels, graphs=graphs)
    send(context, [0, 1], [1.0, 1.0], [9.0, 9.0], [2.0, 2.0], [3.0, 3.0])
    lines = module.drawing(1_000_000).strip().splitlines()
    assert [line.split("to")[0].split()[-1] for line in lines] == ["1", "1", "-1"]
    assert lines[0].startswith("one ")
    assert len(lines) == 3


def test_times_as_numbers_of_samples_need_the_rate(tmp_path: Path) -> None:
    _, context = plot(tmp_path)
    context.inputs["default-float-in"].metadata["time_unit"] = "index"
    with pytest.raises(ModuleError, match="without the sample rate"):
        send(context, [0], [1.0])
    context.inputs["default-float-in"].metadata["sample_rate"] = 1000.0
    send(context, [0], [1.0])


def test_the_range_is_that_of_all_values_and_strange_times_do_no_harm(tmp_path: Path) -> None:
    module, context = plot(tmp_path, history_length=1.0)
    send(context, [900] * 4, [5.0, -5.0, np.nan, np.inf])
    send(context, [0, 2**63], [1.0, 1.0])
    send(context, list(range(0, 10_000_000, 100)), [0.5] * 100_000)
    assert "-5 to 5" in module.drawing(999_999)
    assert len(module._tracks["default-float-in", 0]._columns) <= 80


def test_what_is_not_finite_is_blank() -> None:
    assert bars(np.array([0.0, np.nan, 1.0]), 0.0, 1.0) == "▁ █"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('ports_in = [{ id = "a", data_type = "Frame" }]', "which cannot be drawn"),
        ('ports_in = [{ id = "a" }, { id = "a" }]', "two inputs 'a'"),
        ("graphs = [{ y_auto = false, y_min = 2.0, y_max = 1.0 }]", "y_max more than y_min"),
        ("history_length = 0", "history_length"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    assert words in refusal_of(tmp_path, "plot-timeseries", settings)


def test_a_plot_takes_part_in_a_run_in_virtual_time(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("""
[modules.src]
type = "devel.datasource"
fps = 20
[modules.p]
type = "plot-timeseries"
inputs = { default-float-in = "src.float-out", default-int-in = "src.int-out" }
""")
    done = mlink.run(tmp_path, duration_s=2.02, record=False, time="virtual")
    assert done.success
    assert done.reports["p"]["samples"] == 2 * 40 * 100
