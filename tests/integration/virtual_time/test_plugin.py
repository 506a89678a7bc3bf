"""Tests with the pytest plugin in virtual time: never inconclusive, twice the same recording."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest

from tests.support.hil_examples import Outcome, copy_example, run_pytest

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

EXAMPLES = {
    "led-follows-button": "not thousand",  # 500 presses take a minute on a busy machine
    "camera-sees-light": "",
    "two-boards": "",
    "dut-firmware": "",
}


def in_virtual_time(folder: Path, *arguments: str) -> Outcome:
    """Run tests in the default of simulated benches."""
    return run_pytest(folder, *arguments)


def recordings_in(folder: Path) -> dict[str, Path]:
    """Return the files of all recordings in a folder, by recording and path inside of it."""
    return {
        f"{found.name}/{path.relative_to(found)}": path
        for found in folder.glob("*/*")
        for path in found.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_twice_with_the_same_recording(tmp_path: Path, name: str) -> None:
    folder = copy_example(tmp_path, name)
    files = []
    for out in (tmp_path / "first", tmp_path / "second"):
        outcome = in_virtual_time(
            folder, "-k", EXAMPLES[name], "--mlink-record=always", f"--mlink-out={out}"
        )
        assert outcome.code == 0, outcome.text
        assert set(outcome.counts) <= {"passed", "deselected"}
        files.append(recordings_in(out))
    first, second = files
    assert sorted(first) == sorted(second)
    assert [each for each in first if each.endswith("attributes.toml")]
    assert [each for each in first if not filecmp.cmp(first[each], second[each], False)] == []


def write_test(tmp_path: Path, body: str, imports: str = "edge") -> Path:
    folder = copy_example(tmp_path, "led-follows-button")
    head = f"import pytest\nfrom mlink_hil.testing import {imports}\n"
    mark = 'pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies"))\n'
    (folder / "test_led.py").write_text(head + mark + body)
    return folder


def test_time_passes_only_where_the_test_waits(tmp_path: Path) -> None:
    body = """
import time

def test_it(bench, board):
    before = bench.now().time_usec
    time.sleep(0.2)
    assert bench.now().time_usec == before
    bench.wait(0.25)
    assert bench.now().time_usec == before + 250_000
    low, high = board.line(7).pulse(False, 30)
    assert high.time_usec - low.time_usec == 30_000
    assert len(bench.events(edge(8, rising=True), after=low)) == 1
"""
    outcome = in_virtual_time(write_test(tmp_path, body))
    assert outcome.code == 0, outcome.text
    assert "mlink: virtual time: led-follows-button" in outcome.text


def test_a_line_of_the_test_that_sleeps_is_named(tmp_path: Path) -> None:
    body = """
import threading, time
from time import sleep as pause, sleep

def test_it(bench):
    time.sleep(0.01)
    sleep(0.02)
    thread = threading.Thread(target=time.sleep, args=[0.03])
    thread.start()
    thread.join()

@pytest.mark.bench("bench.toml", time="real")
def test_real(bench):
    time.sleep(0.04)

def test_without_a_bench():
    time.sleep(0.05)
"""
    outcome = in_virtual_time(write_test(tmp_path, body))
    assert outcome.code == 0, outcome.text
    assert "test_led.py:9: UserWarning: time.sleep(0.01) lets no virtual time pass" in outcome.text
    assert "test_led.py:10: UserWarning: time.sleep(0.02) lets no virtual time pass" in outcome.text
    assert "bench.wait(0.02)" in outcome.text
    for other in ("0.03", "0.04", "0.05"):
        assert f"sleep({other}) lets" not in outcome.text


@pytest.mark.parametrize(
    ("option", "marked", "stated", "kind"),
    [
        ("", "", "", "virtual"),
        ("", "", "real", "real"),
        ("", "virtual", "real", "virtual"),
        ("", "real", "virtual", "real"),
        ("virtual", "real", "real", "virtual"),
        ("real", "virtual", "virtual", "real"),
    ],
)
def test_the_option_comes_before_the_marker_and_that_before_the_bench(
    tmp_path: Path, option: str, marked: str, stated: str, kind: str
) -> None:
    ticks = '[modules.ticks]\ntype = "pyscript"\nscript = "ticks.py"\n'
    head = f"time = {stated!r}\n" if stated else ""
    (tmp_path / "bench.toml").write_text(f'[bench]\nname = "ticks"\n{head}{ticks}')
    (tmp_path / "ticks.py").write_text("")
    mark = f"@pytest.mark.bench('bench.toml', time={marked!r})\n" if marked else ""
    (tmp_path / "test_it.py").write_text(
        f"import pytest\n{mark}def test_it(bench):\n    bench.wait(0.01)\n"
    )
    out = tmp_path / "out"
    arguments = [f"--mlink-time={option}"] if option else []
    outcome = run_pytest(
        tmp_path, *arguments, "--mlink-record=always", f"--mlink-out={out}", f"--mlink-report={out}"
    )
    assert outcome.code == 0, outcome.text
    assert f"mlink: {kind} time: ticks" in outcome.text
    assert f", {kind} time)" in (out / "report.html").read_text()
    (manifest,) = out.rglob("manifest.toml")
    assert f'time = "{kind}"' in (manifest.parent / "attributes.toml").read_text()


def test_what_needs_real_time_runs_in_it_by_itself_with_the_reason(tmp_path: Path) -> None:
    folder = write_test(tmp_path, "\ndef test_it(bench):\n    bench.wait(0.01)\n")
    outcome = run_pytest(folder, "--mlink-set=cam.paced=false")
    assert outcome.code == 0, outcome.text
    assert (
        "mlink: real time (virtual:scene runs in real time only, as paced = false): "
        "led-follows-button" in outcome.text
    )
    outcome = run_pytest(folder, "--mlink-set=cam.paced=false", "--mlink-time=virtual")
    assert outcome.code == 1
    assert "virtual:scene runs in real time only, as paced = false" in outcome.text


def test_a_kind_of_time_that_there_is_not_is_refused(tmp_path: Path) -> None:
    body = """
