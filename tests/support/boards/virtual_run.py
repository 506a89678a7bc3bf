"""A script on a simulated Uno with a device under test, run in virtual time in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlink.bench import load_bench
from mlink.engine.options import RunOptions
from mlink.engine.run import Engine
from mlink.engine.status import RunResult, RunStatus

BENCH = """
[devices]
uno = "virtual:uno"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.commands" }
analog_lines = [14]
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [
    { id = "readings", data_type = "LineReading" },
    { id = "steppers", data_type = "TableRow" },
    { id = "counters", data_type = "TableRow" },
    { id = "events", data_type = "TableRow" },
]
ports_out = [{ id = "commands", data_type = "LineCommand" }]

[modules.loop.inputs]
readings = "board.fmdata"
steppers = "board.steppers"
counters = "board.counters"
events = "board.events"

[virtual.dut]
type = "model"
"""


class Printed:
    """An observer that keeps what scripts print, and the log."""

    def __init__(self) -> None:
        self.text = ""
        self.log: list[str] = []

    def on_status(self, status: RunStatus) -> None: ...
    def on_log(self, module: str, level: int, message: str) -> None:
        self.log.append(message)

    def on_output(self, module: str, text: str) -> None:
        self.text += text + "\n"


def run(
    folder: Path, bench: str, script: str, dut: str, seconds: float
) -> tuple[RunResult, Printed]:
    (folder / "loop.py").write_text(script)
    (folder / "dut.py").write_text(dut)
    (folder / "bench.toml").write_text(bench if "[devices]" in bench else BENCH + bench)
    loaded = load_bench(folder, time="virtual")
    observer = Printed()
    options = RunOptions(duration_s=seconds, record=False).in_time_of(loaded)
    result = Engine(loaded, options, observer).run()
    return result, observer


def printed(*arguments: Any) -> str:
    result, observer = run(*arguments)
    assert result.success, (result.failures, observer.log)
    return observer.text
