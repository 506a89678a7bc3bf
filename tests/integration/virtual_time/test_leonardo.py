"""A board whose USB is its processor's own: faults take its port with it; twice the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlink import recording
from mlink.bench import load_bench
from mlink.errors import BenchError
from tests.integration.virtual_time.test_all_simulated_parts import twice
from tests.integration.virtual_time.test_faults import rows_of, table, write_bench

pytestmark = [pytest.mark.sim, pytest.mark.timeout(600)]

FAULTS = [
    ("line-noise", "uno", 0.4, 0.2, {"drop": 0.2, "corrupt": 0.1, "seed": 4}),
    ("stuck-line", "uno", 0.9, 0.2, {"line": 7, "level": True}),
    ("skew-clock", "uno", 1.2, 0.2, {"ppm": 300.0}),
    ("brown-out", "uno", 1.5, 0.2, {}),
    ("unplug", "uno", 2.6, 0.3, {}),
    ("reset", "uno", 3.8, None, {}),
]


def leonardo(folder: Path, faults: str) -> None:
    write_bench(folder, faults)
    path = folder / "bench.toml"
    path.write_text(path.read_text().replace("virtual:uno", "virtual:leonardo?clock_ppm=40"))


def test_it_is_lost_and_found_with_its_port_twice_the_same(tmp_path: Path) -> None:
    leonardo(tmp_path, "".join(table(*fault) for fault in FAULTS))
    first = twice(tmp_path, seconds="5", complete=False)
    assert len(rows_of(first)) == 11
    with recording.open(first) as found:
        readings = [int(usec) for usec in found["events"].times_usec]
        log = (first / "run.log").read_text()
    for begin, end in ((0.9, 1.1), (1.5, 1.7), (2.6, 2.9)):
        assert not [usec for usec in readings if begin * 1e6 + 3000 < usec < end * 1e6]
    assert [usec for usec in readings if usec > 4_300_000]
    assert log.count(" is back at ") == 3, log  # the reset, too: its port was gone


def test_it_has_no_adapter(tmp_path: Path) -> None:
    leonardo(tmp_path, '\n[virtual.plug]\ntype = "board"\ndevice = "uno"\nadapter = "ftdi"\n')
    with pytest.raises(BenchError, match="a Leonardo has no adapter: its processor has a USB"):
        load_bench(tmp_path / "bench.toml")
