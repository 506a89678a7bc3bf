"""In the guest: what the kernel knows of a camera's frames, and what becomes of it.

vivid drops and damages buffers, and refuses calls, when its controls ask for it. Prints the results
as one line of JSON; "took" has the seconds of each step.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mlink.opencv import cv2
from mlink_drivers.camera.backend import CameraRequest, Stamp
from mlink_drivers.camera.v4l2.camera import V4L2Camera
from mlink_drivers.camera.v4l2.ioctl import fourcc_name
from mlink_drivers.camera.v4l2.modes import list_modes
from mlink_drivers.camera.v4l2.pictures import COMPRESSED, RAW
from tests.support.cameras.camera_eye import LOGGED, Eye, attempt, keep_log

NODE = "/dev/video0"
SMALL = (320, 180)
GREEN, NO_TEXT = 8, 2
FRAMES = 40


def control(**values):
    for name, value in values.items():
        subprocess.run(["v4l2-ctl", "-d", NODE, "-c", f"{name}={value}"], check=True)


def running(**settings):
    LOGGED.clear()
    eye = Eye(NODE, **settings).prepare()
    eye.start(time.monotonic_ns())
    eye.wait_for(5)
    return eye


def stopped(eye):
    began = time.monotonic()
    seen = eye.stop()
    return seen | {"stop_sec": time.monotonic() - began, "logged": [*LOGGED]}


def more(eye, count):
    eye.wait_for(len(eye.video.items) + count, 20)


def dropped():
    """Let vivid drop half of its buffers for a while."""
    eye = running()
    control(percentage_of_dropped_buffers=50)
    more(eye, 40)
    control(percentage_of_dropped_buffers=0)
    more(eye, 10)
    return stopped(eye)


def wrapped():
    """Let the driver's 32-bit numbers overflow."""
    control(wrap_sequence_number=1)
    try:
        eye = running()
        more(eye, 150)
        return stopped(eye)
    finally:
        control(wrap_sequence_number=0)


def damaged():
    """Let vivid mark three buffers as damaged, and refuse one that it is given back."""
    eye = running()
    for _ in range(3):
        control(inject_v4l2_buf_flag_error=1)
        more(eye, 5)
    control(inject_vidioc_qbuf_error=1)
    more(eye, 20)
    return stopped(eye)


def failed(on_loss):
    """Let vivid report that the stream has failed for good."""
    eye = running(on_loss=on_loss)
    control(inject_fatal_streaming_error=1)
    if on_loss == "continue":
        more(eye, 10)
    else:
        eye.context.failed.wait(20)
    return stopped(eye)


def silent():
    """Stop a run whose camera is silent."""
    eye = running(silence_limit=60.0)
    control(percentage_of_dropped_buffers=100)
    time.sleep(2)
    try:
        return stopped(eye)
    finally:
        control(percentage_of_dropped_buffers=0)


def refused():
    """Open the camera while vivid refuses a call, while it is in use, and afterwards."""
    found = {}
    for name in ("inject_vidioc_reqbufs_error", "inject_vidioc_streamon_error"):
        control(**{name: 1})
        found[name] = attempt(NODE)
    other = subprocess.Popen(["v4l2-ctl", "-d", NODE, "--stream-mmap"], stderr=subprocess.PIPE)
    try:
        assert other.stderr.read(1)  # a sign for each frame
        found["busy"] = attempt(NODE)
    finally:
        other.kill()
        other.wait()
    found["format"] = attempt(NODE, pixel_format="HSV3")
    found["free"] = attempt(NODE)
    return found


def first_picture(**request):
    """Return what a camera delivers, and its first picture."""
    camera = V4L2Camera()
    try:
        info = camera.open(NODE, CameraRequest(size=SMALL, framerate=60, **request))
        camera.start()
        while not isinstance(camera.grab(), Stamp):
            pass
        picture = np.zeros(info.shape, info.dtype)
        assert camera.retrieve(picture)
    finally:
        camera.close()
    return info, picture


def colours():
    """Film plain green in each format; return the pictures' shape, type and middle."""
    control(test_pattern=GREEN, osd_text_mode=NO_TEXT)
    offered = {mode.pixel_format for mode in list_modes(NODE)}
    found = {}
    for name in RAW:
        if name in offered and len(name) == 4:
            info, picture = first_picture(pixel_format=name)
            middle = np.atleast_1d(picture[90, 160]).tolist()
            found[name] = [list(info.shape), str(info.dtype), middle, len(info.differences)]
    control(test_pattern=0)
    return found


