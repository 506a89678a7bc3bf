"""Runs from Python: `mlink.run`, `mlink.start`; the worked example of docs/api.md runs here."""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mlink
from mlink.api import run as api_run
from tests.support import ROOT
from tests.support.bench_runner import descendants, worker_pid

DOCS = (ROOT / "docs/api.md").read_text()

BENCH = """
[bench]
name = "ticks"
[modules.ticker]
type = "pyscript"
script = "ticker.py"
ports_out = [{ id = "ticks", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "ticker.ticks" }
"""

TICKER = """
import syntalos_mlink as syl
ticks = syl.get_output_port("ticks")

def run():
    print("ticking")
    while syl.is_running():
        ticks.submit([syl.time_since_start_usec()])
        syl.wait(10)
"""

SLOW = """
[modules.slow]
type = "pyscript"
script = "slow.py"
ports_in = [{ id = "ticks", data_type = "TableRow" }]
inputs = { ticks = { from = "ticker.ticks", queue = 5 } }
"""
SLOW_SCRIPT = """
import time
import syntalos_mlink as syl
syl.get_input_port("ticks").on_data = lambda row: time.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a bench, the working directory; afterwards nothing of a run may be left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "ticker.py").write_text(TICKER)
    before = descendants()
    yield tmp_path
    assert not [each for each in threading.enumerate() if each.name == "mlink run"]
    deadline = time.monotonic() + 20
    while left := [each for each in descendants() if each not in before]:
        assert time.monotonic() < deadline, f"processes left behind: {left}"
        time.sleep(0.05)


def documented(name: str) -> str:
    block = re.search(rf"```\w+\n# {name}\n(.*?)```", DOCS, re.DOTALL)
    assert block is not None, f"docs/api.md has no block '{name}'"
    return block[1]


def test_the_worked_example_of_the_docs(tmp_path: Path) -> None:
    for name in ("bench.toml", "counter.py", "experiment.py"):
        (tmp_path / name).write_text(documented(name))
    done = subprocess.run(
        [sys.executable, "-W", "error", "experiment.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    printed = re.search(r"It prints:\n\n```text\n(.*?)```", DOCS, re.DOTALL)
    assert printed is not None
    assert (done.stdout, done.stderr, done.returncode) == (printed[1], "", 0)


def kill_the_recorder(run: mlink.Run) -> None:
    os.kill(worker_pid("rows"), signal.SIGKILL)
    assert not run.wait().success


class TestBlocking:
    def test_result_progress_and_log(self, folder: Path, capfd: pytest.CaptureFixture) -> None:
        statuses: list[mlink.RunStatus] = []
        lines: list[mlink.LogLine] = []
        result = mlink.run(
            "bench.toml", duration_s=0.6, out="rec", on_status=statuses.append, on_log=lines.append
        )
        assert result.success
        assert result.stop_reason == "0.6 s are over"
        assert result.recording_dir is not None
        with mlink.open_recording(result.recording_dir) as recording:
            assert len(recording.table()) == result.streams[0].sent > 10
        assert statuses[-1].phase is mlink.Phase.DONE
        assert mlink.LogLine("ticker", logging.INFO, "ticking", printed=True) in lines
        assert capfd.readouterr() == ("", "")  # it prints nothing by itself

    def test_a_failed_run_raises_with_its_result(self, folder: Path) -> None:
        Path("ticker.py").write_text("def run(): print('ticking'); 1 / 0")
        with pytest.raises(mlink.RunFailedError, match=r"ticker\.py:1: .*\n.*division") as caught:
            mlink.run("bench.toml", out="rec")
        assert caught.value.result.failures[0].module == "ticker"
        assert caught.value.result.recording_dir is not None

    def test_unless_that_is_not_wanted(self, folder: Path) -> None:
        Path("ticker.py").write_text("def run(): 1 / 0")
        result = mlink.run("bench.toml", record=False, check=False)
        assert not result.success

    def test_without_a_place_to_record_to(self, folder: Path) -> None:
        Path("rec").touch()
        for check in (True, False):
            with pytest.raises(mlink.StorageError, match="rec") as caught:
                mlink.run("bench.toml", out="rec", check=check)
            assert not hasattr(caught.value, "__notes__")

    def test_a_callback_that_raises_stops_the_run(self, folder: Path) -> None:
        def show(status: mlink.RunStatus) -> None:
            if status.phase is mlink.Phase.RUN:
                raise ValueError("no such display")

        with pytest.raises(ValueError, match="no such display"):
            mlink.run("bench.toml", out="rec", on_status=show)
        (manifest,) = folder.glob("rec/**/ticks/attributes.toml")
        assert 'stop_reason = "stopped by ValueError"' in manifest.read_text()

    @pytest.mark.parametrize("duration_s", [0, -1, float("nan"), float("inf"), "3", 10**400])
    def test_a_duration_that_is_none(self, folder: Path, duration_s: object) -> None:
        with pytest.raises(mlink.BenchError, match="duration_s must be more than 0"):
            mlink.run("bench.toml", duration_s=duration_s)

    @pytest.mark.parametrize(
        ("argument", "value", "what"),
        [
            ("name", 3, "name must be a text, not 3"),
            ("subject", None, "subject must be a text, not None"),
            ("order", "time", "order must be a list of names, not 'time'"),
            ("order", ("mood",), "'mood' is not a folder of a recording's path"),
            ("out", "a\0b", "out cannot be a path"),
            ("on_status", 3, "on_status must be a function, not 3"),
        ],
    )
    def test_an_argument_that_is_wrong_starts_nothing(
        self, folder: Path, argument: str, value: object, what: str
    ) -> None:
        with pytest.raises(mlink.BenchError, match=what):
            mlink.run("bench.toml", **{argument: value})
        assert not (folder / "recordings").exists()

    @pytest.mark.parametrize("strict", [True, False])
    def test_a_loss_is_a_failure_if_the_run_is_strict(self, folder: Path, strict: bool) -> None:
        Path("bench.toml").write_text(BENCH + SLOW)
        burst = "run():\n    for n in range(100):\n        ticks.submit([n])"
        Path("ticker.py").write_text(TICKER.replace("run():", burst))
        Path("slow.py").write_text(SLOW_SCRIPT)
        result = mlink.run("bench.toml", duration_s=0.5, record=False, check=False, strict=strict)
        assert result.success is not strict
        _, slow = result.streams[0].subscriptions
        assert slow.lost > 0
        if strict:
            found = f"{slow.lost} of {result.streams[0].sent} item(s)"
            assert result.failures[0].message.startswith(found)

    def test_a_failure_can_be_passed_on_by_a_process_pool(self, folder: Path) -> None:
        Path("ticker.py").write_text("def run(): 1 / 0")
        with pytest.raises(mlink.RunFailedError) as caught:
            mlink.run("bench.toml", record=False)
        passed = pickle.loads(pickle.dumps(caught.value))
        assert (str(passed), passed.result) == (str(caught.value), caught.value.result)


class TestStarted:
    def test_with_is_entered_when_all_modules_run(self, folder: Path) -> None:
        with mlink.start("bench.toml", out="rec") as run:
            assert run.status.phase is mlink.Phase.RUN
            assert run.wait_running(0)
            assert not run.ended
            assert run.wait(0.1) is None
            with pytest.raises(mlink.MlinkError, match="has not ended"):
                _ = run.result
            for no_text in (3, None, b"x", ""):
                with pytest.raises(mlink.MlinkError, match="reason of a stop must be a text, not"):
                    run.stop(no_text)
            run.stop("enough")
            assert run.wait() is run.result
        assert (run.result.stop_reason, run.ended) == ("enough", True)
        assert "ended" in repr(run)
        run.stop()  # of no effect any more
        assert run.result.stop_reason == "enough"

    def test_a_status_does_not_change_afterwards(self, folder: Path) -> None:
        with mlink.start("bench.toml", record=False) as run:
            early = run.status
            (sent,) = (stream.sent for stream in early.streams)
            run.wait(0.6)
            assert run.status.elapsed_s > early.elapsed_s
            assert early.phase is mlink.Phase.RUN
            assert early.streams[0].sent == sent

    def test_a_run_that_fails_at_its_start_does_not_enter(self, folder: Path) -> None:
        Path("ticker.py").write_text("def start(): 1 / 0")
        entered = False
        with (
            pytest.raises(mlink.RunFailedError, match="division by zero"),
            mlink.start("bench.toml", record=False),
        ):
            entered = True
        assert not entered

    def test_a_module_that_is_killed_meanwhile(self, folder: Path) -> None:
        run = mlink.start("bench.toml", out="rec")
        with pytest.raises(mlink.RunFailedError, match="ended by signal 9"), run:
            kill_the_recorder(run)
        assert [failure.module for failure in run.failures] == ["rows"]

    def test_an_exception_closes_the_files_and_goes_on(self, folder: Path) -> None:
        with pytest.raises(KeyError) as caught, mlink.start("bench.toml", out="rec") as run:
            raise KeyError("x")
        assert run.result.success
        assert run.result.stop_reason == "stopped by KeyError"
        assert not hasattr(caught.value, "__notes__")

    def test_what_failed_besides_is_a_note(self, folder: Path) -> None:
        def act(run: mlink.Run) -> None:
            kill_the_recorder(run)
            raise KeyError("x")

        with pytest.raises(KeyError) as caught, mlink.start("bench.toml", out="rec") as run:
            act(run)
        (note,) = caught.value.__notes__
        assert "the run of ticks failed" in note

    def test_two_at_once(self, folder: Path) -> None:
        logger = logging.getLogger("mlink")
        before = (logger.level, logger.propagate)
        first = mlink.start("bench.toml", out="rec")
        second = mlink.start("bench.toml", out="rec")
        assert first.wait_running()
        assert second.wait_running()
        first.stop()  # in the order in which they began
        assert first.wait().success
        assert not second.ended
        second.stop()
        assert second.wait().success
        assert first.result.recording_dir != second.result.recording_dir
        assert (logger.level, logger.propagate) == before

    def test_out_is_relative_to_where_the_program_was(self, folder: Path) -> None:
        (folder / "elsewhere").mkdir()
        run = mlink.start("bench.toml", out="rec", duration_s=0.1)
        os.chdir("elsewhere")
        assert run.wait().recording_dir.relative_to(folder / "rec")

    @pytest.mark.parametrize("end", ["sys.exit()", "run.stop(); sys.exit()", "os._exit(0)"])
    def test_a_forked_child_leaves_the_run_of_its_parent_alone(
        self, folder: Path, end: str
    ) -> None:
        (folder / "forks.py").write_text(FORKS.replace("END", end))
        done = subprocess.run(
            [sys.executable, "forks.py"], capture_output=True, text=True, timeout=250
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout.startswith("the run of ticks belongs to process")
        assert done.stdout.endswith("0 the with block was left\n")

    def test_signal_handlers_stay_as_they_are(self, folder: Path) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with mlink.start("bench.toml", record=False):
            now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        assert now == before


FORKS = """
import os, sys
import mlink
with mlink.start("bench.toml", out="rec") as run:
    child = os.fork()
    if not child:
        try:
            run.wait(0)
        except mlink.MlinkError as error:
            print(error.message, flush=True)
        END
    status = os.waitpid(child, 0)[1]
    assert run.wait(0.2) is None
