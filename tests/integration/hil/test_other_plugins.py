"""The pytest plugin goes along with pytest-xdist, pytest-timeout, pytest-asyncio and others."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.hil_examples import Outcome, copy_example, run_pytest

HEAD = """
import asyncio, os, time
import pytest
from mlink_hil.testing import *
pytestmark = pytest.mark.bench(
    "bench.toml", without=("finger", "latencies"), set="cam.framerate=30", scope="session"
)

def answers(bench, board):
    press = board.line(7).drive(False)
    lit = bench.expect(edge(8, rising=True), within_usec=2_000_000, after=press)
    bench.measure("press to light", lit.since(press))
"""


def run(tmp_path: Path, tests: str, *arguments: str) -> Outcome:
    change = ("bench.toml", '"virtual:uno"', '"virtual:uno?simulator=protocol"')
    folder = copy_example(tmp_path, "led-follows-button", *change)
    (folder / "test_led.py").write_text(HEAD + tests)
    return run_pytest(folder, "--mlink-record=never", *arguments, all_plugins=True)


def test_with_xdist_each_worker_has_a_run_and_the_reports_are_one(tmp_path: Path) -> None:
    report, junit = tmp_path / "report", tmp_path / "junit.xml"
    outcome = run(
        tmp_path,
        """
@pytest.mark.parametrize("number", range(4))
def test_it(bench, board, number):
    answers(bench, board)
    print("worker", os.environ["PYTEST_XDIST_WORKER"])
""",
        "-n2",
        "--dist=load",
        f"--mlink-report={report}",
        f"--junitxml={junit}",
        "-rP",
    )
    assert outcome.counts == {"passed": 4}, outcome.text
    assert "worker gw0" in outcome.text
    assert "worker gw1" in outcome.text
    page = (report / "report.html").read_text()
    assert page.count("<details") == 4
    properties = [each.get("name") for each in ElementTree.parse(junit).iter("property")]
    assert properties == ["mlink.press to light"] * 4


def test_with_asyncio_tests_and_fixtures_may_be_coroutines(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        """
import pytest_asyncio

@pytest_asyncio.fixture
async def pressed(bench, board):
    await asyncio.sleep(0)
    yield board.line(7).drive(False)

@pytest.mark.asyncio
async def test_it(bench, pressed):
    lit = await asyncio.to_thread(
        bench.expect, edge(8, rising=True), within_usec=2_000_000, after=pressed
    )
    bench.measure("press to light", lit.since(pressed))

@pytest.mark.asyncio
async def test_inconclusive(bench):
    raise Inconclusive("who knows")
""",
    )
    assert outcome.counts == {"passed": 1, "inconclusive": 1}, outcome.text


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_with_timeout_a_test_that_hangs_is_ended_and_its_run_too(
    method: str, tmp_path: Path
) -> None:
    outcome = run(
        tmp_path,
        """
@pytest.mark.timeout(5, func_only=True)
def test_it(bench, board):
    answers(bench, board)
    time.sleep(100)
""",
        f"--timeout-method={method}",
    )
    assert outcome.code == 1, outcome.text
    assert "Timeout" in outcome.text
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path).encode() in _read(path)
    ]
    assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has just ended
