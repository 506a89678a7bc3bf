"""Steppers, tone and echo ranging on the simulated Uno: the examples of the docs."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import mlink.script as ms
from mlink.errors import ModuleError
from mlink_drivers.firmata.lines.rows import STEPPERS_HEADER
from mlink_hil.sim.fetch_firmware import is_cached
from tests.support.boards.chip_bench import Port, chip_bench, wait_until
from tests.support.boards.virtual_run import BENCH, printed
from tests.unit.test_docs import python_block

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

STAGE = """source = "dut.py:Stage"
wires = { step = "uno.4", direction = "uno.5", switch = "uno.6", level = "uno.A0" }
"""


def test_the_example_of_the_docs_finds_its_switch_and_arrives_in_time(tmp_path: Path) -> None:
    script = python_block("docs/boards.md", "# stage.py")
    script += "\n    if event == 'limit-low':\n        began.append(int(time_usec))\n"
    script += "    else:\n        print('took', int(time_usec) - began[0])\n"
    dut = python_block("docs/hil.md", "# stage_dut.py")
    text = printed(tmp_path, STAGE, f"began = []\n{script}", dut, 2.5)
    assert re.search(r"limit-low -200 at \d+\n", text), text
    assert re.search(r"moved 900 at \d+\n", text), text
    (took,) = re.findall(r"took (\d+)", text)
    # From the switch to the order some ms pass: the row has to come, and the order to go.
    due_usec = (900 / 1500 + 1500 / 4000) * 1e6
    assert 0 < int(took) - due_usec < 12_000


SCAN = """
import mlink.script as ms
import syntalos_mlink as syl

commands = syl.get_output_port("commands")
readings = syl.get_input_port("readings")
steppers = syl.get_input_port("steppers")

def start():
    readings.on_data = lambda reading: levels.append(reading.value)
    steppers.on_data = lambda row: print(*row[2:6])
    ms.stepper(commands, step=4, direction=5, acceleration=4000, position=200, period_msec=50)
    flags = syl.LineModeFlags.IS_INPUT
    commands.submit(syl.LineCommand(syl.LineCommandKind.SET_MODE, 14, flags=flags))
    ms.move_to(commands, 700, speed=1000)

levels = []

def stop():
    print("levels", *levels)
"""


def test_a_motor_with_a_potentiometer(tmp_path: Path) -> None:
    dut = python_block("docs/hil.md", "# stage_dut.py")
    text = printed(tmp_path, "settings = { position = 200 }\n" + STAGE, SCAN, dut, 1.2)
    (levels,) = re.findall(r"levels (.*)", text)
    values = [int(value) for value in levels.split()]
    assert values == sorted(values)
    assert abs(values[0] - 1024 * 0.2) <= 2
    assert abs(values[-1] - 1024 * 0.7) <= 2
    assert len(set(values)) > 20
    rows = [line.split() for line in text.splitlines() if line.startswith("mov")]
    assert rows[-1] == ["moved", "700", "700", "0"]
    assert any(row[0] == "moving" and abs(float(row[3]) - 1000) < 1 for row in rows), rows


SONAR = """
from pathlib import Path
from mlink_hil.dut import Dut

class Sonar(Dut):
    '''Its echo is at 500 mm; it listens to a pulse of 9 to 12 µs only.'''
    pins = ("trigger", "echo", "speaker")
    rose = edges = None

    def start(self):
        self.set("echo", False)
        self.edges = []

    def on_edge(self, pin, level, now_usec):
        if pin == "speaker":
            self.edges.append(now_usec)
            Path(__file__).with_name("edges").write_text(repr(self.edges))
        elif pin == "trigger" and level:
            self.rose = now_usec
        elif pin == "trigger" and 9 <= now_usec - self.rose <= 14:
            self.set("echo", True, 200)
            self.set("echo", False, at_usec=now_usec + 200 + 1000 / 0.343)
