"""Scripts that hardly let virtual time pass, or that go on after the stop."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.virtual_time.test_simulated_benches import run

BENCH = '[bench]\nname = "x"\n[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
CALLS = """
import syntalos_mlink as syl
count = 0
def again():
    global count
    count += 1
    syl.schedule_delayed_call({delay}, again)
def start():
    again()
def stop():
    print("count", count, syl.time_since_start_usec())
"""
WAITS = """
import syntalos_mlink as syl
count = 0
def run():
    global count
    while {condition}:
        {wait}
        count += 1
def stop():
    print("count", count, syl.time_since_start_usec())
"""


def counted(folder: Path, script: str) -> tuple[int, int]:
    """Run a script for a second; return what it has counted, and its time in stop()."""
    (folder / "bench.toml").write_text(BENCH)
    (folder / "loop.py").write_text(script)
    done = run(folder, "--for", "1", "--no-record")
    assert done.returncode == 0, done.stdout + done.stderr
    count, time_usec = re.findall(r"count (\d+) (\d+)", done.stdout)[0]
    return int(count), int(time_usec)


@pytest.mark.parametrize(
    ("delay", "most"), [("0", 1_020), ("0.001", 20_020), ("0.05", 20_001), ("0.1", 10_001)]
)
def test_a_delayed_call_that_requests_itself_takes_a_turn_of_the_loop(tmp_path, delay, most):
    count, _ = counted(tmp_path, CALLS.format(delay=delay))
    assert most - 20 <= count <= most


@pytest.mark.parametrize(
    ("wait", "most"),
    [
        ("syl.await_data(0)", 1_020),
        ("syl.await_data(1)", 20_020),
        ("syl.wait(0.001)", 20_020),
        ("syl.await_data(100)", 10_001),
    ],
)
def test_waits_of_next_to_nothing_take_a_turn_of_the_loop(tmp_path, wait, most):
    condition = "syl.time_since_start_usec() < 1_000_000"
    count, _ = counted(tmp_path, WAITS.format(condition=condition, wait=wait))
    assert most - 40 <= count <= most


def test_many_calls_without_a_delay_at_one_time_take_no_time(tmp_path):
    script = (
        "import syntalos_mlink as syl\n"
        "times = []\n"
        "def start():\n"
        "    for _ in range(100):\n"
        "        syl.schedule_delayed_call(\n"
        "            0, lambda: times.append(syl.time_since_start_usec()))\n"
        "def stop():\n"
        "    print('count', len(times), max(times))\n"
    )
    assert counted(tmp_path, script) == (100, 1)


def test_stop_has_the_time_of_the_end_of_the_run(tmp_path):
    script = WAITS.format(condition="count < 3 and syl.is_running()", wait="syl.wait(100)")
    assert counted(tmp_path, script) == (3, 1_000_000)


@pytest.mark.parametrize("wait", ["syl.wait(10)", "syl.wait_sec(1)", "syl.await_data(1000)"])
def test_a_script_that_waits_on_after_the_stop_is_interrupted_at_the_same_place(tmp_path, wait):
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "loop.py").write_text(WAITS.format(condition="True", wait=wait))
    done = run(tmp_path, "--for", "1", "--no-record")
    assert done.returncode == 1
    assert "it went on after the stop, for 10,000 waits" in done.stdout
    assert "Loops must ask `syl.is_running()`" in done.stdout
    count, time_usec = re.findall(r"count (\d+) (\d+)", done.stdout)[0]
    before = {"syl.wait(10)": 100, "syl.wait_sec(1)": 1, "syl.await_data(1000)": 1000}[wait]
    assert int(count) - before in (10_000, 10_001)
    step_usec = {"syl.wait(10)": 10_000, "syl.wait_sec(1)": 1_000_000, "syl.await_data(1000)": 0}[
        wait
    ]
    assert int(time_usec) in {1_000_000 + waits * step_usec for waits in (10_000, 10_001)}


def test_a_script_without_a_loop_may_wait_often_after_the_stop(tmp_path):
    script = WAITS.format(condition="count < 5_000", wait="syl.wait(10)")
    assert counted(tmp_path, script) == (5_000, 50_000_000)