print(status, run.result.stop_reason)
"""

RUN = "mlink.run('bench.toml', out='rec', on_status=lambda now: print(now.phase.value, flush=True))"
START = (
    "run = mlink.start('bench.toml', out='rec')\n    with run: print('run', flush=True); run.wait()"
)


@contextmanager
def program_that_runs(body: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program whose run is in full flow, and check that an interrupt ends it in order."""
    text = f"import mlink\ntry:\n    {body}\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    program = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    while program.stdout.readline() != "run\n":
        assert program.poll() is None
    yield program
    output, _ = program.communicate(timeout=250)
    assert output.splitlines()[-1] == "interrupted"
    assert program.returncode == 0


@pytest.mark.parametrize("body", [RUN, START], ids=["run", "start"])
def test_ctrl_c_closes_the_files(folder: Path, body: str) -> None:
    with program_that_runs(body) as program:
        program.send_signal(signal.SIGINT)
    (attributes,) = folder.glob("rec/**/ticks/attributes.toml")
    assert 'stop_reason = "stopped by KeyboardInterrupt"' in attributes.read_text()


SLOW_START = """
import pathlib, time
def prepare():
    pathlib.Path("prepares").touch()
    time.sleep(1)
"""


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 30
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_while_a_run_starts_ends_it_and_leaves_no_recording(folder: Path) -> None:
    Path("ticker.py").write_text(SLOW_START)
    body = "print('run', flush=True)\n    with mlink.start('bench.toml', out='rec'): pass"
    with program_that_runs(body) as program:
        wait_for("prepares")
        program.send_signal(signal.SIGINT)
    assert not list(folder.glob("rec/**/attributes.toml"))  # nothing had been sent


