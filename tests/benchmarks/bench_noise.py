"""Bytes from a board that change on the line: what becomes of 1,000 edges, at each rate.

Runs in virtual time, so the figures do not depend on the machine. Prints a table (docs/boards.md):

    python tests/benchmarks/bench_noise.py
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlink import recording

FIRMWARES = {
    "mlink, version 2": "mlink",
    "mlink, version 1": str(Path(__file__).parents[1] / "support/boards/mlink_firmata-uno-v1.hex"),
    "StandardFirmata": "standard",
}
RATES = (1e-5, 1e-4, 1e-3, 1e-2)
QUIET_SEC = 2.0
"""Before the noise begins, and after it has ended: a wrong level has to be right by then."""
_COUNTS = (
    "in doubt | unstated | readings lost | messages refused | bytes dropped | levels corrected |"
)
EDGES_PER_SEC = 2 * (23 + 19)

BENCH = """\
[bench]
name = "noise"

[devices]
uno = "virtual:uno?firmware={firmware}&clock_ppm=-70"

[modules.board]
type = "firmata-io"
device = "uno"
inputs = {{ fmctl = "loop.firmatactl-out" }}

[modules.seven]
type = "virtual-button"
device = "uno"
line = 7
presses_hz = 23
press_msec = 17

[modules.six]
type = "virtual-button"
device = "uno"
line = 6
presses_hz = 19
press_msec = 13

[modules.loop]
type = "pyscript"
script = "loop.py"
ports_in = [
    {{ id = "readings", data_type = "LineReading" }},
    {{ id = "seven", data_type = "LineReading" }},
    {{ id = "six", data_type = "LineReading" }},
]
ports_out = [
    {{ id = "firmatactl-out", data_type = "LineCommand" }},
    {{ id = "table-out", data_type = "TableRow" }},
]
inputs = {{ readings = "board.fmdata", seven = "seven.edges", six = "six.edges" }}

[modules.log]
type = "table"
inputs = {{ rows = "loop.table-out" }}

[modules.events]
type = "table"
inputs = {{ rows = "board.events" }}

[[faults]]
at_sec = {begin}
for_sec = {lasts}
kind = "line-noise"
target = "uno"
corrupt = {rate}
direction = "{direction}"
seed = {seed}
"""
LOOP = """\
import syntalos_mlink as syl

commands = syl.get_output_port("firmatactl-out")
table = syl.get_output_port("table-out")
buttons = [syl.HwInputLine(commands, line) for line in (6, 7)]


def prepare():
    table.set_metadata_value("table_header", ["what", "line", "value", "time_usec"])
    for name in ("readings", "seven", "six"):
        what = "reading" if name == "readings" else "edge"
        syl.get_input_port(name).on_data = lambda item, what=what: table.submit(
            [what, item.line_id, item.value, item.time_usec]
        )


def start():
    stated = syl.get_input_port("readings").metadata
    table.submit(["stated", 0, stated["uncertainty_usec"], 0])
    for button in buttons:
        button.send_mode()
