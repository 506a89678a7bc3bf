"""What modules send at the stop of a run in virtual time reaches the simulated devices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.sim

BENCH = """
[bench]
name = "last"
[devices]
uno = "{board}"
[modules.board]
type = "firmata-io"
device = "uno"
inputs = {{ fmctl = "loop.commands" }}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{{ id = "commands", data_type = "LineCommand" }}]
[virtual.seen]
type = "model"
source = "seen.py:Seen"
wires = {{ pin = "uno.8" }}
"""
LOOP = """
import syntalos_mlink as syl
commands = syl.get_output_port("commands")
out = syl.HwOutputLine(commands, 8)

def start():
    out.send_mode()

def run():
    syl.wait(200)
    out.set_value(True)

def stop():
    for level in (False, True) * COUNT:
        out.set_value(level)
    out.set_value(False)
"""
SEEN = """
from pathlib import Path
from mlink_hil.dut import Dut

class Seen(Dut):
    pins = ("pin",)

    def on_edge(self, pin, level, now_usec):
        with Path(__file__).with_name("edges.txt").open("a") as file:
            file.write(f"{int(level)}")
"""


def run(folder: Path, board: str, count: int, *options: str) -> dict[str, Any]:
    (folder / "bench.toml").write_text(BENCH.format(board=board))
    (folder / "loop.py").write_text(LOOP.replace("COUNT", str(count)))
    (folder / "seen.py").write_text(SEEN)
    done = subprocess.run(
        [sys.executable, "-m", "mlink", "run", ".", "--time", "virtual", "--for", "0.5", "--json",
         *options],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("count", [3, 500])  # 500: more than a line holds
@pytest.mark.parametrize("board", ["virtual:uno", "virtual:uno?firmware=standard"])
def test_the_last_commands_of_a_script_reach_the_chip(
    tmp_path: Path, board: str, count: int
) -> None:
    result = run(tmp_path, board, count)
    assert (tmp_path / "edges.txt").read_text() == "10" * (count + 1)
    assert result["duration_s"] == 0.5
    assert result["reports"]["board"]["commands_executed"] == 2 * count + 3
