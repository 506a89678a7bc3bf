"""`mlink verify` finds damaged and unfinished parts; `mlink repair` closes a crashed recording."""

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

import av
import pytest
import typer

from mlink.cli.recorded.repair import repair
from mlink.cli.recorded.verify import verify
from mlink.errors import StorageError
from mlink.modules.data.json_file import JsonFile
from mlink.modules.data.zarr_store import ZarrStore
from mlink.recording import json_rows
from mlink.recording import open as open_recording
from mlink.recording.care import data_repair
from mlink.recording.care.repair import repair_recording
from mlink.recording.care.verify import verify_recording
from mlink.recording.video_file import remux
from mlink.storage import dataset
from mlink.storage.edl import create_collection, open_group
from mlink.storage.inspect import inspect_recording
from mlink.storage.tsync.layout import Generation
from mlink.storage.tsync.reader import read_tsync
from mlink.storage.tsync.repair import repair_tsync
from mlink.storage.tsync.writer import TsyncWriter
from tests.support.recorded.recordings import (
    FRAMES,
    RUN_ID,
    LiveRecording,
    closed_recording,
    time_of,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return closed_recording(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def recording(whole, tmp_path):
    """A copy of a whole recording, to do damage to."""
    return shutil.copytree(whole, tmp_path / "recording")


@pytest.fixture
def killed(tmp_path):
    """What a kill in the middle of a run leaves."""
    live = LiveRecording(tmp_path / "live").feed(70)
    live.modules[1]._file.flush()
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    live.close()
    return path


def levels(report):
    return {finding.level for finding in report.findings}


def texts(report, level=None):
    return "\n".join(
        f"{finding.dataset}: {finding.text}"
        for finding in report.findings
        if level in (None, finding.level)
    )


def digests(path):
    return {
        file.relative_to(path): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def toml(path):
    return tomllib.loads(path.read_text())


def test_a_whole_recording_is_whole(whole):
    report = verify_recording(whole, decode=True)
    assert report.ok, texts(report)
    assert report.findings == []
    found = {dataset.name: (dataset.kind, dataset.items, dataset.times)
             for dataset in report.datasets}  # fmt: skip
    assert found == {"events/table": ("table", FRAMES, None), "video": ("video", FRAMES, FRAMES)}


def test_hints_of_the_run_are_repeated_without_their_escapes_and_do_not_fail_it(recording, capsys):
    path = recording / "attributes.toml"
    hints = 'hints = ["board: 7 readings in doubt", "a\\u001b[2J", 5]'
    path.write_text(f"{hints}\n" + re.sub(r"(?ms)^hints = \[.*?\]$", "", path.read_text()))
    report = verify_recording(recording)
    assert report.ok
    assert report.hints == ["board: 7 readings in doubt", "a\\x1b[2J", "5"]
    verify(recording)
    assert "hint of the run: board: 7 readings in doubt" in capsys.readouterr().out


def test_repair_has_nothing_to_do_on_a_whole_recording(recording):
    before = digests(recording)
    report = repair_recording(recording)
    assert report.ok
    assert report.done == []
    assert digests(recording) == before


@pytest.mark.parametrize(
    ("damage", "level", "text"),
    [
        (lambda r: (r / "video/video.mkv").unlink(), "damage", "video.mkv is missing"),
        (
            lambda r: (r / "video/video_timestamps.tsync").unlink(),
            "damage",
            "1 video file(s), but 0 tsync",
        ),
        (
            lambda r: flip(r / "video/video_timestamps.tsync", 400),
            "unfinished",
            "checksum of block 1",
        ),
        (lambda r: cut(r / "video/video_timestamps.tsync", 3), "unfinished", "is torn"),
        (lambda r: cut(r / "events/table/table.csv", 3), "unfinished", "ends within a row"),
        (
            lambda r: retime(r / "video/video_timestamps.tsync"),
            "damage",
            "earlier than the one before",
        ),
        (
            lambda r: shorten(r / "video/video_timestamps.tsync", 80),
            "damage",
            "90 frames, but only 80 times",
        ),
        (lambda r: set_attribute(r / "video", "frame_count", 91), "damage", "91 were written"),
        (
            lambda r: set_attribute(r / "video", "items_lost", 2),
            "incomplete",
            "2 item(s) did not reach the recorder",
        ),
        (
            lambda r: (r / "video/x.bin").write_text(""),
            "unfinished",
            "x.bin is not listed in the manifest",
        ),
        (lambda r: (r / "video/manifest.toml").write_text("a = ["), "unfinished", "damaged"),
        (lambda r: (r / "stray").mkdir(), "unfinished", "has no manifest"),
        (lambda r: rename_collection(r / "video"), "damage", "belongs to another recording"),
        (
            lambda r: edit(r / "video", 'pixels = "bgr8"', 'pixels = "gray8"'),
            "damage",
            "video.mkv has 3 channel(s) of 8 bits, but the attribute pixels is 'gray8'",
        ),
        (
            lambda r: edit(r / "video", 'pixels = "bgr8"', 'pixels = "bgr16"'),
            "damage",
            "but the attribute pixels is 'bgr16'",
        ),
        (
            lambda r: edit(r / "video", 'pixels = "bgr8"', 'pixels = "rgb24"'),
            "damage",
            "the attribute pixels is 'rgb24', which no recorder writes",
        ),
        (
            lambda r: edit(r / "video", "frame_width = 64", "frame_width = 65"),
            "damage",
            "video.mkv has pictures of 64×48 px, not of 65×48",
        ),
        (
            lambda r: edit(r / "video", 'codec = "ffvhuff"', 'codec = "h264"'),
            "damage",
            "video.mkv is encoded with ffvhuff, not with h264",
        ),
    ],
)
def test_each_damage_is_found(recording, damage, level, text):
    damage(recording)
    report = verify_recording(recording)
    assert text in texts(report, level), texts(report)
    assert report.ok is (level == "note")


def edit(dataset, old, new):
    path = dataset / "attributes.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_videos_that_were_swapped_are_of_another_dataset_camera_or_recording(whole, tmp_path):
    recording = shutil.copytree(whole, tmp_path / "recording")
    shutil.copytree(recording / "video", recording / "other")
    assert "video.mkv is 'video via cam', of the dataset beside its own" in texts(
        verify_recording(recording), "damage"
    )
    shutil.rmtree(recording / "other")
    edit(recording / "video", 'src_mod_name = "cam"', 'src_mod_name = "side"')
    assert "is 'video via cam', but its dataset has the frames of side" in texts(
        verify_recording(recording), "damage"
    )
    edit(recording / "video", 'src_mod_name = "side"', 'src_mod_name = "cam"')
    video = recording / "video" / "video.mkv"
    video.write_bytes(video.read_bytes().replace(RUN_ID.hex().encode(), b"f" * 32))
    assert f"video.mkv is of another recording ({'f' * 32})" in texts(
        verify_recording(recording), "damage"
    )


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("manifest.toml", "[[data", "[[other"),
        ("manifest.toml", 'fname = "', 'fname = 1 # "'),
        ("attributes.toml", "frame_count = 90", 'frame_count = "x"'),
        ("attributes.toml", "frame_count = 90", 'frame_count = 90\nframes_skipped = "x"'),
    ],
)
def test_a_value_of_another_type_is_no_traceback(recording, file, old, new):
    path = recording / "video" / file
    path.write_text(path.read_text().replace(old, new))
    verify_recording(recording)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def make_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (make_pipe, "is a named pipe, not a file"),
        (make_device, "is a link, not a file"),
        (make_loop, "is a link, not a file"),
        (make_folder, "is a folder, not a file"),
    ],
)
@pytest.mark.parametrize(
    "name", ["video/video.mkv", "video/video_timestamps.tsync", "events/table/table.csv"]
)
def test_nothing_opens_what_is_no_file(recording, make, what, name):
    make(recording / name)
    text = f"{Path(name).name} {what}"
    stream = name.rpartition("/")[0]
    assert text in texts(verify_recording(recording), "damage")
    assert text in str(inspect_recording(recording).datasets)
    with open_recording(recording) as opened, pytest.raises(StorageError, match=what):
        opened[stream]
    report = repair_recording(recording)
    assert not report.ok
    assert any(text in failed for failed in map(str, report.failed)), report.failed


