"""Cameras that a board triggers, or whose strobe it watches, against the marks in their pictures.

The mark has the moment of the edge by the simulator, and the camera's own number of the frame. A
third camera, whose times are exact, gives the difference between marks and master time.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

WATCH = """
import json
import syntalos_mlink as syl
from mlink_hil.scene.marks import read_marks

seen = {"left": [], "right": [], "mid": [], "ref": []}
stated = 0


def watch(name):
    def on_frame(frame):
        mark = read_marks(frame.mat)
        seen[name].append((frame.index, frame.time_usec, mark.number, mark.time_usec))
    return on_frame


def start():
    global stated
    stated = syl.get_input_port("left").metadata.get("uncertainty_usec", 0)


for name in seen:
    if (port := syl.get_input_port(name)) is not None:
        port.on_data = watch(name)


def stop():
    with open("seen.json", "w") as file:
        json.dump({**seen, "stated": stated}, file)
"""
CAMERA = """
[modules.{name}]
type = "camera-generic"
device = "{name}"
size = [128, 96]
{trigger}
"""
HEAD = """
[bench]
name = "triggers"
[devices]
uno = "virtual:uno"
left = "virtual:scene"
right = "virtual:scene"
ref = "virtual:scene?seed=2"
[modules.board]
type = "firmata-io"
device = "uno"
on_loss = "continue"
[modules.watch]
type = "pyscript"
script = "watch.py"
ports_in = [
    { id = "left", data_type = "Frame" }, { id = "right", data_type = "Frame" },
    { id = "ref", data_type = "Frame" }, { id = "mid", data_type = "Frame" },
]
inputs = { left = "left.video", right = "right.video", ref = "ref.video" }
[modules.edges]
type = "table"
inputs = { rows = "board.triggers" }
[modules.pairs]
type = "table"
inputs = { rows = "left.trigger" }
"""
TRAIN = 'trigger = { board = "board", line = 9, rate_hz = 100, exposure_usec = 2000 }'
REF = CAMERA.format(name="ref", trigger="framerate = 10")
SCENES = """
[virtual.l]
type = "scene"
device = "left"
trigger = "uno.9"
jitter_usec = 300
[virtual.r]
type = "scene"
device = "right"
trigger = "uno.9"
delay_usec = 14000
seed = 3
"""
TWO = (
    HEAD + SCENES + CAMERA.format(name="left", trigger=TRAIN)
    + CAMERA.format(name="right", trigger=TRAIN) + REF
)  # fmt: skip


MID = (
    '\n[virtual.m]\ntype = "scene"\ndevice = "mid"\ntrigger = "uno.9"\ndelay_usec = 5000\n'
    + CAMERA.format(name="mid", trigger=TRAIN)
)
THREE = (
    TWO.replace("[devices]", '[devices]\nmid = "virtual:scene"')
    .replace("ref = \"ref.video\"", "ref = \"ref.video\", mid = \"mid.video\"")
    + MID
)  # fmt: skip


def losses(target: str, at_sec: float = 0.8, **shares: float) -> str:
    settings = "".join(f"{key} = {share}\n" for key, share in shares.items())
    return (
        f'\n[[faults]]\nkind = "trigger-losses"\ntarget = "{target}"\nat_sec = {at_sec}\n{settings}'
    )


class Result:
    """What a run has printed, and what the script has seen."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.text = done.returncode, done.stdout + done.stderr
        report = done.stdout[done.stdout.find("{") :]
        self.report: dict[str, Any] = json.loads(report) if done.returncode < 2 and report else {}
        path = folder / "seen.json"
        self.seen = json.loads(path.read_text()) if path.exists() else {}
        self.stated_usec: int = self.seen.pop("stated", 0)
        """Uncertainty of the times of the frames of `left`, as its stream states it."""

    def figures(self, module: str) -> dict[str, Any]:
        figures: dict[str, Any] = self.report["reports"][module]
        return figures

    def errors(self, camera: str) -> list[int]:
        """Return the error of each frame's time, µs."""
        offsets = {mark - time_usec for _, time_usec, _, mark in self.seen["ref"]}
        (offset,) = offsets
        return [time_usec - (mark - offset) for _, time_usec, _, mark in self.seen[camera]]

    def gaps(self, camera: str) -> tuple[int, int]:
        """Return how many edges have no frame, and how many of these the camera has numbered."""
        frames = self.seen[camera]
        edges = sum(b[0] - a[0] - 1 for a, b in itertools.pairwise(frames))
        numbered = sum(b[2] - a[2] - 1 for a, b in itertools.pairwise(frames))
        return edges, numbered


def run(folder: Path, bench: str, seconds: float, *options: str, time: str = "virtual") -> Result:
    (folder / "bench.toml").write_text(bench)
    (folder / "watch.py").write_text(WATCH)
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "run", "bench.toml", "--time", time, "--json",
         "--for", str(seconds), *options],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    return Result(folder, done)


