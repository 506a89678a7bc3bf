"""The tests of the worked examples, unchanged, on the kernel's USB, tty and V4L2 drivers.

Only the devices file differs from a run without hardware. The boards and the device under test run
their firmware on this machine; real drivers are between them and the examples.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest

from mlink.bench import load_bench
from tests.rig.desk import ACM, FTDI, Desk, set_up
from tests.rig.rig_runner import GUEST, run_in_rig
from tests.support.hil_examples import BENCHES, counts_of

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1900)]

HOST = """
[host]
slow = 40
"""
WIRES = {"uno.7": "tester.4", "uno.8": "tester.5"}
"""The lines of the button and the LED, and the tester's lines wired to them."""
LAID = {f"wire{n}": {"type": "wire", "ends": ends} for n, ends in enumerate(WIRES.items())}
WIRING = "\n".join(["[wiring]", *(f'"{ours}" = "{theirs}"' for ours, theirs in WIRES.items())])


@dataclass(frozen=True)
class Example:
    """An example: its simulated hardware, its devices file, and the outcomes of its tests."""

    desk: Desk
    lab: str
    outcomes: Mapping[str, int]
    vivid: int = 0
    """Number of cameras of V4L2's test driver."""


def tables(example):
    """Return the [virtual] table of an example's bench."""
    return load_bench(BENCHES / example / "bench.toml").tables["virtual"]


EXAMPLES = {
    "led-follows-button": Example(
        Desk("uno", "tester", LAID),
        f"""
[devices]
uno = "{FTDI}"
tester = "{ACM}"
eye = "/dev/video0"

[modules.cam]
size = [320, 180]
pixel_format = "GREY"
{WIRING}{HOST}""",
        {"passed": 7},
        vivid=1,
    ),
    "camera-sees-light": Example(
        Desk(
            "uno",
            "tester",
            LAID | tables("camera-sees-light"),
            scene="eye",
            lamp=8,
        ),
        f"""
[devices]
uno = "{FTDI}"
tester = "{ACM}"
eye = "usb:serial=DESK"

[modules.cam]
framerate = 5
{WIRING}{HOST}""",
        {"passed": 4},
    ),
    "two-boards": Example(
        Desk("left", "right", tables("two-boards")),
        f"""
[devices]
left = "{FTDI}"
right = "{ACM}"
{HOST}""",
        {"passed": 3, "skipped": 1},  # one looks at both ends of a wire at once
    ),
    "dut-firmware": Example(
        Desk("uno", parts=tables("dut-firmware"), parts_dir=BENCHES / "dut-firmware"),
        f"""
[devices]
uno = "{FTDI}"
{HOST}""",
        {"passed": 3},
    ),
}


def outcomes_in_rig(name, example, folder):
    """Run an example's tests in a guest; return the count of each outcome, and pytest's output."""
    shared = folder / "shared"
    shared.mkdir()
    (shared / "lab.toml").write_text(example.lab)
    output = shared / "pytest.txt"
    output.touch()
    command = [sys.executable, "-P", str(GUEST / "example.py"), str(BENCHES / name), str(shared)]
    with set_up(example.desk, folder, shared) as cables:
        try:
            run_in_rig(
                command,
                timeout_sec=1800,
                cameras=example.vivid,
                writable=[shared],
                ftdi=cables.ftdi,
                cable=cables.acm,
            )
        except AssertionError as error:
            error.add_note(output.read_text())
            raise
        slip_usec = cables.slip_usec()
    text = output.read_text()
    slip = f"On this machine the boards gave up {slip_usec:.0f} µs of real time."
    return counts_of(text), f"{text}\n{slip}"


def long_but(chosen):
    """Return the examples as parameters; all but the chosen one are marked `long`."""
    marks = {name: () if name == chosen else (pytest.mark.long,) for name in EXAMPLES}
    return [pytest.param(name, marks=marks[name], id=name) for name in EXAMPLES]


@pytest.mark.parametrize("name", long_but("camera-sees-light"))
def test_an_examples_tests_pass_on_devices_behind_real_drivers(name, tmp_path):
    outcomes, output = outcomes_in_rig(name, EXAMPLES[name], tmp_path)
    assert outcomes == EXAMPLES[name].outcomes, output


@pytest.mark.long
def test_the_bug_in_the_lamps_firmware_is_found_behind_real_drivers(tmp_path):
    name = "dut-firmware"
    example = EXAMPLES[name]
    parts = deepcopy(dict(example.desk.parts))
    parts["lamp"]["firmware"] = "firmware/lamp-buggy.hex"
    buggy = replace(example, desk=replace(example.desk, parts=parts))
    outcomes, output = outcomes_in_rig(name, buggy, tmp_path)
    assert outcomes["failed"] > 0, output
    assert "switched by press 0 = 3" in output
