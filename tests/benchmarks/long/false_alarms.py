"""Sessions of the worked examples' tests, one after the other: how many raise a false alarm?

Nothing is broken in them, so that each failed test is a false alarm. An inconclusive one is counted
apart: it means that the machine was too busy to decide. Recordings and reports of sessions with
either are kept below --keep. The exit code is 1 when a test failed. Not part of `make bench`.
Run: python -m tests.benchmarks.long.false_alarms --runs 200
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.table import Table, arguments, publish
from tests.support import ROOT

EXAMPLES = ROOT / "hil" / "benches"
SESSION_LIMIT_S = 1800.0


@dataclass(slots=True)
class Sessions:
    """What came of them so far."""

    runs: int = 0
    tests: int = 0
    failed: list[str] = field(default_factory=list)
    inconclusive: list[str] = field(default_factory=list)
    seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, tests: int, failed: list[str], inconclusive: list[str], took_s: float) -> None:
        """Count a session."""
        self.runs += 1
        self.tests += tests
        self.failed += [f"run {self.runs}: {text}" for text in failed]
        self.inconclusive += [f"run {self.runs}: {text}" for text in inconclusive]
        self.seconds += took_s
        self.longest_s = max(self.longest_s, took_s)


def run_session(
    examples: Path, folder: Path, kind_of_time: str
) -> tuple[int, list[str], list[str]]:
    """Run the examples' tests; return their number, those that failed, those that were undecided.

    Tests that are skipped for want of a device do not count.
    """
    results = folder / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(examples)]
    command += [f"--mlink-time={kind_of_time}", "--mlink-inconclusive=skip"]
    command += ["--mlink-out", str(folder / "recordings")]
    command += ["--mlink-report", str(folder / "report"), "--junitxml", str(results)]
    with (folder / "output.txt").open("w") as output:
        try:
            subprocess.run(
                command, stdout=output, stderr=output, timeout=SESSION_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return 0, [f"the session took more than {SESSION_LIMIT_S:g} s"], []
    if not results.exists():
        return 0, ["the session ended without results"], []
    count, failed, undecided = 0, [], []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = [found for kind in ("failure", "error") for found in case.findall(kind)]
        skipped = case.find("skipped")
        if bad:
            failed.append(f"{name}: {_first_line(bad[0])}")
        elif skipped is not None and "inconclusive" in (skipped.get("message") or ""):
            undecided.append(f"{name}: {_first_line(skipped)}")
        elif skipped is not None:
            continue
        count += 1
    return count, failed, undecided


def _first_line(element: ElementTree.Element) -> str:
    return (element.get("message") or "no message").strip().splitlines()[0][:300]


def summary(found: Sessions) -> Table:
    """Return the figures as a table."""
    table = Table(
        f"(f) sessions of {EXAMPLES.parent.name}/{EXAMPLES.name}, nothing broken, "
        f"{len(os.sched_getaffinity(0))} processors",
        ["measured"],
    )
    table.add("sessions in a row", f"{found.runs}", runs=found.runs)
    table.add("tests decided and undecided", f"{found.tests}", tests=found.tests)
    alarms = len(found.failed)
    table.add("false alarms", f"{alarms}", target="0", ok=alarms == 0 < found.tests, alarms=alarms)
    undecided = len(found.inconclusive)
    table.add("inconclusive", f"{undecided}", undecided=undecided)
    mean_s = found.seconds / max(1, found.runs)
    table.add("a session, mean and longest", f"{mean_s:.1f} s, {found.longest_s:.1f} s")
    table.notes += found.failed + found.inconclusive
    return table


def main() -> int:
    """Run, and print how it went; return the exit code."""
    parser = arguments(__doc__ or "", seconds=0.0, rounds=1)
    parser.add_argument("--runs", type=int, default=200, help="sessions (%(default)d)")
    parser.add_argument("--time", choices=("real", "virtual"), default="real")
    parser.add_argument("--examples", type=Path, default=EXAMPLES, help="folder of the tests")
    parser.add_argument("--keep", type=Path, default=Path("false-alarms"))
    options = parser.parse_args()
    found = Sessions()
    for number in range(1, options.runs + 1):
        folder = options.keep / f"run-{number:03}"
        folder.mkdir(parents=True)
        began = time.monotonic()
        tests, failed, undecided = run_session(options.examples, folder, options.time)
        found.add(tests, failed, undecided, time.monotonic() - began)
        if not (failed or undecided):
            shutil.rmtree(folder)
        for text in failed:
            print(f"run {number}: FALSE ALARM {text}", flush=True)
        for text in undecided:
            print(f"run {number}: inconclusive {text}", flush=True)
        if number % 10 == 0:
            print(
                f"{time.strftime('%H:%M:%S')} {number} sessions, {found.tests} tests, "
                f"{len(found.failed)} false alarms, {len(found.inconclusive)} inconclusive, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    publish([summary(found)], options.json)
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
