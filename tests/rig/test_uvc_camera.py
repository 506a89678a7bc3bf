"""Webcams on the kernel's uvcvideo and USB stack: named, adjusted, starved, pulled, recorded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from mlink_drivers.camera.contract import CHECKS
from tests.rig.rig_runner import ask_guest
from tests.support.edlio_reader import read_with_edlio

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]

A, B, MAKE = "usb:serial=CAM-A", "usb:serial=CAM-B", "usb:1d6b:0102"
PERIOD_USEC = 1e6 / 30
LEVELS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the guest's recording is."""
    return tmp_path_factory.mktemp("uvc")


@pytest.fixture(scope="module")
def seen(folder):
    """All of it in one guest, since booting one is what takes the time."""
    return ask_guest("uvc_bench.py", str(folder), cameras=1, timeout_sec=400, writable=[folder])


# --- which camera ------------------------------------------------------------------------------


def test_cameras_are_found_by_serial_number_and_by_port(seen):
    names = seen["names"]
    assert [names["found"][A], names["found"][B]] == names["nodes"]
    assert [names["found"]["usb:path=3-1"], names["found"]["usb:path=3-2"]] == names["nodes"]
    assert names["lasting"] == B


def test_a_make_that_two_cameras_share_is_refused_with_better_names(seen):
    told = seen["names"]["found"][MAKE]
    assert f"2 cameras are named '{MAKE}'" in told
    assert A in told
    assert B in told


def test_what_is_not_there_is_said_with_what_is(seen):
    told = seen["names"]["found"]["usb:serial=none"]
    assert "no camera is named 'usb:serial=none'" in told
    assert A in told


def test_their_metadata_nodes_are_no_cameras(seen):
    devices = seen["names"]["devices"]["devices"]
    cameras = [device["address"] for device in devices if device["kind"] == "camera"]
    assert cameras == ["/dev/video0", *seen["names"]["nodes"]]


def test_mlink_devices_lists_the_modes_of_a_webcam(seen):
    modes = seen["names"]["devices"]["answers"][seen["names"]["nodes"][0]]
    assert modes == ["MJPG 640×480 at 30, 15 fps", "MJPG 320×240 at 30, 15 fps"]


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_the_v4l2_backend_keeps_the_contract_of_a_camera(seen, check):
    assert seen["contract"][check] == "kept"


# --- a run and its troubles --------------------------------------------------------------------


@pytest.fixture
def faults(seen):
    """The run in which frames were left out, the camera fell silent, and its cable was pulled."""
    return seen["faults"]


def test_mjpg_and_controls_are_got_as_asked(faults):
    reports = faults["run"]["reports"]
    assert reports["pixel_format"] == "asked MJPG, got MJPG"
    assert reports["framerate"] == "asked 30, got 30"
    # what the camera itself says it was told
    assert faults["values"] == {"mode": 8, "exposure": 156, "gain": 7, "power line": 2}


def test_times_are_the_kernels(faults):
    assert faults["run"]["reports"]["timestamp_source"] == "v4l2-monotonic"
    times = faults["run"]["times"]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert all(
        arrival > taken for taken, arrival in zip(times, faults["run"]["arrivals"], strict=True)
    )


def missing_of(faults):
    """Return how many frames are missing; skips where an emulator at half its speed hides that."""
    times = faults["run"]["times"][: faults["before"]]
    due = round((times[-1] - times[0]) / PERIOD_USEC)
    missing = due - (len(times) - 1)
    if missing > due / 3:
        pytest.skip(f"the emulator was too slow: it took {len(times) - 1} of {due} frames")
    return missing


def test_frames_that_a_camera_leaves_out_are_counted(faults):
    missing = missing_of(faults)
    assert missing >= 3  # four were left out; an emulator of varying speed loses more of its own
    assert faults["lost"] >= 3
    assert abs(faults["lost"] - missing) <= 3 + 0.3 * missing


def test_pictures_come_in_their_order(faults):
    missing_of(faults)
    pictures = [picture for picture, _ in faults["pictures"][: faults["before"]]]
    steps = [(after - before) % LEVELS for before, after in pairwise(pictures)]
    assert steps.count(1) > len(steps) / 3
    assert steps.count(0) <= len(steps) / 10  # eight at once, which look like none


