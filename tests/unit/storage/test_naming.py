"""Names that stay in their folder and overwrite nothing; identifiers that sort by time."""

import itertools
import uuid
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import StorageError
from mlink.storage.naming import (
    check_file_name,
    folder_part,
    numbered,
    recording_path,
    slug,
    split_proposal,
)
from mlink.storage.uuid7 import uuid7

WHEN = datetime(2026, 3, 9, 15, 4, 5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Video", "video"),
        ("Top Camera #2", "top-camera-2"),
        ("loop.table-out", "loop-table-out"),
        ("a\\b:c", "a-b-c"),
        ("Größe_1", "größe_1"),
        ("..", "data"),
        ("", "data"),
        ("manifest.toml", "manifest-toml"),
        ("AUX", "aux_"),
        ("x" * 300, "x" * 80),
    ],
)
def test_slug(name, expected):
    assert slug(name) == expected


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        ("table", ("", "table")),
        ("events/table", ("events", "table")),
        ("a/b/c", ("a/b", "c")),
        ("/events//Table/", ("events", "table")),
        ("../../etc/passwd", ("etc", "passwd")),
        ("", ("", "")),
        ("//", ("", "")),
    ],
)
def test_split_proposal(proposal, expected):
    assert split_proposal(proposal) == expected


@given(st.text())
def test_no_name_leaves_its_folder(text):
    for name in (slug(text), folder_part(text), *split_proposal(text)[1:]):
        assert not set(name) & set("/\\\0\n")
        assert name not in {".", ".."}
        assert len(name.encode()) <= 130
        assert not name.startswith(".")


def test_numbered():
    assert list(itertools.islice(numbered("cam"), 3)) == ["cam", "cam-2", "cam-3"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0", "manifest.toml",
                                  "attributes.toml", "..\\x", "x" * 256])  # fmt: skip
def test_file_names_are_plain_names(name):
    with pytest.raises(StorageError):
        check_file_name(name)


def test_a_recording_goes_to_subject_date_experiment(tmp_path):
    path = recording_path(tmp_path, subject="mouse 7", experiment="Led Loop", when=WHEN)
    assert path == tmp_path / "mouse 7" / "2026-03-09" / "Led Loop"
    assert path.is_dir()


def test_empty_parts_are_left_out(tmp_path):
    assert recording_path(tmp_path, experiment="x", when=WHEN) == tmp_path / "2026-03-09" / "x"
    only = recording_path(tmp_path, order=("subject", "experiment"), when=WHEN)
    assert only == tmp_path / "recording"


def test_the_order_of_folders_is_a_setting(tmp_path):
    order = ("experiment", "time", "subject-id")
    path = recording_path(tmp_path, order, "m7", "loop", WHEN)
    assert path == tmp_path / "loop" / "2026-03-09" / "m7"
    with pytest.raises(StorageError, match="'mood' is not a folder"):
        recording_path(tmp_path, ("mood",))


def test_a_clash_gets_a_number(tmp_path):
    paths = [recording_path(tmp_path, experiment="x", when=WHEN) for _ in range(3)]
    assert [path.name for path in paths] == ["x", "x-2", "x-3"]
    file = tmp_path / "2026-03-09" / "x-4"
    file.write_text("not ours")
    assert recording_path(tmp_path, experiment="x", when=WHEN).name == "x-5"
    assert file.read_text() == "not ours"


def test_no_recording_is_made_inside_another(tmp_path):
    outer = recording_path(tmp_path, when=WHEN)
    (outer / "manifest.toml").write_text("")
    inner = recording_path(tmp_path, experiment="x", when=WHEN)
    assert outer.name == "2026-03-09"
    assert inner == tmp_path / "2026-03-09-2" / "x"


@pytest.mark.parametrize("evil", ["../../x", "/etc/x", "a/b", "..", "a\0b", "x" * 999, "~/x"])
def test_what_people_type_cannot_leave_the_output_folder(tmp_path, evil):
    out = tmp_path / "out"
    path = recording_path(out, subject=evil, experiment=evil, when=WHEN)
    assert out in path.resolve().parents
    assert len(path.relative_to(out).parts) <= 3


def test_a_folder_that_cannot_be_made_is_an_error_with_the_reason():
    with pytest.raises(StorageError, match="cannot create a recording in /proc/nowhere"):
        recording_path(Path("/proc/nowhere"), experiment="x")


@given(st.integers(0, 2**48 - 1))
def test_uuid7_holds_the_time_and_the_version(ms):
    value = uuid7(ms)
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == ms


def test_uuid7_sorts_by_time_and_is_random():
    assert uuid7(1).bytes < uuid7(2).bytes
    assert len({uuid7(5) for _ in range(1000)}) == 1000
    assert abs((uuid7().int >> 80) / 1000 - datetime.now().timestamp()) < 5
