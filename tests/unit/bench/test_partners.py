"""Modules that ask another one for something by a setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink.bench import load_bench
from mlink.engine.plan import find_edges, order_modules, start_order
from mlink.errors import BenchError

LOOP = """
[devices]
uno = "virtual:uno"
eye = "virtual:scene"
[modules.cam]
type = "camera-generic"
device = "eye"
trigger = { board = "board", line = 9, rate_hz = 100, exposure_usec = 2000 }
[modules.script]
type = "pyscript"
script = "loop.py"
ports_in = [{ id = "frames", data_type = "Frame" }]
ports_out = [{ id = "ctl", data_type = "LineCommand" }]
inputs = { frames = "cam.video" }
[modules.board]
type = "firmata-io"
device = "uno"
inputs = { fmctl = "script.ctl" }
"""


def write(folder: Path, text: str = LOOP) -> Path:
    (folder / "loop.py").write_text("")
    path = folder / "bench.toml"
    path.write_text(text)
    return path


def test_the_partner_comes_first_even_in_a_loop_and_streams_back_are_feedback(tmp_path):
    bench = load_bench(write(tmp_path))
    order = order_modules(bench)
    assert order == ["board", "cam", "script"]
    assert list(start_order(bench)) == order
    edges = {(e.source, e.source_port, e.target, e.target_port): e.feedback
             for e in find_edges(bench, order)}  # fmt: skip
    assert edges == {
        ("board", "triggers", "cam", "edges"): False,
        ("cam", "trigger", "board", "cam-trigger"): True,
        ("cam", "video", "script", "frames"): False,
        ("script", "ctl", "board", "fmctl"): True,
    }


def test_ports_are_there_for_those_who_ask_only(tmp_path):
    plain = LOOP.replace(next(x for x in LOOP.splitlines() if x.startswith("trigger")), "")
    bench = load_bench(write(tmp_path, plain))
    assert [port.id for port in bench.modules["cam"].outputs] == ["video", "changes"]
    assert "triggers" not in [port.id for port in bench.modules["board"].outputs]


def test_another_stream_cannot_take_the_input_of_a_partner(tmp_path):
    text = LOOP.replace('device = "eye"', 'device = "eye"\ninputs = { edges = "board.events" }')
    with pytest.raises(BenchError, match="another setting of the bench connects this input"):
        load_bench(write(tmp_path, text))


def test_a_partner_that_is_broken_gives_its_own_message_only(tmp_path):
    text = LOOP.replace('type = "firmata-io"', 'type = "firmata-io"\nbaud = 3')
    with pytest.raises(BenchError) as raised:
        load_bench(write(tmp_path, text))
    assert "unknown key" in str(raised.value)
    assert "no module" not in str(raised.value)
