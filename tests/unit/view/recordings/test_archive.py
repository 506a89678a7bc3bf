"""The archive of a download has all files of a folder, each as it was found, or there is none."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from mlink.errors import StorageError
from mlink.storage.inside import RecordingFolder
from mlink.view.recordings.archive import entries, length, write


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "recording"
    (root / "events" / "empty").mkdir(parents=True)
    (root / "manifest.toml").write_text("[a]\n")
    (root / "events" / ("ü" * 100)).write_bytes(b"x" * 1000)
    (root / "events" / os.fsdecode(b"odd\xff")).write_bytes(b"")
    return root


def archived(folder) -> bytes:
    out = io.BytesIO()
    found = entries(RecordingFolder(folder), "name")
    write(RecordingFolder(folder), found, out)
    assert len(out.getvalue()) == length(found)
    return out.getvalue()


def test_it_has_every_file_and_folder_and_its_length_is_known_before(folder, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(archived(folder))) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    for each in ("manifest.toml", "events/" + "ü" * 100, os.fsdecode(b"events/odd\xff")):
        assert (tmp_path / "out/name" / each).read_bytes() == (folder / each).read_bytes()
    assert (tmp_path / "out/name/events/empty").is_dir()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a link"),
        (lambda path: path.symlink_to("/etc"), "a link"),
        (os.mkfifo, "a named pipe"),
    ],
)
def test_what_would_not_be_in_it_is_named_and_there_is_none(folder, make, what):
    make(folder / "events" / "odd")
    with pytest.raises(StorageError, match=f"odd is {what}"):
        entries(RecordingFolder(folder), "name")


def test_holes_are_not_sent_as_gigabytes(folder):
    with (folder / "events" / "hole").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StorageError, match="hole has more than"):
        entries(RecordingFolder(folder), "name")


def test_a_file_that_grows_meanwhile_is_sent_as_it_was_found(folder):
    found = entries(RecordingFolder(folder), "name")
    with (folder / "manifest.toml").open("a") as file:
        file.write("more\n")
    out = io.BytesIO()
    write(RecordingFolder(folder), found, out)
    assert len(out.getvalue()) == length(found)
    assert b"more" not in out.getvalue()


def test_a_file_that_shrinks_or_becomes_a_link_breaks_it_off(folder):
    found = entries(RecordingFolder(folder), "name")
    (folder / "manifest.toml").write_text("")
    with pytest.raises(StorageError, match="has become shorter"):
        write(RecordingFolder(folder), found, io.BytesIO())
    (folder / "manifest.toml").unlink()
    (folder / "manifest.toml").symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match="is a link"):
        write(RecordingFolder(folder), found, io.BytesIO())
