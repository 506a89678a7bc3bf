"""Listing of serial ports and cameras, with fake ports and a fake sysfs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from mlink.devices import FoundDevice
from mlink_drivers import permissions
from mlink_drivers.discovery import list_cameras, list_devices, list_serial_ports, udev_name
from mlink_drivers.permissions import Account, access_problem, this_account


def port(device="/dev/ttyACM0", **given):
    values = {
        "device": device,
        "description": "n/a",
        "manufacturer": None,
        "product": None,
        "vid": None,
        "pid": None,
        "serial_number": None,
        "location": None,
    }
    return SimpleNamespace(**{**values, **given})


def uno(device="/dev/ttyACM0"):
    return port(
        device,
        manufacturer="Arduino (www.arduino.cc)",
        product="Arduino Uno",
        vid=0x2341,
        pid=0x0043,
        serial_number="75834353430351F0C1A1",
        location="1-2.3:1.0",
    )


def always(node):
    return True


def never(node):
    return False


def test_a_board_is_listed_with_every_name_it_can_be_opened_by(tmp_path):
    node = tmp_path / "ttyACM0"
    node.touch()
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-Arduino_Uno-if00").symlink_to("../ttyACM0")
    (by_id / "usb-other-if00").symlink_to("../ttyUSB9")
    (found,) = list_serial_ports([uno(str(node))], by_id=by_id, usable=always)
    assert found == FoundDevice(
        kind="serial",
        address=str(node),
        name="Arduino (www.arduino.cc) Arduino Uno",
        identity=[
            str(by_id / "usb-Arduino_Uno-if00"),
            "usb:serial=75834353430351F0C1A1",
            "usb:2341:0043",
            "usb:path=1-2.3",
        ],
    )


def test_a_port_without_usb_has_its_path_only(tmp_path):
    (found,) = list_serial_ports([port("/dev/ttyS0")], by_id=tmp_path / "none", usable=always)
    assert (found.address, found.name, found.identity, found.problem) == ("/dev/ttyS0", "", [], "")


def test_ports_are_sorted(tmp_path):
    ports = [port("/dev/ttyUSB0"), port("/dev/ttyACM0")]
    found = list_serial_ports(ports, by_id=tmp_path, usable=always)
    assert [device.address for device in found] == ["/dev/ttyACM0", "/dev/ttyUSB0"]


def test_a_port_without_permission_has_a_remedy(tmp_path):
    (found,) = list_serial_ports([uno()], by_id=tmp_path, usable=never)
    assert "may not" in found.problem
    assert "usermod -aG dialout" in found.remedy


def test_a_clone_without_a_name_gets_the_one_that_udev_knows(tmp_path):
    clone = port("/dev/ttyUSB0", vid=0x1A86, pid=0x7523)
    name = {"ttyUSB0": "QinHeng Electronics CH340 serial converter"}.get
    (found,) = list_serial_ports([clone], by_id=tmp_path, usable=always, known_name=name)
    assert found.name == "QinHeng Electronics CH340 serial converter"
    assert udev_name("ttyNOPE0") == ""


def account(active=(), noted=()):
    return lambda: Account(frozenset(active), frozenset(noted))


def test_permissions_name_the_group_and_whether_a_new_login_suffices():
    node = Path("/dev/ttyNOPE0")
    assert access_problem(node, "dialout", always, account()) == ("", "")
    problem, remedy = access_problem(node, "dialout", never, account())
    assert "(group dialout)" in problem
    assert remedy == "sudo usermod -aG dialout $USER, then log out and in again"
    _, remedy = access_problem(node, "dialout", never, account(noted=["dialout"]))
    assert "you were added to dialout, but not in this session" in remedy
    _, remedy = access_problem(node, "dialout", never, account(active=["dialout"]))
    assert "chmod g+rw" in remedy


def test_this_account_has_groups():
    assert this_account().active


@pytest.fixture
def webcam(tmp_path):
    """A USB camera with a capture node and a metadata node, and a platform camera."""
    usb = tmp_path / "devices" / "usb1" / "1-4"
    interface = usb / "1-4:1.0"
    interface.mkdir(parents=True)
    for key, value in {"idVendor": "046d", "idProduct": "0825", "serial": "A1B2"}.items():
        (usb / key).write_text(value + "\n")
    vivid = tmp_path / "devices" / "platform" / "vivid.0"
    vivid.mkdir(parents=True)
    sysfs = tmp_path / "class"
    nodes = [("video0", 0, interface), ("video1", 1, interface), ("video10", 0, vivid)]
    for name, index, device in nodes:
        folder = sysfs / name
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"Camera of {name}\n")
        (folder / "index").write_text(f"{index}\n")
        (folder / "device").symlink_to(device)
    dev = tmp_path / "dev"
    (dev / "v4l" / "by-id").mkdir(parents=True)
    for name in ("video0", "video1", "video10"):
        (dev / name).touch()
    (dev / "v4l" / "by-id" / "usb-046d_0825-video-index0").symlink_to("../../video0")
    return {"sysfs": sysfs, "dev": dev}


def test_capture_nodes_are_listed_and_metadata_nodes_are_not(webcam):
    udev = {"video0": ":capture:", "video1": ":", "video10": ":capture:"}
    found = list_cameras(**webcam, capabilities=udev.get, usable=always)
    dev = webcam["dev"]
    assert [device.address for device in found] == [str(dev / "video0"), str(dev / "video10")]
    assert found[0] == FoundDevice(
        kind="camera",
        address=str(dev / "video0"),
        name="Camera of video0",
        identity=[
            str(dev / "v4l" / "by-id" / "usb-046d_0825-video-index0"),
            "usb:serial=A1B2",
            "usb:046d:0825",
            "usb:path=1-4",
        ],
    )
    assert found[1].identity == []


def test_without_udev_the_first_node_of_a_camera_is_its_capture_node(webcam):
    found = list_cameras(**webcam, capabilities=lambda name: "", usable=always)
    assert [device.name for device in found] == ["Camera of video0", "Camera of video10"]


def test_a_camera_without_permission_has_a_remedy(webcam, monkeypatch):
    # The nodes belong to whoever runs the tests, who would be advised to use chmod.
    monkeypatch.setattr(permissions, "_owning_group", lambda node: "video")
    found = list_cameras(**webcam, capabilities=lambda name: "", usable=never)
    assert "usermod -aG video" in found[0].remedy


def test_a_machine_without_cameras_has_none(tmp_path):
    assert list_cameras(sysfs=tmp_path / "none", dev=tmp_path) == []


def test_this_machine_can_be_asked_and_the_answer_can_be_written_as_json():
    assert isinstance(msgspec.json.encode(list_devices()), bytes)
