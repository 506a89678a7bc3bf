"""In the guest: a worked example's own tests, on devices behind the kernel's USB drivers.

Two simulated boards stand at the far ends of two USB gadgets: the board under test (/dev/ttyACM0)
and a tester (/dev/ttyACM1), with two wires between them. A webcam in user space, which uvcvideo
takes for real, films the light on the first board's line 8. What changes is the devices file alone.

wired_bench.py EXAMPLE CHOSEN [EXAMPLE CHOSEN]…: folders, and which of their tests (as pytest's -k).
Prints the outcomes as one line of JSON.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from mlink_drivers.camera.opencv import cv2
from mlink_hil.scene_led import SceneLed
from mlink_hil.virtual_board import VirtualBoard
from mlink_hil.wiring.lights import DEFAULT_AT, DEFAULT_SIZE
from mlink_hil.wiring.plan import LedPlan
from tests.support.uvc_camera import UvcCamera

GADGETS = Path("/sys/kernel/config/usb_gadget")
LAB = """
[devices]
uno = "/dev/ttyACM0"
tester = "/dev/ttyACM1"
eye = "usb:serial=LIGHT"

[wiring]
"uno.7" = "tester.4"
"uno.8" = "tester.5"

[host]
slow = 40
"""

SIZE = (640, 480)
LIGHT = 8
FRAMERATE_HZ = 10
"""What an emulator can decode beside all the rest; asked for more, the driver takes the nearest."""


class LightCamera(UvcCamera):
    """Films a light that is on while a line of a board is high."""

    def __init__(self, board):
        super().__init__("LIGHT", 0, sizes=(), rates=(FRAMERATE_HZ,))
        self._board = board
        self._pictures = {lit: film(lit) for lit in (False, True)}
        self._lit = False

    def picture(self, size, number):
        """Return the JPEG of what is there now."""
        return self._pictures[self._lit]

    def watch(self):
        """Follow the line; runs in a thread."""
        with VirtualBoard.connect(self._board) as board:
            board.watch([LIGHT])
            self._lit = board.read(LIGHT).level
            while True:
                if edge := board.wait_edge(timeout_sec=1.0):
                    self._lit = edge.level


def film(lit):
    """Return a picture of the light as a JPEG."""
    image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    plan = LedPlan(name="light", control="", pin=LIGHT, at=DEFAULT_AT, size=DEFAULT_SIZE)
    led = SceneLed(plan, image)
    led.draw(image, np.full(led.rows.stop - led.rows.start, float(lit)))
    return cv2.imencode(".jpg", image)[1].tobytes()


def add_camera(board):
    """Plug the webcam in."""
    subprocess.run(["modprobe", "-a", "vhci_hcd", "uvcvideo"], check=True)
    camera = LightCamera(board)
    threading.Thread(target=camera.watch, daemon=True).start()
    camera.plug(0)
    wait_for(lambda: "LIGHT" in " ".join(map(str, Path("/dev/v4l/by-id").glob("*"))))
    subprocess.run(["udevadm", "settle"], check=True)


def add_gadget():
    """Plug in a second USB board, as the rig made the first (see its README)."""
    gadget = GADGETS / "tester"
    for folder in ("strings/0x409", "configs/c.1", "functions/acm.1"):
        (gadget / folder).mkdir(parents=True)
    values = {"idVendor": "0x2341", "idProduct": "0x0043", "bcdDevice": "0x0001"}
    values |= {"strings/0x409/product": "Tester", "strings/0x409/serialnumber": "T1"}
    values |= {"bDeviceClass": "2", "strings/0x409/manufacturer": "mlink"}
    for name, value in values.items():
        (gadget / name).write_text(value)
    (gadget / "configs/c.1/acm.1").symlink_to(gadget / "functions/acm.1")
    (gadget / "UDC").write_text("dummy_udc.1")
    wait_for(Path("/dev/ttyACM1").exists)
    subprocess.run(["stty", "-F", "/dev/ttyGS1", "raw", "-echo"], check=True)


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s")
        time.sleep(0.02)


def start_board(stack, folder, name, far_end):
    """Start a simulated board, and join it to the far end of a USB cable."""
    tty, control = folder / f"{name}.tty", folder / f"{name}.sock"
    command = [sys.executable, "-P", "-m", "mlink_hil.sim.protocol_uno", "--slice-usec", "5000"]
    command += ["--tty-link", str(tty), "--control", str(control)]
    board = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(board.kill)
    assert "ready" in board.stdout.readline()
    cable = subprocess.Popen(["socat", f"OPEN:{tty},rawer", f"OPEN:{far_end},rawer"])
    stack.callback(cable.kill)
    return control


def wire(source, source_pin, target, target_pin):
    """Be a wire: what one board's pin shows, the other's is wired to."""
    with VirtualBoard.connect(source) as ours, VirtualBoard.connect(target) as theirs:
        ours.watch([source_pin])
        theirs.drive(target_pin, ours.read(source_pin).level)
        while True:
            if edge := ours.wait_edge(timeout_sec=1.0):
                theirs.drive(target_pin, edge.level)


def run_tests(folder, example, chosen):
    """Run an example's tests that an expression chooses; return how that went."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "mlink_hil.plugin"]
    command += ["-p", "pytest_timeout", "--timeout=600", "-c", "/dev/null"]
    command += ["-p", "no:cacheprovider", "--mlink-record=never", "--rootdir", example]
    command += ["--mlink-devices", str(folder / "lab.toml"), example, "-k", chosen]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    summary = done.stdout.strip().splitlines()[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", summary)}
    return {"code": done.returncode, "counts": counts, "text": done.stdout + done.stderr}


def main(*examples):
    folder = Path(tempfile.mkdtemp())
    with contextlib.ExitStack() as stack:
        add_gadget()
        uno = start_board(stack, folder, "uno", "/dev/ttyGS0")
        tester = start_board(stack, folder, "tester", "/dev/ttyGS1")
        for ends in ((tester, 4, uno, 7), (uno, 8, tester, 5)):
            threading.Thread(target=wire, args=ends, daemon=True).start()
        add_camera(uno)
        (folder / "lab.toml").write_text(LAB)
        found = {}
        for example, chosen in zip(examples[::2], examples[1::2], strict=True):
            began = time.monotonic()
            found[Path(example).name] = run_tests(folder, example, chosen)
            took = round(time.monotonic() - began, 1)
            print(Path(example).name, took, "s", file=sys.stderr, flush=True)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
