"""Tests of the worked examples whose tap is disturbed: how many pass or fail falsely?

Items between the streams and the tap are dropped, delayed, duplicated and reordered at random. In
sound benches a test that fails does so falsely; in broken ones (BROKEN) a test that passes does.
Inconclusive is right in both. Each example runs once without a disturbance first: a test that
passes in a bench that does not break it would count as false for ever. Recordings and reports of
such sessions are kept below --keep. The exit code is 1 when there was a false verdict, 2 when one
came without a disturbance. Not part of `make bench`.

With --time virtual sessions do not wait for the clock either; a delay is one of the tap's process.
With --played each example runs once in real time, and its tests are played on what was recorded
(tests/support/played_tests.py): the code that judges is the same, nothing waits for the clock.
fuzzed_verdicts.py tries the same examples with disturbances that `mlink fuzz` draws.
Run: python -m tests.benchmarks.long.false_verdicts --played --count 1000
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks.table import Table, arguments, publish
from tests.support import ROOT
from tests.support.disturbed_tap import KINDS

EXAMPLES = ROOT / "hil" / "benches"
SESSION_LIMIT_S = 1200.0
OUTCOMES = ("passed", "failed", "inconclusive")
SESSION_ROUNDS = 20
"""Repetitions of each test in one session."""

ABSENCE = """
from mlink_hil.testing import edge, reading, row
import pytest
pytestmark = pytest.mark.bench("bench.toml", without=("finger", "latencies"))

def skip_unless_soon(event, origin):
    if event.since(origin).usec > 80_000:  # on a busy machine: what comes is not surely in the time
        pytest.skip("the answer was late")

def again(bench, board, press):
    bench.wait(0.04)
    let_go = board.line(7).release()
    answer = bench.expect(edge(8, rising=False), within_usec=1_000_000, after=let_go)
    skip_unless_soon(answer, press)
    bench.wait(0.04)

def light(bench, board, now):
    press = board.line(7).drive(False)
    lit = bench.expect(edge(8, rising=True), within_usec=1_000_000, after=press)
    skip_unless_soon(lit, now)

def test_no_row_of_a_release(bench, board):
    press = board.line(7).drive(False)
    AGAIN
    bench.expect_none(row("loop.table-out", value=1), for_usec=150_000, after=press)

def test_one_reading(bench, board):
    press = board.line(7).drive(False)
    AGAIN
    bench.expect_count(reading(7), 1, within_usec=150_000, after=press)

def test_one_row_and_no_other(bench, board):
    press = board.line(7).drive(False)
    AGAIN
    bench.expect(row("loop.table-out", value=0), within_usec=150_000, after=press)
    assert len(bench.events(row("loop.table-out"), after=press)) < 2

def test_no_light(bench, board, camera):
    place = camera.region(468, 348, 24, 24)
    now = bench.now()
    LIGHT
    bench.expect_none(place.brightens(above=100), for_usec=150_000, after=now)
"""
"""Tests of what must not come; the examples have none that depends on a tap."""
LIGHT = "light(bench, board, now)"
AGAIN = "again(bench, board, press)"


@dataclass(frozen=True)
class Example:
    """A bench, the changes that break it, and the tests that must not pass then.

    A bench without changes is sound: none of its tests may fail.
    """

    bench: str
    what: str = "sound"
    changes: tuple[tuple[str, str, str], ...] = ()
    """File, text, and what is in its place."""
    tests: str = ""
    """Selects tests, as pytest's option -k does; "" for all."""
    setting: tuple[str, str | int] | None = None
    """A setting that breaks it, as --set names it, and its value."""

    @property
    def sound(self) -> bool:
        """Whether its tests should pass."""
        return not (self.changes or self.setting)

    def copy(self, parent: Path) -> Path:
        """Copy the bench and its tests, with the changes."""
        folder = parent / self.bench
        ignored = shutil.ignore_patterns("__pycache__", "recordings")
        shutil.copytree(EXAMPLES / self.bench, folder, ignore=ignored)
        if self.bench == LED:
            (folder / "test_absence.py").write_text(ABSENCE)
        for file, old, new in self.changes:
            text = (folder / file).read_text()
            assert old in text, f"{self.bench}/{file} has no {old!r}"
            (folder / file).write_text(text.replace(old, new))
        if self.bench == LED:
            path = folder / "test_absence.py"
            path.write_text(path.read_text().replace("AGAIN", "pass").replace("LIGHT", "pass"))
        return folder


