"""A turn that does not end is named, with where it stands, and ends the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import RunResult, RunStatus

LIMIT_S = 2.0
SCRIPT = """
[modules.loop]
type = "pyscript"
script = "loop.py"
"""
DEVICE = """
[devices]
uno = "virtual:uno?simulator=protocol"
[modules.board]
type = "firmata-io"
device = "uno"
[virtual.dut]
type = "model"
source = "dut.py:Stuck"
wires = { light = "uno.4" }
"""


class Silent:
    """An observer that keeps the log."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def on_status(self, status: RunStatus) -> None: ...
    def on_log(self, module: str, level: int, message: str) -> None:
        self.log.append(f"{module}: {message}")

    def on_output(self, module: str, text: str) -> None: ...


def run(folder: Path, bench: str) -> tuple[RunResult, list[str]]:
    (folder / "bench.toml").write_text(bench)
    loaded = load_bench(folder, time="virtual")
    options = RunOptions(
        duration_s=60,
        record=False,
        prepare_timeout_s=LIMIT_S,
        turn_limit_s=LIMIT_S,
        stop_grace_s=2.0,
    )
    observer = Silent()
    return Engine(loaded, options.in_time_of(loaded), observer).run(), observer.log


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        ("start", "import time\ndef start():\n    time.sleep(1000)\n"),
        (
            "run",
            "import syntalos_mlink as syl\ndef run():\n    syl.wait(100)\n    while True: pass",
        ),
    ],
)
def test_a_script_that_keeps_its_turn_is_named_with_its_line(
    tmp_path: Path, phase: str, text: str
) -> None:
    (tmp_path / "loop.py").write_text(text)
    result, log = run(tmp_path, SCRIPT)
    assert not result.success
    failure = result.failures[0]
    assert (failure.module, failure.phase) == ("loop", phase)
    assert f"its turn did not end within {LIMIT_S:g} s: it stands at loop.py:" in failure.message
    assert f"({phase})" in failure.message
    assert failure.remedy
    assert any("loop: its turn takes long, and virtual time stands still" in each for each in log)


def test_a_script_that_prepares_without_end_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text("def prepare():\n    while True: pass\n")
    result, _ = run(tmp_path, SCRIPT)
    assert result.failures[0].module == "loop"
    assert "it stands at loop.py:2 (prepare)" in result.failures[0].message


@pytest.mark.parametrize(
    "text",
    [
        "def prepare():\n    syl.await_data()\n",
        "syl.await_data()\ndef run(): pass\n",
    ],
)
def test_a_wait_without_a_limit_before_the_start_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "loop.py").write_text(f"import syntalos_mlink as syl\n{text}")
    result, _ = run(tmp_path, SCRIPT)
    assert result.failures[0].module == "loop"
    assert "waits for data without a limit before the start" in result.failures[0].message
    assert "run()" in result.failures[0].remedy


@pytest.mark.sim
def test_a_device_under_test_that_keeps_its_turn_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dut.py").write_text(
        "from mlink_hil.dut import Dut\n"
        "class Stuck(Dut):\n"
        "    pins = ('light',)\n"
        "    def start(self):\n"
        "        self.wake(500_000)\n"
        "    def advance(self, now_usec):\n"
        "        while True: pass\n"
    )
    result, _ = run(tmp_path, DEVICE)
    assert not result.success
    text = result.failures[0].message
    assert f"the turn of the simulated devices did not end within {LIMIT_S:g} s" in text
    assert "it stands at dut.py:7 (advance)" in text
    assert "Dut" in result.failures[0].remedy
