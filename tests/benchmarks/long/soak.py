"""The soak (`make soak`): an hour of two cameras, a board, a script and every recorder.

Prints each minute what memory, queues and losses are, then verifies the recording. The exit code is
1 when anything was lost, memory grew, or the recording is not whole. Not part of `make bench`.
Run: python -m tests.benchmarks.long.soak --minutes 60 [--log FILE]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

from tests.benchmarks.bench_marathon import summary
from tests.benchmarks.endurance import Load, Sample, endure
from tests.benchmarks.table import arguments, publish

LOAD = Load(cameras=2, rate=30, boards=1, codec="mjpeg", slice_min=10.0)


def main() -> int:
    """Run, and print how it went; return the exit code."""
    parser = arguments(__doc__ or "", seconds=3600.0, rounds=1)
    parser.add_argument("--minutes", type=float, help="length of the run, instead of --seconds")
    parser.add_argument("--log", type=Path, help="also append what is printed each minute to this")
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    log: TextIO | None = options.log.open("a") if options.log else None

    def report(sample: Sample) -> None:
        text = f"{time.strftime('%H:%M:%S')} {sample}"
        for file in (sys.stdout, log):
            if file is not None:
                print(text, file=file, flush=True)

    print(f"soak: {LOAD} for {seconds / 60:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="mlsoak") as name:
        found = endure(LOAD, seconds, Path(name), sample_s=min(60.0, seconds / 30), report=report)
    table = summary(LOAD, found)
    publish([table], options.json)
    if log is not None:
        print(table.text(), file=log, flush=True)
        log.close()
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
