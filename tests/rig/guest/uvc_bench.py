"""In the guest: webcams on the kernel's uvcvideo: addresses, controls, losses, unplugging.

uvc_bench.py FOLDER: a recording is written there. Prints the results as one line of JSON.
"""

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

from typer.testing import CliRunner

from mlink.cli import app
from mlink.errors import DeviceError
from mlink.opencv import cv2
from mlink.types import ControlCommand, ControlCommandKind
from mlink_drivers.camera.backend import CameraRequest, Stamp
from mlink_drivers.camera.contract import CHECKS, Subject
from mlink_drivers.camera.v4l2.camera import V4L2Camera
from mlink_drivers.camera.v4l2.identity import find_camera, lasting_name
from tests.support.bench_runner import BenchRunner
from tests.support.cameras.camera_eye import LOGGED, Eye, keep_log
from tests.support.cameras.uvc_camera import LEVELS, SIZES, UvcCamera

CLOCK = Path("/sys/module/uvcvideo/parameters/clock")
A, B = "usb:serial=CAM-A", "usb:serial=CAM-B"
MJPG = CameraRequest(size=(320, 240), framerate=30, pixel_format="MJPG")
BENCH = """
[bench]
name = "real-drivers"
[modules.webcam]
type = "camera-generic"
device = "usb:serial=CAM-A"
size = [320, 240]
framerate = 15
pixel_format = "MJPG"
on_loss = "continue"
[modules.other]
type = "camera-generic"
device = "/dev/video0"
size = [320, 180]
framerate = 15
[modules.webcam-video]
type = "videorecorder"
video_codec = "mjpeg"
inputs = { frames-in = "webcam.video" }
[modules.other-video]
type = "videorecorder"
video_codec = "mjpeg"
inputs = { frames-in = "other.video" }
[modules.changes]
type = "table"
inputs = { rows = "webcam.changes" }
"""


def wait_until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def plug(camera, port):
    """Plug a camera in and wait until its node can be opened; return the node."""
    name = f"usb:serial={camera.serial}"
    camera.plug(port)
    assert wait_until(lambda: "DeviceError" not in attempt(find_camera, name)), name
    subprocess.run(["udevadm", "settle"], check=True)
    return str(find_camera(name))


def attempt(call, *arguments):
    try:
        return str(call(*arguments))
    except DeviceError as error:
        return f"DeviceError: {error}"


def names(node_a, node_b):
    listed = CliRunner().invoke(app, ["devices", "--modes", "--json"])
    return {
        "nodes": [node_a, node_b],
        "found": {
            spec: attempt(find_camera, spec)
            for spec in (A, B, "usb:1d6b:0102", "usb:path=3-1", "usb:path=3-2", "usb:serial=none")
        },
        "lasting": lasting_name(Path(node_b)),
        "devices": json.loads(listed.stdout),
    }


def contract():
    """Run the checks that every backend must pass; return "kept" or the traceback of each."""
    subject = Subject(V4L2Camera, A, MJPG, absent="usb:serial=none")
    found = {}
    for check in CHECKS:
        try:
            check(subject)
        except Exception:
            found[check.__name__] = traceback.format_exc()
        else:
            found[check.__name__] = "kept"
    return found


def level(frame):
    """Return the number of the camera's picture, and whether it is a red one (camera A)."""
    b, g, r = (float(value) for value in frame.view[::16, ::16].reshape(-1, 3).mean(0))
    return round((max(b, g, r) - 15) / 30) % LEVELS, r > b


