"""Collections, groups and datasets: valid at any time, shared by several processes."""

import errno
import math
import subprocess
import sys
import time
import tomllib
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlink.errors import StorageError
from mlink.metadata import MetaSize
from mlink.storage import edl as edl_module
from mlink.storage import manifest as manifest_module
from mlink.storage.edl import Author, create_collection, create_dataset, open_group
from mlink.storage.manifest import file_type_of, media_type_of, write_toml

RUN = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def toml(path):
    return tomllib.loads(path.read_text())


@pytest.fixture
def collection(tmp_path):
    return create_collection(
        tmp_path / "run",
        collection_id=RUN.bytes,
        generator="mlink 0.1",
        time_created=datetime(2026, 3, 9, 15, 4, 5, tzinfo=UTC),
        authors=[Author("Ada", "ada@example.org"), Author("Bob")],
        attributes={"subject_id": "m7"},
    )


def test_the_manifest_of_a_collection(collection):
    assert toml(collection.path / "manifest.toml") == {
        "format_version": "1",
        "type": "collection",
        "time_created": datetime(2026, 3, 9, 15, 4, 5, tzinfo=UTC),
        "collection_id": str(RUN),
        "generator": "mlink 0.1",
        "authors": [{"name": "Ada", "email": "ada@example.org"}, {"name": "Bob"}],
    }


def test_a_collection_is_a_failure_until_it_is_closed(collection):
    attributes = toml(collection.path / "attributes.toml")
    assert attributes["success"] is False
    assert "not closed" in attributes["failure_reason"]
    collection.save(True, recording_length_msec=10_000, attributes={"modules": [{"id": "cam"}]})
    attributes = toml(collection.path / "attributes.toml")
    assert attributes["success"] is True
    assert "failure_reason" not in attributes
    assert attributes["recording_length_msec"] == 10_000
    assert attributes["modules"] == [{"id": "cam"}]
    assert attributes["subject_id"] == "m7"
    assert attributes["collection_name"] == "run"
    assert attributes["machine_node"]


def test_the_name_of_the_computer_can_be_left_out(tmp_path):
    made = create_collection(
        tmp_path / "run", collection_id=RUN.bytes, generator="x", attributes={"machine_node": None}
    )
    made.save(True)
    assert "machine_node" not in toml(made.path / "attributes.toml")


def test_closing_keeps_what_a_script_wrote_about_the_run(collection):
    root = open_group(collection.path, RUN.bytes)
    root.set_attribute("weather", "rain")
    root.save()
    assert root.create_dataset("d").path.parent == collection.path
    collection.save(True)
    attributes = toml(collection.path / "attributes.toml")
    assert attributes["weather"] == "rain"
    assert attributes["success"] is True
    assert "failure_reason" not in attributes


def test_a_failed_run_has_a_reason(collection):
    collection.save(False, "cam: the camera went away")
    attributes = toml(collection.path / "attributes.toml")
    assert attributes["success"] is False
    assert attributes["failure_reason"] == "cam: the camera went away"


def test_a_recording_is_never_overwritten(collection):
    before = (collection.path / "manifest.toml").read_text()
    with pytest.raises(StorageError, match="holds a recording already"):
        create_collection(collection.path, collection_id=bytes(16), generator="other")
    assert (collection.path / "manifest.toml").read_text() == before


def test_a_dataset_is_valid_at_once(collection):
    dataset = collection.create_dataset("Top Camera")
    assert dataset.name == "top-camera"
    assert dataset.path == collection.path / "top-camera"
    assert dataset.is_empty
    manifest = toml(dataset.path / "manifest.toml")
    assert manifest["type"] == "dataset"
    assert manifest["collection_id"] == str(RUN)
    assert manifest["time_created"].tzinfo is not None


def test_files_are_in_the_manifest_as_soon_as_they_are_registered(collection):
    dataset = collection.create_dataset("video")
    assert dataset.set_data_file("video.mkv", summary="Video") == dataset.path / "video.mkv"
    assert dataset.add_aux_file("video.tsync", summary="Times") == dataset.path / "video.tsync"
    assert not dataset.is_empty
    manifest = toml(dataset.path / "manifest.toml")
    assert manifest["data"] == {
        "media_type": "video/x-matroska",
        "file_type": "mkv",
        "summary": "Video",
        "parts": [{"fname": "video.mkv"}],
    }
    assert manifest["data_aux"] == [
        {"file_type": "tsync", "summary": "Times", "parts": [{"fname": "video.tsync"}]}
    ]