def unconverted():
    """Compare pictures in the camera's layout with the bytes that v4l2-ctl has from it."""
    control(osd_text_mode=NO_TEXT)
    found = {}
    for name in ("YUYV", "NV12", "GREY", "Y10 ", "Y16 ", "RGGB", "RG10", "BGR3"):
        info, picture = first_picture(pixel_format=name, convert=False)
        file = Path("/tmp/frame")
        size = f"width={SMALL[0]},height={SMALL[1]},pixelformat={name}"
        subprocess.run(
            ["v4l2-ctl", "-d", NODE, "-v", size, "--stream-mmap", "--stream-count=1",
             "--stream-skip=2", f"--stream-to={file}"],
            check=True, capture_output=True,
        )  # fmt: skip
        found[name] = [
            list(info.shape), str(info.dtype), info.pixel_format,
            picture.tobytes() == file.read_bytes(),
        ]  # fmt: skip
    return found


def typical_usec(take_frame):
    """Return the processor time of a frame in µs: of the quickest quarter, since the host's other
    work counts in a guest too."""
    used = []
    for _ in range(FRAMES):
        began = time.process_time_ns()
        take_frame()
        used.append(time.process_time_ns() - began)
    return sorted(used)[FRAMES // 4] / 1000


def bare(name, size):
    """Return the processor time per frame of a loop with OpenCV alone, in µs."""
    capture = cv2.VideoCapture(NODE, cv2.CAP_V4L2)
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*name))
    if name == "GREY":
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_FPS, 60)

    def take_frame():
        assert capture.grab()
        assert capture.retrieve()[0]

    used = typical_usec(take_frame)
    assert fourcc_name(int(capture.get(cv2.CAP_PROP_FOURCC))) == name
    capture.release()
    return used


def ours(name, size):
    """Return the processor time per frame of the backend, in µs."""
    camera = V4L2Camera()
    info = camera.open(NODE, CameraRequest(size=size, framerate=60, pixel_format=name))
    picture = np.zeros(info.shape, info.dtype)
    camera.start()

    def take_frame():
        assert isinstance(camera.grab(), Stamp)
        assert camera.retrieve(picture)

    used = typical_usec(take_frame)
    camera.close()
    return used


def cost():
    """Return the processor time per frame of OpenCV's loop and of ours, by format."""
    cv2.setNumThreads(1)
    size = (1920, 1080)
    found = {}
    for name in ("YUYV", "GREY", "BGR3"):
        rounds = [(bare(name, size), ours(name, size)) for _ in range(2)]
        found[name] = [min(each) for each in zip(*rounds, strict=True)]
    return found


def multi_planar():
    """Load vivid again, as a driver with several planes in a buffer."""
    subprocess.run(["modprobe", "-r", "vivid"], check=True)
    subprocess.run(
        ["modprobe", "vivid", "n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x0",
         "multiplanar=2"],
        check=True,
    )  # fmt: skip
    subprocess.run(["udevadm", "settle"], check=True)
    control(timestamp_source=1)
    eye = running(pixel_format="NV12")
    more(eye, 10)
    shape = list(eye.video.items[-1].view.shape)
    return stopped(eye) | {"shape": shape, "refusal": attempt(NODE, pixel_format="NM12")}


STEPS = {
    "dropped": dropped,
    "wrapped": wrapped,
    "damaged": damaged,
    "failed": lambda: failed("stop"),
    "failed, continued": lambda: failed("continue"),
    "silent": silent,
    "refused": refused,
    "colours": colours,
    "unconverted": unconverted,
    "cost": cost,
    "multi-planar": multi_planar,
}

if __name__ == "__main__":
    keep_log()
    assert not set(COMPRESSED) & set(RAW)
    seen, took = {}, {}
    for name in sys.argv[1:] or [step for step in STEPS if step != "cost"]:
        began = time.monotonic()
        seen[name] = STEPS[name]()
        took[name] = round(time.monotonic() - began, 1)
        print(name, took[name], file=sys.stderr, flush=True)
    print(json.dumps(seen | {"took": took}))
