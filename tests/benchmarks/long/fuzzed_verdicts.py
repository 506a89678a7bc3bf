"""Seeds of `mlink fuzz` on the worked examples: how many tests pass or fail falsely?

Each example of false_verdicts.py is tried with many seeds in virtual time. A sound bench's tests
must pass with each. What breaks the others is drawn in all seeds and left out of the run without
disturbances, which has to pass: each of their tests must fail with each seed. Buttons do not
bounce: the LED's script does not claim to bear that. The exit code is 1 when there was a false
verdict. Not part of `make bench`.
Run: python -m tests.benchmarks.long.fuzzed_verdicts --count 300
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.long.false_verdicts import (
    BROKEN,
    SOUND,
    Example,
    Verdicts,
    summary,
)
from tests.benchmarks.table import arguments, publish
from tests.support import ROOT

SCRIPT, BROKEN_SCRIPT = "loop.py", "broken-loop.py"
DRAWN = tuple(each for each in BROKEN if all(file == SCRIPT for file, _, _ in each.changes))
"""Those that a setting can break; changed tests would fail without any disturbance, too."""


def fuzz(example: Example, first: int, count: int, folder: Path) -> Verdicts:
    """Try an example's tests with `count` seeds, from the first one; return the verdicts."""
    bench = replace(example, changes=()).copy(folder)
    drawn = dict([example.setting] if example.setting else [])
    if example.changes:
        shutil.copy(example.copy(folder / "broken") / SCRIPT, bench / BROKEN_SCRIPT)
        drawn["loop.script"] = BROKEN_SCRIPT
    lines = [f"{json.dumps(name)} = [{json.dumps(value)}]\n" for name, value in drawn.items()]
    with (bench / "bench.toml").open("a") as file:
        file.write("\n[fuzz]\nbounces = 0\n[fuzz.settings]\n" + "".join(lines))
    command = [sys.executable, "-m", "mlink", "fuzz", ".", "--json", "--out", str(folder / "seeds")]
    command += ["--from", str(first), "--seeds", str(count)]
    command += [word for path in sorted(bench.glob("test_*.py")) for word in ("--test", path.name)]
    options = ["-c", "/dev/null", "-p", "mlink_hil.plugin", "-k", example.tests or "test"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": shlex.join(options),
    }
    began = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=output, text=True, check=False, cwd=bench,
            env=os.environ | environment,
        )  # fmt: skip
    found = Verdicts(seconds=time.monotonic() - began)
    if done.returncode not in (0, 1):
        found.false.append(f"mlink fuzz ended with {done.returncode}, see {folder}/output.txt")
    else:
        judge(example, json.loads(done.stdout), found)
    return found


def judge(example: Example, account: dict, found: Verdicts) -> None:
    """Add the verdicts of a search."""
    found.least = account["passed"] + account["inconclusive"] + len(account["failed"])
    found.counts["inconclusive"] = account["inconclusive"]
    found.false += [f"seed {seed} is not repeatable" for seed in account["unsteady"]]
    names = example.tests.split(" or ")
    if example.sound:
        found.counts["passed"], found.counts["failed"] = account["passed"], len(account["failed"])
        found.false += [f"seed {each['seed']}: {each['reasons']}" for each in account["failed"]]
        return
    if account["passed"]:
        found.counts["passed"] = account["passed"] * len(names)
        found.false.append(f"{account['passed']} seeds passed")
    for each in account["failed"]:
        failed = [reason.partition(": ")[0] for reason in each["reasons"]]
        for name in names:
            fails = any(name in test for test in failed)
            found.counts["failed" if fails else "passed"] += 1
            found.false += [] if fails else [f"seed {each['seed']}: {name} passed"]


def main() -> int:
    """Run, and report how it went; return the exit code."""
    parser = arguments(__doc__ or "", seconds=0.0, rounds=1)
    parser.add_argument("--count", type=int, default=1000, help="seeds of each (%(default)d)")
    parser.add_argument("--from", dest="first", type=int, default=1, help="first seed")
    parser.add_argument("--only", default="", help="examples with this text in their names")
    parser.add_argument("--keep", type=Path, default=Path("fuzzed-verdicts"))
    options = parser.parse_args()
    totals = {}
    for example in SOUND + DRAWN:
        name = f"{example.bench}-{example.what}".replace(" ", "-")
        if options.only not in name:
            continue
        folder = (options.keep / name).absolute()
        folder.mkdir(parents=True)
        found = totals[example, "seeds"] = fuzz(example, options.first, options.count, folder)
        print(f"{name}: {dict(found.counts)}, {found.seconds:.0f} s", flush=True)
        for text in found.false:
            print(f"  FALSE {text}", flush=True)
        if not found.false:
            shutil.rmtree(folder)
    publish([summary(totals, "with drawn seeds")], options.json)
    return 1 if not totals or any(found.false for found in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
