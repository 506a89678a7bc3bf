"""`camera-generic` on the kernel's own V4L2 layer (vivid)."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from tests.rig.rig_runner import ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(420)]

RATE = 30
SECONDS = 3
TRIALS = {
    "other size": ["/dev/video0", {"size": [320, 240]}],
    "other size, strict": ["/dev/video0", {"size": [320, 240], "strict": True}],
    "grey": ["/dev/video0", {"size": [640, 360], "pixel_format": "GREY"}],
    "no such node": ["/dev/video7", {}],
    "no camera": ["/dev/null", {}],
    "unplug": "unplug",
}
"""Further trials in the same guest, since its boot takes most time."""


@pytest.fixture(scope="module")
def seen():
    """Return the results of three seconds of /dev/video0 at 640×360 and 30 fps."""
    settings = {"size": [640, 360], "framerate": RATE, "strict": True}
    arguments = [str(SECONDS), json.dumps(settings), json.dumps(list(TRIALS.values()))]
    return ask_guest("camera_frames.py", "/dev/video0", *arguments)


@pytest.fixture
def trial(seen):
    """Return the results of TRIALS by their names."""
    return dict(zip(TRIALS, seen["trials"], strict=True))


def test_frames_arrive_in_the_requested_size_and_rate(seen):
    assert seen["failures"] == []
    assert seen["shapes"] == [[360, 640, 3]]
    assert seen["metadata"]["size"] == [640, 360]
    assert seen["metadata"]["framerate"] == pytest.approx(RATE, abs=0.1)
    assert seen["metadata"]["has_color"] is True
    # an emulator of varying speed: most of the frames, no more than the camera makes
    assert RATE * SECONDS / 2 < len(seen["times"]) <= RATE * (SECONDS + 0.5)
    assert seen["reports"]["frames"] == len(seen["times"])


def test_times_are_the_kernels_and_increase_strictly(seen):
    assert seen["metadata"]["timestamp_source"] == "v4l2-monotonic"
    assert seen["metadata"]["uncertainty_usec"] > 0
    times = seen["times"]
    assert all(after > before for before, after in pairwise(times))
    assert "estimated" not in seen["reports"]
    assert "disordered" not in seen["reports"]


def test_no_frame_is_older_than_the_start_or_newer_than_the_stop(seen):
    period_usec = 1e6 / RATE
    assert seen["times"][0] >= 0
    assert seen["times"][-1] <= seen["stopped_usec"] + period_usec
    assert seen["reports"]["stale"] >= 1  # those that waited in the driver since prepare


def test_frames_are_numbered_from_zero_and_numbers_skip_what_is_lost(seen):
    indices = seen["indices"]
    assert indices[0] == 0
    steps = [after - before for before, after in pairwise(indices)]
    assert min(steps) >= 1
    assert sum(steps) - len(steps) == seen["reports"]["lost"]


def test_the_priority_that_was_granted_is_logged_and_reported(seen):
    assert "SCHED_FIFO" in seen["reports"]["priority"]
    assert any("SCHED_FIFO" in line for line in seen["logged"])


def test_an_unsupported_size_is_a_warning_with_asked_and_got(trial):
    assert trial["other size"]["size"] == [320, 180]
    assert any("asked 320×240, got 320×180" in line for line in trial["other size"]["logged"])


def test_an_unsupported_size_is_an_error_when_strict(trial):
    assert "asked 320×240, got 320×180" in trial["other size, strict"]["error"]


def test_grey_pictures_stay_grey(trial):
    assert trial["grey"]["size"] == [640, 360]
    assert trial["grey"]["color"] is False


def test_the_error_for_a_missing_node_lists_those_that_are_there(trial):
    assert "no camera /dev/video7 (present: /dev/video0)" in trial["no such node"]["error"]


def test_a_node_that_is_no_camera_is_refused(trial):
    assert "cannot open /dev/null" in trial["no camera"]["error"]


def test_a_disconnected_camera_fails_the_run_within_seconds(trial):
    (failure,) = trial["unplug"]["failures"]
    assert "went away" in failure or "no frame for" in failure
    assert trial["unplug"]["seconds"] < 6


def test_discovery_lists_the_camera_and_the_board_by_their_names(seen):
    by_address = {device["address"]: device for device in seen["devices"]}
    assert by_address["/dev/video0"]["kind"] == "camera"
    assert "vivid" in by_address["/dev/video0"]["name"]
    board = by_address["/dev/ttyACM0"]
    assert "usb:serial=75834353430351F0C1A1" in board["identity"]
    assert "usb:2341:0043" in board["identity"]
    assert any(name.startswith("/dev/serial/by-id/") for name in board["identity"])
