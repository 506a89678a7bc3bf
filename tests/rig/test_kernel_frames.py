"""Numbers, damage and refusals of the kernel (vivid), and pictures in every format that it has."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mlink_drivers.camera.v4l2.pictures import RAW
from tests.rig.rig_runner import ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(900)]

PERIOD_USEC = 1e6 / 30
GREEN = (0, 255, 0)


@pytest.fixture(scope="module")
def seen():
    """Return the results of one guest, which all tests share since its boot takes most time."""
    return ask_guest("camera_kernel.py", timeout_sec=800)


def steps(run):
    return [after - before for before, after in pairwise(run["indices"])]


@pytest.mark.parametrize("name", ["dropped", "wrapped", "damaged", "failed, continued"])
def test_the_runs_end_well(seen, name):
    assert seen[name]["failures"] == []


def test_dropped_frames_are_gaps_in_the_numbers_and_counted(seen):
    run = seen["dropped"]
    missing = sum(steps(run)) - len(steps(run))
    assert missing >= 10
    assert run["reports"]["lost"] == missing
    assert "inferred" not in run["reports"]
    # and by the time that has passed, each number is right
    for index, time_usec in zip(run["indices"], run["times"], strict=True):
        assert index == pytest.approx((time_usec - run["times"][0]) / PERIOD_USEC, abs=1.5)


def test_numbers_that_overflow_go_on(seen):
    run = seen["wrapped"]
    assert sum(steps(run)) - len(steps(run)) == run["reports"]["lost"] < 10_000
    elapsed = (run["times"][-1] - run["times"][0]) / PERIOD_USEC
    assert run["indices"][-1] == pytest.approx(elapsed, abs=1.5)


def test_damaged_buffers_are_counted_and_not_sent(seen):
    run = seen["damaged"]
    assert run["reports"]["damaged"] == 3
    assert sum(steps(run)) - len(steps(run)) == run["reports"]["lost"] + 3


def test_a_stream_that_fails_ends_the_run_in_words(seen):
    (failure,) = seen["failed"]["failures"]
    assert "has ended the stream: Input/output error" in failure
    assert "dmesg" in failure


def test_a_stream_that_fails_is_opened_again_if_requested(seen):
    run = seen["failed, continued"]
    assert run["reports"]["outages"] == 1
    assert [row[3] for row in run["changes"]] == ["lost", "open"]
    assert min(steps(run)) >= 1


def test_a_silent_camera_does_not_hold_up_the_stop(seen):
    assert seen["silent"]["failures"] == []
    assert seen["silent"]["stop_sec"] < 4  # 1 s, and a slow emulator


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inject_vidioc_reqbufs_error", "cannot open /dev/video0: Invalid argument"),
        ("inject_vidioc_streamon_error", "cannot open /dev/video0: Invalid argument"),
        ("busy", "in use by v4l2-ctl ("),
        ("format", "the format HSV3, which is not understood"),
        ("free", "open"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_an_error_in_words(seen, name, words):
    assert words in seen["refused"][name]


def test_green_is_green_in_every_format_that_the_kernel_can_make(seen):
    assert len(seen["colours"]) > 30
    for name, (shape, dtype, middle, differences) in seen["colours"].items():
        assert differences == 0, name
        full = 1 if RAW[name].bits == 8 else 256
        assert dtype == ("uint8" if full == 1 else "uint16"), name
        if name == "GREY" or name.startswith("Y1"):
            assert shape == [180, 320], name
            assert middle[0] / (1 << RAW[name].bits) == pytest.approx(0.707, abs=0.01), name
        else:
            assert shape == [180, 320, 3], name
            assert [n / full for n in middle] == pytest.approx(GREEN, abs=9), name


def test_unconverted_pictures_are_the_kernels_bytes(seen):
    for name, (shape, dtype, pixel_format, same) in seen["unconverted"].items():
        assert same, name
        assert pixel_format == name
        assert dtype == ("uint8" if RAW[name].bits == 8 else "uint16")
        assert shape[1] == 320
    assert seen["unconverted"]["YUYV"][0] == [180, 320, 2]


@pytest.mark.long  # a minute of emulated pictures, and a figure: for a quiet machine
def test_capturing_costs_no_more_than_a_bare_loop():
    found = ask_guest("camera_kernel.py", "cost", timeout_sec=800)
    for name, (bare, ours) in found["cost"].items():
        assert ours <= 1.1 * bare, name


def test_a_multi_planar_driver_is_captured_from(seen):
    run = seen["multi-planar"]
    assert run["failures"] == []
    assert run["shape"] == [180, 320, 3]
    assert sum(steps(run)) - len(steps(run)) == run["reports"]["lost"]
    assert "its pictures lie in several pieces of memory" in run["refusal"]
