"""In the guest: a worked example's own tests, on boards behind the kernel's USB and tty drivers.

Two simulated boards stand at the far ends of two USB gadgets: the board under test (/dev/ttyACM0)
and a tester (/dev/ttyACM1), with two wires between them. What changes is the devices file alone.
Prints the outcome as one line of JSON.
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
LAB = """
[devices]
uno = "/dev/ttyACM0"
tester = "/dev/ttyACM1"
eye = "/dev/video0"

[wiring]
"uno.7" = "tester.4"
"uno.8" = "tester.5"

[host]
slow = 40
"""


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


def main(example, *arguments):
    folder = Path(tempfile.mkdtemp())
    with contextlib.ExitStack() as stack:
        add_gadget()
        uno = start_board(stack, folder, "uno", "/dev/ttyGS0")
        tester = start_board(stack, folder, "tester", "/dev/ttyGS1")
        for ends in ((tester, 4, uno, 7), (uno, 8, tester, 5)):
            threading.Thread(target=wire, args=ends, daemon=True).start()
        (folder / "lab.toml").write_text(LAB)
        command = [sys.executable, "-m", "pytest", "-v", "-p", "mlink_hil.plugin"]
        command += ["-p", "pytest_timeout", "--timeout=600", "-c", "/dev/null"]
        command += ["-p", "no:cacheprovider", "--mlink-record=never", "--rootdir", example]
        command += ["--mlink-devices", str(folder / "lab.toml"), example, *arguments]
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
    found = {"code": done.returncode, "counts": counts, "text": done.stdout + done.stderr}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
