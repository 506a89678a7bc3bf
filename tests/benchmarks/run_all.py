"""Runs every benchmark of this folder in turn and prints its tables (`make bench`).

Benchmarks that use `tests.benchmarks.table` also give their tables to --json; the exit code is 1
when one of them failed, or when --strict is given and a target was missed.
Run: python tests/benchmarks/run_all.py [WORD…]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_S = 1800


def benchmarks(only: list[str]) -> list[Path]:
    """Return the benchmarks, or those whose name holds one of these words."""
    found = sorted(HERE.glob("bench_*.py"))
    return [path for path in found if not only or any(word in path.stem for word in only)]


def run(path: Path, seconds: float | None, folder: Path) -> tuple[list[Any], bool]:
    """Run one; return its tables and whether it ended well."""
    command = [sys.executable, "-m", f"tests.benchmarks.{path.stem}"]
    tables = folder / f"{path.stem}.json"
    if "tests.benchmarks.table" in path.read_text():
        command += ["--json", str(tables)]
        if seconds is not None:
            command += ["--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, timeout=LIMIT_S, check=False)
    found = json.loads(tables.read_text()) if tables.exists() else []
    return found, done.returncode == 0


def main() -> int:
    """Run all and sum up; return the exit code."""
    parser = argparse.ArgumentParser(description="Run all benchmarks and print their tables.")
    parser.add_argument("only", nargs="*", help="words in the names of those to run")
    parser.add_argument("--seconds", type=float, help="length of each measurement")
    parser.add_argument("--json", type=Path, help="write all tables to this file")
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
        f"Linux {platform.release()}, Python {platform.python_version()}",
        flush=True,
    )
    began = time.monotonic()
    tables: list[Any] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlbench") as folder:
        for path in benchmarks(options.only):
            print(f"\n── {path.stem} ──", flush=True)
            try:
                found, good = run(path, options.seconds, Path(folder))
            except subprocess.TimeoutExpired:
                found, good = [], False
            tables += found
            if not good:
                failed.append(path.stem)
    rows = [(table["title"], row) for table in tables for row in table["rows"]]
    missed = [f"{row['name']} ({title})" for title, row in rows if row["ok"] is False]
    met = sum(row["ok"] is True for _, row in rows)
    print(f"\n{met} targets met, {len(missed)} missed, {time.monotonic() - began:.0f} s")
    for name in missed:
        print(f"  MISSED: {name}")
    for name in failed:
        print(f"  FAILED: {name} (see above)")
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n")
    return 1 if failed or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
