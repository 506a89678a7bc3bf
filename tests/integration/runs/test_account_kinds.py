"""The account of benches of many kinds, disturbed and not: one set of numbers everywhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import pytest

from mlink.bench import load_bench
from mlink.engine.virtual_time.simulated import in_virtual_time
from tests.integration.runs.test_account import check
from tests.support.bench_runner import BenchRunner, worker_pid

SOURCE = """
[bench]
name = "kinds"
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
"""
SLOW = """
[modules.slow]
type = "pyscript"
script = "slow.py"
ports_in = [{ id = "rows", data_type = "TableRow" }, { id = "frames", data_type = "Frame" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
inputs = { rows = "source.rows", frames = { from = "source.frames", queue = 20 } }
"""
RECORDERS = """
[modules.table]
type = "table"
inputs = { rows = { from = "source.rows", queue = 40 } }
[modules.again]
type = "table"
data_name = "again"
inputs = { rows = "source.rows" }
[modules.json]
type = "jsonwriter"
input_type = "TableRow"
data_name = "as-json"
inputs = { rows-in = "source.rows" }
[modules.video]
type = "videorecorder"
inputs = { frames-in = { from = "source.frames", queue = 20 } }
"""
SENDER = """
import numpy as np
import syntalos_mlink as syl
rows, frames = (syl.get_output_port(name) for name in ("rows", "frames"))
picture = np.zeros((120, 160, 3), np.uint8)

def prepare():
    rows.set_metadata_value("table_header", ["number", "time_usec"])
    frames.set_metadata_value("framerate", 100.0)

def send(many):
    for number in range(many):
        rows.submit([number, syl.time_since_start_usec()])
    frame = syl.Frame()
    frame.mat, frame.time_usec = picture, syl.time_since_start_usec()
    frames.submit(frame)

def run():
    while syl.is_running():
        send(MANY)
        syl.wait(10)
"""
LATE = """
def stop():
    send(200)
    time.sleep(1.0)
    send(200)
"""
TAKER = """
import time
import syntalos_mlink as syl
out = syl.get_output_port("out")
syl.get_input_port("rows").on_data = out.submit
syl.get_input_port("frames").on_data = lambda frame: time.sleep(SLEEP)
"""
OF_SLOW = """
[modules.of-slow]
type = "table"
data_name = "of-slow"
inputs = { rows = "slow.out" }
"""
BOARD = """
[bench]
name = "commands"
[devices]
uno = "virtual:uno"
eye = "virtual:scene"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "loop.commands" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "commands", data_type = "LineCommand" }]
[modules.readings]
type = "jsonwriter"
input_type = "LineReading"
inputs = { lines-in = "board.fmdata" }
[modules.cam]
type = "camera-generic"
device = "eye"
size = [160, 120]
framerate = 30
[modules.video]
type = "videorecorder"
inputs = { frames-in = "cam.video" }
[virtual.w]
type = "wire"
ends = ["uno.8", "uno.2"]
"""
COMMANDS = """
import syntalos_mlink as syl
commands = syl.get_output_port("commands")
out, sense = syl.HwOutputLine(commands, 8), syl.HwInputLine(commands, 2)

def start():
    sense.send_mode()
    out.send_mode()

def run():
    level = False
    while syl.is_running():
        level = not level
        out.set_value(level)
        syl.wait(5)

def stop():
    for level in (True, False) * 20:
        out.set_value(level)
