"""Other people's programs open what we write: edlio, OpenCV (inside edlio), ffprobe, pandas."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from mlink.modules.data.catalog import TableSettings, table
from mlink.modules.data.table import TableModule
from mlink.modules.video.catalog import VideoRecorderSettings, videorecorder
from mlink.modules.video.recorder import VideoRecorderModule
from mlink.storage.edl import Author, create_collection
from mlink.storage.inspect import inspect_recording
from mlink.storage.tsync.layout import Generation, TimeColumn, TimeType, TimeUnit, TsyncMode
from mlink.storage.tsync.reader import read_tsync
from mlink.storage.tsync.writer import TsyncWriter
from mlink.storage.uuid7 import uuid7
from mlink.types import Frame
from tests.support.fake_context import FakeContext
from tests.support.recorded import edlio_reader

pytestmark = pytest.mark.edlio
edlio_summary = edlio_reader.edlio_summary
edlio_tsync = edlio_reader.edlio_tsync
former_edlio_tsync = edlio_reader.former_edlio_tsync

RUN = uuid.UUID(bytes=bytes(range(16)))  # the run of FakeContext
FRAMES = 90


def picture(i, shape=(120, 161, 3)):
    mat = np.full(shape, 40, np.uint8)
    cv2.putText(mat, str(i), (5, 60), cv2.FONT_HERSHEY_SIMPLEX, 1, (255,) * 3)
    return mat + np.random.default_rng(i).integers(0, 8, shape, np.uint8)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A run as the engine makes it: a collection, two recorders, one of each kind of name."""
    tmp_path = tmp_path_factory.mktemp("run")
    collection = create_collection(
        tmp_path / "recording",
        collection_id=RUN.bytes,
        generator="mlink test",
        authors=[Author("Ada", "ada@example.org")],
        attributes={"subject_id": "m7"},
    )
    video_context = FakeContext(videorecorder, VideoRecorderSettings(), tmp_path, name="video")
    video_context.inputs["frames-in"].metadata = {"framerate": 30.0, "src_mod_name": "cam"}
    table_context = FakeContext(table, TableSettings(), tmp_path, name="events")
    table_context.inputs["rows"].metadata = {
        "table_header": ["time", "what"],
        "data_name_proposal": "events/table",
    }
    modules = [VideoRecorderModule(video_context), TableModule(table_context)]
    empty = VideoRecorderModule(
        FakeContext(videorecorder, VideoRecorderSettings(), tmp_path, name="unused")
    )
    for module in (*modules, empty):
        module.prepare()
        module.start()
    for i in range(FRAMES):
        frame = Frame.from_array(picture(i), i, 1_000 + i * 33_333 + i % 7)
        video_context.inputs["frames-in"].on_item(frame)
        table_context.inputs["rows"].on_item([str(i), 'a "b"; c\nd'])
    for module in (*modules, empty):
        module.stop()
        module.close()
    collection.save(True, recording_length_msec=3_000)
    return collection.path


@pytest.fixture(scope="module")
def found(recording, edlio_summary):
    """What edlio finds in it."""
    return edlio_summary(recording)


def test_edlio_opens_the_whole_recording(found):
    assert found["type"] == "collection"
    assert found["collection_id"] == str(RUN)
    assert found["generator"] == "mlink test"
    assert found["authors"] == [{"name": "Ada", "email": "ada@example.org"}]
    assert found["attributes"]["success"] is True
    assert found["attributes"]["subject_id"] == "m7"
    assert sorted(found["datasets"]) == ["events", "videos/cam", "videos/unused"]
    assert all(dataset["collection_id"] == str(RUN) for dataset in found["datasets"].values())


def test_edlio_finds_every_frame_with_its_time_and_its_pixels(found):
    video = found["datasets"]["videos/cam"]
    assert video["frames"] == video["tsync_entries"] == FRAMES
    assert video["strictly_increasing"]
    assert video["times_usec"] == [1_000 + i * 33_333 + i % 7 for i in range(FRAMES)]
    assert video["indices"] == list(range(FRAMES))
    assert video["shape"] == [120, 161, 3]
    sent = [hashlib.sha256(picture(i).tobytes()).hexdigest() for i in range(FRAMES)]
    assert video["sha256"] == sent


def test_edlio_and_pandas_read_every_row(recording, found):
    events = found["datasets"]["events"]
    assert events["header"] == ["time", "what"]
    assert events["rows"] == [[str(i), 'a "b"; c\nd'] for i in range(FRAMES)]
    frame = pd.read_csv(recording / "events" / "table.csv", sep=";")
    assert frame["time"].tolist() == list(range(FRAMES))
    assert set(frame["what"]) == {'a "b"; c\nd'}