def faults(camera, neighbour):
    """Run with missing frames, a silent camera and a pulled cable."""
    LOGGED.clear()
    eye = Eye(A, size=[640, 480], framerate=30, pixel_format="MJPG", strict=True, exposure="auto",
              gain=7, power_line_frequency=60, on_loss="continue")  # fmt: skip
    other = Eye(B, size=[320, 240], framerate=15, pixel_format="MJPG")
    eye.prepare()
    other.prepare()
    seen = {"asked": [*LOGGED], "values": values(camera)}
    t0_ns = time.monotonic_ns()
    eye.start(t0_ns)
    other.start(t0_ns)
    clock = eye.context.clock
    state = eye.module._loss

    eye.wait_for(20)
    camera.skip = 4
    eye.wait_for(45)
    seen["lost"] = eye.module._capture.counts.lost
    seen["before"] = len(eye.video.items)

    command = ControlCommand(ControlCommandKind.CUSTOM, command="exposure=5000")
    eye.context.inputs["control-in"].on_item(command)
    seen["changed"] = values(camera)

    seen["muted_usec"] = clock.now_usec()
    camera.mute.set()
    seen["mute"] = wait_until(lambda: state.lost)
    seen["noticed_usec"] = clock.now_usec()
    camera.mute.clear()
    seen["unmute"] = wait_until(lambda: not state.lost)
    eye.wait_for(len(eye.video.items) + 5)

    camera.unplug()
    seen["pull"] = wait_until(lambda: state.lost)
    seen["stranger"] = plug(neighbour, 4)  # of the same model: it is assigned the free node
    others = len(other.video.items)
    seen["returned"] = plug(camera, 5)
    seen["back"] = wait_until(lambda: not state.lost)
    eye.wait_for(len(eye.video.items) + 10)
    other.wait_for(others + 5)
    seen["values after"] = values(camera)
    seen["pictures"] = [level(frame) for frame in eye.video.items]
    seen["other"] = other.stop()
    seen["other pictures"] = [level(frame)[1] for frame in other.video.items]
    return seen | {"run": eye.stop(), "logged": [*LOGGED], "missed": camera.missed}


def values(camera):
    named = {"mode": (1, 2), "exposure": (1, 4), "gain": (2, 4), "power line": (2, 5)}
    return {name: camera.controls[key].value for name, key in named.items()}


def other_clock():
    """Stamp frames with CLOCK_REALTIME, an option of uvcvideo; return how late they arrive."""
    before = CLOCK.read_text().strip()
    CLOCK.write_text("CLOCK_REALTIME")
    camera = V4L2Camera()
    try:
        info = camera.open(A, MJPG)
        camera.start()
        late = []
        while len(late) < 30:
            stamp = camera.grab()
            if isinstance(stamp, Stamp):
                late.append((time.monotonic_ns() - stamp.time_ns) / 1e6)
    finally:
        camera.close()
        CLOCK.write_text(before)
    return {"source": info.timestamp_source, "late_msec": late, "before": before}


def recording(camera, folder):
    """Record a run of two cameras, one of which is unplugged for a second."""
    runner = BenchRunner(folder).write(BENCH)

    def pull():
        camera.unplug()
        time.sleep(1)
        camera.plug(6)
        wait_until(lambda: "is back after" in runner.watcher.log_text())
        time.sleep(2)
        runner.stop()

    runner.when_running(2.0, pull)
    result = runner.run(60.0)
    return {
        "folder": str(result.recording_dir),
        "success": result.success,
        "failures": [str(failure) for failure in result.failures],
        "reports": result.reports,
        # An emulated camera loses frames by itself; what it delivered has to be recorded.
        "sent": {stream.name: stream.sent - stream.lost_at_source for stream in result.streams},
        "lost": {
            stream.name: sum(each.refused + each.not_taken for each in stream.subscriptions)
            for stream in result.streams
        },
        "log": runner.watcher.log_text(),
    }


if __name__ == "__main__":
    keep_log()
    cv2.setNumThreads(1)
    subprocess.run(["modprobe", "-a", "vhci_hcd", "uvcvideo"], check=True)
    red, blue = UvcCamera("CAM-A", 0), UvcCamera("CAM-B", 120, SIZES[1:])
    stranger = UvcCamera("CAM-C", 120, ())
    seen, took = {}, {}
    steps = {
        "names": lambda: names(plug(red, 0), plug(blue, 1)),
        "contract": contract,
        "faults": lambda: faults(red, stranger),
        "clock": other_clock,
        "recording": lambda: recording(red, Path(sys.argv[1])),
    }
    for name, step in steps.items():
        began = time.monotonic()
        seen[name] = step()
        took[name] = round(time.monotonic() - began, 1)
        print(name, took[name], file=sys.stderr, flush=True)
    print(json.dumps(seen | {"took": took}))