def test_an_exposure_that_is_changed_in_the_run_reaches_the_camera_and_the_record(faults):
    assert faults["changed"] == {"mode": 1, "exposure": 50, "gain": 7, "power line": 2}
    assert faults["run"]["changes"][0][1:] == ["exposure", "5000 µs", "5000 µs"]


def test_a_camera_that_falls_silent_is_noticed_within_two_seconds(faults):
    assert faults["mute"]
    (lost, back, *_) = connections(faults)
    assert lost[1:] == ["connection", "", "lost"]
    assert 0 < int(lost[0]) - faults["muted_usec"] < 5_000_000  # 2 s, and an emulator's slowness
    assert back[1:] == ["connection", "", "open"]
    assert faults["unmute"]


def test_a_pulled_camera_is_found_again_by_its_serial_number_on_another_node(faults):
    assert faults["pull"]
    assert faults["back"]
    assert [row[3] for row in connections(faults)] == ["lost", "open", "lost", "open"]
    # meanwhile another camera of the same make took the node
    assert faults["stranger"] != faults["returned"]
    assert all(is_red for _, is_red in faults["pictures"])
    assert faults["run"]["failures"] == []
    assert faults["run"]["reports"]["outages"] == 2


def test_the_camera_that_is_back_gets_its_controls_again(faults):
    assert faults["values after"] == faults["changed"]


def test_numbers_jump_by_what_was_missed_meanwhile(faults):
    times, indices = faults["run"]["times"], faults["run"]["indices"]
    at = max(range(len(times) - 1), key=lambda n: times[n + 1] - times[n])
    gap = times[at + 1] - times[at]
    assert indices[at + 1] - indices[at] == pytest.approx(gap / PERIOD_USEC, rel=0.6)


def test_the_other_camera_does_not_notice(faults):
    assert faults["other"]["failures"] == []
    assert connections({"run": faults["other"]}) == []
    assert not any(faults["other pictures"])  # a blue one


def connections(faults):
    return [row for row in faults["run"]["changes"] if row[1] == "connection"]


def test_another_steady_clock_of_the_driver_is_synchronised(seen):
    clock = seen["clock"]
    assert clock["before"] == "CLOCK_MONOTONIC"
    assert clock["source"] == "v4l2-synchronised"
    assert abs(median(clock["late_msec"])) < 50


# --- recorded ----------------------------------------------------------------------------------


@pytest.fixture
def run(seen):
    """The recorded run of a webcam that was pulled for a while, and of another camera."""
    assert seen["recording"]["failures"] == []
    assert seen["recording"]["success"]
    return seen["recording"]


@pytest.fixture(scope="module")
def opened(seen, folder):
    """What edlio finds in the recording."""
    recording = Path(seen["recording"]["folder"])
    assert recording.is_relative_to(folder)
    return read_with_edlio("collection", recording)


@pytest.mark.parametrize("camera", ["webcam", "other"])
def test_edlio_opens_the_videos_with_a_time_for_each_frame(run, opened, camera):
    video = opened["datasets"][f"{camera}-video"]
    assert video["frames"] == video["tsync_entries"] == run["sent"][f"{camera}.video"] > 20
    assert run["lost"][f"{camera}.video"] == 0
    assert video["strictly_increasing"]
    assert video["shape"] == {"webcam": [240, 320, 3], "other": [180, 320, 3]}[camera]


def test_edlio_finds_the_time_of_the_loss_and_the_gap(run, opened):
    rows = [row for row in opened["datasets"]["webcam-changes"]["rows"] if row]
    assert [row[1:] for row in rows] == [["connection", "", "lost"], ["connection", "", "open"]]
    lost, back = (int(row[0]) for row in rows)
    times = opened["datasets"]["webcam-video"]["times_usec"]
    before = [time for time in times if time < lost]
    assert len(before) > 5
    assert times[len(before)] > back - 2_000_000  # opened, it has already taken its first frames
    assert times[len(before)] - before[-1] > 900_000
    assert run["reports"]["webcam"]["outages"] == 1
