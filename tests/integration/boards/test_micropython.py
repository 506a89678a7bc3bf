"""`upy-workbench` with the real MicroPython (its Unix port) behind a pseudo-terminal."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mlink
from mlink.errors import BenchError
from mlink_drivers.micropython.board import Output
from mlink_drivers.micropython.messages import LONGEST_LINE, read_line, text_of
from mlink_hil.sim.micropython import MicroPythonBoard, interpreter

pytestmark = pytest.mark.skipif(not interpreter(), reason="needs MicroPython's Unix port")

PROGRAM = """
import asyncio
link = SyntalosCommunicator()
rows = link.get_output_port("rows")
values = link.get_output_port("values")

def on_command(cells):
    print("got", cells)
    rows.send_data_sync("echo", *cells)

async def main():
    link.register_on_input("commands", on_command)
    await link.enable_input()
    rows.send_data_sync("begin", 1, 2.5, True, None, "ä;x")
    for n in range(20):
        await values.send_data(n, -n, timestamp_ms=link.ticks_ms())
        await asyncio.sleep(0.02)
    END

asyncio.run(main())
"""
BENCH = """
[modules.pico]
type = "upy-workbench"
script = "program.py"
serial_port = "PORT"
ports_in = [{ id = "commands", data_type = "TableRow" }]
ports_out = [
    { id = "rows", data_type = "TableRow" },
    { id = "values", data_type = "FloatSignalBlock" },
]
inputs = { commands = "loop.out" }
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.table]
type = "table"
inputs = { rows = "pico.rows" }
[modules.json]
type = "jsonwriter"
inputs = { f32sig-in = "pico.values" }
use_name_from_source = false
data_name = "values"
"""
LOOP = """
import syntalos_mlink as syl
def start():
    syl.get_output_port("out").submit(["led", 1])
    syl.schedule_delayed_call(300, lambda: syl.get_output_port("out").submit(["led", 0]))
"""


@pytest.fixture
def board() -> Iterator[MicroPythonBoard]:
    with MicroPythonBoard() as found:
        yield found


def bench(folder: Path, port: str, program: str = PROGRAM) -> Path:
    (folder / "program.py").write_text(program.replace("END", "await asyncio.sleep(100)"))
    (folder / "loop.py").write_text(LOOP)
    (folder / "bench.toml").write_text(BENCH.replace("PORT", port))
    return folder


def run(folder: Path, seconds: float = 3.0) -> mlink.RunResult:
    return mlink.run(folder, duration_s=seconds, out=folder / "rec", check=False)


def test_rows_and_values_go_both_ways(tmp_path: Path, board: MicroPythonBoard) -> None:
    for _ in range(2):  # the second run resets the board
        done = run(bench(tmp_path, board.port))
        assert done.success, done.failures
        assert done.hints == []
        with mlink.open_recording(done.recording_dir) as recording:
            rows = [list(row) for row in recording.table().rows]
            signals = recording.signals("values")
        assert ["begin", "1", "2.5", "true", "", "ä;x"] in rows
        assert [row for row in rows if row[0] == "echo"] == [["echo", "led", n] for n in "10"]
        assert signals.names == ["Data"]
        assert signals.values[:, 0].tolist() == [m for n in range(20) for m in (n, -n)]
        times = np.asarray(signals.timestamps, np.int64)
        assert np.array_equal(times[::2], times[1::2])  # one time for all values of a message
        assert np.all(np.diff(times) >= 0)
        log = (done.recording_dir / "run.log").read_text()
        assert "got ['led', '1']" in log


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("link = SyntalosCommunicator()\nraise ValueError('no sensor')", "ValueError: no sensor"),
        ("print('x'\n", "SyntaxError"),
    ],
)
def test_a_program_that_fails_fails_the_run_with_its_line(
    tmp_path: Path, board: MicroPythonBoard, program: str, words: str
) -> None:
    done = run(bench(tmp_path, board.port, program), 60)
    assert not done.success
    assert words in done.failures[0].message
    assert 'File "program.py", line 2' in done.failures[0].message


def test_a_bench_has_a_virtual_board(tmp_path: Path) -> None:
    path = bench(tmp_path, "") / "bench.toml"
    text = path.read_text().replace('serial_port = ""', 'device = "pico"')
    path.write_text(f'[devices]\npico = "virtual:micropython"\n{text}')
    done = run(tmp_path)
    assert done.success, done.failures
    with mlink.open_recording(done.recording_dir) as recording:
        assert ["begin", "1", "2.5", "true", "", "ä;x"] in map(list, recording.table().rows)
    path.write_text(path.read_text().replace("virtual:micropython", "virtual:micropython?x=1"))
    done = run(tmp_path)
    assert "virtual:micropython has no options" in done.failures[0].message


def test_what_is_not_as_it_should_be_is_counted(tmp_path: Path, board: MicroPythonBoard) -> None:
    program = """