def test_our_own_summary_agrees(recording):
    summary = inspect_recording(recording)
    entries = {dataset.name: dataset.entries for dataset in summary.datasets}
    assert entries == {"events": FRAMES, "videos/unused": None, "videos/cam": FRAMES}
    assert not summary.problems
    assert not any(dataset.problems for dataset in summary.datasets)


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")
def test_ffprobe_finds_every_frame(recording):
    (path,) = recording.rglob("*.mkv")
    found = ffprobe(path)
    assert int(found["nb_read_frames"]) == FRAMES
    assert found["codec_name"] == "ffvhuff"
    assert (found["width"], found["height"]) == (161, 120)


def ffprobe(path):
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)],
        capture_output=True, text=True, check=True, timeout=250,
    )  # fmt: skip
    assert done.stderr == ""
    return json.loads(done.stdout)["streams"][0]


LENGTHS = [0, 1, 127, 128, 129, 256, 20_000]


def write_lengths(folder, run, generation):
    for count in LENGTHS:
        with TsyncWriter(
            folder / f"{count}.tsync",
            collection_id=run.bytes,
            generator="cäm",
            custom={"tolerance_us": 900},
            generation=generation,
        ) as writer:
            for i in range(count):
                writer.append(i, i * 1_000_003)
    return [folder / f"{count}.tsync" for count in LENGTHS]


def check_lengths(files, run):
    for count, found in zip(LENGTHS, files, strict=True):
        assert found["times"] == [[i, i * 1_000_003] for i in range(count)]
        assert found["labels"] == ["frame-no", "master-time"]
        assert found["collection_id"] == str(run)
        assert found["generator"] == "cäm"
        assert found["tolerance_us"] == 900


@pytest.mark.parametrize("generation", Generation)
def test_edlio_reads_every_length_of_tsync(tmp_path, edlio_tsync, generation):
    run = uuid7()
    files = edlio_tsync(write_lengths(tmp_path, run, generation))
    check_lengths(files, run)
    assert {found["legacy"] for found in files} == {generation is Generation.V2}


def test_edlio_0_2_1_reads_every_length_of_the_2x_form(tmp_path, former_edlio_tsync):
    run = uuid7()
    files = former_edlio_tsync(write_lengths(tmp_path, run, Generation.V2))
    check_lengths(files, run)
    assert {found["version"] for found in files} == {"0.2.1"}


def test_edlio_reads_every_type_of_time(tmp_path, edlio_tsync):
    for time_type in TimeType:
        columns = (
            TimeColumn("device", TimeUnit.MILLISECONDS, time_type),
            TimeColumn("master", TimeUnit.MICROSECONDS, TimeType.INT64),
        )
        low, high = time_type.bounds
        with TsyncWriter(tmp_path / time_type.name, collection_id=RUN.bytes, columns=columns,
                         mode=TsyncMode.SYNCPOINTS) as writer:  # fmt: skip
            writer.append(low, -5)
            writer.append(high, 5)
    files = edlio_tsync([tmp_path / time_type.name for time_type in TimeType])
    for time_type, found in zip(TimeType, files, strict=True):
        low, high = time_type.bounds
        assert found["times"] == [[low, -5], [high, 5]]
        assert found["mode"] == 1


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from mlink.modules.video.writer import VideoOptions, VideoWriter
from mlink.storage.edl import create_collection
folder, codec, out = Path(sys.argv[1]), sys.argv[2], sys.stdout
collection = create_collection(folder, collection_id=bytes(range(16)), generator="killed")
dataset = collection.create_dataset("video")
pixels = np.zeros((120, 160, 3), np.uint8)
options = VideoOptions(codec=codec)
names = [dataset.path / name for name in ("video.mkv", "video_timestamps.tsync")]
writer = VideoWriter(*names, pixels, options, framerate=50, generator="killed",
                     collection_id=collection.collection_id)
dataset.set_data_file("video.mkv")
dataset.add_aux_file("video_timestamps.tsync")
start = time.monotonic()
for i in range(100_000):
    while (now := time.monotonic() - start) < i * 0.02:
        time.sleep(0.001)
    pixels[:, i % 160] += 40
    writer.write(pixels, round(now * 1e6))
    out.write(f"{i} {now}\\n")
    out.flush()
"""


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
@pytest.mark.parametrize("seconds", [0.9, 3.3])
def test_a_killed_recorder_loses_less_than_two_seconds(tmp_path, edlio_summary, codec, seconds):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), codec], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    written = [line.split() for line in (first + process.communicate()[0]).splitlines()]
    last_s = float(written[-1][1])
    video, tsync = folder / "video" / "video.mkv", folder / "video" / "video_timestamps.tsync"

    times = read_tsync(tsync).times
    assert len(times) >= len(written)
    with av.open(str(video)) as container:
        frames = [frame.pts for frame in container.decode(video=0)]
    assert len(frames) <= len(times)
    assert frames, "nothing was saved"
    assert times[len(frames) - 1, 1] / 1e6 > last_s - 2

    found = edlio_summary(folder)
    assert found["attributes"]["success"] is False
    assert found["datasets"]["video"]["frames"] == len(frames)
    assert found["datasets"]["video"]["strictly_increasing"]
