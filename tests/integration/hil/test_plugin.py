"""The pytest plugin: outcomes, scopes, features, recordings, faults and reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.hil_examples import Outcome, copy_example, run_pytest

HEAD = """
import pytest
from mlink_hil.testing import *
pytestmark = pytest.mark.bench(
    "bench.toml", without=("finger", "latencies"), set="cam.framerate=30", scope="session"
)
"""


@pytest.fixture
def inner(tmp_path: Path) -> Callable[..., Outcome]:
    """Run a test file on the LED bench, whose board only speaks the protocol."""

    def run(tests: str, *arguments: str, head: str = HEAD) -> Outcome:
        change = ("bench.toml", '"virtual:uno"', '"virtual:uno?simulator=protocol"')
        folder = copy_example(tmp_path, "led-follows-button", *change)
        (folder / "test_led.py").write_text(head + tests)
        return run_pytest(folder, *arguments)

    return run


@pytest.mark.any_pace
def test_an_inconclusive_test_is_its_own_outcome(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
def test_deadline_inside_the_uncertainty(bench, board):
    press = board.line(7).drive(False)
    seen = bench.expect(reading(7, value=0), within_usec=50_000, after=press)
    usec = seen.since(press).usec   # the board's times are ± 1.2 ms
    bench.expect(reading(7, value=0), within_usec=usec + 100, after=press)

def test_measurement_inside_the_uncertainty(bench, board):
    press = board.line(7).drive(False)
    seen = bench.expect(reading(7, value=0), within_usec=50_000, after=press)
    bench.measure("late", seen.since(press), at_most=seen.since(press).usec + 100)

def test_that_fails(bench, board):
    press = board.line(7).drive(False)
    bench.expect(edge(8, rising=False), within_usec=5_000, after=press)

def test_that_passes(bench, board):
    press = board.line(7).drive(False)
    bench.expect_sequence(
        edge(7, rising=False), reading(7, value=0), edge(8, rising=True),
        within_usec=50_000, after=press,
    )
""",
        "--mlink-record=never",
        "-v",
    )
    assert outcome.code == 1
    assert outcome.counts == {"failed": 1, "passed": 1, "inconclusive": 2}, outcome.text
    assert "undecided whether reading = 0 on board.fmdata.7 came" in outcome.text
    assert "no falling edge on uno.8 within 5000 µs after uno.7 → 0" in outcome.text
    assert "▼ uno.7" in outcome.text


def test_a_slow_camera_has_seen_the_light_go_out_before_the_next_test(
    inner: Callable[..., Outcome],
) -> None:
    press_and_look = """
    place = camera.region(470, 350, 20, 20)  # the LED, in a picture of 640 by 480
    press = board.line(7).drive(False)
    seen = bench.expect(place.brightens(above=100), within_usec=2_000_000, after=press)
    assert seen.latest_usec >= press.time_usec
"""
    tests = "".join(
        f"\ndef test_{number}(bench, board, camera):{press_and_look}" for number in range(4)
    )
    outcome = inner(tests, "--mlink-record=never", "--mlink-set", "cam.framerate=5")
    assert outcome.counts == {"passed": 4}, outcome.text


def test_times_of_boards_that_were_not_simulated_in_real_time_decide_nothing(
    inner: Callable[..., Outcome],
) -> None:
    outcome = inner(
        """
import os, signal, time
import psutil

def pause_the_board(sec):
    of_us = psutil.Process().children(recursive=True)
    (board,) = [each for each in of_us if "mlink_hil.sim." in " ".join(each.cmdline())]
    board.send_signal(signal.SIGSTOP)
    time.sleep(sec)
    board.send_signal(signal.SIGCONT)

def test_measured_while_it_stood_still(bench):
    pause_the_board(0.2)
    bench.measure("trip", 61_069, "µs", at_most=50_000)

def test_expected_while_it_stood_still(bench, board):
    press = board.line(7).drive(False)
    pause_the_board(0.2)
    bench.expect(edge(8, rising=False), within_usec=5_000, after=press)

def test_what_was_kept_passes_all_the_same(bench):
    pause_the_board(0.2)
    bench.measure("trip", 3_000, "µs", at_most=50_000)

@pytest.mark.parametrize("again", range(10))  # this machine may be slow at one of them, too
def test_measured_after_it(bench, board, again):
    bench.measure("trip", 61_069, "µs", at_most=50_000)
""",
        "--mlink-record=never",
        "--mlink-time=real",
    )
    counts = outcome.counts
    assert counts["passed"] == 1, outcome.text
    assert counts["failed"] + counts["inconclusive"] == 12, outcome.text
    assert counts["inconclusive"] >= 2, outcome.text
    assert "trip = 61069 µs, limits ≤ 50000: inconclusive" in outcome.text
    assert "too slow to simulate in real time: uno gave up " in outcome.text
    failed = re.findall(r"^FAILED test_led\.py::(\w+)", outcome.text, re.MULTILINE)
    assert set(failed) == {"test_measured_after_it"}


