"""In the guest: all tests of an example, on the kernel's USB serial and V4L2 drivers.

The boards are simulated outside (`tests/rig/desk.py`): one behind /dev/ttyUSB0, one behind standard
input and output, which are connected to /dev/ttyACM0 here. A webcam films the lamp: the lamp's file
selects one of two pictures.

example.py FOLDER SHARED: SHARED has lab.toml and, for a webcam, dark.jpg, lit.jpg and lamp. The
output of pytest is written there, as pytest.txt. Exits with 0 if the tests ran, passed or not.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.cameras.uvc_camera import UvcCamera

CAMERA_RATES = (30, 5)
PASSED, FAILED = 0, 1
"""Exit statuses of pytest."""


class LampCamera(UvcCamera):
    """A webcam that films a lamp."""

    def __init__(self, folder):
        self._pictures = [(folder / name).read_bytes() for name in ("dark.jpg", "lit.jpg")]
        self._lamp = os.open(folder / "lamp", os.O_RDONLY)
        super().__init__("DESK", 0, sizes=(), rates=CAMERA_RATES)

    def picture(self, size, number):
        return self._pictures[int(os.pread(self._lamp, 1, 0) or 0)]


def wait_for(path, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {path}")
        time.sleep(0.05)


def run_tests(example, shared):
    """Run the tests of an example as a user would, but without plugins that cost time."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "mlink_hil.plugin"]
    command += ["-p", "pytest_timeout", "--timeout=900", "-c", "/dev/null", "--durations=0"]
    command += ["-p", "no:cacheprovider", "--rootdir", example, example]
    command += ["--mlink-devices", str(shared / "lab.toml")]
    with (shared / "pytest.txt").open("w") as output:
        status = subprocess.run(
            command,
            cwd="/tmp",
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    return 0 if status in (PASSED, FAILED) else status


def main(example, shared):
    with contextlib.ExitStack() as stack:
        cable = subprocess.Popen(["socat", "STDIO", "OPEN:/dev/ttyGS0,rawer"])
        stack.callback(cable.kill)
        if (shared / "lit.jpg").exists():
            subprocess.run(["modprobe", "-a", "vhci_hcd", "uvcvideo"], check=True)
            LampCamera(shared).plug(0)
            wait_for("/dev/video0")
        wait_for("/dev/ttyUSB0")
        subprocess.run(["udevadm", "settle"], check=True)
        return run_tests(example, shared)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
