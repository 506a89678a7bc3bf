"""Forcing a recording onto the disk: the files that changed, and errors of the disk."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from mlink.errors import StorageError
from mlink.storage import disk_sync
from mlink.storage.disk_sync import ChangedFiles, DiskSync


def test_only_what_changed_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "video.mkv").write_bytes(b"1")
    (tmp_path / "manifest.toml").write_bytes(b"2")
    files = ChangedFiles(tmp_path)
    assert files.write_out() == 4  # two files, two folders
    assert files.write_out() == 0
    with (tmp_path / "video" / "video.mkv").open("ab") as video:
        video.write(b"more")
    assert files.write_out() == 1


def test_a_disk_that_refuses_is_reported_once_with_the_file_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", refuse)
    monkeypatch.setattr(disk_sync, "INTERVAL_S", 0.01)
    (tmp_path / "rows.csv").write_text("a")
    errors: list[StorageError] = []
    with DiskSync(tmp_path, errors.append) as sync:
        sync._thread.join(60)  # it ends by itself: a disk that failed is not tried again
        assert not sync._thread.is_alive()
    (error,) = errors
    assert "rows.csv: Input/output error" in error.message
    assert error.remedy is not None
    assert "cable" in error.remedy


def test_the_last_write_is_forced_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that changes neither size nor time, such as a header that is completed."""
    contents: dict[str, bytes] = {}

    def note(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_file():
            contents[path.name] = path.read_bytes()

    monkeypatch.setattr(os, "fdatasync", note)
    video = tmp_path / "video.mkv"
    with DiskSync(tmp_path, pytest.fail) as sync:
        video.write_bytes(b"open")
        sync.finish()
        state = video.stat()
        video.write_bytes(b"done")
        os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))
        (tmp_path / "attributes.toml").write_bytes(b"end")
        sync.finish()
    assert contents == {"video.mkv": b"done", "attributes.toml": b"end"}


def test_a_disk_that_does_not_finish_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _fd: released.wait(60))
    monkeypatch.setattr(disk_sync, "FINISH_LIMIT_S", 0.05)
    errors: list[StorageError] = []
    (tmp_path / "video.mkv").write_bytes(b"")
    with DiskSync(tmp_path, errors.append) as sync:
        sync.finish()
        sync.finish()
        released.set()
    (error,) = errors
    assert "has not stored all of" in error.message
    assert "mlink verify" in (error.remedy or "")


def test_thousands_of_files_that_rest_are_not_looked_at_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tmp_path / str(number)).write_bytes(b"1")
    files = ChangedFiles(tmp_path)
    looked: list[str] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path: (looked.append(path), real(path))[1])
    for _ in range(disk_sync._IDLE_CALLS):
        files.write_out()
    looked.clear()
    for _ in range(disk_sync._IDLE_CALLS):  # the folder each time, each file once
        files.write_out()
    assert len(looked) == 300 + disk_sync._IDLE_CALLS
    (tmp_path / "new").write_bytes(b"2")
    os.replace(tmp_path / "new", tmp_path / "0")
    assert files.write_out() == 2  # the one that was replaced, and its folder
    with (tmp_path / "1").open("ab") as file:
        file.write(b"more")
    assert sum(files.write_out() for _ in range(disk_sync._IDLE_CALLS)) == 1
