"""A test that cannot have seen all is inconclusive: its tap's queue overflows in a real run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.hil_examples import run_pytest

BENCH = """
[bench]
name = "flood"
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "rows", data_type = "TableRow" }]
"""

SCRIPT = """
import syntalos_mlink as syl
from mlink.scripting.link import get_link
rows = syl.get_output_port("rows")
def lost():
    return sum(get_link()._context.outputs["rows"].lost)
def prepare():
    rows.set_metadata_value("table_header", ["n", "what"])
def run():
    syl.wait(1000)
    for n in range(NUMBER):
        rows.submit([str(n), "good"])
        if lost():  # so that the next one finds the queue full
            break
    rows.submit([str(NUMBER), "bad"])
    syl.wait(1000)
    rows.submit(["-1", "after"])
    syl.wait(20_000)
"""

TESTS = """
import pytest
from mlink_hil.testing import row
pytestmark = pytest.mark.bench("bench.toml")
def test_no_bad_row_comes(bench):
    began = bench.now()
    bench.expect(row("loop.rows", what="after"), within_usec=40_000_000, after=began)
    bench.expect_none(row("loop.rows", what="bad"), for_usec=1_000_000, after=began)
"""


@pytest.mark.parametrize("number", [3_000_000, 1000])
def test_a_row_that_the_tap_lost_is_not_one_that_never_came(tmp_path: Path, number: int) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text(SCRIPT.replace("NUMBER", str(number)))
    (tmp_path / "test_rows.py").write_text(TESTS.replace("1_000_000", "8_000_000"))
    outcome = run_pytest(tmp_path, "--mlink-time=real", "--mlink-out", str(tmp_path / "recordings"))
    assert outcome.code == 1
    if number == 1000:
        assert "but one came" in outcome.text
        assert outcome.counts == {"failed": 1}
    else:
        assert "of loop.rows were lost on their way to this test" in outcome.text
        assert outcome.counts == {"inconclusive": 1}


PULSE_BENCH = """
[bench]
name = "pulse"
[devices]
uno = "virtual:uno"
[modules.board]
type = "firmata-io"
device = "uno"
"""

PULSE_TESTS = """
import subprocess, sys, pytest
from mlink_hil.testing import edge
pytestmark = pytest.mark.bench("bench.toml")

@pytest.fixture(autouse=True)
def busy():
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()

def test_a_pulse_that_is_too_long(bench, board):
    began, over = board.line(7).pulse(False, 250)
    bench.measure("pulse", over.since(began), at_most=100_000)

def test_an_edge_that_does_not_come(bench, board):
    bench.expect(edge(8), within_usec=100_000, after=board.line(7).drive(False))
"""


def test_what_a_busy_machine_cannot_have_moved_fails_on_it(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(PULSE_BENCH)
    (tmp_path / "test_pulse.py").write_text(PULSE_TESTS)
    options = ["--mlink-time=real", "--mlink-out", str(tmp_path / "recordings")]
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})  # for the session: other tests keep a processor
    try:
        outcome = run_pytest(tmp_path, *options)
    finally:
        os.sched_setaffinity(0, mine)
    assert outcome.counts == {"failed": 2}, outcome.text
