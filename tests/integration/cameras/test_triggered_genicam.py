"""A GenICam camera on a simulated board's train, and one whose strobe the board watches.

Aravis' fake camera runs in real time, and so does the board. The pictures have the truth: number
and time of the edge on the pin, by the simulator.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from mlink.engine.status import RunResult
from mlink_hil.control.socket_path import control_path
from tests.support.bench_runner import BenchRunner
from tests.support.cameras.genicam_cameras import own_network, why_missing
from tests.support.cameras.triggered_genicam import WiredGenicam

pytestmark = [pytest.mark.sim, pytest.mark.timeout(300)]

SERIAL = "GV11"
BENCH = """
[bench]
name = "industry"
[devices]
eye = "genicam:serial=GV11"
uno = "virtual:uno"
[modules.board]
type = "firmata-io"
device = "uno"
[modules.eye]
type = "camera-generic"
device = "eye"
size = [64, 48]
pixel_format = "Mono8"
{settings}
[modules.watch]
type = "pyscript"
script = "watch.py"
ports_in = [{{ id = "frames", data_type = "Frame" }}]
inputs = {{ frames = "eye.video" }}
[modules.pairs]
type = "table"
inputs = {{ rows = "eye.trigger" }}
"""
TRAIN = """
trigger = { board = "board", line = 9, rate_hz = 10, exposure_usec = 2000 }
features = { TriggerSource = "Line0", TriggerMode = "On" }
strict = true
"""
STROBE = """
framerate = 20
strobe = { board = "board", line = 2 }
"""
WATCH = """
import json, time
import syntalos_mlink as syl
from tests.support.cameras.triggered_genicam import MARK

seen, metadata = [], {}
port = syl.get_input_port("frames")

def on_frame(frame):
    number, edge_ns, made_ns = MARK.unpack(frame.mat.tobytes()[: MARK.size])
    seen.append((frame.index, frame.time_usec, number, edge_ns, made_ns))

port.on_data = on_frame

def start():
    metadata.update(port.metadata)

def stop():
    zero_ns = time.monotonic_ns() - syl.time_since_start_usec() * 1000
    with open("seen.json", "w") as file:
        json.dump({"zero_ns": zero_ns, "frames": seen, "metadata": metadata}, file, default=str)
"""


_KEEPS_PACE = 0.25
"""A fake camera whose frames are by more of a period after their edges shows nothing."""


class Shown(NamedTuple):
    """A frame that the script has got, and what is in its picture."""

    index: int
    time_usec: int
    edge: int
    edge_usec: int
    """When the edge was, on the master timer, by the simulator."""
    late_usec: int


class Played:
    """A run of the bench with the wired camera.

    Args:
        bench: Runs it.
        settings: Of the camera.
        pin: Of the simulated board.
        wires: As for `WiredGenicam.wire`.
    """

    def __init__(self, bench: BenchRunner, settings: str, pin: int, **wires: Any) -> None:
        self.bench, self._pin = bench, pin
        self._period_usec = 50_000 if "strobe" in wires else 100_000
        self._fates = bench.folder / "fates"
        self._wires = wires
        self.camera = WiredGenicam(SERIAL)
        bench.write(BENCH.format(settings=settings), watch=WATCH)

    def run(self, seconds: float) -> RunResult:
        with self.camera:
            threading.Thread(target=self.wire, daemon=True).start()
            self.result = self.bench.run(seconds)
        assert self.result.success, self.result.failures
        seen = json.loads((self.bench.folder / "seen.json").read_text())
        zero_ns = seen["zero_ns"]
        self.shown = [
            Shown(index, time_usec, edge, (edge_ns - zero_ns) // 1000, (made_ns - edge_ns) // 1000)
            for index, time_usec, edge, edge_ns, made_ns in seen["frames"]
        ]
        self.metadata: dict[str, Any] = seen["metadata"]
        self.figures: dict[str, Any] = self.result.reports["eye"]
        return self.result

    def wire(self) -> None:
        """Wait for the board's program, and connect the camera to it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            work_dir = self.bench.engine.work_dir if self.bench.engine is not None else None
            if work_dir is not None and control_path(work_dir, "uno").exists():
                control = control_path(work_dir, "uno")
                self.camera.wire(control, self._pin, self._fates, **self._wires)
                return
            time.sleep(0.02)

    def fates(self, first: int, last: int) -> Counter[str]:
        """Return what became of the edges from one to another."""
        rows = [line.split() for line in self._fates.read_text().splitlines()]
        return Counter(fate for edge, fate in rows if first <= int(edge) <= last)

    def check_pairs(self) -> None:
        """Check that each frame has the time of the edge in its picture, and that edge's number."""
        board = self.result.reports["board"]  # has the first one when there was a worse one
        known = (board.get(f"board_clock_uncertainty{it}_usec", 0) for it in ("", "_max"))
        within = self.metadata["uncertainty_usec"] + max(known)
        first = self.shown[0]
        wrong = [
            it
            for it in self.shown
            if abs(it.time_usec - it.edge_usec) > within
            or it.index - first.index != round((it.edge_usec - first.edge_usec) / self._period_usec)
        ]
        latest = max(it.late_usec for it in self.shown)
        if wrong and latest > _KEEPS_PACE * self._period_usec:
            pytest.skip(f"the fake camera did not keep pace: {latest} µs late")
        assert wrong == []
        assert self.figures["timestamp_source"] == self.metadata["timestamp_source"] == "trigger"
        assert "trigger_doubtful" not in self.figures
        assert "trigger_untriggered" not in self.figures


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    if reason := why_missing():
        pytest.skip(reason)
    with own_network():
        yield


