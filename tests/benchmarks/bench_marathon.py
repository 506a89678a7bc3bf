"""Four cameras of 640×480 at 60 Hz, two boards, a script and all recorders: nothing lost?

Boards and cameras are simulated on the same machine and take their share of the processors. For a
real board that share is next to nothing, and so it is for the simulator of the protocol, which is
used here unless `--simulator yasimavr` asks for boards that run real firmware, cycle by cycle.
Run: python -m tests.benchmarks.bench_marathon --minutes 10
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.benchmarks.endurance import Endured, Load, endure
from tests.benchmarks.table import Table, arguments, publish

FLAT_MB_PER_MIN = 0.5
"""Growth of all processes together (a dozen and a half) that counts as none."""
FLAT_MB = 4.0
"""The same for a run so short that buffers still fill up."""


def summary(load: Load, found: Endured) -> Table:
    """Return the run's figures as a table."""
    result = found.result
    minutes = result.duration_s / 60
    table = Table(
        f"(m) {load}: {minutes:.1f} minutes on {len(os.sched_getaffinity(0))} processors",
        ["measured"],
    )
    written = sum(int(report.get("frames_written", 0)) for report in result.reports.values())
    sent = sum(s.sent for s in result.streams if s.data_type == "Frame")
    table.add("frames recorded", f"{written} of {sent}", target="all", ok=written == sent > 0)
    table.add("lost, anywhere", f"{found.lost}", target="0", ok=found.lost == 0, lost=found.lost)
    allowed = max(FLAT_MB, FLAT_MB_PER_MIN * minutes)
    grown_mb = found.growth_mb - found.index_mb
    table.add(
        "memory growth (PSS, all processes)",
        f"{grown_mb:+.1f} MB of {found.memory_mb:.0f}",
        target=f"≤ {allowed:.1f} MB",
        ok=grown_mb <= allowed,
        growth_mb=grown_mb,
    )
    table.add("indexes of open videos", f"{found.index_mb:+.1f} MB", index_mb=found.index_mb)
    table.add("processors in use", f"{found.cpu_cores:.2f}", cpu_cores=found.cpu_cores)
    table.add("the run", "ended well" if result.success else "failed", target="ended well",
              ok=result.success)  # fmt: skip
    table.add("mlink verify", "whole" if found.verified.ok else "findings", target="whole",
              ok=found.verified.ok)  # fmt: skip
    rows = {name: int(report.get("rows_written", 0)) for name, report in result.reports.items()}
    table.notes += [f"rows: {', '.join(f'{name} {n}' for name, n in rows.items() if n)}"]
    table.notes += [f"grew: {name} {mb:+.1f} MB" for name, mb in found.growers[:3]]
    table.notes += [str(failure) for failure in result.failures]
    table.notes += [f"warned: {text}" for text in found.warnings[:10]]
    table.notes += [str(finding) for finding in found.verified.findings[:10]]
    return table


def main() -> None:
    """Run and print."""
    parser = arguments(__doc__ or "", seconds=60.0, rounds=1)
    parser.add_argument("--minutes", type=float, help="length of the run, instead of --seconds")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--rate", type=int, default=60, help="of the cameras, in Hz (%(default)d)")
    parser.add_argument("--boards", type=int, default=2)
    parser.add_argument(
        "--simulator", choices=["protocol", "yasimavr"], default="protocol", help="of the boards"
    )
    parser.add_argument("--codec", default="mjpeg", help="of the videos (%(default)s)")
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    load = Load(
        options.cameras, options.rate, options.boards, options.codec, simulator=options.simulator
    )
    with tempfile.TemporaryDirectory(prefix="mlmarathon") as name:
        found = endure(load, seconds, Path(name), sample_s=max(1.0, seconds / 60), report=print)
    publish([summary(load, found)], options.json)


if __name__ == "__main__":
    main()
