"""Replays: a script meets again what it met in the lab, and twice is the same to the byte."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlink
import mlink.recording
from mlink.cli import app
from mlink.errors import BenchError, StorageError
from mlink.replay import Replayed, compare, replay
from tests.support.bench_runner import BenchRunner, nothing_left_behind
from tests.support.recorded.files import file_of, folder_of
from tests.support.recorded.json_table import load_json

BENCH = Path(__file__).parent / "replay_bench"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a board, a camera and a script that writes down all that it meets."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(BENCH, folder, dirs_exist_ok=True)
    runner = BenchRunner(folder)
    with nothing_left_behind(runner):
        result = runner.run(2.0, journal=True)
    assert result.success, result.failures
    assert result.recording_dir is not None
    return Path(result.recording_dir)


@pytest.fixture(scope="module")
def twice(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Replayed]:
    """Two replays of it at full speed."""
    folder = tmp_path_factory.mktemp("replays")
    return [replay(lab, bench=BENCH, out_dir=folder / str(number)) for number in range(2)]


@pytest.fixture
def without_journal(lab: Path, tmp_path: Path) -> Path:
    """The same recording as one that was not made to be replayed."""
    copy = tmp_path / "recorded"
    shutil.copytree(lab, copy)
    shutil.rmtree(copy / "journal")
    return copy


def recorded(outcome: Replayed) -> Path:
    assert outcome.result.success, outcome.result.failures
    assert outcome.result.recording_dir is not None
    return Path(outcome.result.recording_dir)


def met(recording: Path) -> list[list[str]]:
    with file_of(recording, "met").open(newline="") as file:
        return list(csv.reader(file, delimiter=";"))


def of_kind(rows: list[list[str]], kind: str) -> list[list[str]]:
    return [row for row in rows if row[0] == kind]


@pytest.mark.parametrize("kind", ["metadata", "frame", "reading", "row", "tick", "time", "stop"])
def test_the_bench_of_these_tests_meets_something_of_every_kind(lab: Path, kind: str) -> None:
    assert of_kind(met(lab), kind)


def test_the_script_meets_all_it_met_in_the_lab_in_the_same_order_at_the_same_times(
    lab: Path, twice: list[Replayed]
) -> None:
    # frames with their hashes, readings, rows, ticks, and every answer of the clock
    assert met(recorded(twice[0])) == met(lab)


def test_without_a_journal_each_stream_is_still_met_whole_and_in_its_order(
    lab: Path, without_journal: Path, tmp_path: Path
) -> None:
    again = met(recorded(replay(without_journal, bench=BENCH, out_dir=tmp_path / "replayed")))
    for kind in ("metadata", "reading", "frame", "row"):
        assert of_kind(again, kind) == of_kind(met(lab), kind), kind


def test_at_real_speed_the_script_meets_the_same_and_it_takes_the_time_it_took(
    lab: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    outcome = replay(lab, bench=BENCH, speed=1.0, out_dir=tmp_path)
    assert time.monotonic() - began > 2.0
    assert met(recorded(outcome)) == met(lab)
    assert {"late_turns", "latest_ms"} == set(outcome.result.reports["replay"])


def files_of(recording: Path) -> dict[str, bytes]:
    return {
        path.relative_to(recording).as_posix(): path.read_bytes()
        for path in sorted(recording.rglob("*"))
        if path.is_file() and path.name != "run.log"
    }


def test_two_replays_at_full_speed_write_the_same_bytes(twice: list[Replayed]) -> None:
    first, second = (files_of(recorded(outcome)) for outcome in twice)
    assert {"board/data.json.zst", "loop/table.csv",
            "journal/loop/loop.journal.msgpack.zst", "manifest.toml", "attributes.toml"
            } <= set(first)  # fmt: skip
    assert {Path(name).suffix for name in first if name.startswith("videos/cam/")} == {
        ".mkv", ".tsync", ".toml"
    }  # fmt: skip
    assert [name for name in first if first[name] != second.get(name)] == []
    assert list(first) == list(second)


def test_nothing_is_lost_at_full_speed(twice: list[Replayed]) -> None:
    for outcome in twice:
        assert {stream.name: stream.lost for stream in outcome.result.streams if stream.lost} == {}


def test_an_unfinished_recording_is_refused(lab: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(lab, torn)
    (torn / "attributes.toml").unlink()
    with pytest.raises(StorageError, match="not closed") as caught:
        replay(torn, bench=BENCH, out_dir=tmp_path)
    assert "mlink repair" in caught.value.remedy


def test_a_damaged_recording_is_refused(lab: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(lab, torn)
    (times,) = (torn / "videos/cam").glob("*.tsync")
    times.unlink()
    with pytest.raises(StorageError, match=rf"damaged: videos/cam: {times.name} is missing"):
        replay(torn, bench=BENCH, out_dir=tmp_path)


def test_a_stream_that_was_not_recorded_is_named_with_its_remedy(
    without_journal: Path, tmp_path: Path
) -> None:
    shutil.rmtree(folder_of(without_journal, "lines"))
    with pytest.raises(BenchError, match=r"board\.fmdata was not recorded") as caught:
        replay(without_journal, bench=BENCH, out_dir=tmp_path)
    assert 'input_type = "LineReading"' in caught.value.remedy
    assert "--without board.fmdata" in caught.value.remedy


def test_a_stream_that_was_not_recorded_can_be_left_out(
    without_journal: Path, tmp_path: Path
) -> None:
    shutil.rmtree(folder_of(without_journal, "lines"))
    outcome = replay(
        without_journal, bench=BENCH, out_dir=tmp_path / "replayed", without=["board.fmdata"]
    )
    rows = met(recorded(outcome))
    assert of_kind(rows, "frame")
    assert not of_kind(rows, "reading")


def test_a_journal_replays_readings_that_no_recorder_wrote(lab: Path, tmp_path: Path) -> None:
    less = tmp_path / "less"
    shutil.copytree(lab, less)
    shutil.rmtree(folder_of(less, "lines"))
    outcome = replay(less, bench=BENCH, out_dir=tmp_path / "replayed")
    assert met(recorded(outcome)) == met(lab)
    lines, before = (load_json(file_of(each, "lines"))["data"] for each in (recorded(outcome), lab))
    assert lines == before


def test_a_misspelt_stream_to_leave_out_is_reported(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no source or stream of this name") as caught:
        replay(lab, bench=BENCH, out_dir=tmp_path, without=["board.fmdate"])
    assert caught.value.remedy == "Did you mean 'board.fmdata'?"


def test_a_replay_has_the_subject_of_its_recording_whatever_the_list_of_the_bench_is_now(
    tmp_path: Path,
) -> None:
    text = """
