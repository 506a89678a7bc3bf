"""`mlink info`: what is in a recording, whole or not."""

import io
import json
import shutil

import pytest
from rich.console import Console

from mlink.cli.recorded.info import info, show
from mlink.errors import StorageError
from mlink.storage.edl import create_collection
from mlink.storage.inspect import inspect_recording
from mlink.storage.tsync.writer import TsyncWriter


@pytest.fixture
def recording(tmp_path):
    collection = create_collection(
        tmp_path / "loop", collection_id=bytes(range(16)), generator="mlink 0.1"
    )
    video = collection.create_dataset("video")
    video.set_data_file("video.mkv").write_bytes(b"x" * 5000)
    with TsyncWriter(
        video.add_aux_file("video_timestamps.tsync"), collection_id=bytes(16)
    ) as tsync:
        for i in range(61):
            tsync.append(i, 1_000_000 + i * 50_000)
    video.set_attribute("items_lost", 3)
    video.set_attribute("gap_count", 1)
    video.save()
    events = collection.create_dataset("events/table")
    events.set_data_file("table.csv").write_text('time;what\n1;"a\nb"\n2;c\n')
    events.set_attribute("items_lost", 0)
    events.set_attribute("row_count", 2)
    events.save()
    collection.create_dataset("unused")
    collection.save(True, recording_length_msec=4_000, attributes={"subject_id": "m7"})
    return collection.path


def test_summary(recording):
    summary = inspect_recording(recording)
    assert (summary.name, summary.success, summary.closed) == ("loop", True, True)
    assert summary.length_s == 4.0
    assert summary.problems == []
    by_name = {dataset.name: dataset for dataset in summary.datasets}
    assert list(by_name) == ["events/table", "unused", "video"]
    video = by_name["video"]
    assert (video.kind, video.entries, video.lost, video.gaps) == ("video", 61, 3, 1)
    assert (video.first_usec, video.last_usec) == (1_000_000, 4_000_000)
    assert video.duration_s == 3.0
    assert video.rate_hz == pytest.approx(20)
    assert video.interval_max_usec == 50_000
    assert [(file.name, file.role) for file in video.files] == [
        ("video.mkv", "data"),
        ("video_timestamps.tsync", "aux"),
    ]
    assert video.size > 5000
    events = by_name["events/table"]
    assert (events.kind, events.entries, events.lost, events.gaps) == ("table", 2, 0, 0)
    assert by_name["unused"].kind == "empty"
    assert not any(dataset.problems for dataset in summary.datasets)


def test_losses_of_signals_are_blocks_and_named_so(tmp_path, capsys):
    collection = create_collection(tmp_path / "r", collection_id=bytes(16), generator="mlink")
    dataset = collection.create_dataset("signals")
    dataset.set_data_file("data.json.zst").write_bytes(b"x")
    for key, value in {"row_count": 2992, "block_count": 1496, "items_lost": 1404}.items():
        dataset.set_attribute(key, value)
    dataset.save()
    collection.save(True, recording_length_msec=1)
    (found,) = inspect_recording(collection.path).datasets
    assert (found.entries, found.blocks, found.lost) == (2992, 1496, 1404)
    info(collection.path)
    assert "1404 blocks" in capsys.readouterr().out


def test_json(recording, capsys):
    info(recording, json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["success"] is True
    assert data["datasets"][2]["entries"] == 61
    assert data["datasets"][2]["duration_s"] == 3.0


def test_table(recording, capsys):
    info(recording)
    out = capsys.readouterr().out
    assert "loop" in out
    assert "events/table" in out


def test_a_person_sees_what_matters(recording):
    console = Console(width=80, file=io.StringIO())
    show(inspect_recording(recording), console)
    text = console.file.getvalue()
    for words in ("completed after 4.000 s", "subject id: m7", "20.00 Hz", "61", "5.9 kB"):
        assert words in text


def test_a_killed_run_shows(tmp_path):
    create_collection(tmp_path / "run", collection_id=bytes(16), generator="mlink")
    summary = inspect_recording(tmp_path / "run")
    assert not summary.closed
    assert "not closed" in summary.failure_reason


def test_damage_is_reported_and_the_rest_is_shown(recording):
    tsync = recording / "video" / "video_timestamps.tsync"
    tsync.write_bytes(tsync.read_bytes()[:-3])
    (recording / "video" / "video.mkv").unlink()
    table = recording / "events" / "table" / "table.csv"
    table.write_text(table.read_text()[:-4])
    (recording / "unused" / "manifest.toml").write_text("type = [")
    summary = inspect_recording(recording)
    assert [dataset.name for dataset in summary.datasets] == ["events/table", "video"]
    events, video = summary.datasets
    assert any("video_timestamps.tsync is damaged" in problem for problem in video.problems)
    assert "video.mkv is missing" in video.problems
    assert events.problems == ["1 rows are there, 2 were written"]
    assert "damaged" in summary.problems[0]


def test_what_is_no_recording_is_refused(tmp_path, recording):
    with pytest.raises(StorageError, match="does not exist"):
        info(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="has no manifest"):
        info(tmp_path)
    with pytest.raises(StorageError, match="is a dataset of a recording") as caught:
        info(recording / "video")
    assert str(recording) in caught.value.remedy
    shutil.rmtree(recording)
