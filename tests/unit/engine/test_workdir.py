"""The folders of runs: none is taken away from a run that lives, none of a dead run stays."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
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
    (base / "0000dead" / "sub").mkdir(parents=True)
    (base / "0000dead" / "lock").write_text("mlink run 1")
    (base / "0000dead" / "sub" / "socket").touch()
    (base / "00000001").mkdir()
    (base / "00000002").mkdir()
    (base / "00000002" / "lock").touch()
    assert remove_stale_runs(base) == 1
    with RunWorkDir() as folder:
        assert list(base.iterdir()) == [folder.path]
        (folder.path / "sub").mkdir()
        (folder.path / "sub" / "socket").touch()
    assert not base.exists()


def test_no_place_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(workdir, "_is_ours", lambda _path: False)
    monkeypatch.setattr(workdir, "_is_safe", lambda path: path == tmp_path)
    with pytest.raises(
        StorageError, match=r"a folder for the run in .*: other users can"
    ) as caught:
        RunWorkDir()
    assert caught.value.remedy


def test_folders_of_others_stay(base: Path) -> None:
    for name in ("mine", "0000beef"):
        (base / name).mkdir(parents=True)
        (base / name / "lock").write_text("7")
    (base / "0000cafe").symlink_to(base / "mine")
    os.mkfifo(base / "0000beef" / "pipe")
    assert remove_stale_runs(base) == 0
    with RunWorkDir() as folder:
        assert folder.path.parent == base
    assert sorted(each.name for each in base.iterdir()) == ["0000beef", "0000cafe", "mine"]


def test_the_folder_of_all_runs_is_open_to_nobody_else(base: Path) -> None:
    base.mkdir(mode=0o755)
    with RunWorkDir() as folder:
        assert base.stat().st_mode & 0o777 == 0o700
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert (folder.path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("above", ["all may write", "of another user"])
def test_a_place_where_others_can_rename_the_folder_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    place = tmp_path / "above" / "place"
    place.mkdir(parents=True, mode=0o700)
    if above == "all may write":
        (tmp_path / "above").chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(tmp_path / "above", 65534, 65534)
    else:
        pytest.skip("only root can give folders away")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with RunWorkDir() as folder:
        assert tmp_path not in folder.path.parents
    assert list(place.iterdir()) == []
    (tmp_path / "above").chmod(0o1777)
    os.chown(tmp_path / "above", os.geteuid(), -1)
    with RunWorkDir() as folder:
        assert folder.path.parent == place / "mlink"


@pytest.mark.parametrize("shared", ["a link", "a folder of others", "a file"])
def test_a_name_that_somebody_else_has_taken_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    """In a folder like /tmp, which belongs to root, all can make any name first."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    taken = (tmp_path / "mlink", tmp_path / f"mlink-{os.getuid()}-x")
    (tmp_path / "others").mkdir(mode=0o777)
    for path in taken:
        if shared == "a link":
            path.symlink_to(tmp_path / "others")
        elif shared == "a file":
            path.touch()
        else:
            path.mkdir(mode=0o777)
            path.chmod(0o777)
    others = {path: path.lstat().st_ino for path in taken}
    real = workdir._is_ours
    monkeypatch.setattr(
        workdir, "_is_ours", lambda path: path not in (tmp_path, *taken) and real(path)
    )
    with RunWorkDir() as folder:
        assert folder.path.parent not in (*taken, tmp_path / "others")
        assert folder.path.parent.stat().st_mode & 0o777 == 0o700
        again = workdir.runs_dir()
        assert again == folder.path.parent
    assert others == {path: path.lstat().st_ino for path in taken}
    assert list((tmp_path / "others").iterdir()) == []
