"""A real bench: what tests drive and watch are a tester's lines, wired to the board's own."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from mlink.cli import app
from tests.support.hil_examples import copy_example, run_pytest

LAB = """
[devices]
uno = "virtual:uno?simulator=protocol"
tester = "virtual:uno?simulator=protocol"
eye = "virtual:scene"

[wiring]
"uno.7" = "tester.4"
"uno.8" = "tester.5"
"""

WIRES = '''
"""Two wires between the virtual boards, as they are made of copper on a real bench."""
import threading
import pytest
from mlink_hil.control.board import VirtualBoard

@pytest.fixture(autouse=True)
def wires(bench):
    folder, ending = bench.run.engine.work_dir, threading.Event()
    def wire(source, source_pin, target, target_pin):
        with VirtualBoard.connect(folder / f"{source}.sock") as a, VirtualBoard.connect(
            folder / f"{target}.sock"
        ) as b:
            a.watch([source_pin])
            b.drive(target_pin, a.read(source_pin).level)
            while not ending.is_set():
                if edge := a.wait_edge(timeout_sec=0.02):
                    b.drive(target_pin, edge.level)
    threads = [
        threading.Thread(target=wire, args=("tester", 4, "uno", 7)),
        threading.Thread(target=wire, args=("uno", 8, "tester", 5)),
    ]
    for thread in threads:
        thread.start()
    bench.wait(0.1)
    yield
    ending.set()
    for thread in threads:
        thread.join()
'''

TEST = """
import pytest
from mlink_hil.testing import edge
pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies"))

def test_pressing_lights_the_led(bench, board):
    assert board.name == "uno"
    for _ in range(5):
        press = board.line(7).drive(False)
        lit = bench.expect(edge(8, rising=True), within_usec=20_000_000, after=press)
        assert lit.channel == "tester.fmdata.5"
        assert lit.early_usec > 1000
        let_go = board.line(7).release()
        bench.expect(edge(8, rising=False), within_usec=20_000_000, after=let_go)
    bench.measure("press to light", lit.since(press), at_most=20_000_000)
"""


def test_the_same_test_runs_over_a_tester_board(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    (folder / "test_led.py").write_text(TEST)
    (folder / "conftest.py").write_text(WIRES)
    (folder / "lab.toml").write_text(LAB)
    lab = folder / "lab.toml"
    real = "--mlink-time=real"  # the wires are threads
    outcome = run_pytest(folder, f"--mlink-devices={lab}", "--mlink-record=never", real)
    assert outcome.code == 0, outcome.text
    assert outcome.counts == {"passed": 1}


def test_mlink_run_takes_the_devices_file_of_the_tests(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "led-follows-button")
    (folder / "lab.toml").write_text(LAB)
    arguments = ["--for", "0.3", "--no-record", "--json", "--devices", str(folder / "lab.toml")]
    ended = CliRunner().invoke(app, ["run", str(folder), *arguments])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["success"]