[modules.clock]
type = "devel.clock"
[modules.rows]
type = "table"
inputs = { rows = "clock.table-out" }
[[subject]]
id = "m7"
"""
    (tmp_path / "bench.toml").write_text(text)
    done = mlink.run(tmp_path, duration_s=0.5, out=tmp_path, replayable=True, subject="m7")
    assert done.recording_dir is not None
    (tmp_path / "bench.toml").write_text(text + "active = false\n")
    again = recorded(replay(done.recording_dir, bench=tmp_path, out_dir=tmp_path / "replays"))
    with mlink.open_recording(again) as found:
        assert found.attributes["subject_id"] == "m7"


def test_a_comparison_of_a_replay_with_its_run_finds_all_the_same(twice: list[Replayed]) -> None:
    compared = {each.name: each for each in twice[0].compare()}
    assert {"loop.commands", "loop.log", "loop", "videos/cam", "board", "finger-latencies"} == set(
        compared
    )
    assert [str(each) for each in compared.values() if not each.same] == []
    assert all(each.before == each.now > 10 for each in compared.values())


def test_a_changed_script_is_reported_by_what_it_sends_otherwise(lab: Path, tmp_path: Path) -> None:
    changed = tmp_path / "bench"
    shutil.copytree(BENCH, changed)
    script = (changed / "loop.py").read_text()
    assert "led.set_value(1 - reading.value)" in script
    script = script.replace("led.set_value(1 - reading.value)", "led.set_value(1)")
    (changed / "loop.py").write_text(script)
    compared = {
        each.name: each for each in replay(lab, bench=changed, out_dir=tmp_path / "out").compare()
    }
    assert "value=0" in compared["loop.commands"].difference
    assert "value=1" in compared["loop.commands"].difference
    assert compared["loop"].same
    assert compared["videos/cam"].same


def test_the_command_prints_what_differs_and_exits_with_1(lab: Path, tmp_path: Path) -> None:
    changed = tmp_path / "bench"
    shutil.copytree(BENCH, changed)
    script = (changed / "loop.py").read_text()
    (changed / "loop.py").write_text(script.replace('"tick", ', '"tock", '))
    arguments = ["replay", str(lab), "--bench", str(changed), "--out", str(tmp_path), "--compare"]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    shown = CliRunner().invoke(app, [*arguments[:3], str(BENCH), *arguments[4:], "--json"])
    assert shown.exit_code == 0
    document = json.loads(shown.stdout)
    # A machine that stood still may have cost frames at their source.
    assert [note for note in document["notes"] if "did not reach the recorder" not in note] == []
    assert {each["difference"] for each in document["compared"]} == {""}


def test_the_pytest_plugin_replays_beside_the_tests_file(
    mlink_replay: Callable[..., Replayed], lab: Path, tmp_path: Path
) -> None:
    outcome = mlink_replay(lab, bench="replay_bench")
    assert recorded(outcome).is_relative_to(tmp_path)
    assert all(each.same for each in outcome.compare())


def test_the_length_of_a_run_is_in_its_recording(lab: Path) -> None:
    with mlink.recording.open(lab) as recording:
        assert recording.length_s == pytest.approx(2.0, abs=1.0)


def test_a_dataset_that_is_missing_in_the_replay_is_reported_but_not_a_devices_clock(
    lab: Path, twice: list[Replayed], tmp_path: Path
) -> None:
    more = tmp_path / "more"
    shutil.copytree(lab, more)
    shutil.copytree(folder_of(more, "met"), more / "gone")
    with mlink.recording.open(more) as recording:
        assert "gone" in recording
        assert "nowhere" not in recording
    differences = [str(each) for each in compare(more, recorded(twice[0])) if not each.same]
    assert differences == ["gone: is not in the replay"]
