"""Orders that a board cannot execute as they are: none is dropped or changed without a word."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.support.boards.virtual_run import BENCH, run

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

HEAD = """
import mlink.script as ms
import syntalos_mlink as syl
from mlink.script import ReflexAction

commands = syl.get_output_port("commands")
"""
IDLE = "from mlink_hil.dut import Dut\nclass Idle(Dut):\n    pins = ('a', 'b')\n"
PULSES = BENCH.replace(
    '    { id = "events"', '    { id = "pulses", data_type = "TableRow" },\n    { id = "events"'
).replace('events = "board.events"', 'events = "board.events"\npulses = "board.pulses"')
DUT = 'source = "dut.py:Idle"\nwires = { a = "uno.2", b = "uno.3" }\n'
HIGH = "action=ReflexAction.HIGH"


@pytest.mark.parametrize(
    ("order", "failure"),
    [
        (f"ms.set_reflex(commands, 0, trigger=7, output=7, {HIGH})", "refuses a reflex"),
        ("ms.safe_state(commands, 500, {99: True})", "refuses the safe state"),
        (
            "ms.pulse_train(commands, 9, width_usec=99, period_usec=999, start_usec=1_200_000_000)",
            "cannot begin 20.0 minutes from now",
        ),
    ],
)
def test_a_run_with_a_refused_order_fails_in_words(
    tmp_path: Path, order: str, failure: str
) -> None:
    result, _ = run(tmp_path, DUT, f"{HEAD}def start():\n    {order}\n", IDLE, 0.2)
    assert not result.success
    assert failure in result.failures[0].message


LATE = """
def start():
    syl.get_input_port("pulses").on_data = lambda row: print("pulse", *row)
    syl.schedule_delayed_call(300, begin)

def begin():
    ms.pulse_train(commands, 9, width_usec=500, period_usec=2000, count=20, start_usec=10)
"""


def test_a_train_whose_start_has_passed_keeps_its_widths_and_pauses(tmp_path: Path) -> None:
    bench = PULSES + DUT
    result, observer = run(tmp_path, bench, HEAD + LATE, IDLE, 0.6)
    assert result.success, result.failures
    (row,) = [line.split() for line in observer.text.splitlines() if line.startswith("pulse")]
    first, last = int(row[-2]), int(row[-1])
    assert first > 300_000
    assert abs(last - first - (19 * 2000 + 500)) < 20
    assert sum("start_usec of a train had passed" in line for line in observer.log) == 1
    assert result.reports["board"]["pulse_late_max_usec"] > 299_000


SWITCHED = """
from mlink_hil.dut import Dut

class Idle(Dut):
    pins = ("a", "b")

    def start(self):
        for edge in range(21):
            for pin in self.pins:
                self.set(pin, bool(edge % 2), at_usec=edge * 50_000.0)
"""
BOTH_KINDS = """
def start():
    syl.get_input_port("readings").on_data = lambda reading: print(reading.value)
    syl.HwInputLine(commands, 7).send_mode()
    ms.count_edges(commands, 2, period_msec=50)
"""


def test_a_counter_on_the_port_of_a_line_without_interrupt_disturbs_no_readings(
    tmp_path: Path,
) -> None:
    """Line 7 of a Mega is reported with its port, in which line 2 has a level, too."""
    bench = (BENCH + DUT).replace("virtual:uno", "virtual:mega").replace("analog_lines = [14]", "")
    bench = bench.replace("uno.3", "uno.7") + "[bench]\nstrict = true\n"
    result, observer = run(tmp_path, bench, HEAD + BOTH_KINDS, SWITCHED, 1.2)
    assert result.success, result.failures
    values = observer.text.split()
    assert "board_messages_refused" not in result.reports["board"]
    assert len(values) >= 12
    assert all(value != other for value, other in itertools.pairwise(values))