@pytest.mark.parametrize("name", ["manifest.toml", "attributes.toml"])
def test_a_pipe_in_place_of_a_manifest_is_damage(recording, name):
    make_pipe(recording / "video" / name)
    report = verify_recording(recording)
    assert not report.ok
    assert name.partition(".")[0] in texts(report)


def test_a_stray_pipe_is_not_registered(recording):
    os.mkfifo(recording / "video" / "video_2.mkv")
    report = repair_recording(recording)
    assert "video_2.mkv is not listed" in texts(report.after, "unfinished")


def test_a_name_outside_of_the_folder_is_damage(recording):
    manifest = recording / "events/table/manifest.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace('"table.csv"', '"../../../other.csv"'))
    other = recording.parent / "other.csv"
    other.write_text("a;b")
    assert "not the name of a file in the folder" in texts(verify_recording(recording), "damage")
    assert not repair_recording(recording).ok
    assert other.read_text() == "a;b"


def test_zero_bytes_in_a_table_are_damage(recording):
    table = recording / "events/table/table.csv"
    data = table.read_bytes()
    at = data.index(b"\n", 40) - 2
    table.write_bytes(data[:at] + b"\0\0" + data[at + 2 :])
    assert "zero bytes" in texts(verify_recording(recording), "damage")


WRONG_QUOTES = [
    ("a wrong quote within a cell", lambda row: row[:3] + b'"' + row[3:]),
    ("a wrong quote before a cell", lambda row: b'"' + row),
    ("a wrong quote after a cell", lambda row: row[:-1] + b'"\n'),
    ("two wrong quotes", lambda row: row[:2] + b'"' + row[2:5] + b'"' + row[5:]),
    ("a carriage return", lambda row: row[:3] + b"\r" + row[4:]),
    ("no UTF-8", lambda row: row[:3] + b"\xff" + row[4:]),
    ("zero bytes", lambda row: row[:3] + b"\0\0" + row[5:]),
]