def check_pairs(result: Result, camera: str, *, within_usec: float = 10) -> None:
    """Check that each frame has the time of its own edge, and that losses are attributed."""
    errors = sorted(abs(error) for error in result.errors(camera))
    assert errors[int(0.999 * len(errors))] <= within_usec
    assert errors[-1] < 5000  # no frame is at another edge
    missing, numbered = result.gaps(camera)
    figures = result.figures(camera)
    assert figures.get("lost", 0) == missing
    if not figures.get("trigger_untriggered"):
        assert figures.get("trigger_frames_lost", 0) == numbered
        assert figures.get("trigger_triggers_ignored", 0) == missing - numbered


def in_step(folder: Path, bench: str, seconds: float, delays_usec: dict[str, int]) -> None:
    """Run cameras on one train, lose frames and triggers of all, and check every pairing."""
    faults = "".join(losses(name, drop_triggers=0.04, drop_frames=0.05) for name in delays_usec)
    result = run(folder, bench + faults, seconds)
    assert result.code == 0, result.text
    for camera in delays_usec:
        check_pairs(result, camera)
        assert result.figures(camera)["trigger_triggers_ignored"] > 0
        assert result.figures(camera)["trigger_frames_lost"] > 0
        assert result.figures(camera)["lead_in"] == 3
        assert "trigger_doubtful" not in result.figures(camera)
    marks = {
        camera: {index: mark for index, _, _, mark in result.seen[camera]} for camera in delays_usec
    }
    for one, other in itertools.combinations(delays_usec, 2):
        both = marks[one].keys() & marks[other].keys()
        assert len(both) > 0.8 * 100 * (seconds - 0.7)
        assert all(marks[one][index] == marks[other][index] for index in both)
        apart = result.figures("board")[f"in_step_{one}_{other}"]
        found = re.search(r"are (\d+) µs apart", apart)
        assert found is not None
        expected = abs(delays_usec[one] - delays_usec[other])
        assert int(found[1]) == pytest.approx(expected, abs=100)


DELAYS_USEC = {"left": 650, "right": 14_000}
"""By the scenes; the jitter of the left one is 300 µs, and its delay more by some of that."""


def test_three_cameras_on_one_train_are_in_step_whatever_is_lost(tmp_path: Path) -> None:
    in_step(tmp_path, THREE, 6, DELAYS_USEC | {"mid": 5_000})


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_cameras_on_one_train_are_in_step_for_a_minute(tmp_path: Path) -> None:
    in_step(tmp_path, TWO, 60, DELAYS_USEC)


def test_in_real_time_frames_are_at_their_edges_too(tmp_path: Path) -> None:
    faults = losses("left", drop_triggers=0.05, drop_frames=0.05)
    result = run(tmp_path, TWO + faults, 5, time="real")
    assert result.code == 0, result.text
    known = result.figures("board")["board_clock_uncertainty_usec"]
    for camera in ("left", "right"):
        errors = sorted(abs(error) for error in result.errors(camera))
        assert errors, result.text
        if errors[-1] > 5 * known + 200:
            pytest.skip(f"the simulated board did not keep pace: {errors[-1]} µs")
        check_pairs(result, camera, within_usec=result.stated_usec)


def test_frames_without_a_trigger_are_not_sent_but_counted(tmp_path: Path) -> None:
    result = run(tmp_path, TWO + losses("left", extra_frames=0.05), 5)
    assert result.code == 0, result.text
    check_pairs(result, "left")
    assert result.figures("left")["trigger_untriggered"] >= 5
    assert "came without a trigger" in result.text
    strict = run(tmp_path, TWO.replace("[bench]", "[bench]\nstrict = true")
                 + losses("left", extra_frames=0.05), 3)  # fmt: skip
    assert strict.code == 1
    assert "came without a trigger" in strict.text


def test_a_train_that_the_board_loses_begins_again_and_is_paired_again(tmp_path: Path) -> None:
    fault = '\n[[faults]]\nkind = "unplug"\ntarget = "uno"\nat_sec = 1.5\nfor_sec = 0.5\n'
    result = run(tmp_path, TWO + fault, 9)
    assert result.code == 0, result.text
    assert max(map(abs, result.errors("left"))) <= 10
    assert result.figures("left")["lost"] == result.gaps("left")[0]
    times = [time_usec for _, time_usec, _, _ in result.seen["left"]]
    assert any(b - a > 400_000 for a, b in itertools.pairwise(times))
    assert max(times) > 8_900_000
    assert result.figures("left")["lead_in"] >= 6


def test_a_slow_train_is_waited_for(tmp_path: Path) -> None:
    slow = TWO.replace("rate_hz = 100", "rate_hz = 0.3")
    result = run(tmp_path, slow, 8)
    assert result.code == 0, result.text
    assert [index for index, *_ in result.seen["left"]] == [0, 1, 2]
    check_pairs(result, "left")


STROBE = (
    HEAD
    + '[virtual.l]\ntype = "scene"\ndevice = "left"\nstrobe = "uno.2"\nrate_hz = 100\n'
    + "jitter_usec = 300\nBEGIN"
    + CAMERA.format(
        name="left", trigger='framerate = 100\nstrobe = { board = "board", line = 2 SETTINGS }'
    )
    + CAMERA.format(name="right", trigger="framerate = 10")
    + REF
)


