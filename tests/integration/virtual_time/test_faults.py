"""Faults of a bench file in virtual time: each at its µs, in the recording, twice the same."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import pytest

from mlink import recording
from tests.integration.virtual_time.test_all_simulated_parts import twice
from tests.integration.virtual_time.test_simulated_benches import run
from tests.support.hil_examples import BENCHES

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

FAULTS = [
    ("stall", "cam", 0.300001, 0.2, {}),
    ("line-noise", "uno", 0.6, 0.2, {"drop": 0.5, "corrupt": 0.2, "seed": 4}),
    ("freeze-picture", "eye", 0.9, 0.2, {}),
    ("skew-clock", "eye", 1.2, 0.3, {"ppm": 100_000.0}),
    ("late-stamps", "eye", 1.6, 0.2, {"usec": 5000}),
    ("stuck-line", "uno", 1.9, 0.25, {"line": 7, "level": True}),
    ("skew-clock", "uno", 2.2, 0.3, {"ppm": 300.0}),
    ("brown-out", "uno", 2.6, 0.1, {}),
    ("unplug", "uno", 3.4, 0.3, {}),
    ("reset", "uno", 4.75, None, {}),
]
"""Kind, target, begin and duration in s, settings."""


def table(kind: str, target: str, at: float, lasts: float | None, settings: dict) -> str:
    keys = {"kind": kind, "target": target, "at_sec": at, "for_sec": lasts, **settings}
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in keys.items()
        if value is not None
    ]
    return "\n[[faults]]\n" + "\n".join(lines).replace("'", '"') + "\n"


def write_bench(folder: Path, faults: str) -> None:
    shutil.copytree(BENCHES / "led-follows-button", folder, dirs_exist_ok=True)
    path = folder / "bench.toml"
    text = path.read_text().replace('device = "uno"\n', 'device = "uno"\non_loss = "continue"\n', 1)
    path.write_text(text + faults)


def rows_of(found: Path) -> list[tuple[int, str, str, str]]:
    with (found / "faults" / "faults.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return [(int(r["time_usec"]), r["event"], r["kind"], r["target"]) for r in rows]


def test_each_fault_begins_and_ends_at_its_microsecond_twice_the_same(tmp_path: Path) -> None:
    write_bench(tmp_path, "".join(table(*fault) for fault in FAULTS))
    first = twice(tmp_path, seconds="6", complete=False)  # the stalled camera loses frames
    expected = []
    for kind, target, at, lasts, _ in FAULTS:
        expected.append((round(at * 1e6), "begin" if lasts else "once", kind, target))
        if lasts:
            expected.append((round((at + lasts) * 1e6), "end", kind, target))
    assert rows_of(first) == expected
    with recording.open(first) as found:
        frames = [int(usec) for usec in found.video().times_usec]
        readings = [int(usec) for usec in found["events"].times_usec]
        log = (first / "run.log").read_text()
    # cam stalls: it keeps four frames of 30 Hz for a late reader
    assert not [usec for usec in frames if 320_000 < usec < 500_001 - 4 * 33_334]
    in_skew = [usec for usec in frames if 1_200_000 < usec <= 1_500_000]
    steps = {after - before for before, after in itertools.pairwise(in_skew)}
    assert steps <= {33_333, 33_334}  # by its own clock; in true time there are more
    # stuck, held in reset, and unplugged: no press is seen
    for begin, end in ((1.9, 2.15), (2.61, 2.7), (3.41, 3.7)):
        assert not [usec for usec in readings if begin * 1e6 + 2000 < usec < end * 1e6]
    assert [usec for usec in readings if usec > 5_000_000]
    assert f"{3.4:12.6f} INFO    mlink: fault unplug of uno: begin" in log


def test_a_killed_module_ends_the_run_at_that_moment(tmp_path: Path) -> None:
    write_bench(tmp_path, table("kill", "video", 0.7, None, {}))
    done = run(tmp_path, "--for", "3", "--seed", "7")
    assert done.returncode == 1
    assert "video" in done.stdout
    assert "was ended by signal 9" in done.stdout
    found = tmp_path / "out" / "recording"
    assert rows_of(found) == [(700_000, "once", "kill", "video")]
    with recording.open(found) as opened:
        readings = [int(usec) for usec in opened["events"].times_usec]
    assert 500_000 < readings[-1] <= 700_000


def test_a_fault_that_lasts_ends_with_the_run(tmp_path: Path) -> None:
    write_bench(tmp_path, table("stall", "loop", 0.5, None, {}))
    first = twice(tmp_path)
    assert rows_of(first) == [
        (500_000, "begin", "stall", "loop"),
        (1_000_000, "end", "stall", "loop"),
    ]
