"""Changes files at random and reads them: `python -m tests.support.fuzz KIND SEED COUNT [CPU_S]`.

`python -m tests.support.fuzz KIND SEED 1` repeats a case.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.fuzz.benches import Benches, Projects
from tests.support.fuzz.firmware import Firmware
from tests.support.fuzz.harness import run_cases
from tests.support.fuzz.recordings import Recordings

KINDS = {
    "recordings": Recordings,
    "firmware": Firmware,
    "benches": Benches,
    "projects": Projects,
}


def main() -> None:
    """Run cases of a kind and print how many have run; a finding is an error."""
    kind, first, count, *most = sys.argv[1:]
    until_cpu_s = float(most[0]) if most else 1e9
    with tempfile.TemporaryDirectory(prefix="mlink-fuzz-") as folder:
        print(run_cases(KINDS[kind](Path(folder)), int(first), int(count), until_cpu_s))


if __name__ == "__main__":
    main()