def test_durations_measured_on_a_busy_computer_decide_nothing(
    inner: Callable[..., Outcome],
) -> None:
    outcome = inner(
        """
import os, subprocess, time
import psutil

def keep_the_loop_from_its_processor(sec, during):
    mine = os.sched_getaffinity(0)
    for process in psutil.Process().children(recursive=True):
        if process.name().startswith("ml:"):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {min(mine)})
                os.sched_setscheduler(thread.id, os.SCHED_IDLE, os.sched_param(0))
    # the kernel shares a processor among sessions first: each hog has its own
    busy = ["sh", "-c", "while :; do :; done"]
    hogs = [subprocess.Popen(busy, start_new_session=True) for _ in range(8)]
    for hog in hogs:
        os.sched_setaffinity(hog.pid, {min(mine)})
    end = time.monotonic() + sec
    while time.monotonic() < end:
        during()
        time.sleep(0.01)
    for hog in hogs:
        hog.kill()
        hog.wait()

@pytest.mark.parametrize("again", range(10))  # others may be busy at one of them, too
def test_it_stands_while_the_loop_has_its_processor(bench, again):
    bench.measure("trip", 61_069, "µs", at_most=50_000)

def test_it_was_busy(bench, board):
    levels = iter([False, True] * 10_000)
    keep_the_loop_from_its_processor(0.7, lambda: board.line(7).drive(next(levels)))
    bench.measure("switched", 2, "", at_least=1)
    bench.measure("trip", 61_069, "µs", at_most=50_000)

def test_what_is_no_time_is_judged(bench, board):
    levels = iter([False, True] * 10_000)
    keep_the_loop_from_its_processor(0.7, lambda: board.line(7).drive(next(levels)))
    bench.measure("switched", 2, "", at_most=1)
""",
        "--mlink-record=never",
        "--mlink-time=real",
    )
    assert outcome.counts["failed"] + outcome.counts["inconclusive"] == 12, outcome.text
    failed = re.findall(r"^FAILED test_led\.py::(\w+)", outcome.text, re.MULTILINE)
    assert "test_it_was_busy" not in failed
    assert "test_it_stands_while_the_loop_has_its_processor" in failed
    # A machine that stands still for long decides nothing else, either.
    if "too slow to simulate in real time" not in outcome.text:
        assert "test_what_is_no_time_is_judged" in failed
    assert "trip = 61069 µs, limits ≤ 50000: inconclusive" in outcome.text
    assert "this machine was busy; processes waited for a processor: " in outcome.text


def test_inconclusive_tests_may_count_as_skipped(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        "def test_it(bench):\n    raise Inconclusive('who knows')\n",
        "--mlink-record=never",
        "--mlink-inconclusive=skip",
    )
    assert outcome.code == 0
    assert outcome.counts == {"inconclusive": 1}


def test_a_run_lasts_as_long_as_its_scope(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
runs = []

def test_one(bench):
    runs.append(bench.run)

def test_two(bench):
    runs.append(bench.run)
    assert runs[0] is runs[1]

@pytest.mark.bench("bench.toml", without=("finger", "latencies"), scope="function")
def test_three(bench):
    assert bench.run is not runs[0]
    assert not hasattr(bench, "nothing")

def test_a_run_that_was_ended_is_started_anew(bench, recording):
    first = bench.run
    assert (recording.finish() / "manifest.toml").is_file()
    assert not first.alive

def test_five(bench, camera):
    assert bench.run is not runs[0]
    assert camera.picture().view.shape == (480, 640, 3)
""",
    )
    assert outcome.code == 0, outcome.text


def test_a_missing_feature_skips_with_the_reason(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
@pytest.mark.mlink_needs("real")
def test_real(bench): ...

@pytest.mark.mlink_needs("simulated", "camera", "board")
def test_simulated(bench): ...

@pytest.mark.mlink_needs("simulatd")
def test_typo(bench): ...
""",
        "-rs",
        "--mlink-record=never",
    )
    assert outcome.counts == {"passed": 1, "skipped": 1, "error": 1}, outcome.text
    assert "needs real: eye is virtual:scene, uno is virtual:uno?simulator=protocol" in outcome.text
    assert "unknown feature 'simulatd' in mlink_needs" in outcome.text


