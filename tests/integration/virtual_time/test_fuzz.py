"""`mlink fuzz` on the example whose firmware has a race, and what it refuses."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.hil_examples import copy_example

pytestmark = [pytest.mark.sim, pytest.mark.timeout(900)]

SEEDS = 6
TOUCHES = """    begin = bench.now()
    for _ in range(100):  # so that most seeds show the race, whatever moves these moments
        bench.wait(0.0123)
        touch, release = bench.board("lamp").line(2).pulse(False, 8)
    bench.expect_none(edge(8, board="lamp"), for_usec=1_500_000, after=begin)
"""
RACY = "firmware/lamp-racy.hex"
ATOMIC = "firmware/lamp-atomic.hex"


def fuzz(folder: Path, *arguments: str, limit_s: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlink", "fuzz", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def documented_command() -> list[str]:
    """Return the arguments of the command in docs/fuzz.md, for a copy of the example."""
    page = (ROOT / "docs/fuzz.md").read_text()
    (block,) = re.findall(r"```sh\n(mlink fuzz .*?)```", page, re.DOTALL)
    program, command, bench, *options = shlex.split(block.replace("\\\n", ""))
    assert [program, command, bench] == ["mlink", "fuzz", "hil/benches/dut-firmware"]
    return [".", *options]


def search_the_race(folder: Path) -> tuple[Path, dict]:
    """Make the documented search around the seed that fails, by the kinds that it needs."""
    folder = copy_example(folder, "dut-firmware")
    test, presses = folder / "test_touch.py", folder / "presses.py"
    head, at, _ = test.read_text().partition("    press = ")
    assert at
    test.write_text(head + TOUCHES)
    pressed = "        relay.set_value(1)\n"
    assert pressed in presses.read_text()
    presses.write_text(presses.read_text().replace(pressed, "        syl.wait(5000)\n"))
    # Drawn, so that the run without disturbances has the firmware without the race.
    with (folder / "bench.toml").open("a") as bench:
        bench.write(f'[fuzz.settings]\n"virtual.lamp.firmware" = ["{RACY}"]\n')
    arguments = documented_command()
    del arguments[arguments.index("--set") :]
    arguments[arguments.index("--seeds") + 1] = str(SEEDS)
    only = ["--only", "crystals,phases,settings", "--max-failures", "1"]
    done = fuzz(folder, *arguments, *only, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    return folder, json.loads(done.stdout)


def test_the_race_is_found_minimised_shown_again_and_gone_with_the_fix(tmp_path: Path) -> None:
    # One test: the search takes most of the time, and each process of a parallel run makes it anew.
    folder, account = search_the_race(tmp_path)
    assert account["unsteady"] == []
    (failing,) = account["failed"]
    assert 1 <= failing["seed"] <= SEEDS
    assert "settings" in failing["kinds"]
    assert failing["minimal"]
    assert "expected no edge on lamp.8" in failing["reasons"][0]
    assert account["success"] is False
    assert account["per_second"] > 0

    program, command, *arguments = shlex.split(failing["command"])
    assert (program, command) == ("mlink", "fuzz")
    again = fuzz(folder, *arguments, "--json")
    assert again.returncode == 1, again.stderr
    shown = json.loads(again.stdout)
    assert (shown["outcome"], shown["reasons"]) == ("failed", failing["reasons"])
    assert {each["kind"] for each in shown["drawn"]} == set(failing["kinds"])
    first, second = (files_of(folder / found["recording"]) for found in (failing, shown))
    assert sorted(first) == sorted(second)
    assert any(name.endswith("attributes.toml") for name in first)
    assert [each for each in first if not filecmp.cmp(first[each], second[each], False)] == []

    bench = folder / "bench.toml"
    bench.write_text(bench.read_text().replace(RACY, ATOMIC))
    done = fuzz(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"✔ seed {failing['seed']}: passed" in done.stdout


def write_bench(folder: Path, fuzz_table: str = "", script: str = "") -> None:
    """Write a bench of two scripts; the second one fails where its seed ends on 3."""
    ports = 'data_type = "TableRow" }]\n'
    (folder / "bench.toml").write_text(
        '[bench]\nname = "two"\n'
        f'[modules.tick]\ntype = "pyscript"\nscript = "tick.py"\n'
        f'ports_out = [{{ id = "out", {ports}'
        f'[modules.loop]\ntype = "pyscript"\nscript = "loop.py"\n'
        f'inputs = {{ in = "tick.out" }}\nports_in = [{{ id = "in", {ports}' + fuzz_table
    )
    (folder / "tick.py").write_text(
        "import syntalos_mlink as syl\n"
        "def run():\n"
        "    syl.wait(100)\n"
        "    syl.get_output_port('out').submit([1])\n"
        "    syl.await_data()\n"
    )
    (folder / "loop.py").write_text("import syntalos_mlink as syl\n" + script)


def test_a_run_that_fails_at_some_seeds_is_found_without_a_test(tmp_path: Path) -> None:
    table = '[fuzz]\norder = false\n[fuzz.settings]\n"loop.cost_usec" = { min = 0, max = 9 }\n'
    script = (
        "def prepare():\n"
        "    syl.get_input_port('in').on_data = on_data\n"
        "def on_data(row):\n"
        "    if row is not None:\n"
        "        assert syl.time_since_start_usec() % 10 < 5, 'late'\n"
    )
    write_bench(tmp_path, table, script)
    done = fuzz(tmp_path, ".", "--seeds", "5", "--for", "1", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert account["kinds"] == ["settings"]
    assert 0 < len(account["failed"]) < 5
    assert account["passed"] + len(account["failed"]) == 5
    failing = account["failed"][0]
    assert "late" in failing["reasons"][0]
    assert "--only settings --for 1" in failing["command"]
    shown = fuzz(tmp_path, *shlex.split(failing["command"])[2:])
    assert shown.returncode == 1, shown.stdout
    assert "loop.cost_usec = " in shown.stdout
    assert "late" in shown.stderr + shown.stdout


def test_ctrl_c_ends_a_search_with_the_account_so_far(tmp_path: Path) -> None:
    write_bench(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlink", "fuzz", ".", "--seeds", "100000", "--for", "1", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:  # the first report, after some seeds
        if re.match(r"[1-9]\d* of ", line):
            break
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    account = json.loads(text)
    assert account["stopped"] == "interrupted by Ctrl-C"
    assert 0 < account["passed"] == account["tried"] < 100_000


REFUSED = {
    "no seeds": (["--seeds", "0"], "greater than or equal to 1"),
    "unknown kind": (["--only", "bounces"], "Did you mean 'bounce'?"),
    "nothing to disturb": (["--only", "bounce"], "bounce: none of these disturbs"),
    "no file of tests": (["--test", "test_x.py"], "there is no file test_x.py"),
    "no test": (["--test", "loop.py"], "there is no test in loop.py"),
    "two ends": (["--test", "loop.py", "--for", "1"], "exclude each other"),
    "no bench": (["x.toml"], "x.toml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_searched_is_refused_in_words(tmp_path: Path, name: str) -> None:
    arguments, message = REFUSED[name]
    write_bench(tmp_path)
    done = fuzz(tmp_path, *([] if name == "no bench" else ["."]), *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in re.sub(r"\s*│?\n│?\s*", " ", done.stderr)
    assert "Traceback" not in done.stderr


IDLE_TESTS = {
    "all skipped": ("bench):\n    pytest.skip('only on Mondays')", "all were skipped", "Mondays"),
    "no bench": ("):\n    pass", "no test in test_it.py uses the fixture `bench`", "nothing is"),
}


@pytest.mark.parametrize("name", IDLE_TESTS)
def test_tests_that_run_no_bench_are_no_search(tmp_path: Path, name: str) -> None:
    rest, *messages = IDLE_TESTS[name]
    write_bench(tmp_path)
    (tmp_path / "test_it.py").write_text(
        f"import pytest\npytestmark = pytest.mark.bench('bench.toml')\ndef test_it({rest}\n"
    )
    done = fuzz(tmp_path, ".", "--test", "test_it.py", "--seeds", "3")
    assert done.returncode == 2, done.stdout + done.stderr
    for message in messages:
        assert message in done.stderr


def test_a_bench_that_fails_anyway_or_needs_real_time_is_refused(tmp_path: Path) -> None:
    write_bench(tmp_path, script="def start():\n    raise ValueError('always')\n")
    done = fuzz(tmp_path, ".", "--for", "1")
    assert done.returncode == 2
    assert "fails without any disturbance" in done.stderr
    assert "always" in done.stderr
    folder = copy_example(tmp_path, "dut-firmware")
    (folder / "lab.toml").write_text('[devices]\nuno = "/dev/ttyACM9"\n')
    done = fuzz(folder, ".", "--devices", "lab.toml")
    assert done.returncode == 2
    assert "runs in real time only" in done.stderr


def test_pytest_without_virtual_time_refuses_a_seed(tmp_path: Path) -> None:
    folder = copy_example(tmp_path, "dut-firmware")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_touch.py", "--mlink-time=real",
         "--mlink-fuzz=3", "-p", "no:cacheprovider"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "disturbances of a seed need virtual time" in done.stdout