"""


@dataclass(frozen=True)
class Result:
    """What has become of the edges during the noise.

    A reading is right when an edge to its level was at its time, within the uncertainty that the
    stream states.
    """

    edges: int
    right: int
    late: int
    """Readings whose level was true at their time, but whose edge was before: corrected levels."""
    wrong: int
    """Readings whose level was not true at their time."""
    longest_wrong_sec: float
    """Longest time for which a line was known at a wrong level."""
    is_right_at_end: bool
    lost: int
    refused: int
    dropped_bytes: int
    corrected: int
    in_doubt: int
    rows_in_doubt: int
    """Readings that the run states to be in doubt."""
    unstated: int
    """Late and wrong readings that are not among them."""
    uncertainty_usec: int
    returncode: int
    output: str


def measure(
    folder: Path,
    firmware: str,
    rate: float,
    *,
    edges: int = 1000,
    seed: int = 16,
    direction: str = "from-board",
) -> Result:
    """Run the bench once.

    Args:
        folder: An empty one.
        firmware: Option `firmware` of `virtual:uno`.
        rate: Share of the bytes in which a bit is inverted.
        edges: How many edges to make during the noise, about.
        seed: Of the noise.
        direction: Which bytes; as the fault `line-noise`.
    """
    lasts = edges / EDGES_PER_SEC
    keys = {"firmware": firmware, "rate": rate, "begin": QUIET_SEC, "lasts": lasts, "seed": seed}
    (folder / "bench.toml").write_text(BENCH.format(**keys, direction=direction))
    (folder / "loop.py").write_text(LOOP)
    command = [sys.executable, "-m", "mlink", "run", str(folder), "--time", "virtual", "--plain"]
    command += ["--for", f"{lasts + 2 * QUIET_SEC:g}", "--seed", "3", "--order", ""]
    command += ["--out", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    with recording.open(folder / "out" / "recording") as found:
        rows = [(what, *map(int, numbers)) for what, *numbers in found["log"].rows]
        reports = found.attributes["reports"]["board"]
        doubts = _doubts([(int(at), event, detail) for at, event, detail in found["events"].rows])
    stated = next(value for what, _, value, _ in rows if what == "stated")
    counts = _compare(rows, stated, QUIET_SEC * 1e6, (QUIET_SEC + lasts) * 1e6, doubts)
    return Result(
        **counts,
        lost=int(reports.get("readings_lost_by_board", 0)),
        refused=int(reports.get("board_messages_refused", 0)),
        dropped_bytes=int(reports.get("resync_bytes", 0)),
        corrected=int(reports.get("levels_corrected", 0)),
        in_doubt=int(reports.get("readings_in_doubt", 0)),
        rows_in_doubt=int(reports.get("rows_in_doubt", 0)),
        uncertainty_usec=stated,
        returncode=done.returncode,
        output=done.stdout + done.stderr,
    )


def _doubts(events: list[tuple[int, str, str]]) -> list[tuple[int, int]]:
    """Return from when to when readings are in doubt, in µs."""
    begins = [int(detail.split()[2]) for _, event, detail in events if event == "line-noisy"]
    ends = [at for at, event, _ in events if event == "line-quiet"]
    return list(itertools.zip_longest(begins, ends, fillvalue=1 << 62))


def _compare(
    rows: list[tuple[str, int, int, int]],
    stated_usec: int,
    begin: float,
    end: float,
    doubts: list[tuple[int, int]],
) -> dict[str, int | float | bool]:
    right = late = wrong = made = unstated = 0
    longest, at_end = 0.0, True
    for line in (6, 7):
        true = sorted(
            (at, level) for what, at_line, level, at in rows if (what, at_line) == ("edge", line)
        )
        seen = [
            (at, level) for what, at_line, level, at in rows if (what, at_line) == ("reading", line)
        ]
        times = [at for at, _ in true]

        def level_at(at: float, true=true, times=times) -> int:
            index = bisect.bisect_right(times, at) - 1
            return true[index][1] if index >= 0 else 1 - true[0][1]

        made += sum(begin <= at < end for at in times)
        for at, level in seen:
            if not begin <= at < end:
                continue
            near = bisect.bisect_left(times, at - stated_usec)
            close = [e for e in true[near : near + 4] if abs(e[0] - at) <= stated_usec]
            if any(value == level for _, value in close):
                right += 1
                continue
            unstated += not any(since <= at <= until for since, until in doubts)
            if level_at(at) == level:
                late += 1
            else:
                wrong += 1
        longest = max(longest, _longest_wrong(true, seen))
        at_end &= not seen or seen[-1][1] == true[-1][1] or true[-1][0] > end + 1.9e6
    return {
        "edges": made,
        "right": right,
        "late": late,
        "wrong": wrong,
        "unstated": unstated,
        "longest_wrong_sec": longest / 1e6,
        "is_right_at_end": at_end,
    }


def _longest_wrong(true: list[tuple[int, int]], seen: list[tuple[int, int]]) -> float:
    """Return for how long, at most, the last reading had another level than the line, in µs."""
    changes = [(at, 0, level) for at, level in true] + [(at, 1, level) for at, level in seen]
    levels: list[int | None] = [None, None]
    wrong_since, longest = None, 0.0
    for at, which, level in sorted(changes):
        levels[which] = level
        if None in levels or levels[0] == levels[1]:
            if wrong_since is not None:
                longest = max(longest, at - wrong_since)
            wrong_since = None
        elif wrong_since is None:
            wrong_since = at
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--firmware", default="", help="only those whose name contains this")
    parser.add_argument("--rate", type=float, nargs="*", default=RATES)
    parser.add_argument("--direction", default="from-board")
    parser.add_argument("--seed", type=int, nargs="*", default=[16])
    given = parser.parse_args()
    print("| firmware | rate | edges right, of all | late | wrong | wrong level for | " + _COUNTS)
    print("| --- " * 12 + "|")
    for name, firmware in FIRMWARES.items():
        for rate, seed in itertools.product(
            given.rate if given.firmware in name else (), given.seed
        ):
            with tempfile.TemporaryDirectory(prefix="noise-") as folder:
                it = measure(
                    Path(folder),
                    firmware,
                    rate,
                    edges=given.edges,
                    seed=seed,
                    direction=given.direction,
                )
            for_sec = f"{it.longest_wrong_sec:.2f} s" if it.is_right_at_end else "ever"
            print(
                f"| {name} | {rate:g} | {it.right} of {it.edges} | {it.late} | {it.wrong} |"
                f" {for_sec} | {it.in_doubt} | {it.unstated} | {it.lost} | {it.refused} |"
                f" {it.dropped_bytes} | {it.corrected} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
