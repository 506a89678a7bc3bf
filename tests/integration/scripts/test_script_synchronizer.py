"""A script in a run may synchronise a device's clock of its own, by Syntalos' names."""

from __future__ import annotations

from tests.integration.runs.test_run_life import read_table
from tests.support.bench_runner import BenchRunner

BENCH = """
[bench]
name = "wheel"
[modules.wheel]
type = "pyscript"
script = "wheel.py"
ports_out = [{ id = "out", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "wheel.out" }
"""

SCRIPT = """
import syntalos_mlink as syl

out = syl.get_output_port("out")
sync = syl.SecondaryClockSynchronizer("wheel")


def prepare():
    out.set_metadata_value("table_header", ["arrival", "time", "calibrated"])
    sync.set_strategies(
        syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD | syl.TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD)
    sync.set_calibration_points_count(46)
    sync.set_tolerance_usec(500)


def start():
    assert sync.start()


def run():
    while syl.is_running():
        syl.await_data(4_000)
        arrival = syl.time_since_start_usec()
        # A clock of its own zero that gains 1 ms per second: without the calibration's end and the
        # corrections behind it, the difference would be as large as the run is long.
        device = 5_000_000 + arrival + arrival // 1000
        time = sync.process_timestamp(arrival, device)
        out.submit([arrival, time, int(sync.is_calibrated)])
    sync.stop()
"""


def test_a_script_gets_master_times_of_its_own_devices_clock(bench: BenchRunner) -> None:
    result = bench.write(BENCH, wheel=SCRIPT).run(2.0)
    assert result.success, result.failures
    _, *rows = read_table(result)
    times = [int(time) for _, time, _ in rows]
    assert times == sorted(times)
    synchronised = [row for row in rows if row[2] == "1"]
    assert len(synchronised) > 20
    errors = [abs(int(time) - int(arrival)) for arrival, time, _ in synchronised]
    assert max(errors) < 2_500  # the tolerance, and what a step leaves
