"""The recording of a run that failed before anything flowed goes; one with data stays."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlink.engine.options import RunOptions
from mlink.engine.recording import Recording
from mlink.engine.status import RunResult, StreamStatus
from mlink.errors import StorageError
from mlink.recording.care.verify import verify_recording
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


@pytest.mark.parametrize("name", ["attributes.toml", "manifest.toml", "run.log"])
def test_one_that_cannot_be_created_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for where, real in ((Path, Path.open), (os, os.open)):

        def refused(path: Path, *args: object, real: Any = real, **options: object) -> object:
            if name in Path(path).name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, *args, **options)

        monkeypatch.setattr(where, "open", refused)
    options = RunOptions(out_dir=tmp_path / "made" / "out", subject="m7")
    with pytest.raises(StorageError, match=f"cannot write .*{name}: No space left"):
        Recording(bench_of(module("loop")), options, bytes(16))
    assert list(tmp_path.iterdir()) == []


def test_one_of_a_run_without_streams_has_an_account_all_the_same(recording: Recording) -> None:
    recording.close(RunResult(True))
    report = verify_recording(recording.path)
    assert (report.ok, report.account) == (True, True)


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
