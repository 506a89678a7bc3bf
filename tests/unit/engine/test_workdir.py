"""The folders of runs: none is taken away from a run that lives, none of a dead run stays."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from mlink.engine.setup import workdir
from mlink.engine.setup.workdir import RunWorkDir, remove_stale_runs
from mlink.errors import StorageError

_STARTS = 150
_PROCESSES = 6


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "mlink"


def _start_and_end_runs(results: multiprocessing.SimpleQueue[tuple[int, str]]) -> None:
    gone, error = 0, ""
    for _ in range(_STARTS):
        try:
            with RunWorkDir() as folder:
                os.sched_yield()
                gone += not (folder.path / "lock").exists()
        except Exception as caught:
            error = repr(caught)
    results.put((gone, error))


def test_runs_that_start_at_once_keep_their_folders(base: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [
        context.Process(target=_start_and_end_runs, args=(results,)) for _ in range(_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [results.get() for _ in processes] == [(0, "")] * _PROCESSES
    assert not base.exists()


def test_a_folder_that_is_not_locked_yet_may_be_taken_but_the_run_begins_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, removed = workdir._hold, list[int]()

    def hold_after_another_run_came(lock: int) -> bool:
        if not removed:
            removed.append(0)
            remove_stale_runs(base)
        return hold(lock)

    monkeypatch.setattr(workdir, "_hold", hold_after_another_run_came)
    with RunWorkDir() as folder:
        assert removed
        assert [each.name for each in base.iterdir()] == [folder.path.name]


def test_leftovers_of_dead_runs_are_removed(base: Path) -> None:
    (base / "dead" / "sub").mkdir(parents=True)
    (base / "dead" / "lock").write_text("1")
    (base / "dead" / "sub" / "socket").touch()
    (base / "never-locked").mkdir()
    (base / "begun").mkdir()
    (base / "begun" / "lock").touch()
    assert remove_stale_runs(base) == 1
    with RunWorkDir() as folder:
        assert list(base.iterdir()) == [folder.path]
        (folder.path / "sub").mkdir()
        (folder.path / "sub" / "socket").touch()
    assert not base.exists()


def test_no_place_for_the_folder(base: Path) -> None:
    base.touch()
    with pytest.raises(StorageError, match="cannot create a folder for the run in") as caught:
        RunWorkDir()
    assert caught.value.remedy