LED, CAMERA, BOARDS, DUT = "led-follows-button", "camera-sees-light", "two-boards", "dut-firmware"
SOUND = (
    Example(LED, tests="not thousand"),  # it sees pins alone, and would take most of the time
    *(Example(name) for name in (CAMERA, BOARDS, DUT)),
)
_ROW = "table.submit([reading.time_usec, reading.line_id, reading.value])"
BROKEN = (
    Example(
        LED, "no answer", (("loop.py", "led.set_value(1 if reading.value == 0 else 0)", "pass"),),
        "pressing or letting or each_press or thousand or reports",
    ),
    Example(LED, "rows twice", (("loop.py", _ROW, f"{_ROW}; {_ROW}"),), "each_press or one_row"),
    Example(
        LED, "every tenth row missing",
        (
            ("loop.py", _ROW, f"rows.append(0)\n    if len(rows) % 10:\n        {_ROW}"),
            ("loop.py", "last_value = 1  #", "rows = []\nlast_value = 1  #"),
        ),
        "each_press",
    ),
    Example(LED, "28 Hz", tests="30_frames", setting=("cam.framerate", 28)),
    Example(LED, "32 Hz", tests="30_frames", setting=("cam.framerate", 32)),
    Example(
        LED, "what must not come comes",
        (("test_absence.py", "AGAIN", AGAIN), ("test_absence.py", "LIGHT", LIGHT)),
        "no_row or one_reading or one_row_and or no_light",
    ),
    Example(
        CAMERA, "no light",
        (("loop.py", "light.set_value(1 if reading.value == 0 else 0)", "pass"),),
        "come_on or go_out or next_one or red_and_round",
    ),
    Example(
        BOARDS, "no answer", (("loop.py", "answer.set_value(reading.value)", "pass"),),
        "comes_back or makes_its_trip",
    ),
    Example(
        DUT, "buggy firmware", tests="switches_the_lamp_once",
        setting=("virtual.lamp.firmware", "firmware/lamp-buggy.hex"),
    ),
)  # fmt: skip


