"""Two cameras at once, controls, formats, and a camera that comes back, on the kernel's V4L2."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import pytest

from tests.rig.rig_runner import ask_guest

pytestmark = [pytest.mark.rig, pytest.mark.timeout(780)]

PERIOD_USEC = 1e6 / 30


@pytest.fixture(scope="module")
def seen():
    """Return the results of one guest, which all tests share since its boot takes most time."""
    return ask_guest("camera_bench.py", cameras=2, timeout_sec=500)


@pytest.fixture(params=[0, 1])
def one_of_two(seen, request):
    """Return the results of each of two cameras that ran at the same time."""
    return seen["two"][request.param]


def test_two_cameras_run_side_by_side(one_of_two):
    assert one_of_two["failures"] == []
    assert len(one_of_two["times"]) > 45  # of 90: an emulator of varying speed


def test_times_are_the_kernels_and_before_the_arrival(one_of_two):
    assert one_of_two["reports"]["timestamp_source"] == "v4l2-monotonic"
    late = [
        arrival - taken
        for taken, arrival in zip(one_of_two["times"], one_of_two["arrivals"], strict=True)
    ]
    assert min(late) > 0
    assert median(late) < 2 * PERIOD_USEC
    steps = [after - before for before, after in pairwise(one_of_two["times"])]
    assert median(steps) == pytest.approx(PERIOD_USEC, abs=4500)  # vivid's clock ticks in 4 ms


def test_the_numbers_skip_the_frames_that_are_lost(one_of_two):
    indices, times = one_of_two["indices"], one_of_two["times"]
    assert indices[0] == 0
    assert indices[-1] + 1 == len(indices) + one_of_two["reports"]["lost"]
    elapsed = (times[-1] - times[0]) / PERIOD_USEC
    assert indices[-1] == pytest.approx(elapsed, abs=1.5)


def test_another_program_reads_the_controls_that_were_requested(seen):
    assert seen["controls"]["values"] == {
        "brightness": 100,
        "contrast": 255,  # 9999 is above the range
        "gain": 42,
        "gain_automatic": 0,  # a manual gain switches it off
        "integer_32_bits": 77,
        "boolean": 0,
        "menu": 4,
    }


def test_every_control_is_reported_as_asked_and_got(seen):
    reports = seen["controls"]["reports"]
    assert reports["brightness"] == "asked 100, got 100"
    assert reports["menu"] == "asked Menu Item 4, got Menu Item 4"
    logged = "\n".join(seen["controls"]["logged"])
    assert "contrast: asked 9999, got 255" in logged
    assert "zoom_absolute: asked 3, got no such control on this camera" in logged


def test_a_refused_control_is_an_error_when_strict(seen):
    assert "contrast: asked 9999, got 255" in seen["strict"]


def test_controls_change_during_a_run_with_their_times(seen):
    controls = seen["controls"]
    assert controls["failures"] == []
    assert controls["changed"] == {"brightness": 33, "gain_automatic": 1}
    assert [row[1:] for row in controls["changes"]] == [
        ["brightness", "33", "33"],
        ["gain", "auto", "auto"],
    ]
    before, after = controls["window"]
    assert all(before <= int(row[0]) <= after for row in controls["changes"])
    assert controls["times"][-1] > after  # and frames continue


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("UYVY", [180, 320, 3], "uint8"),
        ("NV12", [180, 320, 3], "uint8"),
        ("RGB3", [180, 320, 3], "uint8"),
        ("Y16 ", [180, 320], "uint16"),
    ],
)
def test_pixel_formats_are_converted_to_colour_or_kept(seen, name, shape, dtype):
    assert seen["formats"][name] == [shape, dtype, []]


def test_modes_and_controls_are_those_that_other_programs_list(seen):
    assert seen["names"]["missing controls"] == []
    assert any(mode.startswith("YUYV 640×360 at ") for mode in seen["names"]["modes"])


def test_cameras_are_found_by_their_drivers_names(seen):
    assert seen["names"]["cameras"] == ["/dev/video0", "/dev/video1"]
    assert seen["names"]["found"] == seen["names"]["lasting"] == "/dev/video0"


def test_a_camera_that_comes_back_continues_the_stream(seen):
    back = seen["back"]
    assert back["failures"] == []
    assert back["reports"]["outages"] == 1
    before = [time for time in back["times"] if time < back["gone_usec"] + 2 * PERIOD_USEC]
    after = back["times"][len(before) :]
    assert len(before) >= 5
    assert len(after) >= 5
    assert all(later > earlier for earlier, later in pairwise(back["times"]))
    # the gap shows in the frames' numbers, and is counted
    at = len(before) - 1
    gap_usec = back["times"][at + 1] - back["times"][at]
    jump = back["indices"][at + 1] - back["indices"][at]
    assert gap_usec > 900_000
    assert jump == pytest.approx(gap_usec / PERIOD_USEC, rel=0.2)
    assert back["reports"]["lost"] >= jump - 1
    assert [row[1:] for row in back["changes"]] == [
        ["connection", "", "lost"],
        ["connection", "", "open"],
    ]
    assert any("is back after" in line for line in back["logged"])
