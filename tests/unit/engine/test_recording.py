"""The recording of a run that failed before anything flowed goes; one with data stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlink.engine.options import RunOptions
from mlink.engine.recording import Recording
from mlink.engine.status import RunResult, StreamStatus
from mlink.storage.account import note_subscription
from mlink.storage.tree import JOURNAL_SUFFIX
from tests.support.engine_fakes import bench_of, module

EMPTY = RunResult(False, streams=[StreamStatus("loop", "rows", "TableRow")])


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    options = RunOptions(out_dir=tmp_path / "made" / "out", subject="m7")
    new = Recording(bench_of(module("loop")), options, bytes(16))
    yield new
    if new.path.exists():
        new.close(EMPTY)


def dataset(recording: Recording, name: str, file: str, *, recorder: bool) -> None:
    new = recording._collection.create_dataset(name)
    if recorder:
        note_subscription(new, "rows", "rows", "TableRow")
    new.set_data_file(file).write_text("number\n")
    new.save()


def test_it_goes_with_the_folders_that_were_made_for_it(
    recording: Recording, tmp_path: Path
) -> None:
    dataset(recording, "rows", "rows.csv", recorder=True)
    dataset(recording, "journal", f"loop{JOURNAL_SUFFIX}", recorder=False)
    recording.write_log(0, "loop", 20, "no valve")
    assert recording.discard_if_empty(EMPTY)
    assert list(tmp_path.iterdir()) == []
    recording.write_log(0, "loop", 20, "after it")


def test_other_recordings_stay(recording: Recording, tmp_path: Path) -> None:
    other = Recording(
        bench_of(module("loop")), RunOptions(out_dir=tmp_path / "made" / "out"), bytes(16)
    )
    assert recording.discard_if_empty(EMPTY)
    other.close(EMPTY)
    assert not (tmp_path / "made" / "out" / "m7").exists()


def test_one_of_a_success_stays(recording: Recording) -> None:
    assert not recording.discard_if_empty(RunResult(True))


def test_one_with_something_sent_stays(recording: Recording) -> None:
    sent = RunResult(False, streams=[StreamStatus("loop", "rows", "TableRow", sent=1)])
    assert not recording.discard_if_empty(sent)


def test_one_with_something_printed_stays(recording: Recording) -> None:
    recording.has_output = True
    assert not recording.discard_if_empty(EMPTY)


def test_one_with_files_of_a_script_stays(recording: Recording) -> None:
    dataset(recording, "mine", "mine.txt", recorder=False)
    assert not recording.discard_if_empty(EMPTY)


def test_one_with_a_damaged_part_stays(recording: Recording) -> None:
    dataset(recording, "rows", "rows.csv", recorder=True)
    (recording.path / "rows" / "manifest.toml").write_text("no [ toml")
    assert not recording.discard_if_empty(EMPTY)
    assert recording.path.is_dir()
