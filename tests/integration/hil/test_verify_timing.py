"""`mlink verify-timing`: figures of a bench's loop, its camera and its starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mlink_hil.verify.command import verify_timing
from tests.support.hil_examples import copy_example

pytestmark = pytest.mark.sim
app = typer.Typer()
app.command()(verify_timing)


def test_round_trip_light_to_frame_and_launches_are_measured(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "camera-sees-light")
    out = tmp_path / "out"
    options = ["--for", "3", "--press", "7", "--answer", "8", "--launches", "2"]
    options += ["--board", "uno"]
    result = CliRunner().invoke(app, [str(folder), *options, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads((out / "timing.json").read_text())["measurements"]
    assert found["round trip"]["count"] >= 3
    assert found["round trip"]["p50"] > 200  # two messages at 1 Mbaud
    light = found["light to frame, cam.video"]
    assert light["count"] >= 3
    assert light["p50"] > 0
    assert found["launch to ready"]["count"] == 2
    assert found["start to first frame, cam.video"]["p50"] > 0
    assert len(list(out.glob("*.png"))) == 6


def test_what_the_bench_measures_itself_is_taken(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    result = CliRunner().invoke(app, [str(folder), "--for", "2"])
    assert result.exit_code == 0, result.output
    assert "round trip" in result.output
    assert "p99" in result.output


def test_the_time_of_the_loop_is_divided_into_stages(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "camera-sees-light")
    options = ["--for", "3", "--press", "7", "--answer", "8", "--stages", "--json"]
    result = CliRunner().invoke(app, [str(folder), *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["measurements"]
    names = list(found)
    assert names[0] == "chip, edge to message"
    assert names.index("reader") < names.index("write") < names.index("whole loop")
    assert found["whole loop"]["count"] >= 3
    assert found["whole loop"]["max"] >= found["host: all but chip and line"]["max"]


def test_a_line_that_never_answers_is_named(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "camera-sees-light")
    options = ["--for", "1", "--press", "9", "--answer", "8", "--stages"]
    result = CliRunner().invoke(app, [str(folder), *options])
    assert "line 8 never answered line 9" in str(result.exception)


def test_of_several_boards_one_has_to_be_named(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "two-boards")
    lines = ["--for", "1", "--press", "2", "--answer", "9"]
    result = CliRunner().invoke(app, [str(folder), *lines])
    assert "this bench has more than one board" in str(result.exception)
    for stages in ([], ["--stages"]):
        result = CliRunner().invoke(app, [str(folder), *lines, "--board", "right", *stages])
        assert "line 9 never answered line 2" in str(result.exception)


@pytest.mark.any_pace
def test_stages_need_two_lines_and_no_light(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "camera-sees-light")
    for options in ([], ["--press", "7", "--answer", "8", "--light", "0,0,4,4"]):
        result = CliRunner().invoke(app, [str(folder), "--stages", *options])
        assert "--stages measures the loop from --press to --answer" in str(result.exception)
