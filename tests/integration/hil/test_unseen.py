"""A test that cannot have seen all is inconclusive: its tap's queue overflows in a real run."""

from __future__ import annotations

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
rows = syl.get_output_port("rows")
def prepare():
    rows.set_metadata_value("table_header", ["n", "what"])
def run():
    syl.wait(1000)
    for n in range(NUMBER):
        rows.submit([str(n), "good"])
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


@pytest.mark.parametrize("number", [150_000, 1000])
def test_a_row_that_the_tap_lost_is_not_one_that_never_came(tmp_path: Path, number: int) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text(SCRIPT.replace("NUMBER", str(number)))
    (tmp_path / "test_rows.py").write_text(TESTS.replace("1_000_000", "8_000_000"))
    outcome = run_pytest(tmp_path, "--mlink-out", str(tmp_path / "recordings"))
    assert outcome.code == 1
    if number == 1000:
        assert "but one came" in outcome.text
        assert outcome.counts == {"failed": 1}
    else:
        assert "of loop.rows were lost on their way to this test" in outcome.text
        assert outcome.counts == {"inconclusive": 1}
