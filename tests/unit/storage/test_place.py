"""Where recordings go: folders in any order, never one inside another, and numbered names."""

from datetime import datetime
from pathlib import Path

import pytest

from mlink.errors import StorageError
from mlink.storage import place
from mlink.storage.place import Storage, moniker

WHEN = datetime(2026, 3, 9, 15, 4, 5)


def recording_path(out, order=None, *args, storage=None, **kwargs):
    storage = storage or (Storage() if order is None else Storage(order=order))
    return place.recording_path(out, storage, *args, **kwargs)[0]


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


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (Storage(clock_time_in_dir=True), "m7/2026-03-09T1504/loop"),
        (Storage(flat_root=True), "m7_2026-03-09_loop"),
        (Storage(("time", "experiment-id"), "", True, True), "2026-03-09T1504_loop"),
        (Storage(()), "recording"),
    ],
)
def test_options_of_the_folders(tmp_path, storage, expected):
    path = recording_path(tmp_path, storage=storage, subject="m7", experiment="loop", when=WHEN)
    assert path.relative_to(tmp_path).as_posix() == expected


def numbered(tmp_path, name="trial-{n}", **options):
    storage = options.pop("storage", Storage())
    path, resolved = place.recording_path(tmp_path, storage, experiment=name, when=WHEN, **options)
    return path.relative_to(tmp_path).as_posix(), resolved


def test_n_is_the_next_number_that_is_free(tmp_path):
    assert [numbered(tmp_path)[1] for _ in range(3)] == ["trial-1", "trial-2", "trial-3"]
    (tmp_path / "2026-03-09" / "trial-41").mkdir()
    (tmp_path / "2026-03-09" / "trial-²").mkdir()  # a digit, but no number
    (tmp_path / "2026-03-09" / f"trial-{10**30}").mkdir()
    assert numbered(tmp_path) == ("2026-03-09/trial-42", "trial-42")


@pytest.mark.parametrize(("runs", "name"), [(9, "t1"), (10, "t01"), (99, "t01"), (100, "t001")])
def test_n_has_the_digits_of_all_runs(tmp_path, runs, name):
    assert numbered(tmp_path, "t{n}", runs=runs)[1] == name


def test_time_is_the_clock_time_and_n_counts_beside_it(tmp_path):
    assert numbered(tmp_path, "{time}-{n}") == ("2026-03-09/150405-1", "150405-1")
    (tmp_path / "2026-03-09" / "150359-7").mkdir()  # an earlier run
    assert numbered(tmp_path, "{time}-{n}") == ("2026-03-09/150405-8", "150405-8")
    (tmp_path / "2026-03-09" / "2026-9").mkdir()  # not of this name
    assert numbered(tmp_path, "{time}-{n}", run=12)[1] == "150405-12"
    outer = Storage(("experiment-id", "time"))
    assert numbered(tmp_path, storage=outer) == ("trial-1/2026-03-09", "trial-1")
    assert numbered(tmp_path, storage=outer) == ("trial-2/2026-03-09", "trial-2")
    assert numbered(tmp_path, storage=Storage(("time",)))[1] == "trial-1"  # has no folder


@pytest.mark.parametrize(
    "name", ["{n}", "a{n}b{n}", "{m}", "{n", "../{n}", "{n}" * 60, "+{time}/{n}"]
)
def test_odd_placeholders_give_a_new_folder_each_time(tmp_path, name):
    found = {numbered(tmp_path, name)[0] for _ in range(3)}
    assert len(found) == 3
    assert all(len(Path(each).parts) == 2 for each in found)


def test_a_folder_twice_in_the_order_is_refused(tmp_path):
    with pytest.raises(StorageError, match="'time' is in the order twice"):
        recording_path(tmp_path, ("time", "time"))


def test_a_moniker_is_that_of_the_id():
    assert moniker(bytes(16)) == moniker(bytes(16)) != moniker(bytes(15) + b"1")
    assert len({moniker(bytes([a, b])) for a in range(50) for b in range(50)}) > 1000
