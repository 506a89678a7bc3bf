"""Each failure ends the run with one clear message, and every other module closes its files."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlink.cli import app
from mlink.cli.terminal.summary import print_summary
from mlink.engine.stalls.disk_wait import DiskWait
from mlink.engine.status import Phase, RunResult
from mlink.errors import BenchError
from tests.integration.runs.test_run_life import CHAIN, FORWARD, SOURCE, read_table
from tests.support import ROOT
from tests.support.bench_runner import BenchRunner, worker_pid
from tests.support.recorded import edlio_reader

edlio_summary = edlio_reader.edlio_summary
ReadWithEdlio = Callable[[Path], dict[str, Any]]


@pytest.fixture
def folder_on_disk() -> Iterator[Path]:
    """A folder of a file system that has a disk below it: /tmp may be in memory."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        disk = DiskWait(os.getpid())
        disk.busy()
        Path(folder, "trial").write_bytes(bytes(4096))
        if not disk.busy():
            pytest.skip("what is written here goes to no disk")
        yield Path(folder)


def expect_edlio_to_open(result: RunResult, edlio_summary: ReadWithEdlio, reason: str) -> None:
    """The recording has that it failed, and why, and edlio opens it."""
    assert result.recording_dir is not None
    found = edlio_summary(result.recording_dir)
    assert found["attributes"]["success"] is False
    assert reason in found["attributes"]["failure_reason"]
    assert found["datasets"]


def test_a_crash_of_compiled_code_is_named_with_its_line(bench: BenchRunner) -> None:
    middle = f"{FORWARD}\nimport ctypes\ndef start():\n    print('now')\n    ctypes.string_at(0)\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    (failure,) = result.failures
    assert failure.module == "middle"
    assert "signal 11" in failure.message
    assert "it stood at middle.py:13 (start)" in failure.message
    assert failure.message.endswith("its last lines:\n  now")
    assert "Compiled code" in failure.remedy


def test_a_script_that_raises_is_named_with_file_line_and_source(bench: BenchRunner) -> None:
    middle = FORWARD + "\ndef start():\n    raise RuntimeError('the valve is stuck')\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    assert not result.success
    (failure,) = result.failures
    assert failure.module == "middle"
    assert failure.message.startswith(f"{bench.folder}/middle.py:11: raise RuntimeError")
    assert "the valve is stuck" in failure.message
    assert "mlink/" not in failure.message.replace(str(bench.folder), "")


@pytest.mark.edlio
def test_a_division_by_zero_in_on_data_ends_the_run_and_the_rows_so_far_are_kept(
    bench: BenchRunner, edlio_summary: ReadWithEdlio
) -> None:
    middle = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def divide(row):
    if int(row[0]) == 500:
        1 / 0
    out.submit(row)
syl.get_input_port("in").on_data = divide
"""
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(60.0)
    (failure,) = result.failures
    assert "middle.py:6: 1 / 0" in failure.message
    assert "ZeroDivisionError" in failure.message
    assert result.duration_s < 60
    assert len(read_table(result)) == 500
    expect_edlio_to_open(result, edlio_summary, "division by zero")


def test_what_a_failed_module_has_not_taken_is_counted_shown_and_recorded(
    bench: BenchRunner,
) -> None:
    source = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def start():
    for number in range(100):
        out.submit([number])
"""
    middle = """
import syntalos_mlink as syl
def refuse(row):
    raise ValueError("no more")
syl.get_input_port("in").on_data = refuse
"""
    result = bench.write(CHAIN, source=source, middle=middle).run(5.0)
    assert result.recording_dir is not None
    attributes = tomllib.loads((result.recording_dir / "attributes.toml").read_text())
    streams = {stream["name"]: stream for stream in attributes["streams"]}
    (count,) = streams["source.out"]["subscriptions"]
    assert streams["source.out"]["sent"] == 100
    assert count["received"] + count["lost"] + count["not_taken"] == 100
    assert count["not_taken"] >= 90
    assert streams["middle.out"]["subscriptions"][0]["not_taken"] == 0
    console = Console(record=True, width=120, file=io.StringIO())
    print_summary(result, console)
    shown = console.export_text()
    assert "not taken" in shown
    assert str(count["not_taken"]) in shown


