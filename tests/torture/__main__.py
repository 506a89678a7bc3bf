"""Tortures a bench and prints what it survived.

python -m tests.torture --count 100 --seed 7 [--longest-pause 10] [--jobs 4] [--table FILE]
python -m tests.torture --count 20 --kind interrupt --target "fork server" --phase spawn
python -m tests.torture --seed 7 --only 23 --longest-pause 10
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
from pathlib import Path

from tests.torture.injections import PAIRS, draw
from tests.torture.tally import Tally


def main() -> int:
    """Run, print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--count", type=int, default=len(PAIRS), help="number of injections")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", type=int, metavar="N", help="do the N-th of the seed")
    parser.add_argument("--longest-pause", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--within", type=float, default=math.inf, metavar="SECONDS",
                        help="begin none after this time")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--kind", help="only injections of this kind")
    parser.add_argument("--target", help="only injections into this")
    parser.add_argument("--phase", help="only injections in this phase")
    parser.add_argument("--table", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    injections = (
        injection
        for injection in draw(options.seed, longest_pause_sec=options.longest_pause)
        if options.kind in (None, injection.kind)
        and options.target in (None, injection.target)
        and options.phase in (None, injection.phase)
    )
    first, end = (0, options.count) if options.only is None else (options.only, options.only + 1)
    print(f"seed {options.seed}", flush=True)
    tally = Tally(options.jobs)
    tally.run(itertools.islice(injections, first, end), options.within)
    print(f"\n{tally.table()}")
    if options.table:
        options.table.write_text(f"{tally.table()}\n")
    return 1 if tally.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
