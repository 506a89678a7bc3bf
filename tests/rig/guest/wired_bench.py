"""In the guest: worked examples' own tests, on devices behind the kernel's drivers.

Two simulated boards stand at the far ends of two USB gadgets (/dev/ttyACM0 and 1), with two wires
between them: the board under test and a tester, or the two of the example. A camera of V4L2's
vivid driver films the light on the first board's line 8: a grey that is bright while it is high.
What changes is the devices file, in which the camera runs as fast as an emulator can do it.

wired_bench.py FOLDER CHOSEN [FOLDER CHOSEN]…: examples, and which of their tests (pytest's -k).
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

from mlink_hil.virtual_board import VirtualBoard

GADGETS = Path("/sys/kernel/config/usb_gadget")
CAMERA = "/dev/video0"
LIGHT_LINE = 8
DARK, BRIGHT = 0, 255
"""vivid's brightness control."""
FIRST, SECOND = "/dev/ttyACM0", "/dev/ttyACM1"

TESTED = (
    f"""
[devices]
uno = "{FIRST}"
tester = "{SECOND}"
eye = "{CAMERA}"

[modules.cam]
framerate = 5

[wiring]
"uno.7" = "tester.4"
"uno.8" = "tester.5"

[host]
slow = 40
""",
    (("second", 4, "first", 7), ("first", 8, "second", 5)),
)
BOTH = (
    f"""
[devices]
left = "{FIRST}"
right = "{SECOND}"

[host]
slow = 40
""",
    (("first", 4, "second", 2), ("second", 8, "first", 7)),
)
DESKS = {"led-follows-button": TESTED, "camera-sees-light": TESTED, "two-boards": BOTH}
"""Example → its devices file, and the wires: source, its line, target, its line."""


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
    wait_for(Path(SECOND).exists)
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


def follow(board, line, tell, until):
    """Tell the level that a board's line has, and each that it gets; runs in a thread."""
    with VirtualBoard.connect(board) as watched:
        watched.watch([line])
        tell(watched.read(line).level)
        while not until.is_set():
            if edge := watched.wait_edge(timeout_sec=1.0):
                tell(edge.level)


@contextlib.contextmanager
def desk(boards, wires):
    """Lay wires between the boards, and let the camera see the first one's light."""
    over = threading.Event()

    def wire(source, source_line, target, target_line):
        with VirtualBoard.connect(boards[target]) as theirs:
            try:
                follow(
                    boards[source], source_line, lambda high: theirs.drive(target_line, high), over
                )
            finally:
                theirs.drive(target_line, None)

    def light():
        follow(boards["first"], LIGHT_LINE, shine, over)

    threads = [threading.Thread(target=wire, args=ends) for ends in wires]
    threads.append(threading.Thread(target=light))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def shine(bright):
    v4l2_ctl(f"--set-ctrl=brightness={BRIGHT if bright else DARK}")


def v4l2_ctl(option):
    subprocess.run(["v4l2-ctl", "-d", CAMERA, option], check=True, stdout=subprocess.DEVNULL)


def run_tests(folder, example, chosen):
    """Run an example's tests that an expression chooses; return how that went."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "mlink_hil.plugin"]
    command += ["-p", "pytest_timeout", "--timeout=600", "-c", "/dev/null"]
    command += ["-p", "no:cacheprovider", "--mlink-record=never", "--rootdir", example]
    command += ["--mlink-devices", str(folder / "lab.toml"), example, "-k", chosen]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = round(time.monotonic() - began, 1)
    print(f"{Path(example).name}: {took_s} s\n{done.stdout}", file=sys.stderr, flush=True)
    summary = done.stdout.strip().splitlines()[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", summary)}
    return {"code": done.returncode, "counts": counts, "text": done.stdout + done.stderr}


def main(*examples):
    folder = Path(tempfile.mkdtemp())
    found = {}
    with contextlib.ExitStack() as stack:
        add_gadget()
        v4l2_ctl("--set-ctrl=test_pattern=5")  # black, which brightness makes grey
        boards = {
            "first": start_board(stack, folder, "first", "/dev/ttyGS0"),
            "second": start_board(stack, folder, "second", "/dev/ttyGS1"),
        }
        for example, chosen in zip(examples[::2], examples[1::2], strict=True):
            name = Path(example).name
            lab, wires = DESKS[name]
            (folder / "lab.toml").write_text(lab)
            with desk(boards, wires):
                found[name] = run_tests(folder, example, chosen)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
