"""A run whose master time is another machine's, here a controller with a clock of its own."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mlink.engine.remote import StartAt
from mlink.hosts.clocks.host_clock import HostClock
from mlink.hosts.clocks.server import ClockServer
from mlink.recording import open as open_recording
from mlink.recording.care.verify import verify_recording
from tests.integration.runs.test_run_life import read_table
from tests.support.bench_runner import BenchRunner
from tests.unit.hosts.clocks.test_host_clock import KEY, LIMIT_S, Skewed

BENCH = """
[modules.source]
type = "pyscript"
script = "source.py"
ports_out = [{ id = "rows", data_type = "TableRow" }]
[modules.rows]
type = "table"
inputs = { rows = "source.rows" }
"""
SOURCE = """
import time
import syntalos_mlink as syl

rows = syl.get_output_port("rows")

def prepare():
    rows.set_metadata_value("table_header", ["before", "master", "after"])
    rows.set_metadata_value("uncertainty_usec", 7)

def run():
    while syl.is_running():
        before = time.monotonic_ns()
        now = syl.time_since_start_usec()
        rows.submit([str(before), str(now), str(time.monotonic_ns())])
        syl.await_data(2000)
"""


class Led:
    """Implements `RunControl` for a host that is led: starts at a reading of the controller's."""

    def __init__(self, clock: HostClock, origin_ns) -> None:
        self.clock, self._origin_ns = clock, origin_ns
        self.origin_ns = 0

    def prepare(self, run_uuid: bytes, wait) -> None: ...

    def await_start(self, wait) -> StartAt:
        assert self.clock.wait_known(LIMIT_S)
        self.origin_ns = self._origin_ns()
        self.clock.begin(self.origin_ns)
        return StartAt(self.clock.to_local_ns(0), self.clock.figures())

    def started(self, t0_ns: int) -> dict[str, float | str]:
        return {}

    def look(self) -> None: ...

    def ended(self, *, success: bool) -> None: ...


@pytest.fixture
def led() -> Iterator[SimpleNamespace]:
    controller = Skewed(ppm=300.0)  # a bad clock, so that a second shows what it does
    with ClockServer(now_ns=controller) as server, HostClock(KEY) as clock:
        clock.start()
        server.add("chamber", "127.0.0.1", clock.port, KEY)
        yield SimpleNamespace(controller=controller, clock=clock, control=Led(clock, controller))


def test_all_times_of_a_led_run_are_the_controllers(bench: BenchRunner, led) -> None:
    bench.write(BENCH, source=SOURCE)
    result = bench.run(2.0, control=led.control, clock_page=led.clock.page_fd)
    assert result.success, result.failures
    _, *rows = read_table(result)
    assert len(rows) > 50
    assert result.recording_dir is not None
    table = open_recording(result.recording_dir).table("rows")
    stated_usec = table.attributes["uncertainty_usec"]
    for before, master, after in rows:
        earliest, latest = (
            (led.controller.of(int(reading)) - led.control.origin_ns) / 1000
            for reading in (before, after)
        )
        assert earliest - stated_usec <= int(master) <= latest + stated_usec + 1
    assert result.reports["network"]["clock_state"] == "following"


def test_streams_have_their_hosts_uncertainty_and_the_recording_has_its_account(
    bench: BenchRunner, led
) -> None:
    bench.write(BENCH, source=SOURCE)
    result = bench.run(2.5, control=led.control, clock_page=led.clock.page_fd)
    assert result.success, result.failures
    assert result.recording_dir is not None
    assert verify_recording(result.recording_dir).ok
    recording = open_recording(result.recording_dir)
    table = recording.table("rows")
    of_host = table.attributes["stream"]["host_clock_usec"]
    assert of_host > 0
    assert table.attributes["uncertainty_usec"] == 7 + of_host
    text = (result.recording_dir / "host-clock" / "host-clock.csv").read_text()
    header, *account = csv.reader(text.splitlines(), delimiter=";")
    assert header[:4] == ["time_usec", "monotonic_ns", "rate_ppm", "uncertainty_usec"]
    assert len(account) >= 2
    for row in (dict(zip(header, cells, strict=True)) for cells in account):
        true_usec = (led.controller.of(int(row["monotonic_ns"])) - led.control.origin_ns) / 1000
        assert abs(int(row["time_usec"]) - true_usec) <= int(row["uncertainty_usec"]) + 1
        assert int(row["exchanges"]) >= 50
    stated = recording.attributes["host_clock"]
    assert stated["largest_uncertainty_usec"] >= max(int(cells[3]) for cells in account)
    assert stated["steps"] == 0