def test_parts_are_numbered_in_order(collection):
    dataset = collection.create_dataset("video")
    for i in (1, 2):
        dataset.add_data_part(f"video_{i}.mkv")
        dataset.add_aux_file(f"video_{i}.tsync", key="times")
    manifest = toml(dataset.path / "manifest.toml")
    assert manifest["data"]["parts"] == [
        {"index": 0, "fname": "video_1.mkv"},
        {"index": 1, "fname": "video_2.mkv"},
    ]
    (aux,) = manifest["data_aux"]
    assert [part["fname"] for part in aux["parts"]] == ["video_1.tsync", "video_2.tsync"]


def test_a_pattern_is_looked_up_when_the_dataset_is_saved(collection):
    dataset = collection.create_dataset("scan")
    assert dataset.set_data_file("part_*.csv", scan=True) == dataset.path
    assert "data" not in toml(dataset.path / "manifest.toml")
    for i in (10, 9, 1):
        dataset.path_for_basename(f"part_{i}.csv").write_text("")
    dataset.save()
    parts = toml(dataset.path / "manifest.toml")["data"]["parts"]
    assert [part["fname"] for part in parts] == ["part_1.csv", "part_9.csv", "part_10.csv"]


@pytest.mark.parametrize("name", ["../x.csv", "/tmp/x.csv", "manifest.toml", ""])
def test_files_stay_in_their_dataset(collection, name):
    dataset = collection.create_dataset("d")
    for method in (dataset.set_data_file, dataset.add_aux_file, dataset.path_for_basename):
        with pytest.raises(StorageError, match="not a name for a file"):
            method(name)


def test_a_taken_name_gets_a_suffix(collection):
    names = [collection.create_dataset("table").name for _ in range(3)]
    assert names == ["table", "table-2", "table-3"]


def test_a_proposal_names_group_and_dataset(collection):
    first = collection.create_dataset("events/table")
    second = create_dataset(collection.path, "table", group="events", collection_id=RUN.bytes)
    assert first.path == collection.path / "events" / "table"
    assert second.path == collection.path / "events" / "table-2"
    assert toml(first.path.parent / "manifest.toml")["type"] == "group"


def test_a_group_does_not_go_into_a_dataset_of_its_name(collection):
    collection.create_dataset("events")
    dataset = collection.create_dataset("events/table")
    assert dataset.path == collection.path / "events-2" / "table"
    assert collection.create_dataset("events-2").name == "events-2-2"


def test_groups_are_found_again_and_keep_their_attributes(collection):
    group = collection.create_group("Pilot")
    group.set_attribute("room", 3)
    group.save()
    again = collection.create_group("pilot")
    assert again.path == group.path
    again.set_attribute("light", "dark")
    again.save()
    assert toml(group.path / "attributes.toml") == {"room": 3, "light": "dark"}
    assert group.create_group("inner").create_dataset("d").path == group.path / "inner" / "d"


def test_an_attribute_that_was_removed_stays_away(collection):
    group = collection.create_group("a")
    group.set_attribute("gone", 1)
    group.set_attribute("back", 1)
    group.save()
    group.set_attribute("gone", None)
    group.set_attribute("back", None)
    group.set_attribute("back", 2)
    group.save()
    assert toml(group.path / "attributes.toml") == {"back": 2} == group.attributes


def test_attributes_of_all_kinds_are_stored(collection):
    dataset = collection.create_dataset("d")
    values = {
        "size": MetaSize(640, 480), "rate": np.float32(0.5), "count": np.int64(7), "on": True,
        "text": "µs; \"quoted\"\n", "list": [1, [2, None], {"a": 1}], "when": timedelta(seconds=2),
        "array": np.arange(3), "nested": {"x": {"y": [1.5]}, "none": None}, "big": 2**70,
        "path": Path("/a"), "none": None,
    }  # fmt: skip
    for key, value in values.items():
        dataset.set_attribute(key, value)
    dataset.save()
    assert toml(dataset.path / "attributes.toml") == {
        "size": {"width": 640, "height": 480}, "rate": 0.5, "count": 7, "on": True,
        "text": "µs; \"quoted\"\n", "list": [1, [2], {"a": 1}], "when": 2.0, "array": [0, 1, 2],
        "nested": {"x": {"y": [1.5]}}, "big": str(2**70), "path": "/a",
    }  # fmt: skip
    with pytest.raises(StorageError, match="attribute 'bad' cannot be stored: object"):
        dataset.set_attribute("bad", object())