@pytest.mark.edlio
def test_a_killed_worker_is_named_and_the_others_close(
    bench: BenchRunner, edlio_summary: ReadWithEdlio
) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    bench.when_running(0.4, lambda: os.kill(worker_pid("middle"), signal.SIGKILL))
    result = bench.run(10.0)
    (failure,) = result.failures
    assert failure.module == "middle"
    assert "signal 9" in failure.message
    assert len(read_table(result)) > 10
    expect_edlio_to_open(result, edlio_summary, "signal 9")


def test_raise_error_ends_the_run_with_the_scripts_own_text(bench: BenchRunner) -> None:
    middle = FORWARD + "\ndef run():\n    syl.raise_error('animal escaped')\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    (failure,) = result.failures
    assert (failure.module, failure.message) == ("middle", "animal escaped")


def test_prepare_returning_false_fails_before_anything_starts(bench: BenchRunner) -> None:
    middle = FORWARD + "\ndef prepare():\n    return False\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    (failure,) = result.failures
    assert failure.phase == "prepare"
    assert result.duration_s == 0


def test_a_script_that_never_looks_is_interrupted_and_its_line_is_reported(
    bench: BenchRunner,
) -> None:
    middle = FORWARD + "\nimport time\ndef run():\n    while True: time.sleep(0.05)\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3, stop_grace_s=0.7)
    (failure,) = result.failures
    assert "did not finish within 0.7 s" in failure.message
    assert "middle.py:12" in failure.message
    assert "interrupting it (SIGINT)" in bench.watcher.log_text()


def test_a_script_that_refuses_interrupts_is_killed(bench: BenchRunner) -> None:
    middle = (
        FORWARD
        + """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def run():
    while True: time.sleep(0.05)
"""
    )
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3, stop_grace_s=0.5)
    assert not result.success
    assert {failure.module for failure in result.failures} == {"middle"}
    assert "killing it (SIGKILL)" in bench.watcher.log_text()


@pytest.mark.parametrize(
    ("setup", "loop"),
    [
        (
            "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
            "while True: time.sleep(0.05)",
        ),
        (
            "pass",
            "\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass",
        ),
    ],
    ids=["blocks all signals", "catches everything"],
)
def test_a_script_that_nothing_interrupts_is_named_with_its_place_and_a_remedy(
    bench: BenchRunner, setup: str, loop: str
) -> None:
    middle = f"{FORWARD}\nimport signal, time\ndef run():\n    {setup}\n    {loop}\n"
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3, stop_grace_s=0.5)
    (failure,) = result.failures
    assert "it stands at middle.py:1" in failure.message
    assert "(run)" in failure.message
    assert "syl.is_running()" in failure.remedy


@pytest.mark.parametrize("raised", ["RuntimeError", "SystemExit"])
def test_an_exception_whose_text_cannot_be_made_has_its_line_and_all_counts(
    bench: BenchRunner, raised: str
) -> None:
    middle = (
        FORWARD
        + f"""
class Bad(Exception):
    def __str__(self): raise {raised}("no")
def refuse(row):
    if row[0] == "3": raise Bad
inp.on_data = refuse
"""
    )
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(5.0)
    (failure,) = result.failures
    assert failure.phase == "run"
    assert "middle.py:13: if row[0]" in failure.message
    assert f"Bad: (no text: its __str__ raised {raised})" in failure.message
    assert result.streams[0].subscriptions[0].received == 4


def test_the_first_item_may_take_longer_than_the_grace(bench: BenchRunner) -> None:
    middle = (
        FORWARD
        + """
import time
def slowly(row):
    if row[0] == "0": time.sleep(4)
    out.submit(row)
inp.on_data = slowly
"""
    )
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.5, stop_grace_s=1.5)
    assert result.success, result.failures
    assert "middle: still handles one item: it stands at middle.py:12 (slowly)" in (
        bench.watcher.log_text()
    )
    assert result.streams[0].sent == len(read_table(result)) - 1  # less the header