@pytest.mark.parametrize("damage", [e for _, e in WRONG_QUOTES], ids=[e for e, _ in WRONG_QUOTES])
@pytest.mark.parametrize("at", [1, 40, FRAMES])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("closed", [True, False])
def test_damage_within_a_table_is_named_by_its_row_and_nothing_is_cut(
    recording, damage, at, quoted, closed
):
    rows = [b"time_usec;what\n", *(b"%d;abcdefgh\n" % time for time in range(100, 100 + FRAMES))]
    if quoted:  # a text with a separator and quotes, before and behind the damage
        rows[2] = rows[70] = b'170;"a ""b"";\nc"\n'
    rows[at] = damage(rows[at])
    table = recording / "events/table/table.csv"
    table.write_bytes(b"".join(rows))
    if not closed:
        if at == FRAMES and rows[at].count(b'"') == 1 and rows[at].startswith(b'"'):
            return  # it is as if the row had no end
        remove_attribute(recording / "events/table", "row_count")
    line = at + 1 + (quoted and at > 2) + (quoted and at > 70)
    report = verify_recording(recording)
    assert f"row {at} (line {line}) " in texts(report, "damage")
    assert "torn" not in texts(report)
    assert "within a row" not in texts(report)
    (found,) = (each for each in report.datasets if each.kind == "table")
    assert found.items == FRAMES
    (summary,) = (d for d in inspect_recording(recording).datasets if d.kind == "table")
    assert (summary.entries, f"row {at} " in str(summary.problems)) == (FRAMES, True)
    with pytest.raises(StorageError, match=f"row {at} "), open_recording(recording) as opened:
        _ = opened["events/table"].rows
    before = table.read_bytes()
    repaired = repair_recording(recording)
    assert not repaired.ok
    assert f"row {at} " in str(repaired.failed)
    assert table.read_bytes() == before


@pytest.mark.parametrize("end", [b"17", b'17;"a', b'17;"a ""b"";\nand', b'17;"a";', b'17;"a""'])
def test_an_unfinished_last_row_is_torn_and_the_rows_before_stay(recording, end):
    table = recording / "events/table/table.csv"
    whole = table.read_bytes()
    table.write_bytes(whole + end)
    remove_attribute(recording / "events/table", "row_count")
    assert f"ends within a row, after {len(end)} bytes" in texts(verify_recording(recording))
    with open_recording(recording) as opened:
        assert len(opened["events/table"].rows) == FRAMES
    assert repair_recording(recording).ok
    assert table.read_bytes() == whole


def test_many_damaged_rows_are_counted(recording):
    table = recording / "events/table/table.csv"
    table.write_bytes(b"time_usec;what\n" + b'1;"a"b\n' * FRAMES)
    text = texts(verify_recording(recording), "damage")
    assert f"and {FRAMES - 5} more rows are damaged" in text
    assert text.count("(line ") == 5


def test_times_that_go_back_in_a_table_are_noted(recording):
    table = recording / "events/table/table.csv"
    times = [*range(9), 0, *range(10, FRAMES)]
    table.write_text("n;time_usec\n" + "".join(f"x;{time}\n" for time in times))
    report = verify_recording(recording)
    assert report.ok
    assert "1 time(s) are earlier than the one before, the first in row 10" in texts(report, "note")


LARGER = {
    "video/video.mkv": "video.mkv goes on for 5 bytes after its end",
    "video/video_timestamps.tsync": "video_timestamps.tsync is torn: it ends within block 1",
    "events/table/table.csv": "has no end, behind the last row that was written",
}


@pytest.mark.parametrize("name", LARGER)
def test_a_file_larger_than_it_states_is_found(recording, name):
    path = recording / name
    path.write_bytes(path.read_bytes() + b"12345")
    assert LARGER[name] in texts(verify_recording(recording))


def test_a_closed_video_that_was_cut_is_closed_again(recording):
    video = recording / "video/video.mkv"
    cut(video, 20)  # its index
    assert "video.mkv was not closed" in texts(verify_recording(recording), "unfinished")
    report = repair_recording(recording)
    assert report.ok, (report.failed, texts(report.after))


def json_dataset(path, rows, *, closed):
    root = create_collection(path, collection_id=bytes(16), generator="test")
    dataset = root.create_dataset("signals")
    file = JsonFile(dataset.set_data_file("data.json.zst"), {}, ["timestamp", "text"])
    for row in rows:
        file.write_rows([row])
        file.flush()
    file.close()
    if closed:
        dataset.set_attribute("row_count", len(rows))
    dataset.save()
    return dataset.path / "data.json.zst"


JSON_ROWS = [[time, f"a ],[ {time}]" + '"' * (time % 3)] for time in range(0, 4000, 10)]


@pytest.mark.parametrize("closed", [True, False])
def test_damage_within_json_is_named_and_nothing_is_cut(tmp_path, closed):
    path = json_dataset(tmp_path / "rec", JSON_ROWS, closed=closed)
    path = plain(path, lambda text: text.replace("[50,", "[5x,"))
    check_that_nothing_is_cut(tmp_path / "rec", path, "is damaged in row 6")


def test_damage_within_compressed_json_that_was_closed_is_damage(tmp_path):
    path = json_dataset(tmp_path / "rec", JSON_ROWS, closed=True)
    flip(path, path.stat().st_size // 2)
    check_that_nothing_is_cut(tmp_path / "rec", path, "data.json.zst ")


def check_that_nothing_is_cut(recording, path, text):
    before = path.read_bytes()
    assert text in texts(verify_recording(recording), "damage")
    report = repair_recording(recording)
    assert not report.ok
    assert "nothing was changed" in str(report.failed)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [True, False])