def test_what_is_wrong_with_a_bench_is_reported_in_its_own_words(
    inner: Callable[..., Outcome],
) -> None:
    outcome = inner(
        """
@pytest.mark.bench("nowhere.toml")
def test_no_file(bench): ...

@pytest.mark.bench("bench.toml", set="cam.framerat=3")
def test_bad_key(bench): ...

@pytest.mark.bench("bench.toml", without="fingr")
def test_bad_module(bench): ...

def test_bad_board(bench):
    with pytest.raises(Exception, match="no board 'dos'"):
        bench.board("dos")
    with pytest.raises(Exception, match="Did you mean 'cam'"):
        bench.camera("camm")
    assert bench.board("board").name == bench.board("uno").name == "uno"
""",
        "--mlink-record=never",
    )
    assert outcome.counts == {"passed": 1, "errors": 3}, outcome.text
    assert "there is no file" in outcome.text
    assert "Did you mean 'framerate'?" in outcome.text
    assert "has no module 'fingr' to leave out" in outcome.text


def test_a_script_that_fails_during_a_test_fails_the_test(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
@pytest.mark.bench("bench.toml", time="real")
def test_it(bench, board):
    bench.faults.kill("loop")
    bench.wait(5.0)
""",
        "--mlink-record=never",
    )
    assert outcome.counts == {"failed": 1}, outcome.text
    assert "loop (run): its process was ended by signal 9" in outcome.text


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("stop raises", marks=pytest.mark.any_pace),
        "strict, with a loss",
        pytest.param("a failure is expected", marks=pytest.mark.any_pace),
    ],
)
def test_a_run_that_fails_after_its_last_test_is_an_error_of_the_clean_up(
    how: str, tmp_path: Path
) -> None:
    (tmp_path / "bench.toml").write_text(
        f"""
[bench]
name = "ends"
strict = {"true" if how.startswith("strict") else "false"}
[modules.loop]
type = "pyscript"
script = "loop.py"
ports_out = [{{ id = "rows", data_type = "TableRow" }}]
[modules.slow]
type = "pyscript"
script = "slow.py"
ports_in = [{{ id = "rows", data_type = "TableRow" }}]
inputs = {{ rows = {{ from = "loop.rows", queue = {2 if how.startswith("strict") else 1000} }} }}
"""
    )
    (tmp_path / "loop.py").write_text(
        f"""
import syntalos_mlink as syl
rows = syl.get_output_port("rows")
def prepare():
    rows.set_metadata_value("table_header", ["n"])
def run():
    n = 0
    while syl.is_running():
        for _ in range(5):
            rows.submit([n])
            n += 1
        syl.wait(20)
def stop():
    if {not how.startswith("strict")}:
        raise RuntimeError("the door does not close")
"""
    )
    (tmp_path / "slow.py").write_text(
        f"""
import time
import syntalos_mlink as syl
syl.get_input_port("rows").on_data = lambda row: time.sleep({0.05 if "strict" in how else 0})
"""
    )
    (tmp_path / "test_it.py").write_text(
        f"""
from mlink_hil.testing import row

def test_one(bench):
    bench.expect(row("loop.rows"), within_usec=10_000_000)

def test_two(bench):
    bench.expect_count(row("loop.rows"), at_least=5, within_usec=1_000_000)
    if {how.startswith("a failure")}:
        bench.run.engine.request_stop("enough")
        bench.faults.expect_failure("loop")
"""
    )
    out = tmp_path / "out"
    kind = "real" if how.startswith("strict") else "virtual"  # in virtual time nothing is lost
    outcome = run_pytest(tmp_path, f"--mlink-out={out}", f"--mlink-time={kind}")
    if how.startswith("a failure"):
        assert (outcome.code, outcome.counts) == (0, {"passed": 2}), outcome.text
        return
    assert (outcome.code, outcome.counts) == (1, {"passed": 2, "error": 1}), outcome.text
    assert "ERROR at teardown of test_two" in outcome.text
    assert "the run of ends failed at its end, after its last test:" in outcome.text
    cause = "loop (stop): " if how == "stop raises" else "slow (account): "
    assert cause in outcome.text
    assert "→ " in outcome.text
    assert list(out.rglob("manifest.toml"))  # the recording of what failed is kept


def test_faults_are_made_and_expected(inner: Callable[..., Outcome]) -> None:
    outcome = inner(
        """
def test_unplugged(bench):
    bench.faults.unplug()
    bench.faults.expect_failure("board")

@pytest.mark.bench("bench.toml", time="real")
def test_killed(bench):
    bench.faults.kill("loop")
    assert "signal 9" in bench.faults.expect_failure("loop")

@pytest.mark.bench("bench.toml", time="real", without=("finger", "latencies"))
def test_frozen_script_does_not_answer(bench, board):
    with bench.faults.frozen("loop"):
        press = board.line(7).drive(False)
        bench.expect_none(edge(8), for_usec=100_000, after=press)
    bench.expect(edge(8, rising=True), within_usec=20_000_000, after=press)

@pytest.mark.bench("bench.toml", time="real", without=("finger", "latencies"))
def test_frozen_camera_sends_no_frames(bench, camera):
    with bench.faults.frozen("cam"):
        bench.wait(0.1)
        bench.expect_none(frame(), for_usec=200_000)
    camera.next_frame()
""",
        "--mlink-record=never",
        "-v",
    )
    assert outcome.counts == {"passed": 4}, outcome.text


@pytest.mark.parametrize(
    ("option", "passes", "kept"),
    [
        ("always", True, 1),
        ("on-failure", True, 0),
        ("on-failure", False, 1),
        ("never", False, 0),
    ],
)
def test_recordings_are_kept_as_asked(
    option: str, passes: bool, kept: int, inner: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = inner(
        f"def test_it(bench, camera):\n    camera.next_frame()\n    assert {passes}\n",
        f"--mlink-record={option}",
        f"--mlink-out={tmp_path / 'out'}",
    )
    assert outcome.code == int(not passes), outcome.text
    assert len(list((tmp_path / "out").rglob("*.mkv"))) == kept


@pytest.mark.any_pace
def test_reports_hold_measurements_timelines_and_pictures(
    inner: Callable[..., Outcome], tmp_path: Path
) -> None:
    report, junit = tmp_path / "report", tmp_path / "junit.xml"
    outcome = inner(
        """
def test_it(bench, board):
    press = board.line(7).drive(False)
    lit = bench.expect(edge(8, rising=True), within_usec=50_000, after=press)
    bench.measure("press to light", lit.since(press), at_most=50_000)
    bench.expect_none(frame(), for_usec=200_000, after=press)
""",
        f"--mlink-report={report}",
        f"--junitxml={junit}",
        "--mlink-record=never",
    )
    assert outcome.counts == {"failed": 1}, outcome.text
    page = (report / "report.html").read_text()
    assert "press to light" in page
    assert "<polyline" in page
    assert "data:image/jpeg;base64," in page
    (vcd,) = (report / "vcd").glob("*.vcd")
    assert "uno_8" in vcd.read_text()
    properties = ElementTree.parse(junit).iter("property")
    assert [each.get("name") for each in properties] == ["mlink.press to light"]


def test_what_did_not_run_is_in_the_report_with_its_reason(
    inner: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = inner(
        """
import pytest

@pytest.mark.bench("none.toml")
def test_without_a_file(bench):
    pass

@pytest.mark.mlink_needs("real")
def test_for_real_boards(bench):
    pass

@pytest.fixture
def meter(bench):
    yield
    raise OSError("the meter is stuck")

def test_whose_clean_up_fails(bench, meter):
    pass

def test_of_something_else():
    pytest.skip("not of a bench")
""",
        f"--mlink-report={tmp_path}",
        "--mlink-record=never",
    )
    assert outcome.counts == {"passed": 1, "skipped": 2, "errors": 2}, outcome.text
    page = (tmp_path / "report.html").read_text()
    assert "Bench tests: 2 error, 1 passed, 1 skipped" in page
    for reason in ("none.toml", "real", "the meter is stuck"):
        assert re.search(f'<p class="why">[^<]*{reason}', page), reason
    assert "not of a bench" not in page