@pytest.mark.bench("bench.toml", time="virtul")
def test_it(bench):
    pass
"""
    outcome = run_pytest(write_test(tmp_path, body))
    assert outcome.code == 1
    assert "wrong arguments of the marker `bench`" in outcome.text
    assert "times: real, virtual" in outcome.text


def test_a_slow_loop_fails_and_is_never_excused(tmp_path: Path) -> None:
    body = """
def test_it(bench, board):
    bench.expect(edge(8, rising=True), within_usec=200, after=board.line(7).drive(False))
"""
    outcome = in_virtual_time(write_test(tmp_path, body))
    assert outcome.counts == {"failed": 1}, outcome.text
    assert "no rising edge on uno.8 within 200 µs" in outcome.text
    assert "busy" not in outcome.text


def test_measurements_are_marked(tmp_path: Path) -> None:
    body = """
def test_it(bench, board):
    press = board.line(7).drive(False)
    lit = bench.expect(edge(8, rising=True), within_usec=100_000, after=press)
    bench.measure("press to light", lit.since(press), at_most=100_000)
"""
    folder = write_test(tmp_path, body)
    report, junit = tmp_path / "report", tmp_path / "junit.xml"
    outcome = in_virtual_time(folder, f"--mlink-report={report}", f"--junitxml={junit}")
    assert outcome.code == 0, outcome.text
    assert "virtual time: pass" in junit.read_text()
    assert "press to light (virtual time)" in (report / "report.html").read_text()


def test_faults_act_at_the_present_and_a_slow_disk_is_refused(
    tmp_path: Path,
) -> None:
    body = """
from mlink.errors import BenchError

def test_it(bench, board):
    with bench.faults.stuck_line(8, False) as stuck:
        assert stuck.time_usec == bench.now().time_usec
        press = board.line(7).drive(False)
        bench.expect_none(edge(8), for_usec=50_000, after=press)
    with pytest.raises(BenchError, match="slow-disk of video acts in real time only"):
        with bench.faults.slow_disk("video", 1e6):
            pass
    board.line(7).release()
    bench.wait(0.05)
    with bench.faults.frozen("loop"):
        press = board.line(7).drive(False)
        bench.expect_none(edge(8), for_usec=50_000, after=press)
        thawed = bench.now()
    bench.expect(edge(8, rising=True), within_usec=5_000, after=thawed)
    began = bench.now()
    with bench.faults.skewed_clock("eye", -100_000):  # 30 Hz by its own clock
        bench.wait(1)
        count = len(bench.events(frame(), after=began))
        assert count in (27, 28)
    bench.faults.kill("loop")
    assert "was ended by signal 9" in bench.faults.expect_failure("loop")
"""
    outcome = in_virtual_time(write_test(tmp_path, body, "edge, frame"))
    assert outcome.code == 0, outcome.text


def test_a_script_that_fails_fails_the_test(tmp_path: Path) -> None:
    body = """
def test_it(bench):
    bench.wait(3600)
"""
    folder = write_test(tmp_path, body)
    loop = (folder / "loop.py").read_text()
    failing = "    raise ValueError('broken loop')\n"
    at = loop.index("    led.set_value(")
    (folder / "loop.py").write_text(loop[:at] + failing + loop[at:])
    with (folder / "test_led.py").open("a") as file:
        file.write("\ndef test_press(bench, board):\n    board.line(7).drive(False)\n")
        file.write("    bench.wait(3600)\n")
    outcome = in_virtual_time(folder, "-k", "press")
    assert outcome.counts.get("failed") == 1, outcome.text
    assert "broken loop" in outcome.text


def test_lines_that_make_two_runs_differ_are_among_pytests_warnings(tmp_path: Path) -> None:
    folder = write_test(tmp_path, "\ndef test_it(bench):\n    bench.wait(0.1)\n")
    loop = (folder / "loop.py").read_text()
    (folder / "loop.py").write_text(f"import time\n{loop}\ndef stop():\n    time.sleep(0)\n")
    outcome = in_virtual_time(folder)
    assert outcome.code == 0, outcome.text
    line = len(loop.splitlines()) + 4
    assert f"UserWarning: loop: loop.py:{line}: time.sleep() lets no virtual" in outcome.text


def test_a_real_device_is_refused_in_words(tmp_path: Path) -> None:
    folder = write_test(tmp_path, "\ndef test_it(bench):\n    pass\n")
    lab = tmp_path / "lab.toml"
    lab.write_text('[devices]\nuno = "/dev/ttyACM9"\neye = "virtual:scene"\n')
    outcome = in_virtual_time(folder, f"--mlink-devices={lab}", "--mlink-time=virtual")
    assert outcome.code == 1
    assert "device 'uno' (/dev/ttyACM9) runs in real time only" in outcome.text