"""
SLOW_DISK = """
[[faults]]
kind = "slow-disk"
target = "{}"
at_sec = 0.3
bytes_per_sec = 20000
write_msec = 50
for_sec = 1.5
"""


def stall(*modules: str) -> None:
    """Stop processes for 3 s: those of modules, or all but the engine."""
    children = [child.pid for child in psutil.Process().children(recursive=True)]
    pids = [worker_pid(name) for name in modules] or children
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def kill(*modules: str) -> None:
    for pid in [worker_pid(name) for name in modules]:  # the first death may end the others
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Kind:
    """A bench, what disturbs it, and what must be lost."""

    bench: str
    scripts: dict[str, str] = field(default_factory=dict)
    times: tuple[str, ...] = ("real",)
    act: Callable[[], None] | None = None
    succeeds: bool = True
    loses: tuple[str, ...] = ()
    """Inputs that do not get all."""
    seconds: float = 2.0
    """Length of the run; what loses goes on until it has lost."""


def sender(many: int, more: str = "") -> str:
    return f"import time\n{SENDER.replace('MANY', str(many))}{more}"


def taker(sleep_s: float) -> str:
    return TAKER.replace("SLEEP", str(sleep_s))


BOTH = ("real", "virtual")
ALL = SOURCE + SLOW + RECORDERS + OF_SLOW
KINDS = {
    "fast sender": Kind(ALL, {"source": sender(300), "slow": taker(0)}, BOTH),
    "slow script": Kind(
        ALL, {"source": sender(3), "slow": taker(0.05)}, loses=("slow.frames",)
    ),
    "slow script in virtual time": Kind(
        ALL.replace('script = "slow.py"', 'script = "slow.py"\ncost_usec = 30000'),
        {"source": sender(3), "slow": taker(0)}, ("virtual",), loses=("slow.frames",),
    ),
    "slow disk": Kind(
        ALL + SLOW_DISK.format("video"), {"source": sender(3), "slow": taker(0)},
        loses=("video.frames-in",),
    ),
    "a stopped script": Kind(
        ALL, {"source": sender(3), "slow": taker(0)}, act=lambda: stall("slow"),
        loses=("slow.frames",), seconds=5.0,
    ),
    "a stopped recorder": Kind(
        ALL, {"source": sender(3), "slow": taker(0)}, act=lambda: stall("video", "table"),
        loses=("video.frames-in", "table.rows"), seconds=5.0,
    ),
    "all stopped": Kind(ALL, {"source": sender(3), "slow": taker(0)}, act=stall, seconds=5.0),
    "a stopped camera": Kind(
        BOARD, {"loop": COMMANDS}, act=lambda: stall("cam"), loses=("video.frames-in",),
        seconds=5.0,
    ),
    "a killed script": Kind(
        ALL, {"source": sender(30), "slow": taker(0.02)}, act=lambda: kill("slow"), succeeds=False
    ),
    "a killed sender": Kind(
        ALL, {"source": sender(30), "slow": taker(0)}, act=lambda: kill("source"), succeeds=False
    ),
    "killed recorders": Kind(
        ALL, {"source": sender(30), "slow": taker(0)},
        act=lambda: kill("table", "json", "video"), succeeds=False,
    ),
    "late stop": Kind(ALL, {"source": sender(3, LATE), "slow": taker(0)}, BOTH),
    "commands": Kind(BOARD, {"loop": COMMANDS}, BOTH),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind_of_time"), [(name, each) for name, kind in KINDS.items() for each in kind.times]
)
def test_the_account_is_the_same_everywhere(
    bench: BenchRunner, name: str, kind_of_time: str
) -> None:
    kind = KINDS[name]
    bench.write(kind.bench, **kind.scripts)
    options: dict[str, object] = {}
    if kind_of_time == "virtual":
        checked = load_bench(bench.folder / "bench.toml")
        options["virtual"], _, options["attributes"] = in_virtual_time(checked, kind.seconds)

    def lost() -> set[str]:
        streams = bench.watcher.status.streams
        found = (each for stream in streams for each in stream.subscriptions if each.lost)
        return {f"{each.module}.{each.port}" for each in found}

    def disturb() -> None:
        began = time.monotonic()
        if kind.act is not None:
            kind.act()
        rest = began + kind.seconds - 0.5
        bench.stop_when(lambda: time.monotonic() > rest and lost().issuperset(kind.loses))

    if kind_of_time == "real":
        bench.when_running(0.5, disturb)
    result = bench.run(None if kind_of_time == "real" else kind.seconds, **options)  # type: ignore[arg-type]
    assert result.success is kind.succeeds, result.failures
    counts = check(bench, result)
    assert all(each["sent"] > 0 for key, each in counts.items() if kind.succeeds)
    if kind.succeeds:
        assert all(each["not_taken"] == 0 for each in counts.values())
    for key in kind.loses:
        assert counts[key]["lost"] > 0, key
    for module, report in result.reports.items():  # each recorder's own figures
        for own, count in (("rows_lost", "lost"), ("frames_lost", "lost")):
            inputs = [each for key, each in counts.items() if key.startswith(f"{module}.")]
            if own in report and len(inputs) == 1:
                assert report[own] == inputs[0][count], module
