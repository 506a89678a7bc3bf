"""Nothing is lost at a stop in full flow: every item that a source counted is found."""

from __future__ import annotations

from pathlib import Path

import av

from mlink.storage.tsync.reader import read_tsync
from tests.integration.runs.test_run_life import read_table, streams
from tests.support.bench_runner import BenchRunner

BENCH = """
[bench]
name = "full-flow"
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "readings", data_type = "LineReading" }, { id = "frames", data_type = "Frame" }]
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "readings", data_type = "LineReading" }, { id = "frames", data_type = "Frame" }]
ports_out = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
inputs = { readings = "source.readings", frames = "source.frames" }
[modules.events]
type = "table"
inputs = { rows = "loop.rows" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = "loop.frames" }
"""

SOURCE = """
import numpy as np
import syntalos_mlink as syl

readings = syl.get_output_port("readings")
frames = syl.get_output_port("frames")

def prepare():
    frames.set_metadata_value("framerate", 100.0)
    frames.set_metadata_value_size("size", [160, 120])

def run():
    reading, frame = syl.LineReading(), syl.Frame()
    n = k = 0
    picture = np.zeros((120, 160, 3), np.uint8)
    while syl.is_running():
        while n < syl.time_since_start_usec() // 1000:      # 1,000 readings a second
            reading.line_id, reading.value = 7, n
            reading.time_usec = syl.time_since_start_usec()
            readings.submit(reading)
            n += 1
        while k < syl.time_since_start_usec() // 8000:      # 125 frames a second
            picture[:, :, 0] = k % 256
            frame.mat, frame.index, frame.time_usec = picture, k, syl.time_since_start_usec()
            frames.submit(frame)
            k += 1
        syl.await_data(500)
"""

LOOP = """
import syntalos_mlink as syl

rows = syl.get_output_port("rows")
frames = syl.get_output_port("frames")
frames_in = syl.get_input_port("frames")

def on_reading(reading):
    rows.submit([reading.value, reading.time_usec])

def start():
    frames.set_metadata_value("framerate", frames_in.metadata["framerate"])
    frames.set_metadata_value_size("size", frames_in.metadata["size"])
    syl.get_input_port("readings").on_data = on_reading
    frames_in.on_data = frames.submit
"""


def test_all_readings_and_frames_through_a_script_are_recorded(
    bench: BenchRunner,
) -> None:
    result = bench.write(BENCH, source=SOURCE, loop=LOOP).run(2.5)
    assert result.success, result.failures
    sent = streams(result)
    assert sent["source.readings"] >= 1000
    assert sent["source.frames"] >= 125
    assert all(stream.lost == 0 for stream in result.streams)

    rows = [row for row in read_table(result, "events") if row]
    assert [int(row[0]) for row in rows] == list(range(sent["source.readings"]))

    assert result.recording_dir is not None
    (video,) = Path(result.recording_dir).rglob("*.mkv")
    with av.open(str(video)) as container:
        pictures = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
        blues = [int(picture[0, 0, 0]) for picture in pictures]
    assert blues == [index % 256 for index in range(sent["source.frames"])]

    (tsync,) = Path(result.recording_dir).rglob("*.tsync")
    times = read_tsync(tsync).times
    assert len(times) == sent["source.frames"]
    assert (times[1:, 1] > times[:-1, 1]).all()


FLOOD_BENCH = """
[bench]
name = "flood"
[modules.sender]
type = "pyscript"
script = "sender.py"
ports_out = [{ id = "commands", data_type = "LineCommand" }]
[modules.receiver]
type = "pyscript"
script = "receiver.py"
ports_in = [{ id = "commands", data_type = "LineCommand" }]
inputs = { commands = { from = "sender.commands", queue = 100 } }
"""

FLOOD = """
import syntalos_mlink as syl
port = syl.get_output_port("commands")
def start():
    for n in range(5000):
        port.submit(syl.new_line_command(syl.LineCommandKind.WRITE_DIGITAL, 8, n % 2))
"""

SLOW = """
import time
import syntalos_mlink as syl
syl.get_input_port("commands").on_data = lambda command: time.sleep(0.001)
"""


def test_a_control_stream_that_overflows_ends_the_run_as_failed(bench: BenchRunner) -> None:
    result = bench.write(FLOOD_BENCH, sender=FLOOD, receiver=SLOW).run(1.0)
    assert not result.success
    (failure,) = result.failures
    assert failure.module == "receiver"
    assert "lost" in failure.message
    assert "sender.commands" in failure.message
    assert failure.remedy