def strobe(begin: str = "", settings: str = "") -> str:
    return STROBE.replace("BEGIN", begin).replace("SETTINGS", settings)


def test_a_strobe_gives_frames_their_times_whatever_is_lost(tmp_path: Path) -> None:
    noise = '\n[[faults]]\nkind = "line-noise"\ntarget = "uno"\nat_sec = 0.8\ndrop = 0.003\n'
    noise += 'direction = "from-board"\n'
    result = run(tmp_path, strobe() + losses("left", drop_frames=0.05) + noise, 6)
    assert result.code == 0, result.text
    errors = result.errors("left")
    assert max(map(abs, errors)) <= 10
    missing, numbered = result.gaps("left")
    figures = result.figures("left")
    assert missing == numbered == figures["trigger_frames_lost"]
    lost = result.figures("board")["readings_lost_by_board"]
    assert 0 < figures["trigger_edges_missing"] <= lost


def test_a_strobe_that_begins_with_the_camera_shows_delays_of_more_than_a_period(
    tmp_path: Path,
) -> None:
    bench = strobe("delay_usec = 34000\nbegin_usec = 300000\n")
    result = run(tmp_path, bench, 2)
    assert result.code == 0, result.text
    assert max(map(abs, result.errors("left"))) <= 10
    stated = run(tmp_path, strobe("delay_usec = 34000\n", ", delay_usec = 36000"), 2)
    assert stated.code == 0, stated.text
    assert max(map(abs, stated.errors("left"))) <= 10


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('trigger = "uno.9"', "", "sends frames that the trigger on line 9 of 'board' has not"),
        ('trigger = "uno.9"', 'trigger = "uno.10"', "Check the wire from line 9 of 'board'"),
        ('"virtual:uno"', '"virtual:uno?simulator=protocol"', "mlink flash"),
        ("line = 9", "line = 1", "line 1 cannot be the trigger of camera 'left'"),
    ],
)
def test_what_cannot_work_ends_in_words(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    result = run(tmp_path, TWO.replace(before, after), 8)
    assert result.code == 1, result.text
    assert message in result.text
    assert "Traceback" not in result.text


def test_a_script_cannot_command_the_line_of_a_trigger(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(
        "import syntalos_mlink as syl\n"
        "line = syl.HwOutputLine(syl.get_output_port('ctl'), 9)\n"
        "def run():\n    syl.wait(500)\n    line.set_value(True)\n    syl.wait(500)\n"
    )
    bench = TWO.replace('on_loss = "continue"', 'inputs = { fmctl = "other.ctl" }')
    bench += (
        '[modules.other]\ntype = "pyscript"\nscript = "other.py"\n'
        'ports_out = [{ id = "ctl", data_type = "LineCommand" }]\n'
    )
    result = run(tmp_path, bench, 3)
    assert result.code == 1
    assert "line 9 of" in result.text
    assert "is the trigger of camera 'left': no script can command it" in result.text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('board = "board"', 'board = "bord"', "there is no module 'bord'"),
        ('board = "board"', 'board = "watch"', "'watch' (pyscript) cannot do this"),
        ('board = "board"', 'board = "left"', "'left' (camera-generic) cannot do this"),
        ("rate_hz = 100, exposure_usec = 2000 }\n\n[modules.right]",
         "rate_hz = 50, exposure_usec = 2000 }\n\n[modules.right]", "with other values"),
        ("exposure_usec = 2000 }", "exposure_usec = 10000 }", "exposure_usec must be 10 to 9990"),
        ("rate_hz = 100", "rate_hz = 1e9", "rate_hz must be"),
        ("rate_hz = 100", "rate_hz = nan", "rate_hz must be"),
        ("line = 9", "line = 200", "line 200 is not a line of a board"),
        ("line = 9", 'line = "9"', "trigger.line"),
        ("line = 9", "lin = 9", "lin"),
        ("framerate = 10", 'strobe = { board = "board", line = 9 }', "with other values"),
        (TRAIN, TRAIN + '\nstrobe = { board = "board", line = 3 }', "one source of its time"),
        ('type = "firmata-io"', 'type = "firmata-io"\nanalog_lines = [9]', "analog_lines"),
        ('type = "firmata-io"', 'type = "firmata-io"\ncameras = {x = {line = 3}}', "cameras"),
        (TRAIN, TRAIN + '\ninputs = { edges = "board.triggers" }', "connects this input"),
    ],
)  # fmt: skip
def test_check_refuses_in_words(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in TWO
    (tmp_path / "watch.py").write_text(WATCH)
    (tmp_path / "bench.toml").write_text(TWO.replace(before, after))
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "check", "bench.toml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert message in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_the_bench_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs/cameras.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (bench,) = [block for block in blocks if "[virtual." in block and "trigger" in block]
    result = run(tmp_path, bench, 2)
    assert result.code == 0, result.text
    for camera in ("top", "side"):
        assert result.figures(camera)["frames"] >= 100
        assert result.figures(camera)["timestamp_source"] == "trigger"
