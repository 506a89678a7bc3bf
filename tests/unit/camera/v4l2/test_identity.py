"""Finding the camera of a bench by serial number, make, port or link, and the errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.devices import FoundDevice
from mlink.errors import DeviceError
from mlink_drivers.camera.v4l2.identity import find_camera, lasting_name
from mlink_drivers.discovery import list_cameras


def camera(number, *, serial="", make="046d:0825", port="1-1", name="C270"):
    identity = [f"usb:serial={serial}"] if serial else []
    identity += [f"usb:{make}", f"usb:path={port}"] if make else []
    return FoundDevice(kind="camera", address=f"/dev/video{number}", name=name, identity=identity)


TWINS = [camera(0, serial="A1", port="1-1"), camera(2, serial="B2", port="1-2.3")]


@pytest.mark.parametrize(
    ("address", "node"),
    [
        ("usb:serial=B2", "/dev/video2"),
        ("usb:path=1-2.3", "/dev/video2"),
        ("usb:path=1-1", "/dev/video0"),
        ("usb:serial=b2", "/dev/video2"),
    ],
)
def test_cameras_of_one_make_differ_by_serial_number_and_port(address, node):
    assert find_camera(address, lambda: TWINS) == Path(node)


def test_the_make_is_enough_for_a_single_camera():
    assert find_camera("usb:046D:0825", lambda: TWINS[:1]) == Path("/dev/video0")


def test_an_ambiguous_name_lists_the_candidates_with_better_names():
    with pytest.raises(DeviceError, match="2 cameras are named 'usb:046d:0825'") as caught:
        find_camera("usb:046d:0825", lambda: TWINS)
    for better in ("usb:serial=A1", "usb:serial=B2", "usb:path=1-2.3", "/dev/video2"):
        assert better in caught.value.remedy


def test_several_nodes_of_one_camera_are_one_camera():
    infrared = camera(1, serial="A1", port="1-1", name="C270 IR")
    assert find_camera("usb:serial=A1", lambda: [TWINS[0], infrared]) == Path("/dev/video0")


def test_an_absent_camera_lists_those_that_are_there():
    with pytest.raises(DeviceError, match="no camera is named 'usb:serial=C3'") as caught:
        find_camera("usb:serial=C3", lambda: TWINS)
    assert "usb:serial=A1" in caught.value.remedy
    with pytest.raises(DeviceError) as caught:
        find_camera("usb:serial=C3", list)
    assert "no camera is present" in caught.value.remedy


def test_a_node_or_a_link_is_taken_as_it_is():
    for address in ("/dev/video7", "/dev/v4l/by-id/usb-046d-video-index0"):
        assert find_camera(address, list) == Path(address)


@pytest.mark.parametrize(
    ("cameras", "node", "name"),
    [
        (TWINS, "/dev/video2", "usb:serial=B2"),
        ([camera(0, port="1-1"), camera(2, port="1-2")], "/dev/video2", "usb:path=1-2"),
        # two with the same serial number, which cheap cameras have
        ([camera(0, serial="1", port="1-1"), camera(2, serial="1", port="1-2")],
         "/dev/video2", "usb:path=1-2"),
        # the second node of a device is not found by the device's names
        ([camera(0, serial="A1"), camera(1, serial="A1")], "/dev/video1", "/dev/video1"),
        ([camera(0, make="")], "/dev/video0", "/dev/video0"),
        ([], "/dev/video0", "/dev/video0"),
    ],
)  # fmt: skip
def test_a_numbered_camera_gets_a_name_by_which_it_is_found_again(cameras, node, name):
    assert lasting_name(Path(node), lambda: cameras) == name


def test_metadata_nodes_are_no_cameras(tmp_path):
    for number in (0, 1):
        folder = tmp_path / "sys" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text("C270\n")
    capabilities = {"video0": ":capture:", "video1": ":"}
    found = list_cameras(
        sysfs=tmp_path / "sys", dev=tmp_path, capabilities=capabilities.__getitem__
    )
    assert [Path(c.address).name for c in found] == ["video0"]
