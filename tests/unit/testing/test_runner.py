"""`ScriptRunner`: scripts in plain tests. The worked example of docs/scripting.md runs here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syntalos_mlink as syl
from mlink.errors import BenchError, ScriptError, StreamError
from mlink.testing import ScriptRunner
from tests.support import ROOT
from tests.support.scripts import MakeRunner, runners

DOCS = ROOT / "docs/scripting.md"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeRunner]:
    with runners(tmp_path) as made:
        yield made


def test_the_worked_example_of_the_docs_passes(tmp_path: Path) -> None:
    for name in ("reward.py", "test_reward.py"):
        block = re.search(rf"```python\n# {name}\n(.*?)```", DOCS.read_text(), re.DOTALL)
        assert block is not None
        (tmp_path / name).write_text(block[1])
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
            "--basetemp",
            tmp_path / "inner",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


ECHO = """
rows = syl.get_output_port("rows-out")
def echo(row):
    rows.submit([syl.time_since_start_usec(), *row])
syl.get_input_port("rows-in").on_data = echo
"""


class TestTime:
    def test_starts_at_zero_and_moves_only_in_run_for(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        assert runner.time_usec == 0
        runner.run_for(1_500)
        runner.feed("rows-in", ["a"])
        runner.run_for(0)
        assert runner.time_usec == 1_500
        assert runner.sent("rows-out") == [["1500", "a"]]

    def test_an_hour_takes_no_time(self, make: MakeRunner) -> None:
        runner = make("def run():\n    while syl.is_running():\n        syl.wait_sec(1)\n")
        runner.start()
        began = time.process_time()
        runner.run_for(3_600_000_000)
        assert time.process_time() - began < 5

    def test_items_arrive_in_the_order_of_their_times(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        for at in (300, 100, 200):
            runner.feed("rows-in", [at], at_usec=at)
        runner.start()
        runner.run_for(250)
        assert runner.sent("rows-out") == [["100", "100"], ["200", "200"]]

    def test_start_and_stop_may_wait(self, make: MakeRunner) -> None:
        runner = make("def start(): syl.wait(20)")
        runner.start()
        assert runner.time_usec == 20_000

    def test_cannot_move_back(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        runner.run_for(10)
        with pytest.raises(BenchError, match="cannot move back"):
            runner.run_for(-1)
        with pytest.raises(BenchError, match="5 µs has passed"):
            runner.feed("rows-in", ["a"], at_usec=5)


class TestWhatWasSent:
    def test_take_gives_what_is_new(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        runner.feed("rows-in", ["a"])
        assert runner.take("rows-out") == [["0", "a"]]
        runner.feed("rows-in", ["b"])
        assert runner.take("rows-out") == [["0", "b"]]
        assert runner.take("rows-out") == []

    def test_can_be_looked_at_after_the_stop(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        runner.feed("rows-in", ["a"])
        runner.stop()
        assert runner.sent("rows-out") == [["0", "a"]]

    def test_frames_are_copies(self, make: MakeRunner) -> None:
        runner = make(
            """
            out = syl.get_output_port("frames-out")
            def paint(frame):
                frame.mat[:] = 0
                out.submit(frame)
                frame.mat[:] = 9
            syl.get_input_port("frames-in").on_data = paint
            """
        )
        runner.start()
        frame = syl.Frame()
        frame.mat = np.full((2, 2), 5, np.uint8)
        runner.feed("frames-in", frame)
        assert runner.sent("frames-out")[0].view.max() == 0
        assert frame.mat.min() == 5


class TestFeed:
    def test_item_of_another_type_is_refused(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        with pytest.raises(StreamError, match="Frame was submitted to a port of type LineReading"):
            runner.feed("readings-in", syl.Frame())

    def test_unknown_port_proposes_the_nearest(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        runner.start()
        for wrong in (lambda: runner.feed("row-in", [1]), lambda: runner.sent("row-out")):
            with pytest.raises(BenchError, match="Did you mean 'rows-"):
                wrong()

    def test_firmata_data_may_be_fed(self, make: MakeRunner) -> None:
        runner = make(
            "seen = []\nsyl.get_input_port('in').on_data = seen.append",
            inputs={"in": "FirmataData"},
            outputs={},
        )
        runner.start()
        data = syl.FirmataData()
        data.pin_id = 7
        runner.feed("in", data)
        assert runner.globals["seen"][0].pin_id == 7


class TestLife:
    def test_out_of_order_is_refused(self, make: MakeRunner) -> None:
        runner = make(ECHO)
        with pytest.raises(BenchError, match=r"call start\(\)"):
            runner.run_for(1)
        runner.start()
        with pytest.raises(BenchError, match="runs already"):
            runner.start()
        runner.stop()
        with pytest.raises(BenchError, match="closed"):
            runner.stop()
        with pytest.raises(BenchError, match="ended"):
            runner.run_for(1)

    def test_with_stops_at_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "script.py"
        path.write_text("ended = False\ndef stop():\n    global ended\n    ended = True\n")
        with ScriptRunner(path) as runner:
            runner.start()
        assert runner.globals["ended"]

    def test_failure_is_raised_where_it_happens(self, make: MakeRunner) -> None:
        runner = make("def later(): 1 / 0\ndef start(): syl.schedule_delayed_call(5, later)")
        runner.start()
        runner.run_for(4_999)
        with pytest.raises(ScriptError, match="ZeroDivisionError"):
            runner.run_for(1)
        assert not runner.is_running
        with pytest.raises(BenchError, match="ended"):
            runner.feed("rows-in", ["a"])

    def test_only_one_script_at_a_time(self, make: MakeRunner) -> None:
        make("").prepare()
        with pytest.raises(ScriptError, match="Close the other"):
            make("")

    def test_script_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="there is no file"):
            ScriptRunner(tmp_path / "none.py")

    @pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(0.6)"])
    def test_script_that_does_not_wait_is_reported_with_its_line(
        self, make: MakeRunner, body: str
    ) -> None:
        runner = make(f"def run():\n    {body}\n", patience_s=0.3)
        with pytest.raises(ScriptError, match=r"script.py:3: .*\n.*not give control back for 0.3"):
            runner.start()


def test_the_process_is_as_it_was(make: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "beside_runner.py").write_text("")
    before = (Path.cwd(), list(sys.path), list(sys.argv), sys.modules["__main__"])
    runner = make("import beside_runner")
    runner.start()
    assert Path.cwd() == tmp_path
    runner.stop()
    assert (Path.cwd(), list(sys.path), list(sys.argv), sys.modules["__main__"]) == before
    assert "beside_runner" not in sys.modules


BENCH = """
[modules.loop]
type = "pyscript"
script = "scripts/loop.py"
ports_in = [{ id = "in", data_type = "FirmataData" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "loop.out" }
"""


@pytest.mark.parametrize("module", ["loop", ""])
def test_script_and_ports_of_a_bench(tmp_path: Path, module: str) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/loop.py").write_text(
        "import syntalos_mlink as syl\n"
        "out = syl.get_output_port('out')\n"
        "syl.get_input_port('in').on_data = lambda data: out.submit([data.pin_id])\n"
    )
    with ScriptRunner.from_bench(tmp_path / "bench.toml", module) as runner:
        runner.start()
        runner.feed("in", syl.LineReading(7))
        assert runner.sent("out") == [["7"]]
        assert runner.metadata("out")["src_mod_name"] == "loop"
    assert os.environ.get("PYTEST_CURRENT_TEST")


def test_module_that_is_no_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/loop.py").write_text("")
    with pytest.raises(BenchError, match="no script module 'rows'"):
        ScriptRunner.from_bench(tmp_path, "rows")


def test_throughput_is_that_of_a_unit_test(make: MakeRunner) -> None:
    runner: Any = make(ECHO)
    runner.start()
    began = time.process_time()
    for number in range(2000):
        runner.feed("rows-in", [number])
    assert time.process_time() - began < 5
    assert len(runner.sent("rows-out")) == 2000
