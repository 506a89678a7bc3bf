"""Webcams on the kernel's uvcvideo and USB stack: addresses, controls, losses, unplugging."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from mlink_drivers.camera.contract import CHECKS
from tests.rig.rig_runner import ask_guest
from tests.support.recorded.edlio_reader import read_with_edlio

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1200)]

A, B, MAKE = "usb:serial=CAM-A", "usb:serial=CAM-B", "usb:1d6b:0102"
PERIOD_USEC = 1e6 / 30
LEVELS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of the guest's recording."""
    return tmp_path_factory.mktemp("uvc")


@pytest.fixture(scope="module")
def seen(folder):
    """Return the results of one guest, which all tests share since its boot takes most time."""
    return ask_guest("uvc_bench.py", str(folder), cameras=1, timeout_sec=900, writable=[folder])


# --- which camera ------------------------------------------------------------------------------


def test_cameras_are_found_by_serial_number_and_by_port(seen):
    names = seen["names"]
    assert [names["found"][A], names["found"][B]] == names["nodes"]
    assert [names["found"]["usb:path=3-1"], names["found"]["usb:path=3-2"]] == names["nodes"]
    assert names["lasting"] == B


def test_a_model_that_two_cameras_share_is_refused_with_better_addresses(seen):
    error = seen["names"]["found"][MAKE]
    assert f"2 cameras are named '{MAKE}'" in error
    assert A in error
    assert B in error


def test_the_error_for_a_missing_camera_lists_those_that_are_there(seen):
    error = seen["names"]["found"]["usb:serial=none"]
    assert "no camera is named 'usb:serial=none'" in error
    assert A in error


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


# --- faults during a run -----------------------------------------------------------------------


@pytest.fixture
def faults(seen):
    """Return the results of a run with missing frames, a silent camera and a pulled cable."""
    return seen["faults"]


def test_mjpg_and_controls_are_applied_as_requested(faults):
    reports = faults["run"]["reports"]
    assert reports["pixel_format"] == "asked MJPG, got MJPG"
    assert reports["framerate"] == "asked 30, got 30"
    # what the camera itself received
    assert faults["values"] == {"mode": 8, "exposure": 156, "gain": 7, "power line": 2}


def test_times_are_the_kernels(faults):
    assert faults["run"]["reports"]["timestamp_source"] == "v4l2-monotonic"
    times = faults["run"]["times"]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert all(
        arrival > taken for taken, arrival in zip(times, faults["run"]["arrivals"], strict=True)
    )


def missing_of(faults):
    """Return how many frames are missing; skip if the emulator was too slow to know."""
    times = faults["run"]["times"][: faults["before"]]
    due = round((times[-1] - times[0]) / PERIOD_USEC)
    missing = due - (len(times) - 1)
    if missing > due / 3:
        pytest.skip(f"the emulator was too slow: it took {len(times) - 1} of {due} frames")
    return missing


def test_frames_that_a_camera_skips_are_counted(faults):
    missing = missing_of(faults)
    # The pictures show how many are missing: four were skipped; a slow emulator loses more. Of a
    # gap beside a delayed frame the interval may show one less.
    pictures = [picture for picture, _ in faults["pictures"][: faults["before"]]]
    gaps = [gap for a, b in pairwise(pictures) if (gap := (b - a - 1) % LEVELS)]
    assert sum(gaps) >= 4
    assert faults["lost"] >= max(3, sum(gaps) - len(gaps))
    # A frame that a slow emulator delays by half a period looks lost; shorter intervals follow it.
    times = faults["run"]["times"][: faults["before"]]
    delayed = sum(after - before < 0.9 * PERIOD_USEC for before, after in pairwise(times))
    assert faults["lost"] <= 3 + 1.3 * missing + delayed


def test_pictures_arrive_in_order(faults):
    missing_of(faults)
    pictures = [picture for picture, _ in faults["pictures"][: faults["before"]]]
    steps = [(after - before) % LEVELS for before, after in pairwise(pictures)]
    assert steps.count(1) > len(steps) / 3
    assert steps.count(0) <= len(steps) / 10  # eight in a row look like none


def test_a_change_of_the_exposure_reaches_the_camera_and_the_recording(faults):
    assert faults["changed"] == {"mode": 1, "exposure": 50, "gain": 7, "power line": 2}
    assert faults["run"]["changes"][0][1:] == ["exposure", "5000 µs", "5000 µs"]


def test_a_silent_camera_is_reported_lost_within_two_seconds(faults):
    assert faults["mute"]
    (lost, back, *_) = connections(faults)
    assert lost[1:] == ["connection", "", "lost"]
    assert 0 < int(lost[0]) - faults["muted_usec"] < 5_000_000  # 2 s, and a slow emulator
    assert back[1:] == ["connection", "", "open"]
    assert faults["unmute"]


def test_a_pulled_camera_is_found_again_by_its_serial_number_on_another_node(faults):
    assert faults["pull"]
    assert faults["back"]
    assert [row[3] for row in connections(faults)] == ["lost", "open", "lost", "open"]
    # meanwhile another camera of the same model has the old node
    assert faults["stranger"] != faults["returned"]
    assert all(is_red for _, is_red in faults["pictures"])
    assert faults["run"]["failures"] == []
    assert faults["run"]["reports"]["outages"] == 2


def test_the_controls_are_set_again_after_the_reconnect(faults):
    assert faults["values after"] == faults["changed"]


def test_numbers_skip_the_frames_of_the_outage(faults):
    times, indices = faults["run"]["times"], faults["run"]["indices"]
    at = max(range(len(times) - 1), key=lambda n: times[n + 1] - times[n])
    gap = times[at + 1] - times[at]
    assert indices[at + 1] - indices[at] == pytest.approx(gap / PERIOD_USEC, rel=0.6)


def test_the_other_camera_is_not_affected(faults):
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


# --- recording ---------------------------------------------------------------------------------


@pytest.fixture
def run(seen):
    """Return the results of a recorded run; one of its two cameras was unplugged for 1 s."""
    assert seen["recording"]["failures"] == []
    assert seen["recording"]["success"]
    return seen["recording"]


@pytest.fixture(scope="module")
def opened(seen, folder):
    """Return the recording as edlio reads it."""
    recording = Path(seen["recording"]["folder"])
    assert recording.is_relative_to(folder)
    return read_with_edlio("collection", recording)


@pytest.mark.parametrize("camera", ["webcam", "other"])
def test_edlio_opens_the_videos_with_a_time_for_each_frame(run, opened, camera):
    video = opened["datasets"][f"videos/{camera}"]
    assert video["frames"] == video["tsync_entries"] == run["sent"][f"{camera}.video"] > 20
    assert run["lost"][f"{camera}.video"] == 0
    assert video["strictly_increasing"]
    assert video["shape"] == {"webcam": [240, 320, 3], "other": [180, 320, 3]}[camera]


def test_edlio_finds_the_time_of_the_loss_and_the_gap(run, opened):
    rows = [row for row in opened["datasets"]["webcam-changes"]["rows"] if row]
    assert [row[1:] for row in rows] == [["connection", "", "lost"], ["connection", "", "open"]]
    lost, back = (int(row[0]) for row in rows)
    times = opened["datasets"]["videos/webcam"]["times_usec"]
    before = [time for time in times if time < lost]
    assert len(before) > 5
    # the first frames are taken before the camera is reported open
    assert times[len(before)] > back - 2_000_000
    assert times[len(before)] - before[-1] > 900_000
    assert run["reports"]["webcam"]["outages"] == 1