BURST = """
import syntalos_mlink as syl
out = syl.get_output_port("out")
def prepare():
    out.set_metadata_value("table_header", ["number", "time"])
def start():
    for number in range(60):
        out.submit([number, 0])
"""
SLOW = (
    FORWARD
    + """
import time
def on_row(row):
    time.sleep(0.05)
    out.submit(row)
inp.on_data = on_row
"""
)


def test_a_slow_subscriber_is_waited_for_however_long_its_queue_is(bench: BenchRunner) -> None:
    """A batch of its items takes several times the grace time."""
    result = bench.write(CHAIN, source=BURST, middle=SLOW).run(0.3, stop_grace_s=0.6)
    assert result.success, result.failures
    assert len(read_table(result)) == 61
    assert "takes what is left in its queue" in bench.watcher.log_text()


def test_a_second_interrupt_gives_up_with_the_account_of_what_was_not_taken(
    bench: BenchRunner,
) -> None:
    bench.write(CHAIN, source=BURST, middle=SLOW.replace("0.05", "0.2"))

    def give_up() -> None:
        assert bench.engine is not None
        bench.engine.abort("the test gives up")

    bench.watcher.on_phase[Phase.STOP] = lambda: threading.Timer(0.5, give_up).start()
    result = bench.run(0.3)
    (failure,) = result.failures
    assert "aborted by a second interrupt; not taken: middle:" in failure.message
    (count,) = result.streams[0].subscriptions
    assert (count.received + count.queued, count.lost) == (60, 0)
    assert f"middle: {count.queued} of source.out" in failure.message
    assert len(read_table(result)) == count.received + 1  # what it took is recorded


SLOW_TO_WRITE = """
import os, time
def stop():
    with open(PATH, "wb", 0) as file:
        for _ in range(TIMES):
            file.write(bytes(4096))
            os.fsync(file.fileno())
            time.sleep(0.1)
"""


def test_a_module_that_still_writes_to_a_slow_disk_is_waited_for(
    bench: BenchRunner, folder_on_disk: Path
) -> None:
    middle = f"PATH = {str(folder_on_disk / 'data')!r}\nTIMES = 15\n" + FORWARD + SLOW_TO_WRITE
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3, stop_grace_s=0.5)
    assert result.success, result.failures
    assert "middle: still writes to a slow disk" in bench.watcher.log_text()


def test_the_patience_with_a_disk_has_an_end(bench: BenchRunner, folder_on_disk: Path) -> None:
    middle = f"PATH = {str(folder_on_disk / 'data')!r}\nTIMES = 10**6\n" + FORWARD + SLOW_TO_WRITE
    result = bench.write(CHAIN, source=SOURCE, middle=middle).run(0.3, stop_grace_s=0.15)
    (failure,) = result.failures
    assert "did not finish within 0.15 s" in failure.message


def test_a_missing_script_file_is_a_bench_error(bench: BenchRunner) -> None:
    bench.write(CHAIN, source=SOURCE)
    with pytest.raises(BenchError, match=r"middle\.py"):
        bench.run(1.0)


def test_a_misspelt_port_proposes_the_right_one(bench: BenchRunner) -> None:
    bench.write(CHAIN.replace('"middle.out"', '"middle.uot"'), source=SOURCE, middle=FORWARD)
    with pytest.raises(BenchError, match="Did you mean") as caught:
        bench.run(1.0)
    assert "out" in str(caught.value)


def test_a_subscription_of_the_wrong_type_names_both_types(bench: BenchRunner) -> None:
    wrong = CHAIN.replace(
        'ports_in = [{ id = "in", data_type = "TableRow" }]',
        'ports_in = [{ id = "in", data_type = "Frame" }]',
    )
    bench.write(wrong, source=SOURCE, middle=FORWARD)
    with pytest.raises(BenchError, match="TableRow") as caught:
        bench.run(1.0)
    assert "Frame" in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.edlio