def test_torn_json_keeps_each_complete_row(tmp_path, share, compressed):
    path = json_dataset(tmp_path / "rec", JSON_ROWS, closed=False)
    if not compressed:
        path = plain(path, str)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert verify_recording(tmp_path / "rec").of_level("damage") == []
    assert repair_recording(tmp_path / "rec").ok
    with open_recording(tmp_path / "rec") as opened:
        count = len(opened["signals"])
    assert share * len(JSON_ROWS) - 9 < count < len(JSON_ROWS)


def test_repair_of_torn_json_keeps_its_text_and_has_little_of_it_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "_PIECE", 1 << 12)
    monkeypatch.setattr(json_rows, "_LONGEST", 1 << 18)  # bytes that are held at most
    path = json_dataset(tmp_path / "rec", [[0, ""]], closed=False)
    path = plain(path, str)
    text = path.read_text().removesuffix("]}")
    row = ",\n[1,[1.50,[[2],[3],[4],[5],[6],[7],[8],[9],[10]]]]"
    path.write_text(text + 20_000 * row + row[:12])
    assert repair_recording(tmp_path / "rec").ok
    assert path.read_text() == text + 20_000 * row + "]}"


def test_json_with_bytes_behind_its_end_or_times_that_go_back_is_found(tmp_path):
    path = json_dataset(tmp_path / "rec", [*JSON_ROWS, [7, ""]], closed=True)
    text = f"1 time(s) are earlier than the one before, the first in row {len(JSON_ROWS) + 1}"
    assert text in texts(verify_recording(tmp_path / "rec"), "note")
    path.write_bytes(path.read_bytes() + b"12345")
    assert "goes on for 5 bytes" in texts(verify_recording(tmp_path / "rec"), "damage")


def plain(path, change):
    """Put an uncompressed file in the place of a compressed one."""
    import zstandard

    text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).decode()
    target = path.with_name("data.json")
    target.write_text(change(text))
    path.unlink()
    manifest = path.with_name("manifest.toml")
    manifest.write_text(manifest.read_text().replace("data.json.zst", "data.json"))
    return target