link = SyntalosCommunicator()
values = link.get_output_port("values")
other = link.get_output_port("other")
other.send_data_sync(1)
link.send({"dc": "new-out-port", "i": 5000, "n": "far"})
values.send_data_sync("text")
values.send_data_sync(float("nan"))
print('{"p": 1, "d": [[1]]}')
print('{"p": ' * 500)
print("{just text}")
values.send_data_sync(5)
"""
    done = run(bench(tmp_path, board.port, program))
    assert done.success, done.failures
    hints = "\n".join(done.hints)
    assert "1 messages of the board were for ports that the bench does not have" in hints
    assert "5 lines of the board could not be read" in hints
    with mlink.open_recording(done.recording_dir) as recording:
        assert recording.signals("values").values.tolist() == [[5.0]]
    log = (done.recording_dir / "run.log").read_text()
    assert "{just text}" in log
    assert "the program on the board has ended" in log


def test_a_board_that_is_pulled_out_fails_the_run(tmp_path: Path, board: MicroPythonBoard) -> None:
    with mlink.start(bench(tmp_path, board.port), record=False, check=False) as started:
        board.unplug()
        result = started.wait(60)
    assert result is not None
    assert "is lost" in result.failures[0].message


def test_what_is_no_board_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlink_drivers.micropython.board._PATIENCE_S", 2.0)
    outer, inner = pty.openpty()
    done = run(bench(tmp_path, os.ttyname(inner)))
    assert "no MicroPython answers" in done.failures[0].message
    os.close(outer)
    os.close(inner)
    done = run(bench(tmp_path, "/dev/no-such-port"))
    assert "cannot be opened" in done.failures[0].message


def test_wrong_settings_and_virtual_time_are_refused(tmp_path: Path) -> None:
    bench(tmp_path, "/dev/ttyACM0")
    with pytest.raises(BenchError, match="has a clock of its own"):
        mlink.run(tmp_path, duration_s=1, record=False, time="virtual")
    text = (tmp_path / "bench.toml").read_text()
    for old, new, words in (
        ("FloatSignalBlock", "Frame", r"a board has no port of Frame \(valid: TableRow, Signal"),
        ('"commands", data_type = "TableRow"', '"commands", data_type = "LineReading"', "no port"),
        ("program.py", "no.py", "there is no file"),
    ):
        (tmp_path / "bench.toml").write_text(text.replace(old, new))
        with pytest.raises(BenchError, match=words):
            mlink.load_bench(tmp_path)


def test_output_is_split_whatever_its_pieces() -> None:
    whole = (
        b"\r\nraw REPL; CTRL-B to exit\r\n>OKone\r\ntwo\nthree\x04Traceback\r\nError: x\r\n\x04>"
    )
    for size in (1, 2, 5, 100):
        output = Output()
        lines = [
            line
            for start in range(0, len(whole), size)
            for line in output.take(whole[start : start + size])
        ]
        assert lines == [b"one", b"two", b"three"]
        assert (output.complete, output.traceback) == (True, "Traceback\r\nError: x")


def test_endless_lines_are_bounded_and_counted() -> None:
    output = Output()
    output.take(b"OK")
    for _ in range(100):
        assert output.take(b"x" * 10_000) == []
        assert len(output._rest) <= LONGEST_LINE
    assert output.take(b"x\nshort\n") == [b"short"]
    assert output.too_long == 1


def test_lines_are_messages_text_or_damage() -> None:
    assert read_line(b"hello") is None
    assert read_line(b"{}") is None
    assert read_line(b'{"p": 3, "d": [1, "a", null]}').d == [1, "a", None]
    assert [text_of(each) for each in (1, 0.25, False, None, "x")] == [
        "1",
        "0.25",
        "false",
        "",
        "x",
    ]
    for line in (b'{"p": "x"}', b'{"p": 1, "d": {}}', b'{"dc": 5}', b'{"p":' + b"[" * 60_000):
        with pytest.raises(ValueError, match=r".+"):
            read_line(line)