"""


def test_the_example_of_the_docs_measures_a_distance_and_sounds(tmp_path: Path) -> None:
    script = python_block("docs/boards.md", "# bat.py")
    wires = 'source = "dut.py:Sonar"\nwires = { trigger = "uno.9", echo = "uno.7" }\n'
    dut = SONAR.replace('"echo", "speaker")', '"echo")')
    text = printed(tmp_path, wires, script, dut, 1.0)
    found = [(int(mm), int(usec)) for mm, usec in re.findall(r"(\d+) mm, (\d+) µs", text)]
    assert len(found) >= 8
    assert all(abs(mm - 500) <= 1 and abs(usec - 2915) <= 6 for mm, usec in found), found


def test_a_tone_has_its_frequency_and_its_length(tmp_path: Path) -> None:
    script = python_block("docs/boards.md", "# bat.py")
    wires = 'source = "dut.py:Sonar"\nwires = { trigger = "uno.9", speaker = "uno.8" }\n'
    printed(tmp_path, wires, script, SONAR, 0.5)
    edges = json.loads((tmp_path / "edges").read_text())
    assert len(edges) == 2 * 88  # 200 ms of 440 Hz
    widths = [after - before for before, after in itertools.pairwise(edges)]
    assert 1136 - 6 < min(widths) <= max(widths) < 1137 + 6


def rows(bench: Any) -> list[dict[str, str]]:
    return [dict(zip(STEPPERS_HEADER, row, strict=True)) for row in bench.rows("steppers")]


def events(bench: Any) -> list[tuple[str, str]]:
    return [(row["event"], row["position"]) for row in rows(bench)]


def test_stops_another_use_and_times(tmp_path: Path) -> None:
    with chip_bench(tmp_path) as (bench, _board):
        ms.stepper(Port(bench), step=4, direction=5, acceleration=50_000, position=7)
        ms.move_to(Port(bench), 27, speed=2000)
        wait_until(lambda: events(bench) == [("moved", "27")], lambda: rows(bench))
        (row,) = rows(bench)
        assert (row["target"], row["speed_hz"], row["stepper"]) == ("27", "0", "0")
        assert 0 < int(row["uncertainty_usec"]) < 2000
        ms.move_to(Port(bench), -10_000, speed=500)
        ms.stop_stepper(Port(bench))
        wait_until(lambda: events(bench)[-1][0] == "stopped", lambda: rows(bench))
        ms.move_to(Port(bench), 10_000, speed=500)
        ms.pulse_train(Port(bench), 4, width_usec=500, period_usec=2000, count=1)
        wait_until(lambda: events(bench)[-1][0] == "ended", lambda: rows(bench))
        ms.move_to(Port(bench), 0, speed=500)
        failure = bench.failure()
        assert "stepper 0 is not set" in failure
        bench.context.failures.clear()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (lambda port: ms.stepper(port, index=1, step=4, direction=5, acceleration=9), "stepper 0"),
        (lambda port: ms.stepper(port, step=4, direction=1, acceleration=9), "line 1"),
        (lambda port: ms.move_to(port, 5, speed=9), "is not set"),
        (lambda port: ms.stop_stepper(port, 3), "is not set"),
    ],
)
def test_what_the_board_cannot_do_fails_the_run_in_words(
    tmp_path: Path, order: Any, words: str
) -> None:
    with chip_bench(tmp_path) as (bench, _board):
        order(Port(bench))
        assert words in bench.failure()
        bench.context.failures.clear()


@pytest.mark.skipif(not is_cached(), reason="StandardFirmata's image is not on this machine")
def test_another_firmware_is_refused_in_words(tmp_path: Path) -> None:
    with chip_bench(tmp_path, "standard") as (bench, _board):
        ms.stepper(Port(bench), step=4, direction=5, acceleration=1000)
        failure = bench.failure()
        assert "no steppers" in failure
        assert "mlink flash" in failure
        bench.context.failures.clear()


class Sink:
    def submit(self, command: Any) -> None: ...


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: ms.stepper(p, acceleration=1000), "either step=… and direction=…"),
        (lambda p: ms.stepper(p, acceleration=1000, coils=[1, 2, 3]), "four lines"),
        (lambda p: ms.stepper(p, acceleration=1000, step=4, direction=4), "twice"),
        (lambda p: ms.stepper(p, acceleration=9, step=4, direction=5, limit_low=4), "twice"),
        (lambda p: ms.stepper(p, acceleration=0, step=4, direction=5), "acceleration cannot be 0"),
        (lambda p: ms.stepper(p, acceleration=math.nan, step=4, direction=5), "be nan"),
        (lambda p: ms.stepper(p, acceleration="9", step=4, direction=5), "be '9'"),
        (
            lambda p: ms.stepper(p, acceleration=9, step=4, direction=5, position=1 << 30),
            "position",
        ),
        (lambda p: ms.stepper(p, acceleration=9, step=4.5, direction=5), "be 4.5"),
        (lambda p: ms.move_to(p, 1.5, speed=100), "position cannot be 1.5"),
        (lambda p: ms.move_to(p, 1, speed=9000), "0.25 to 5000"),
        (lambda p: ms.stop_stepper(None), "needs an output port"),
        (lambda p: ms.tone(p, 8, 20_000), "hz cannot be 20000"),
        (lambda p: ms.tone(p, 8, 440, duration_msec=0), "duration_msec cannot be 0"),
        (lambda p: ms.EchoRanging(p, trigger=7, echo=7), "both trigger and echo"),
        (lambda p: ms.EchoRanging(None, trigger=7, echo=8), "needs an output port"),
        (lambda p: ms.EchoRanging(p, trigger=7, echo=8).ping(0), "width_usec cannot be 0"),
    ],
)
def test_bad_arguments_are_errors_in_words(call: Any, words: str) -> None:
    with pytest.raises(ModuleError, match=re.escape(words)):
        call(Sink())


LOST = """
import mlink.script as ms
import syntalos_mlink as syl