def test_a_full_disk_ends_the_run_and_is_reported(
    bench: BenchRunner, small_disk: Path, edlio_summary: ReadWithEdlio
) -> None:
    flood = SOURCE.replace("[number, ", "['x' * 400, ")
    result = bench.write(CHAIN, source=flood, middle=FORWARD).run(60.0, out_dir=small_disk)
    assert not result.success
    failure = result.failures[0]
    assert failure.module == "rows"
    assert "space" in failure.message.lower() or "full" in failure.message.lower()
    assert str(small_disk) in failure.message
    assert failure.remedy
    assert result.duration_s < 60
    assert result.recording_dir is not None
    assert edlio_summary(result.recording_dir)["attributes"]["success"] is False


def test_the_engines_death_lets_every_worker_close_its_files(
    bench: BenchRunner, tmp_path: Path
) -> None:
    bench.write(CHAIN, source=SOURCE, middle=FORWARD)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from tests.support.bench_runner import BenchRunner;"
        "b = BenchRunner(Path(sys.argv[1])); b.when_running(0.5, lambda: print('go', flush=True));"
        "b.run(60.0)"
    )
    root = str(ROOT)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(bench.folder), root], stdout=subprocess.PIPE
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"go\n"
        engine.kill()
    (table,) = (bench.folder / "rec").rglob("*.csv")
    # the next run removes what the dead engine left, so run one
    follow_up = BenchRunner(bench.folder)
    result = follow_up.run(0.3)
    assert result.success
    assert len(table.read_text().splitlines()) > 5
    assert (table.parent / "attributes.toml").exists()


def test_a_window_without_a_display_is_named(
    bench: BenchRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qt aborts the process then, also for cv2.imshow."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    source = """
import cv2, numpy as np
import syntalos_mlink as syl
def start():
    cv2.imshow("x", np.zeros((50, 50, 3), np.uint8))
"""
    text = '[bench]\nname = "w"\n[modules.show]\ntype = "pyscript"\nscript = "show.py"\n'
    result = bench.write(text, show=source).run(1.0)
    (failure,) = result.failures
    if "not implemented" in failure.message:
        pytest.skip("this OpenCV has no windows at all")
    assert "it opened a window (cv2.imshow, Qt), and there is no display" in failure.message
    assert "it stood at show.py:5 (start)" in failure.message
    assert "signal" not in failure.message
    assert "DISPLAY" in failure.remedy


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise ValueError('no sensor')", "no sensor"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_a_run_goes_on_without_a_module_that_may_fail(
    bench: BenchRunner, edlio_summary: ReadWithEdlio, how: str, words: str
) -> None:
    """What is sent to it is counted; what it has sent is recorded; others are not disturbed."""
    middle = f"""
import syntalos_mlink as syl
i, o = syl.get_input_port("in"), syl.get_output_port("out")
seen = []
def on(row):
    seen.append(row)
    o.submit(row)
    if len(seen) == 3:
        {how}
i.on_data = on
"""
    source = """
import syntalos_mlink as syl
o = syl.get_output_port("out")
def run():
    n = 0
    while syl.is_running():
        o.submit([n])
        n += 1
        syl.wait(20)
"""
    text = CHAIN.replace('"middle.py"', '"middle.py"\nstop_on_failure = false')
    text += '[modules.all]\ntype = "table"\ninputs = { rows = "source.out" }\n'
    result = bench.write(text, source=source, middle=middle).run(2.0)
    assert result.success, result.failures
    (message,) = result.error_messages
    assert message.startswith("middle: ")
    assert words in message
    assert any("went on without it" in hint for hint in result.hints)
    sent = {stream.name: stream for stream in result.streams}["source.out"]
    to = {each.module: each for each in sent.subscriptions}
    assert to["all"].received == sent.sent > 20
    found = edlio_summary(result.recording_dir)
    assert found["attributes"]["success"] is True
    assert found["attributes"]["error_messages"] == [message]
    assert result.recording_dir is not None
    shown = CliRunner().invoke(app, ["info", str(result.recording_dir)])
    assert "went on without middle: " in shown.stdout
    assert result.reports["rows"]["rows_written"] == 3
