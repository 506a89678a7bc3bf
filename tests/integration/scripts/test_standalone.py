"""Programs that call init_link() run as modules of type `python`."""

from __future__ import annotations

from pathlib import Path

from mlink.storage.tsync.reader import read_tsync
from tests.integration.runs.test_run_life import SOURCE, read_table
from tests.support.bench_runner import BenchRunner

BENCH = """
[bench]
name = "standalone"
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.middle]
type = "python"
main = "middle.py"
settings_file = "middle.dat"
ports_in = [{ id = "in", data_type = "TableRow" }]
ports_out = [{ id = "out", data_type = "TableRow" }]
inputs = { in = "source.out" }
[modules.rows]
type = "table"
inputs = { rows = "middle.out" }
"""

PROGRAM = """
import syntalos_mlink as syl

link = syl.init_link()
inp = link.register_input_port("in", "Rows", syl.DataType.TableRow)
out = link.register_output_port("out", "Rows", syl.DataType.TableRow)
state = {"rows": 0, "loaded": b""}

def prepare():
    out.set_metadata_value("table_header", ["number", "time"])
    dataset = link.create_default_dataset("notes")
    dataset.set_data_file("notes.txt", "What the program saw").write_text("prepared")
    state["sync"] = link.init_clock_synchronizer(100.0, "wheel")
    state["sync"].set_strategies(
        syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | syl.TimeSyncStrategy.WRITE_TSYNCFILE)
    state["sync"].set_calibration_points_count(46)
    return True

def start():
    state["sync"].start()

def on_row(row):
    state["rows"] += 1
    now = syl.time_since_start_usec()
    state["sync"].process_timestamp(now, now + 5_000_000)
    out.submit(row)

def stop():
    print("rows seen", state["rows"], "loaded", state["loaded"])

def load(data, folder):
    state["loaded"] = data
    return True

inp.on_data = on_row
link.on_prepare = prepare
link.on_start = start
link.on_stop = stop
link.on_save_settings = lambda folder: b"rows %d" % state["rows"]
link.on_load_settings = load
link.await_data_forever()
"""


def test_a_program_takes_part_in_a_run_like_a_script(bench: BenchRunner) -> None:
    result = bench.write(BENCH, source=SOURCE, middle=PROGRAM).run(1.0)
    assert result.success, result.failures
    header, *rows = read_table(result)
    assert header == ["number", "time"]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    assert ("middle", f"rows seen {len(rows)} loaded b''") in bench.watcher.printed


def test_its_datasets_and_tsync_files_are_in_the_recording(bench: BenchRunner) -> None:
    result = bench.write(BENCH, source=SOURCE, middle=PROGRAM).run(1.0)
    assert result.recording_dir is not None
    (notes,) = Path(result.recording_dir).rglob("notes.txt")
    assert notes.read_text() == "prepared"
    assert "notes.txt" in (notes.parent / "manifest.toml").read_text()
    (tsync,) = Path(result.recording_dir).rglob("wheel.tsync")
    assert len(read_tsync(tsync).times) >= 2


def test_its_settings_are_saved_and_given_back_at_the_next_run(bench: BenchRunner) -> None:
    bench.write(BENCH, source=SOURCE, middle=PROGRAM).run(0.5)
    saved = (bench.folder / "middle.dat").read_bytes()
    assert saved.startswith(b"rows ")
    bench.run(0.5)
    assert any(f"loaded {saved!r}" in text for _, text in bench.watcher.printed)


def test_a_port_of_another_type_than_declared_names_both(bench: BenchRunner) -> None:
    asked = '"in", "Rows", syl.DataType.TableRow'
    program = PROGRAM.replace(asked, '"in", "Rows", syl.DataType.Frame')
    result = bench.write(BENCH, source=SOURCE, middle=program).run(1.0)
    assert not result.success
    assert result.failures[0].module == "middle"


def test_an_error_in_a_callback_names_the_programs_line(bench: BenchRunner) -> None:
    program = PROGRAM.replace("    out.submit(row)", "    1 / 0")
    result = bench.write(BENCH, source=SOURCE, middle=program).run(5.0)
    (failure,) = result.failures
    assert "middle.py:26: 1 / 0" in failure.message


def test_a_program_that_ends_early_is_a_failure(bench: BenchRunner) -> None:
    result = bench.write(BENCH, source=SOURCE, middle="print('no link here')").run(1.0)
    (failure,) = result.failures
    assert failure.module == "middle"
    assert "ended with exit code 0" in failure.message
