"""Recordings of versions that named datasets after the recorder: they open, by both names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mlink.recording
from mlink.cli import app
from mlink.errors import StorageError
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.recording.care.verify import verify_recording

ID = bytes.fromhex("01a22c5640727459a5dfb8f24778d8f8")
HEAD = """format_version = "1"
time_created = 2026-11-30 12:03:02+00:00
collection_id = "01a22c56-4072-7459-a5df-b8f24778d8f8"
"""
MANIFESTS = {
    "": 'type = "collection"\ngenerator = "mlink 0.1.0"\n',
    "events": 'type = "group"\n',
    "events/table": """type = "dataset"
[data]
media_type = "text/csv"
file_type = "csv"
parts = [{ fname = "table.csv" }]
""",
    "events/table-2": """type = "dataset"
[data]
media_type = "text/csv"
file_type = "csv"
parts = [{ fname = "table-2.csv" }]
""",
    "video": """type = "dataset"
[data]
media_type = "video/x-matroska"
file_type = "mkv"
parts = [{ fname = "video.mkv" }]
[[data_aux]]
file_type = "tsync"
parts = [{ fname = "video.tsync" }]
""",
}
TABLE = """has_header = true
source_module = "loop"
row_count = 2
items_lost = 0
[subscription]
module = "{module}"
port = "rows"
data_type = "TableRow"
[stream]
src_mod_name = "loop"
data_name_proposal = "events/table"
"""
ATTRIBUTES = {
    "": "success = true\nrecording_length_msec = 1000\n",
    "events/table": TABLE.format(module="events"),
    "events/table-2": TABLE.format(module="echo"),
    "video": """source_module = "cam"
frame_count = 3
items_lost = 0
[subscription]
module = "video"
port = "frames-in"
data_type = "Frame"
[stream]
src_mod_name = "cam"
framerate = 30.0
""",
}


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A recording as it was made until November 2026."""
    path = tmp_path / "before"
    for name, text in MANIFESTS.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        (path / name / "manifest.toml").write_text(HEAD + text)
    for name, text in ATTRIBUTES.items():
        (path / name / "attributes.toml").write_text(text)
    for name in ("events/table/table.csv", "events/table-2/table-2.csv"):
        (path / name).write_text("time_usec;what\n1;a\n2;b\n")
    pixels = np.zeros((96, 128, 3), np.uint8)
    files = path / "video/video.mkv", path / "video/video.tsync"
    with VideoWriter(*files, pixels, VideoOptions(), framerate=30, collection_id=ID,
                     generator="mlink 0.1.0") as writer:  # fmt: skip
        for number in range(3):
            writer.write(pixels, number * 33_333)
    return path


def test_it_is_whole_and_listed_like_a_new_one(before: Path) -> None:
    report = verify_recording(before)
    assert report.ok, report.findings
    shown = json.loads(CliRunner().invoke(app, ["info", str(before), "--json"]).stdout)
    assert [(each["name"], each["kind"], each["entries"], each["problems"])
            for each in shown["datasets"]] == [
        ("events/table", "table", 2, []), ("events/table-2", "table", 2, []),
        ("video", "video", 3, []),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["video", "videos/cam", "cam", ""])
def test_its_video_has_the_name_of_then_and_of_now(before: Path, name: str) -> None:
    with mlink.recording.open(before) as recording:
        assert recording.video(name).times_usec.tolist() == [0, 33_333, 66_666]


@pytest.mark.parametrize("name", ["events/table", "table", "events"])
def test_its_table_is_found(before: Path, name: str) -> None:
    with mlink.recording.open(before) as recording:
        assert recording.table(name).column("what").tolist() == ["a", "b"]
        assert recording.table("echo").name == "events/table-2"


def test_a_name_that_fits_two_is_refused(before: Path) -> None:
    with mlink.recording.open(before) as recording, pytest.raises(StorageError, match="no stream"):
        recording["loop"]