def test_frames_on_a_train_have_the_times_of_their_edges_and_each_loss_its_cause(
    bench: BenchRunner,
) -> None:
    played = Played(bench, TRAIN, 9, ignored=0.1, lost=0.1, broken=0.2)
    result = played.run(4.0)
    played.check_pairs()
    figures, shown = played.figures, played.shown
    first, last = 3, shown[-1].edge  # after three single pulses
    fates = played.fates(first, last)
    assert figures["lead_in"] == 3
    assert figures["trigger_paired"] == figures["frames"] == len(shown)
    assert figures["trigger_triggers_ignored"] == fates["ignored"] > 0
    gone = figures["trigger_frames_lost"] + figures["trigger_frames_damaged"]
    assert gone == fates.total() - fates["ignored"] - len(shown)
    assert fates["lost"] <= gone <= fates["lost"] + fates["broken"]
    assert 0 < figures["trigger_frames_damaged"] <= figures["damaged"]
    assert figures["packets_missing"] >= figures["damaged"]
    (video,) = (stream for stream in result.streams if stream.port == "video")
    assert video.sent == len(shown) + figures["lost"] + figures["damaged"]


@pytest.mark.long
def test_one_that_is_unplugged_comes_back_into_its_train(bench: BenchRunner) -> None:
    played = Played(bench, TRAIN + 'on_loss = "continue"', 9)

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + 120
        while text not in bench.watcher.log_text() and time.monotonic() < deadline:
            time.sleep(0.1)

    def unplug_for_a_while() -> None:
        played.camera.unplug()
        wait_for("waiting for it")
        played.camera.plug(seen=False)
        played.wire()
        wait_for("is back after")
        time.sleep(1.0)
        bench.stop()

    bench.when_running(1.5, unplug_for_a_while)
    played.run(200.0)
    played.check_pairs()
    figures, shown = played.figures, played.shown
    assert figures["outages"] == 1
    assert any(after.index - before.index > 5 for before, after in pairwise(shown))
    assert figures["lost"] == figures["trigger_triggers_ignored"]
    assert figures["lost"] == shown[-1].index + 1 - len(shown)


@pytest.mark.long
def test_a_strobe_gives_its_frames_the_times_of_their_exposures(bench: BenchRunner) -> None:
    played = Played(bench, STROBE, 2, strobe=True, lost=0.1)
    played.run(4.0)
    played.check_pairs()
    fates = played.fates(played.shown[0].edge, played.shown[-1].edge)
    assert played.figures.get("trigger_frames_lost", 0) == fates["lost"]
    assert fates["sent"] == len(played.shown)
