"""`mlink.recording.open`: frames by number and by time, tables, signals, all on one clock."""

import re

import numpy as np
import pytest

import mlink.recording
from mlink.errors import StorageError
from mlink.modules.data.catalog import JsonWriterSettings, jsonwriter
from mlink.modules.data.jsonwriter import JsonWriterModule
from mlink.types import SignalBlockF32
from tests.support import ROOT
from tests.support.fake_context import FakeContext
from tests.support.recorded.recordings import FRAMES, LiveRecording, picture, time_of

DOCS = ROOT / "docs"


@pytest.fixture(scope="module", params=["ffv1", "h264"])
def path(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    live = LiveRecording(folder, video_codec=request.param, lossless=True)
    record_ecg(live, folder, samples=3000)
    return live.feed(FRAMES).close()


def record_ecg(live, folder, samples):
    """Add a writer of two signals, and send it some samples in one block."""
    ecg = FakeContext(jsonwriter, JsonWriterSettings(), folder, name="ecg")
    ecg.inputs["f32sig-in"].metadata = {
        "signal_names": ["a", "b"], "time_unit": "milliseconds", "data_scale": 2.0,
    }  # fmt: skip
    live.modules.append(JsonWriterModule(ecg))
    live.modules[-1].prepare()
    live.modules[-1].start()
    block = SignalBlockF32()
    block.timestamps = np.arange(samples)
    block.data = np.arange(2 * samples).reshape(samples, 2)
    ecg.inputs["f32sig-in"].on_item(block)


@pytest.fixture
def recording(path):
    with mlink.recording.open(path) as found:
        yield found


def test_streams_by_name(recording):
    assert set(recording) == {"video", "events/table", "ecg"}
    assert recording.length_s == 3.0
    assert recording.attributes["subject_id"] == "m7"
    with pytest.raises(StorageError, match="no stream 'vidoe'") as caught:
        recording["vidoe"]
    assert "Did you mean 'video'?" in caught.value.remedy
    with pytest.raises(StorageError, match="is a Video, not a Table"):
        recording.table("video")


def test_every_frame_one_after_the_other(recording):
    video = recording.video()
    assert len(video) == FRAMES
    assert video.times_usec.tolist() == [time_of(i) for i in range(FRAMES)]
    assert (video.timestamp_source, video.uncertainty_usec, video.lost) == ("kernel", 200, 0)
    for i, frame in enumerate(video):
        assert (frame.index, frame.time_usec) == (i, time_of(i))
        assert np.array_equal(frame.mat, picture(i))


@pytest.mark.parametrize("order", [[40, 41, 5, 89, 0, 1, 88, 0], [-1, -90]])
def test_frames_in_any_order(recording, order):
    video = recording.video()
    for i in order:
        assert np.array_equal(video[i].mat, picture(i % FRAMES))
    with pytest.raises(IndexError, match="has 90 frames"):
        video[90]


def test_frames_by_time(recording):
    video = recording.video()
    assert video.nearest(time_of(20) + 10_000).index == 20
    assert video.nearest(time_of(21) - 10_000).index == 21
    assert video.nearest(-5).index == 0
    assert video.nearest(10**9).index == FRAMES - 1
    assert video.at(time_of(20)).index == 20
    assert video.at(time_of(21) - 1).index == 20
    with pytest.raises(StorageError, match="no frame at or before 3"):
        video.at(3)
    found = list(video.between(time_of(30), time_of(33)))
    assert [frame.index for frame in found] == [30, 31, 32]
    assert np.array_equal(found[1].mat, picture(31))


def test_tables(recording):
    table = recording.table("events/table")
    assert table.header == ["time_usec", "what"]
    assert table.column("time_usec").dtype == np.int64
    assert table.times_usec.tolist() == [time_of(i) for i in range(FRAMES)]
    assert table.column("what")[3] == 'what "3"; or\nnot'
    frame = table.frame()
    assert frame["time_usec"].tolist() == table.times_usec.tolist()
    with pytest.raises(StorageError, match="no column 'x'"):
        table.column("x")
    assert table.window(time_of(3), time_of(5)) == slice(3, 5)


def test_signals(recording):
    ecg = recording.signals()
    assert ecg.names == ["a", "b"]
    assert ecg.times_usec[:3].tolist() == [0, 1000, 2000]
    assert ecg.values[2].tolist() == [4, 5]
    assert ecg.physical[2].tolist() == [8, 10]
    assert ecg.frame().index.name == "time_usec"
    assert len(ecg.values[ecg.window(1_000_000, 1_500_000)]) == 500


def test_a_killed_recording_reads_as_far_as_it_goes(tmp_path):
    live = LiveRecording(tmp_path / "live").feed(60)
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    live.close()
    with mlink.recording.open(path) as found:
        assert np.array_equal(found.video()[20].mat, picture(20))
        with pytest.raises(StorageError, match="ends before frame") as caught:
            list(found.video())
    assert "mlink repair" in caught.value.remedy


def test_signals_of_which_a_kill_left_no_sample_are_empty(tmp_path):
    live = LiveRecording(tmp_path / "live")
    record_ecg(live, tmp_path / "live", samples=3)  # too few and too late for a flush
    path = live.as_a_kill_leaves_it(tmp_path / "killed")
    live.close()
    with mlink.recording.open(path) as found:
        ecg = found.signals()
        assert ecg.names == ["a", "b"]
        assert ecg.values.shape == (0, 2)
        assert ecg.frame().shape == (0, 2)


def test_the_page_about_recordings_runs(path, capsys):
    """Every example of docs/recordings.md, one after the other, on a real recording."""
    text = (DOCS / "recordings.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 4
    exec("\n".join(examples), {"path": path})
    assert "events/table" in capsys.readouterr().out
