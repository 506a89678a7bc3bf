"""The first closed loop: real firmware on a virtual Uno, a camera, a script, a recording."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from mlink.engine.status import RunResult
from mlink.storage.tsync.reader import read_tsync
from mlink_hil.control.board import VirtualBoard
from mlink_hil.scene.marks import TIME_MODULUS, read_marks
from tests.integration.runs.test_run_life import read_table, streams
from tests.support import ROOT
from tests.support.bench_runner import BenchRunner, nothing_left_behind
from tests.support.recorded import edlio_reader

pytestmark = [pytest.mark.sim, pytest.mark.edlio]

edlio_summary = edlio_reader.edlio_summary
DEMO = ROOT / "hil" / "benches" / "led-follows-button"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The demo's bench, run for three seconds."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    runner = BenchRunner(folder)
    with nothing_left_behind(runner):
        result = runner.run(3.0)
    assert result.success, result.failures
    return result


def test_every_edge_of_the_button_is_answered(demo: RunResult) -> None:
    figures = demo.reports["finger"]
    assert float(figures["edges_answered"]) >= 3
    # an edge in the last milliseconds may find the board no longer listening
    log = (Path(demo.recording_dir or "") / "run.log").read_text()
    too_late = log.count("no answer to an edge")  # within 0.5 s: this machine stood still
    assert float(figures["edges_answered"]) >= float(figures["edges_seen"]) - 1 - too_late


def test_the_loop_takes_at_least_the_time_of_its_bytes(demo: RunResult) -> None:
    figures = demo.reports["finger"]
    wire_usec = (13 + 3) * 10 / 1_000_000 * 1e6  # a block of one edge, a write of one pin
    assert float(figures["latency_p50_usec"]) > 0.8 * wire_usec


def test_nothing_is_lost(demo: RunResult) -> None:
    assert {stream.name: stream.lost for stream in demo.streams if stream.lost} == {}


def test_a_table_row_is_written_for_each_edge_that_the_board_reported(demo: RunResult) -> None:
    rows = [row for row in read_table(demo, "events")[1:] if row]
    assert len(rows) == streams(demo)["loop.table-out"]
    assert len(rows) >= 3


def test_each_recorded_picture_carries_its_own_number_and_time(demo: RunResult) -> None:
    assert demo.recording_dir is not None
    (video,) = Path(demo.recording_dir).rglob("*.mkv")
    tsync = video.with_name(f"{video.stem}_timestamps.tsync")
    times = read_tsync(tsync).times[:, 1]
    with av.open(str(video)) as container:
        marks = [read_marks(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]
    assert len(marks) == len(times) == streams(demo)["cam.video"]
    offsets = {
        (mark.time_usec - int(t)) % TIME_MODULUS for mark, t in zip(marks, times, strict=True)
    }
    assert max(offsets) - min(offsets) <= 1
    numbers = [mark.number for mark in marks]
    assert numbers == sorted(set(numbers))


def test_edlio_opens_the_whole_recording(
    demo: RunResult, edlio_summary: Callable[[Path], dict[str, Any]]
) -> None:
    assert demo.recording_dir is not None
    found = edlio_summary(demo.recording_dir)
    assert found["attributes"]["success"] is True
    videos = [data for data in found["datasets"].values() if "frames" in data]
    assert [video["frames"] for video in videos] == [streams(demo)["cam.video"]]


def test_an_unplugged_board_ends_the_run_with_its_name_and_the_files_closed(
    bench: BenchRunner,
) -> None:
    shutil.copytree(DEMO, bench.folder, dirs_exist_ok=True)

    def unplug() -> None:
        assert bench.engine is not None
        assert bench.engine.work_dir is not None
        (control,) = bench.engine.work_dir.glob("*.sock")
        with VirtualBoard.connect(control) as board:
            board.unplug()

    bench.when_running(1.0, unplug)
    result = bench.run(20.0)
    assert not result.success
    failure = next(f for f in result.failures if f.module == "board")
    assert failure.remedy
    assert result.duration_s < 20  # the run ends before its time
    assert len(read_table(result, "events")) > 1
