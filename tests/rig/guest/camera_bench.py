"""In the guest: two V4L2 cameras at once, their controls, and one that is lost and comes back.

Prints the results as one line of JSON.
"""

import json
import subprocess
import time
from pathlib import Path

from mlink.errors import DeviceError
from mlink.types import ControlCommand, ControlCommandKind
from mlink_drivers.camera.v4l2.controls import V4L2Controls
from mlink_drivers.camera.v4l2.identity import find_camera, lasting_name, present_cameras
from mlink_drivers.camera.v4l2.modes import list_modes
from tests.support.cameras.camera_eye import LOGGED, Eye, attempt, keep_log

DRIVER = Path("/sys/bus/platform/drivers/vivid")
SETTABLE = ("int", "bool", "menu", "intmenu", "button", "bitmask")


def v4l2_ctl(node, *arguments):
    done = subprocess.run(["v4l2-ctl", "-d", node, *arguments], check=True, capture_output=True,
                          text=True)  # fmt: skip
    return done.stdout


def value_of(node, control):
    """Read a control's value with v4l2-ctl, an independent program."""
    return int(v4l2_ctl(node, "-C", control).split(":")[1].split()[0])


def two_at_once(seconds):
    eyes = [Eye(node).prepare() for node in ("/dev/video0", "/dev/video1")]
    t0_ns = time.monotonic_ns()
    for eye in eyes:
        eye.start(t0_ns)
    time.sleep(seconds)
    return [eye.stop() for eye in eyes]


def controls():
    """Set controls of several kinds, and change one during the run."""
    LOGGED.clear()
    wishes = {"integer_32_bits": 77, "boolean": False, "menu": "Menu Item 4", "zoom_absolute": 3}
    eye = Eye("/dev/video0", brightness=100, contrast=9999, gain=42, controls=wishes).prepare()
    named = ("brightness", "contrast", "gain", "integer_32_bits", "boolean", "menu")
    values = {name: value_of("/dev/video0", name) for name in named}
    values["gain_automatic"] = value_of("/dev/video0", "gain_automatic")
    eye.start(time.monotonic_ns())
    eye.wait_for(3)
    before = eye.context.clock.now_usec()
    command = ControlCommand(ControlCommandKind.CUSTOM, command="brightness=33; gain=auto")
    eye.context.inputs["control-in"].on_item(command)
    after = eye.context.clock.now_usec()
    eye.wait_for(len(eye.video.items) + 3)
    changed = {name: value_of("/dev/video0", name) for name in ("brightness", "gain_automatic")}
    brief = {"values": values, "changed": changed, "window": [before, after], "logged": [*LOGGED]}
    return eye.stop() | brief


def formats():
    """Open each pixel format; return shape, type and differences of the pictures."""
    found = {}
    for name in ("UYVY", "NV12", "RGB3", "Y16 "):
        eye = Eye("/dev/video0", pixel_format=name)
        try:
            eye.prepare()
            info = eye.module._info
            answers = [str(answer) for answer in info.differences]
            found[name] = [list(info.shape), str(info.dtype), answers]
        except DeviceError as error:
            found[name] = str(error)
        finally:
            eye.module.close()
    return found


def gone_and_back():
    """Unbind the driver of all cameras for a second, which removes their nodes."""
    LOGGED.clear()
    eye = Eye("/dev/video0", on_loss="continue").prepare()
    eye.start(time.monotonic_ns())
    eye.wait_for(10)
    (DRIVER / "unbind").write_text("vivid.0")
    gone_usec = eye.context.clock.now_usec()
    time.sleep(1.0)
    sent = len(eye.video.items)
    (DRIVER / "bind").write_text("vivid.0")
    subprocess.run(["v4l2-ctl", "-d0", "-c", "timestamp_source=1"], check=False)
    eye.wait_for(sent + 10)
    return eye.stop() | {"gone_usec": gone_usec, "logged": [*LOGGED]}


def names():
    node = Path("/dev/video0")
    listed = V4L2Controls(node)
    try:
        ours = {control.name for control in listed.everything()}
    finally:
        listed.close()
    theirs = v4l2_ctl(node, "--list-ctrls")
    return {
        "cameras": [camera.address for camera in present_cameras()],
        "found": str(find_camera("/dev/video0")),
        "lasting": lasting_name(node),
        "modes": [str(mode) for mode in list_modes(node)],
        "missing controls": [
            line.split()[0]
            for line in theirs.splitlines()
            if any(f"({kind})" in line for kind in SETTABLE) and line.split()[0] not in ours
        ],
    }


if __name__ == "__main__":
    keep_log()
    seen = {
        "names": names(),
        "two": two_at_once(3),
        "controls": controls(),
        "strict": attempt("/dev/video0", contrast=9999, strict=True),
        "formats": formats(),
        "back": gone_and_back(),
    }
    print(json.dumps(seen))