def test_a_full_disk_keeps_the_old_manifest(collection, monkeypatch):
    dataset = collection.create_dataset("d")
    before = (dataset.path / "manifest.toml").read_bytes()

    def full(_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifest_module.os, "fsync", full)
    with pytest.raises(StorageError, match=r"manifest\.toml: No space left") as caught:
        dataset.set_data_file("d.csv")
    assert "Free space" in caught.value.remedy or "free space" in caught.value.remedy
    assert (dataset.path / "manifest.toml").read_bytes() == before
    assert [path.name for path in dataset.path.iterdir()] == ["manifest.toml"]


def test_file_systems_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_links(_self, _target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    first = create_dataset(tmp_path, "g/d", collection_id=RUN.bytes)
    second = create_dataset(tmp_path, "g/d", collection_id=RUN.bytes)
    assert [first.name, second.name] == ["d", "d-2"]
    assert toml(first.path / "manifest.toml")["type"] == "dataset"


def test_many_processes_share_a_collection(collection):
    """Eight processes make datasets of one name, half of them in a group of that name."""
    script = """
import sys
from pathlib import Path
from mlink.storage.edl import create_dataset
sys.stdin.readline()
for i in range(20):
    name = "x" if (i + int(sys.argv[2])) % 2 else "x/y"
    print(create_dataset(Path(sys.argv[1]), name, collection_id=bytes(16)).path)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(collection.path), str(i)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in range(8)
    ]  # fmt: skip
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    paths = []
    for process in processes:
        paths += process.communicate(timeout=250)[0].split()
        assert process.returncode == 0
    assert len(paths) == len(set(paths)) == 160
    for path in map(Path, paths):
        assert toml(path / "manifest.toml")["type"] == "dataset"
        assert path.parent == collection.path or (
            toml(path.parent / "manifest.toml")["type"] == "group"
        )
    assert not list(collection.path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("name", "file_type", "media_type"),
    [
        ("a.mkv", "mkv", "video/x-matroska"),
        ("a.AVI", "avi", "video/x-msvideo"),
        ("a.csv", "csv", "text/csv"),
        ("a.b.tsync", "tsync", ""),
        ("a.json.zst", "json.zst", "application/zstd"),
        ("a.csv.zst", "csv.zst", "text/csv"),
        ("a.b.csv.zst", "csv.zst", "text/csv"),
        ("a.zarr", "zarr", ""),
        ("a.png", "png", "image/png"),
        ("a", "", ""),
    ],
)
def test_file_and_media_types(name, file_type, media_type):
    assert file_type_of(name) == file_type
    assert media_type_of(name) == media_type


def test_long_lists_cost_a_writer_by_their_length_and_no_more(tmp_path):
    def took_s(count):
        """Return the processor time of saving so many runs of numbers, the best of three."""
        runs = [[n, n * 100, 7] for n in range(count)]
        best = math.inf
        for _ in range(3):
            began = time.process_time()
            write_toml(tmp_path / "attributes.toml", {"block_start_runs": runs})
            best = min(best, time.process_time() - began)
        return best

    # A recorder of irregular blocks had 10,000 after an hour, and its end then took 20 s.
    assert took_s(8_000) < 24 * took_s(1_000)
    saved = tomllib.loads((tmp_path / "attributes.toml").read_text())["block_start_runs"]
    assert saved[-1] == [999, 99_900, 7]


def test_integers_beyond_64_bits_become_text(collection):
    dataset = collection.create_dataset("d")
    for key, value in {
        "low": -(2**63),
        "high": 2**63 - 1,
        "below": -(2**63) - 1,
        "above": 2**63,
    }.items():
        dataset.set_attribute(key, value)
    dataset.save()
    assert toml(dataset.path / "attributes.toml") == {
        "low": -(2**63),
        "high": 2**63 - 1,
        "below": str(-(2**63) - 1),
        "above": str(2**63),
    }


def test_a_folder_with_a_damaged_manifest_is_no_group(collection, monkeypatch):
    monkeypatch.setattr(edl_module, "_MANIFEST_WAIT_S", 0.05)
    (collection.path / "events").mkdir()
    (collection.path / "events" / "manifest.toml").write_text("type = [")
    with pytest.raises(StorageError, match="damaged"):
        collection.create_group("events")


def test_a_manifest_that_another_process_is_writing_is_waited_for(collection, monkeypatch):
    path = collection.path / "events" / "manifest.toml"
    path.parent.mkdir()
    path.write_text("type = [")

    def finish_writing(_seconds):
        path.write_text('type = "group"')

    monkeypatch.setattr(edl_module.time, "sleep", finish_writing)
    assert collection.create_group("events").path == path.parent