commands = syl.get_output_port("commands")
steppers = syl.get_input_port("steppers")

def start():
    steppers.on_data = lambda row: print(*row[2:6])
    ms.stepper(commands, step=4, direction=5, acceleration=4000, period_msec=50)
    ms.move_to(commands, 100_000, speed=1000)

def run():
    syl.wait(1400)
    ms.move_to(commands, 1000, speed=2000)  # the board knows its stepper again
    while syl.is_running():
        syl.wait(100)
"""


def test_a_board_that_is_back_moves_nothing_and_knows_its_stepper(tmp_path: Path) -> None:
    fault = '[[faults]]\nat_sec = 0.5\nfor_sec = 0.3\nkind = "unplug"\ntarget = "uno"\n'
    bench = BENCH.replace('device = "uno"\n', 'device = "uno"\non_loss = "continue"\n')
    bench = bench.replace("[virtual.dut]", f"{fault}[virtual.dut]")
    dut = python_block("docs/hil.md", "# stage_dut.py")
    text = printed(tmp_path, bench + STAGE, LOST, dut, 3.0)
    seen = [line.split() for line in text.splitlines()]
    names = [row[0] for row in seen]
    lost = names.index("lost")
    assert set(names[:lost]) == {"moving"}
    assert names[-1] == "moved"
    assert seen[-1][1:3] == ["1000", "1000"]
    before, again = int(seen[lost][1]), int(seen[lost + 1][1])
    assert 200 < before == int(seen[lost - 1][1])
    assert before <= again < before + 250  # it began from the last reported position


FAR = """
import mlink.script as ms
import syntalos_mlink as syl

FAR = (1 << 30) - 1
commands = syl.get_output_port("commands")
steppers = syl.get_input_port("steppers")

def start():
    steppers.on_data = on_row
    ms.stepper(commands, step=4, direction=5, acceleration=4000, position=FAR - 3)
    ms.move_to(commands, FAR, speed=1000)

def on_row(row):
    print(row[2], int(row[3]) - FAR)
    if row[2] == "moved":
        ms.move_to(commands, -FAR, speed=1000)

def run():
    syl.wait(500)
    ms.stop_stepper(commands, at_once=True)
    syl.wait(100)
"""


def test_the_farthest_positions_are_reached_and_left_in_the_right_direction(tmp_path: Path) -> None:
    dut = "from mlink_hil.dut import Dut\n\nclass Dut(Dut):\n    pass\n"
    bench = BENCH.split("[virtual.dut]")[0]
    moved, stopped = printed(tmp_path, bench, FAR, dut, 1).splitlines()
    assert moved == "moved 0"
    how, steps = stopped.split()
    assert how == "stopped"
    assert -500 < int(steps) < 0
