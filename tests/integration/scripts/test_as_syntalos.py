"""What scripts written for Syntalos rely on, in whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlink
from mlink.errors import MlinkError

COMMANDS = """
[bench]
compat = "{compat}"
[modules.s]
type = "pyscript"
script = "s.py"
ports_out = [{{ id = "commands", data_type = "LineCommand" }}]
[modules.spy]
type = "pyscript"
script = "spy.py"
ports_in = [{{ id = "commands", data_type = "LineCommand" }}]
ports_out = [{{ id = "rows", data_type = "TableRow" }}]
inputs = {{ commands = "s.commands" }}
[modules.rows]
type = "table"
inputs = {{ rows = "spy.rows" }}
"""
SPY = """
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
def on_data(command):
    rows.submit([command.kind, command.value, command.duration_usec])
syl.get_input_port("commands").on_data = on_data
"""


def write(folder: Path, bench: str, **scripts: str) -> Path:
    (folder / "bench.toml").write_text(bench)
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def rows_of(done: Any) -> list[list[str]]:
    with mlink.open_recording(done.recording_dir) as recording:
        return [list(row) for row in recording.table().rows]


def test_a_valve_that_stop_opens_is_open_for_its_whole_time(tmp_path: Path) -> None:
    valve = """
import syntalos_mlink as syl
valve = syl.HwOutputLine(syl.get_output_port("commands"), 8)
def start():
    valve.send_mode()
def stop():
    valve.set_value(True)
    began_usec = syl.time_since_start_usec()
    syl.wait(300)
    print("open for", syl.time_since_start_usec() - began_usec)
    valve.set_value(False)
"""
    bench = write(tmp_path, COMMANDS.format(compat=""), s=valve, spy=SPY)
    lines: list[mlink.LogLine] = []
    done = mlink.run(bench, duration_s=0.5, out=tmp_path / "rec", on_log=lines.append)
    assert done.success, done.failures
    mode, on, off = rows_of(done)
    assert [mode[0], on[0]] == ["LineCommandKind.SET_MODE", "LineCommandKind.WRITE_DIGITAL"]
    assert [on[1], off[1]] == ["1", "0"]
    (opened,) = [line.text for line in lines if line.text.startswith("open for")]
    assert int(opened.split()[-1]) >= 300_000


@pytest.mark.parametrize(
    ("compat", "lengths"), [("", [250, 2500, 9_000_000]), ("syntalos", [50_000, 2000, 4_000_000])]
)
def test_pulses_are_exact_unless_the_bench_asks_for_those_of_syntalos(
    tmp_path: Path, compat: str, lengths: list[int]
) -> None:
    pulses = """
import syntalos_mlink as syl
line = syl.HwOutputLine(syl.get_output_port("commands"), 8)
def start():
    line.send_mode()
    for usec in (250, 2500, 9_000_000):
        line.pulse(usec)
"""
    bench = write(tmp_path, COMMANDS.format(compat=compat), s=pulses, spy=SPY)
    done = mlink.run(bench, duration_s=0.3, out=tmp_path / "rec")
    assert [int(row[2]) for row in rows_of(done)[1:]] == lengths


SIGNALS = """
[modules.a]
type = "pyscript"
script = "a.py"
ports_out = [{{ id = "o", data_type = "{sent}" }}]
[modules.b]
type = "pyscript"
script = "b.py"
ports_in = [{{ id = "i", data_type = "{taken}" }}]
inputs = {{ i = "a.o" }}
"""
SENDS = """
import numpy as np
import syntalos_mlink as syl
o = syl.get_output_port("o")
def start():
    block = getattr(syl, "{sent}")()
    block.timestamps = np.arange(3, dtype=np.uint64)
    block.data = np.array([[1], [2], [60000]])
    o.submit(block)
"""
TAKES = """
import syntalos_mlink as syl
def on_data(block):
    print(type(block).__name__, block.data.dtype, block.data[:, 0].tolist())
syl.get_input_port("i").on_data = on_data
"""


@pytest.mark.parametrize(
    ("sent", "taken", "dtype"),
    [
        ("SignalBlockU16", "SignalBlockI32", "int32"),
        ("SignalBlockU16", "SignalBlockF32", "float32"),
        ("SignalBlockI32", "SignalBlockF32", "float32"),
        ("SignalBlockF32", "SignalBlockI32", "int32"),
    ],
)
def test_signal_blocks_are_converted_for_an_input_of_another_type(
    tmp_path: Path, sent: str, taken: str, dtype: str
) -> None:
    scripts = {"a": SENDS.format(sent=sent), "b": TAKES}
    bench = write(tmp_path, SIGNALS.format(sent=sent, taken=taken), **scripts)
    lines: list[mlink.LogLine] = []
    mlink.run(bench, duration_s=0.5, record=False, on_log=lines.append)
    values = np.array([1, 2, 60000], dtype).tolist()
    assert f"{taken} {dtype} {values}" in [line.text for line in lines]


def test_a_conversion_that_there_is_not_is_refused_with_both_names(tmp_path: Path) -> None:
    bench = write(
        tmp_path,
        SIGNALS.format(sent="SignalBlockI32", taken="SignalBlockU16"),
        a=SENDS.format(sent="SignalBlockI32"),
        b=TAKES,
    )
    with pytest.raises(
        MlinkError, match=r"'a\.o' sends SignalBlockI32, but 'b\.i' accepts SignalBlockU16"
    ):
        mlink.load_bench(bench)


def test_settings_of_a_2x_script_come_back_before_its_next_prepare(tmp_path: Path) -> None:
    script = """
import syntalos_mlink as syl
count = 0
def set_settings(data):
    global count
    count = int(data)
def prepare():
    syl.call_on_show_settings(lambda data: None)
    syl.call_on_show_display(lambda: None)
    return True
def stop():
    syl.save_settings(str(count + 1).encode())
"""
    bench = '[modules.s]\ntype = "pyscript"\nscript = "s.py"\n'
    write(tmp_path, bench, s=script)
    for count in (1, 2, 3):
        done = mlink.run(tmp_path, duration_s=0.1, record=False)
        assert done.success, done.failures
        assert (tmp_path / "s.settings").read_bytes() == b"%d" % count