def test_a_damaged_block_within_a_tsync_file_is_damage_and_the_blocks_behind_stay(recording):
    path = recording / "video/video_timestamps.tsync"
    times = read_tsync(path).times.tolist()
    collection = read_tsync(path).header.collection_id.bytes
    path.unlink()
    with TsyncWriter(path, collection_id=collection, block_size=16) as writer:
        for first, second in times:
            writer.append(first, second)
    flip(path, path.stat().st_size // 2)
    before = path.read_bytes()
    text = texts(verify_recording(recording), "damage")
    assert "the checksum of block 3 is wrong; 32 pairs before and 42 behind are intact" in text
    report = repair_recording(recording)
    assert len(report.failed) == 1
    assert "nothing was changed" in report.failed[0]
    assert path.read_bytes() == before


def test_a_store_longer_than_it_was_closed_with_is_damage(tmp_path):
    root = create_collection(tmp_path / "rec", collection_id=bytes(16), generator="test")
    dataset = root.create_dataset("signals")
    make_new_file(dataset.set_data_file("data.zarr"))
    import zarr

    group = zarr.open_group(str(dataset.path / "data.zarr"), mode="r+")
    group.attrs["sample_count"] = 2
    for each in ("data", "timestamps"):
        group[each].resize((3, *group[each].shape[1:]))
    dataset.set_attribute("sample_count", 2)
    dataset.save()
    assert "2 samples are complete, but" in texts(verify_recording(root.path), "damage")
    repair_recording(root.path)
    assert group["data"].shape[0] == 3


def test_damage_inside_a_picture_is_found_by_decoding(recording):
    video = recording / "video" / "video.mkv"
    flip(video, video.stat().st_size // 2)
    assert verify_recording(recording).ok
    report = verify_recording(recording, decode=True)
    assert "differ from their checksum" in texts(report, "damage")


def test_what_is_no_recording_is_refused(tmp_path, recording):
    for call in (verify_recording, repair_recording):
        with pytest.raises(StorageError, match="does not exist"):
            call(tmp_path / "nowhere")
        with pytest.raises(StorageError, match="is a dataset of a recording"):
            call(recording / "video")


def test_a_killed_run_is_finished(killed):
    before = verify_recording(killed)
    assert levels(before) == {"unfinished"}, texts(before)
    assert "video.mkv was not closed" in texts(before)
    report = repair_recording(killed)
    assert report.ok, (report.failed, texts(report.after))
    attributes = toml(killed / "attributes.toml")
    assert attributes["success"] is False
    assert "killed" in attributes["failure_reason"]
    assert attributes["subject_id"] == "m7"
    assert 0 < attributes["recording_length_msec"] < 2_500
    assert (killed / "repair.log").read_text().count("\n") >= len(report.done)
    assert repair_recording(killed).done == []


def test_a_repaired_video_has_every_picture_that_was_on_disk_its_time_length_and_index(killed):
    before = packets(killed / "video" / "video.mkv")
    assert len(before) > 30
    repair_recording(killed)
    video, tsync = killed / "video" / "video.mkv", killed / "video" / "video_timestamps.tsync"
    assert packets(video) == before
    times = read_tsync(tsync).times
    assert times.tolist() == [[i, time_of(i)] for i in range(len(before))]
    attributes = toml(killed / "video" / "attributes.toml")
    assert attributes["frame_count"] == len(before)
    cut_off = attributes.get("times_without_picture_usec", [])
    assert cut_off == [time_of(i) for i in range(len(before), len(before) + len(cut_off))]
    with av.open(str(video)) as container:
        assert container.duration / 1e6 == pytest.approx(times[-1, 1] / 1e6, abs=0.1)
        container.seek(1_000_000, backward=True)
        frame = next(container.decode(video=0))
        assert frame.pts <= 1_000


def packets(path):
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("share", [0.15, 0.4, 0.66, 0.9, 0.999])
def test_files_cut_anywhere_are_finished_up_to_the_cut(recording, share):
    """A power cut, a pulled disk: every file ends at some byte, in the middle of anything."""
    for name in ("video/video.mkv", "video/video_timestamps.tsync", "events/table/table.csv"):
        file = recording / name
        size = max(300, int(file.stat().st_size * share))
        cut(file, file.stat().st_size - size)
    rows_before = (recording / "events/table/table.csv").read_bytes()
    report = repair_recording(recording)
    assert not report.failed
    frames = report.after.datasets[1].items
    times = read_tsync(recording / "video/video_timestamps.tsync").times.tolist()
    assert times == [[i, time_of(i)] for i in range(len(times))]
    assert frames > FRAMES * share - 15
    rows_after = (recording / "events/table/table.csv").read_bytes()
    assert rows_before.startswith(rows_after)
    with (recording / "events/table/table.csv").open(newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert all(len(row) == 2 for row in rows)
    assert len(rows) > FRAMES * share - 5


@pytest.mark.parametrize("generation", Generation)
def test_a_tsync_file_cut_at_any_byte_is_mended(tmp_path, generation):
    path = tmp_path / "a.tsync"
    with TsyncWriter(path, collection_id=bytes(16), block_size=8, generation=generation) as writer:
        for i in range(20):
            writer.append(i, 10 * i)
        head = len(writer.header.encode())
    data = path.read_bytes()
    for size in range(head, len(data)):
        path.write_bytes(data[:size])
        repair_tsync(path)
        found = read_tsync(path)
        assert found.times.tolist() == [[i, 10 * i] for i in range(len(found.times))]
        blocks, rest = divmod(size - head, 8 * 12 + 16)
        in_last_block = min(rest // 12, 8 if blocks < 2 else 4)  # a terminator is no pair
        assert len(found.times) == 8 * blocks + in_last_block
        assert repair_tsync(path) == ""


def test_a_lost_manifest_is_made_again_from_the_files(recording):
    (recording / "video" / "manifest.toml").unlink()
    report = repair_recording(recording)
    assert report.ok, (report.failed, texts(report.after))
    manifest = toml(recording / "video" / "manifest.toml")
    assert manifest["data"]["parts"] == [{"fname": "video.mkv"}]
    assert manifest["data_aux"][0]["parts"] == [{"fname": "video_timestamps.tsync"}]
    assert manifest["collection_id"] == toml(recording / "manifest.toml")["collection_id"]


def test_a_recording_that_is_still_written_to_is_left_alone(recording):
    program = "import sys; f = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(recording / "run.log")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as writer:  # fmt: skip
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(StorageError, match=f"process {writer.pid} .* still writes"):
            repair_recording(recording)
        writer.stdin.close()


def test_a_video_without_any_picture_is_left_out(tmp_path):
    live = LiveRecording(tmp_path / "live").feed(3)
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    live.close()
    (path / "video" / "video.mkv").write_bytes(b"")
    report = repair_recording(path)
    assert report.ok, (report.failed, texts(report.after))
    attributes = toml(path / "video" / "attributes.toml")
    assert attributes["frame_count"] == 0
    assert attributes["times_without_picture_usec"] == [time_of(i) for i in range(3)]
    assert "data" not in toml(path / "video" / "manifest.toml")


def test_times_without_pictures_that_are_very_many_stay_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(data_repair, "_KEPT_TIMES", 10)
    path = LiveRecording(tmp_path).feed(3).close()
    tsync = path / "video" / "video_timestamps.tsync"
    tsync.unlink()
    with TsyncWriter(tsync, collection_id=RUN_ID) as writer:
        for at in range(20):
            writer.append(at, time_of(at))
    before = tsync.read_bytes()
    report = repair_recording(path)
    assert report.ok, (report.failed, texts(report.after))
    assert any("cut off 17 time(s) without a picture; all are kept in" in x for x in report.done)
    assert (path / "video" / f"{tsync.name}.damaged").read_bytes() == before
    assert "times_without_picture_usec" not in toml(path / "video" / "attributes.toml")
    assert repair_recording(path).done == []


@pytest.mark.parametrize(("container", "codec"),
                         [("matroska", "ffv1"), ("mp4", "h264"), ("avi", "ffv1")])  # fmt: skip
@pytest.mark.parametrize("size", [0, 200, 600, 1000, 2000, 4096, 8192])
def test_a_video_that_ends_within_its_first_pictures_is_finished_or_left_out(
    tmp_path, container, codec, size
):
    """As a full disk leaves it: at the end of a block of the disk."""
    live = LiveRecording(tmp_path / "live", video_container=container, video_codec=codec).feed(60)
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    live.close()
    (video,) = (file for file in (path / "video").iterdir() if file.stem == "video"
                and file.suffix != ".tsync")  # fmt: skip
    video.write_bytes(video.read_bytes()[:size])
    report = repair_recording(path)
    assert report.ok, (report.failed, texts(report.after))
    assert not list(path.rglob(".*"))
    attributes = toml(path / "video" / "attributes.toml")
    frames = attributes["frame_count"]
    assert ("data" in toml(path / "video" / "manifest.toml")) is bool(frames)
    times = attributes["times_without_picture_usec"]
    assert times == [time_of(i) for i in range(frames, frames + len(times))]
    assert repair_recording(path).done == []


def test_a_video_without_a_picture_cannot_be_copied_and_stays(tmp_path):
    live = LiveRecording(tmp_path / "live").feed(60)
    path = live.as_a_kill_leaves_it(tmp_path / "killed") / "video" / "video.mkv"
    live.close()
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(StorageError, match="cannot be closed"):
        remux(path, tmp_path / "draft.mkv")
    assert (path.stat().st_size, (tmp_path / "draft.mkv").exists()) == (4096, False)


def test_a_video_is_closed_though_its_times_cannot_be_read(killed):
    (killed / "video" / "video_timestamps.tsync").write_bytes(bytes(300))
    report = repair_recording(killed)
    assert len(report.failed) == 1
    assert "video_timestamps.tsync cannot be read as a tsync file" in report.failed[0]
    assert "video.mkv was not closed" not in texts(report.after)


@pytest.mark.parametrize("content", ["", '{"zarr_format": 3', "{}", "[]", '{"zarr_format": 9}'])
@pytest.mark.parametrize("part", ["zarr.json", "data/zarr.json"])
def test_a_store_that_cannot_be_opened_is_reported_and_the_others_are_repaired(
    killed, part, content
):
    root = toml(killed / "manifest.toml")
    store = open_group(killed, uuid.UUID(root["collection_id"]).bytes).create_dataset("signals")
    make_new_file(store.set_data_file("data.zarr"))
    (store.path / "data.zarr" / "data" / "c").mkdir()  # samples were written
    (store.path / "data.zarr" / "data" / "c" / "0").write_bytes(b"x")
    store.save()
    (store.path / "data.zarr" / part).write_text(content)
    report = repair_recording(killed)
    assert all("data.zarr cannot be opened" in text for text in report.failed), report.failed
    assert {finding.dataset for finding in report.after.of_level("damage")} <= {"signals"}
    assert verify_recording(killed, decode=True).closed


class BeforeIt(Exception):
    """Ends a recorder before its next write of a manifest, as a kill does."""


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("slices", [False, True])
def test_a_video_is_finished_whatever_was_entered_when_the_kill_came(
    tmp_path, monkeypatch, writes, slices
):
    """A new file, its times and the entries of both in the manifest come one after the other."""
    options = {"slices_enabled": True, "slices_interval": 0.01} if slices else {}
    live = LiveRecording(tmp_path / "live", **options).feed(3 if slices else 0)
    real, left = dataset.write_toml, iter(range(writes))

    def write_toml(path, content):
        if path.parent.name == "video" and next(left, None) is None:
            raise BeforeIt
        real(path, content)

    monkeypatch.setattr(dataset, "write_toml", write_toml)
    with contextlib.suppress(BeforeIt):
        live.feed(40)
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    monkeypatch.undo()
    live.close()
    assert verify_recording(path).of_level("damage") == []
    report = repair_recording(path)
    assert report.ok, (report.failed, texts(report.after))
    assert verify_recording(path, decode=True).intact
    assert repair_recording(path).done == []


def test_a_missing_tsync_file_is_damage_though_another_file_is_there(recording):
    (recording / "video" / "video_timestamps.tsync").unlink()
    (recording / "video" / "notes.txt").write_text("mine")
    assert "1 video file(s), but 0 tsync file(s)" in texts(verify_recording(recording), "damage")


BEGINNINGS = {
    "data.zarr": [
        {},
        {"zarr.json": 1},
        {"zarr.json": 1, "timestamps/zarr.json": 1},
        {"zarr.json": 1, "timestamps/zarr.json": 1, "data/zarr.json": 1},
        {"zarr.0815.partial": 1},
    ],
    "data.json": [{"": 0}, {"": 7}, {"": 20}],
    "data.json.zst": [{"": 0}, {"": 1}, {"": 9}],
    "data.csv": [{"": 0}, {"": 3}],
    "data.tsync": [{"": 0}],
}
"""What is there of a recorder's file while it is created: its parts, all of it or so many bytes."""


@pytest.mark.parametrize("entered", [False, True], ids=["not in the manifest", "in the manifest"])
@pytest.mark.parametrize(
    ("name", "parts"), [(name, parts) for name, each in BEGINNINGS.items() for parts in each]
)
def test_a_file_that_was_killed_while_it_was_created_is_finished(tmp_path, name, parts, entered):
    root = create_collection(tmp_path / "rec", collection_id=bytes(16), generator="test")
    dataset = root.create_dataset("signals")
    whole = tmp_path / name
    make_new_file(whole)
    target = dataset.path_for_basename(name)
    for part, size in parts.items():
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        source = whole / part
        content = source.read_bytes() if source.is_file() else b""
        (target / part if part else target).write_bytes(
            content if whole.is_dir() else content[:size]
        )
    if not parts:
        target.mkdir()
    if entered and (parts and list(parts.values()) != [0]):
        dataset.set_data_file(name)
    assert verify_recording(root.path).of_level("damage") == []
    report = repair_recording(root.path)
    assert report.ok, (report.failed, texts(report.after))
    assert verify_recording(root.path, decode=True).intact
    assert repair_recording(root.path).done == []


def make_new_file(path):
    """Create a file as its recorder does, without a row."""
    match path.name.partition(".")[2]:
        case "zarr":
            ZarrStore(
                path, dtype="float32", columns=1, chunk_rows=1000, dimension="time",
                time_attributes={}, data_attributes={"signal_names": ["a"]},
            ).close()  # fmt: skip
        case "json":
            path.write_text('{"columns":["timestamp","a"],"data":[]}')
        case "json.zst":
            JsonFile(path, {}, ["timestamp", "a"]).close()
        case "csv":
            path.write_text("a;b\n")
        case "tsync":
            TsyncWriter(path, collection_id=bytes(16)).close()


def test_verify_as_a_command(recording, capsys):
    verify(recording)
    assert "complete and intact" in capsys.readouterr().out
    cut(recording / "video/video_timestamps.tsync", 3)
    with pytest.raises(typer.Exit) as ended:
        verify(recording, json=True)
    assert ended.value.exit_code == 1
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is False
    assert data["findings"][0]["level"] == "unfinished"
    with pytest.raises(typer.Exit):
        verify(recording)
    assert "mlink repair" in capsys.readouterr().out
    repair(recording)
    out = capsys.readouterr().out
    assert "done: video: video_timestamps.tsync" in out
    assert "complete and intact" in out


@pytest.mark.parametrize(
    ("sent", "received", "lost", "not_taken", "text"),
    [
        (FRAMES + 5, FRAMES, 5, 0, "5 of 95 item(s) that were sent to it are missing: "
         "3 lost before cam.video could send them, 2 lost on the way"),
        (FRAMES + 9, FRAMES, 5, 4, "9 of 99 item(s) that were sent to it are missing: "
         "3 lost before cam.video could send them, 2 lost on the way, 4 not taken by the recorder"),
        (FRAMES + 9, FRAMES + 9, 0, 0, "9 of 99 item(s) that were sent to it are missing: "
         "9 received, but not in its files"),
        # a recorder that was killed has written more than it has reported
        (FRAMES + 2, FRAMES - 8, 0, 10, "2 of 92 item(s) that were sent to it are missing: "
         "2 not taken by the recorder"),
        (FRAMES, FRAMES - 8, 0, 8, ""),
    ],
)  # fmt: skip
def test_a_dataset_is_complete_only_by_the_account(
    recording, capsys, sent, received, lost, not_taken, text
):
    video = {"module": "video", "port": "frames-in", "received": received, "lost": lost,
             "not_taken": not_taken}  # fmt: skip
    _, events = toml(recording / "attributes.toml")["streams"]
    streams = [{"name": "cam.video", "sent": sent, "lost_at_source": min(lost, 3),
                "subscriptions": [video]}, events]  # fmt: skip
    set_attribute(recording, "streams", streams)
    report = verify_recording(recording)
    assert report.intact
    assert report.ok is (not text)
    assert texts(report, "incomplete") == (f"video: {text}" if text else "")
    if text:
        with pytest.raises(typer.Exit) as ended:
            verify(recording)
        assert ended.value.exit_code == 1
        assert "intact, but not complete" in capsys.readouterr().out


def test_without_an_account_a_recording_is_not_called_complete(recording, capsys):
    set_attribute(recording, "streams", [])
    report = verify_recording(recording)
    assert (report.ok, report.account) == (True, False)
    assert "the run's account is missing" in texts(report, "note")
    verify(recording)
    assert "complete and intact" not in capsys.readouterr().out


def test_a_recording_with_nothing_in_it_is_not_called_complete(tmp_path, capsys):
    path = tmp_path / "rec"
    create_collection(path, collection_id=bytes(16), generator="test")
    repair(path)
    report = verify_recording(path)
    assert (report.ok, report.account, report.closed) == (True, False, True)
    assert "it contains no data" in texts(report, "note")
    verify(path)
    assert "complete and intact" not in capsys.readouterr().out


@pytest.mark.parametrize("gone", ["events", "events/table", "video"])
def test_without_the_folder_of_a_dataset_a_recording_is_not_complete(recording, gone):
    set_attribute(recording, "datasets", ["events/table", "video"])
    assert verify_recording(recording).ok
    shutil.rmtree(recording / gone)
    report = verify_recording(recording)
    name = "video" if gone == "video" else "events/table"
    assert (report.ok, report.intact) == (False, True)
    assert texts(report, "incomplete") == f"{name}: the dataset's folder is not there"


def test_damaged_attributes_of_the_recording_are_damage_and_are_not_written_over(recording):
    (recording / "attributes.toml").write_text("a = [")
    report = verify_recording(recording)
    assert "attributes.toml is damaged" in texts(report, "damage")
    assert len(report.datasets) == 2
    assert "attributes.toml is damaged" in repair_recording(recording).failed[0]
    assert (recording / "attributes.toml").read_text() == "a = ["


def test_a_table_may_have_long_cells(recording):
    table = recording / "events" / "table" / "table.csv"
    with table.open("a") as file:
        file.write(f'5;"{"x" * 900_000}"\n')
    usual = csv.field_size_limit()
    assert f"{FRAMES + 1} rows are there" in texts(verify_recording(recording), "damage")
    assert inspect_recording(recording).datasets[0].entries == FRAMES + 1
    assert len(open_recording(recording)["events/table"]) == FRAMES + 1
    assert csv.field_size_limit() == usual


def test_repair_takes_the_losses_of_a_killed_recorder_from_the_account(tmp_path):
    live = LiveRecording(tmp_path / "live").feed(30)
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    set_attribute(path, "streams", live.account(video=7))
    live.close()
    report = repair_recording(path)
    assert report.ok, (report.failed, texts(report.after))
    assert not report.after.ok
    assert toml(path / "video" / "attributes.toml")["items_lost"] == 7


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def cut(path, count):
    path.write_bytes(path.read_bytes()[: path.stat().st_size - count])


def shorten(path, pairs):
    from mlink.storage.tsync.repair import cut_tsync

    cut_tsync(path, pairs, most=100, kept_as="unused")


def retime(path):
    times = read_tsync(path).times
    header = read_tsync(path).header
    times[40, 1] = 5
    path.unlink()
    with TsyncWriter(path, collection_id=header.collection_id.bytes) as writer:
        for first, second in times.tolist():
            writer.append(first, second)


def set_attribute(folder, key, value):
    from mlink.storage.manifest import read_toml, write_toml

    write_toml(folder / "attributes.toml", read_toml(folder / "attributes.toml") | {key: value})


def remove_attribute(folder, key):
    from mlink.storage.manifest import read_toml, write_toml

    known = read_toml(folder / "attributes.toml")
    write_toml(folder / "attributes.toml", {k: v for k, v in known.items() if k != key})


def rename_collection(folder):
    text = (folder / "manifest.toml").read_text()
    (folder / "manifest.toml").write_text(text.replace("00010203", "99999999"))


def test_a_disk_that_reports_errors_ends_the_recorder_and_what_was_there_stays(
    tmp_path, monkeypatch
):
    live = LiveRecording(tmp_path / "live").feed(60)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("mlink.storage.tsync.writer.os.pwrite", broken)
    monkeypatch.setattr("mlink.storage.tsync.writer.os.ftruncate", broken)
    with pytest.raises(StorageError, match="Input/output error") as caught:
        live.feed(60)
    assert "check its cable" in caught.value.remedy
    monkeypatch.undo()
    for module in live.modules:
        module.close()
    report = repair_recording(live.path)
    assert report.ok, (report.failed, texts(report.after))
    assert report.after.datasets[1].items >= 55


def a_store(folder, values):
    root = create_collection(folder, collection_id=bytes(16), generator="test")
    dataset = root.create_dataset("signals")
    store = ZarrStore(
        dataset.set_data_file("data.zarr"), dtype="float32", columns=1, chunk_rows=2,
        dimension="time", time_attributes={}, data_attributes={"signal_names": ["a"]},
    )  # fmt: skip
    store.append(range(len(values)), [[value] for value in values])
    store.close()
    dataset.set_attribute("sample_count", len(values))
    dataset.save()
    root.save(success=True)
    return root.path, dataset.path / "data.zarr"


def test_a_store_of_zeros_is_whole_and_lost_files_of_it_are_damage(tmp_path):
    path, store = a_store(tmp_path / "rec", [0.0] * 300)
    assert levels(verify_recording(path)) <= {"note"}, texts(verify_recording(path))
    files = sorted((store / "data" / "c").glob("*/0"))
    assert len(files) == 3
    files[1].unlink()
    assert "1 of 3 file(s) of data are missing" in texts(verify_recording(path), "damage")


def test_samples_that_cannot_be_read_and_arrays_that_are_lost_are_damage(tmp_path):
    path, store = a_store(tmp_path / "rec", [1.0] * 10)
    cut(store / "data" / "c" / "0" / "0", 7)
    assert "its samples cannot be read" in texts(verify_recording(path), "damage")
    shutil.rmtree(store / "timestamps")
    assert "timestamps are missing" in texts(verify_recording(path), "damage")


def test_what_a_repair_has_left_is_listed_with_its_reason(recording, capsys):
    cut(recording / "video/video_timestamps.tsync", 3)
    with (recording / "video/attributes.toml").open("a") as file:
        file.write("x =\n")
    first, second = repair_recording(recording), repair_recording(recording)
    assert not first.ok
    assert first.failed == second.failed
    assert "attributes.toml is damaged" in first.failed[0]
    assert second.done == []
    log = (recording / "repair.log").read_text()
    assert log.count("not repaired: ") == 1
    capsys.readouterr()
    with pytest.raises(typer.Exit):
        verify(recording)
    printed = capsys.readouterr().out
    assert f"not repaired: {first.failed[0]}" in printed
    assert "Restore what mlink repair has left from a copy; then: mlink repair" in printed


def test_damage_alone_is_not_for_a_repair(recording, capsys):
    (recording / "events/table/table.csv").unlink()
    with pytest.raises(typer.Exit):
        verify(recording)
    assert "Damage cannot be repaired: restore it from a copy" in capsys.readouterr().out


def test_a_replaced_manifest_does_not_ask_for_another_repair(recording):
    (recording / "events/table/manifest.toml").write_text("data = 5\n")
    report = repair_recording(recording)
    assert "manifest.toml.damaged was kept by a repair" in texts(report.after, "note")
    assert report.ok, texts(report.after)
    assert repair_recording(recording).done == []
