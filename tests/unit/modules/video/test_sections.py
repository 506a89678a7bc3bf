"""Sections by control commands, slices by time: which frame lies in which file, none lost."""

import tomllib

import av
import numpy as np
import pytest

import mlink.recording
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.modules.video.recorder import VideoRecorderModule
from mlink.modules.video.sections import VideoSections
from mlink.recording.care.verify import verify_recording
from mlink.storage.edl import create_collection
from mlink.storage.tsync.reader import read_tsync
from mlink.types import ControlCommand, ControlCommandKind, Frame
from tests.support.fake_context import FakeContext
from tests.support.recorded import edlio_reader

edlio_summary = edlio_reader.edlio_summary
START, PAUSE, STOP = ControlCommandKind.START, ControlCommandKind.PAUSE, ControlCommandKind.STOP
FRAME_USEC = 100_000


def run(tmp_path, script, begin_usec=0, **settings):
    """Feed a script of frame counts and commands, 10 Hz; return the dataset's folder."""
    collection = create_collection(tmp_path / "recording", collection_id=bytes(range(16)),
                                   generator="test")  # fmt: skip
    context = FakeContext(videorecorder, VideoRecorderSettings(**settings), tmp_path, name="video")
    context.inputs["frames-in"].metadata = {"framerate": 10.0}
    module = VideoRecorderModule(context)
    module.prepare()
    module.start()
    number = 0
    for step in script:
        if isinstance(step, ControlCommandKind):
            context.inputs["control-in"].on_item(ControlCommand(step))
            continue
        for _ in range(step):
            pixels = np.full((16, 16), number, np.uint8)
            frame = Frame.from_array(pixels, number, begin_usec + number * FRAME_USEC)
            context.inputs["frames-in"].on_item(frame)
            number += 1
    module.stop()
    module.close()
    collection.save(True)
    report = verify_recording(tmp_path / "recording")
    assert report.ok, report.findings
    return tmp_path / "recording" / "videos/video"


def files(folder):
    """File → numbers of the frames in it, by their times; as many pictures as times."""
    found = {}
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    names = [part["fname"] for part in manifest["data"]["parts"]]
    (aux,) = manifest["data_aux"]
    assert [part["fname"] for part in aux["parts"]] == [
        name.rpartition(".")[0] + "_timestamps.tsync" for name in names
    ]
    for name in names:
        times = read_tsync(folder / name.replace(".mkv", "_timestamps.tsync")).times
        assert times[:, 0].tolist() == list(range(len(times)))
        with av.open(str(folder / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == len(times)
        # without the short tag of the collection
        found[name.partition("-")[2]] = (times[:, 1] // FRAME_USEC).tolist()
    return found


def test_stop_and_start_begin_a_section(tmp_path):
    folder = run(tmp_path, [3, STOP, 2, START, 4, STOP, START, STOP, START, 1])
    assert files(folder) == {
        "video.mkv": [0, 1, 2], "video_sec1.mkv": [5, 6, 7, 8], "video_sec2.mkv": [9],
    }  # fmt: skip
    attributes = tomllib.loads((folder / "attributes.toml").read_text())
    assert attributes["frame_count"] == 8
    assert attributes["frames_skipped"] == 2
    assert [(c["command"], c["after_frame"]) for c in attributes["control_commands"]][:3] == [
        ("STOP", 3), ("START", 3), ("STOP", 7),
    ]  # fmt: skip


def test_pause_goes_on_in_the_same_file_and_a_stop_ends_it_too(tmp_path):
    folder = run(tmp_path, [2, PAUSE, 2, START, 2, PAUSE, STOP, PAUSE, 3, START, 2])
    assert files(folder) == {"video.mkv": [0, 1, 4, 5], "video_sec1.mkv": [9, 10]}


def test_a_recorder_that_waits_begins_with_section_one(tmp_path):
    folder = run(tmp_path, [3, START, 2, STOP, START, 1], start_stopped=True)
    assert files(folder) == {"video_sec1.mkv": [3, 4], "video_sec2.mkv": [5]}


def test_slices_are_counted_from_the_sections_first_frame(tmp_path):
    folder = run(tmp_path, [25], begin_usec=7_000_000, slices_enabled=True,
                 slices_interval=1 / 60)  # fmt: skip
    found = files(folder)
    assert list(found) == ["video_1.mkv", "video_2.mkv", "video_3.mkv"]
    assert [len(frames) for frames in found.values()] == [10, 10, 5]


def test_each_section_has_its_own_slices(tmp_path):
    folder = run(tmp_path, [12, STOP, 7, START, 12], slices_enabled=True, slices_interval=1 / 60)
    found = files(folder)
    assert {name: len(frames) for name, frames in found.items()} == {
        "video_1.mkv": 10, "video_2.mkv": 2, "video_sec1_1.mkv": 10, "video_sec1_2.mkv": 2,
    }  # fmt: skip


def test_a_pause_longer_than_a_slice_does_not_make_tiny_files(tmp_path):
    folder = run(tmp_path, [5, PAUSE, 40, START, 12], slices_enabled=True, slices_interval=1 / 60)
    sizes = [len(frames) for frames in files(folder).values()]
    assert sum(sizes) == 17
    assert len(sizes) <= 4


def test_reading_goes_through_all_files(tmp_path):
    run(tmp_path, [12, STOP, 7, START, 12], slices_enabled=True, slices_interval=1 / 60)
    with mlink.recording.open(tmp_path / "recording") as recording:
        video = recording.video()
        assert [frame.mat[0, 0] for frame in video] == [*range(12), *range(19, 31)]
        assert video[15].mat[0, 0] == 22
        assert video.nearest(2_500_000).mat[0, 0] == 25


@pytest.mark.edlio
def test_edlio_reads_all_files_with_their_times(tmp_path, edlio_summary):
    run(tmp_path, [12, STOP, 7, START, 12], slices_enabled=True, slices_interval=1 / 60)
    video = edlio_summary(tmp_path / "recording")["datasets"]["videos/video"]
    assert video["frames"] == video["tsync_entries"] == 24
    assert video["times_usec"] == [i * FRAME_USEC for i in [*range(12), *range(19, 31)]]


def test_names():
    sections = VideoSections("v", start_stopped=False, slice_usec=None)
    assert sections.is_over(5)
    assert sections.next_stem(5) == "v"
    assert not sections.is_over(10**12)
    sections.end_section()
    sections.end_section()  # nothing came in between
    assert sections.next_stem(9) == "v_sec1"