HANG = """
import pathlib, time
def stop():
    print("without any output nothing would be kept")
    pathlib.Path("hangs").touch()
    time.sleep(60)
"""


def test_a_second_ctrl_c_does_not_wait_for_a_module_that_hangs(folder: Path) -> None:
    Path("ticker.py").write_text(HANG)
    with program_that_runs(START) as program:
        program.send_signal(signal.SIGINT)
        wait_for("hangs")
        program.send_signal(signal.SIGINT)
    (attributes,) = folder.glob("rec/**/ticks/attributes.toml")
    assert "aborted by a second interrupt" in attributes.read_text()


def test_ctrl_c_while_videos_are_encoded_leaves_them_for_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(_result: mlink.RunResult, on_progress: Callable[[object], None]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.01)
            on_progress(None)

    monkeypatch.setattr(api_run, "encode_raw_videos", encode)
    run = mlink.start("bench.toml", record=False, duration_s=0.1)
    with pytest.raises(KeyboardInterrupt), run:
        pass
    assert run.result.success
    assert run.result.stop_reason == "interrupted while its videos were encoded"


def test_a_forgotten_run_is_closed_at_the_programs_end(folder: Path) -> None:
    program = "import mlink; run = mlink.start('bench.toml', out='rec'); run.wait_running()"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=250)
    (manifest,) = folder.glob("rec/**/ticks/attributes.toml")
    assert 'stop_reason = "the program ended"' in manifest.read_text()


def test_the_callbacks_of_a_run_never_hold_it_up(folder: Path) -> None:
    def slow(_status: mlink.RunStatus) -> None:
        time.sleep(0.5)

    result = mlink.run("bench.toml", duration_s=1, record=False, on_status=slow)
    assert result.streams[0].sent > 5