@dataclass
class Verdicts:
    """What came of the tests of an example so far."""

    counts: Counter[str] = field(default_factory=Counter)
    """"passed", "failed", "inconclusive" → tests."""
    least: int = 0
    """Tests of the name that ran least often."""
    false: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_session(
    example: Example, kinds: str, seed: str, rounds: int, folder: Path, *, kind_of_time: str
) -> Verdicts:
    """Run an example's tests under a disturbance; return the verdicts.

    Args:
        example: The example.
        kinds: What is done to items, separated by commas.
        seed: Seed of the disturbance.
        rounds: Repetitions of each test.
        folder: Where the copy, the recordings and the results go.
        kind_of_time: "real" or "virtual".
    """
    results, names = folder / "junit.xml", Counter[str]()
    found = _pytest(
        example, folder, "tests.support.disturbed_tap", "--junitxml", str(results),
        "--disturb", kinds, "--disturb-seed", seed, "--disturb-repeat", str(rounds),
        f"--mlink-time={kind_of_time}",
    )  # fmt: skip
    if found.false:
        return found
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('name')}".partition("[")[0]
        outcome, text = _outcome(case)
        found.counts[outcome] += 1
        names[name] += 1
        if outcome == ("failed" if example.sound else "passed"):
            found.false.append(f"{name}: {text or 'it passed'}")
    found.least = min(names.values(), default=0)
    if not names:
        found.false.append("no test has run")
    return found


def play(example: Example, kinds: str, seed: str, count: int, folder: Path) -> Verdicts:
    """Run an example's tests once, and play them `count` times; return the verdicts of the plays.

    Tests that ask for what is not recorded (pixels), or that were inconclusive, are left out.
    """
    results = folder / "played.json"
    found = _pytest(
        example, folder, "tests.support.played_tests", "--play-results", str(results),
        "--play-kinds", kinds, "--play-seed", seed, "--play-count", str(count),
        "--mlink-time=real",
    )  # fmt: skip
    if found.false:
        return found
    right = "passed" if example.sound else "failed"
    for name, each in json.loads(results.read_text()).items():
        if each["undisturbed"].startswith("not recorded") or each["recorded"] == "inconclusive":
            continue
        for outcome in (each["recorded"], each["undisturbed"].partition(":")[0]):
            if outcome not in (right, "inconclusive"):
                found.false.append(f"{name}: {outcome} without a disturbance")
        found.counts.update({outcome: each.get(outcome, 0) for outcome in OUTCOMES})
        found.false += [f"{name}: {text}" for text in each["false"]]
        found.least = count
    return found


def _pytest(example: Example, folder: Path, plugin: str, *options: str) -> Verdicts:
    """Run pytest on a copy of an example; `false` has why there are no results, if so."""
    bench, found = example.copy(folder), Verdicts()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["-p", "mlink_hil.plugin", "-p", plugin, "--rootdir", str(bench), str(bench)]
    command += ["--mlink-inconclusive=skip", "--mlink-out", str(folder / "recordings")]
    command += [*options, *(("-k", example.tests) if example.tests else ())]
    if example.setting:
        command += [f"--mlink-set={'='.join(map(str, example.setting))}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    began = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        try:
            done = subprocess.run(
                command, stdout=output, stderr=output, timeout=SESSION_LIMIT_S, check=False,
                env=environment, cwd=bench,
            )  # fmt: skip
            if done.returncode not in (0, 1):
                found.false.append(f"pytest ended with {done.returncode}")
        except subprocess.TimeoutExpired:
            found.false.append(f"the session took more than {SESSION_LIMIT_S:g} s")
    found.seconds = time.monotonic() - began
    return found


def _outcome(case: ElementTree.Element) -> tuple[str, str]:
    """Return a test's outcome, and the first line of its message."""
    bad = [found for kind in ("failure", "error") for found in case.findall(kind)]
    skipped = case.find("skipped")
    element = bad[0] if bad else skipped
    message = "" if element is None else (element.get("message") or "").strip()
    line = message.splitlines()[0][:300] if message else ""
    if bad:
        return "failed", line
    if skipped is None:
        return "passed", ""
    return ("inconclusive" if "inconclusive" in message else "skipped"), line


def add(total: Verdicts, found: Verdicts) -> None:
    """Add a session's verdicts."""
    total.counts += found.counts
    total.least += found.least
    total.false += found.false
    total.seconds += found.seconds


def summary(
    totals: dict[tuple[Example, str], Verdicts], what: str = "under a disturbed tap"
) -> Table:
    """Return the figures as a table."""
    table = Table(
        f"(f) verdicts {what}, {len(os.sched_getaffinity(0))} processors",
        ["times each", *OUTCOMES, "false"],
    )
    for (example, kinds), found in totals.items():
        count = found.counts
        shown = [f"{count[each]}" for each in OUTCOMES]
        table.add(
            f"{example.bench}, {example.what}: {kinds}", f"{found.least}", *shown,
            f"{len(found.false)}", target="0", ok=not found.false, false=len(found.false),
        )  # fmt: skip
        table.notes += [f"{example.bench}, {example.what}: {text}" for text in found.false]
    return table


def main() -> int:
    """Run, and report how it went; return the exit code."""
    parser = arguments(__doc__ or "", seconds=0.0, rounds=1)
    parser.add_argument("--count", type=int, default=1000, help="times for each test (%(default)d)")
    parser.add_argument("--minutes", type=float, default=1e9, help="end after so many minutes")
    parser.add_argument("--kinds", default="all", help=f"all, each, or some of {','.join(KINDS)}")
    parser.add_argument("--keep", type=Path, default=Path("false-verdicts"))
    parser.add_argument("--time", choices=("real", "virtual"), default="real")
    parser.add_argument("--played", action="store_true", help="record once, and play")
    options = parser.parse_args()
    in_time = partial(run_session, kind_of_time=options.time)
    end = time.monotonic() + options.minutes * 60
    kinds = {"all": [",".join(KINDS)], "each": list(KINDS)}.get(options.kinds, [options.kinds])
    totals = {(example, each): Verdicts() for example in SOUND + BROKEN for each in kinds}
    for example in () if options.played else SOUND + BROKEN:  # a played session is recorded so
        folder = options.keep / f"undisturbed-{example.bench}-{example.what}".replace(" ", "-")
        folder.mkdir(parents=True)
        if false := in_time(example, "", "", 1, folder.absolute()).false:
            print(f"{example.bench}, {example.what}, without a disturbance: {false}; see {folder}")
            return 2
        shutil.rmtree(folder)
    number = 0
    while any(found.least < options.count for found in totals.values()) and time.monotonic() < end:
        number += 1
        for (example, each), total in totals.items():
            left = options.count - total.least
            rounds = left if options.played else min(SESSION_ROUNDS, left)
            if rounds <= 0 or time.monotonic() > end:
                continue
            name = f"{number:03}-{example.bench}-{example.what}-{each}".replace(" ", "-")
            folder = options.keep / name.replace(",", "-")
            folder.mkdir(parents=True)
            judge = play if options.played else in_time
            found = judge(example, each, f"{number}", rounds, folder.absolute())
            add(total, found)
            print(f"{name}: {dict(found.counts)}, {found.seconds:.0f} s", flush=True)
            for text in found.false:
                print(f"  FALSE {text}", flush=True)
            if not found.false:
                shutil.rmtree(folder)
    publish([summary(totals)], options.json)
    return 1 if any(found.false for found in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
