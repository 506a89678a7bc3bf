"""firmata-io on our firmware: chip times, pulses, reflexes, and what a pulled cable undoes."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path

import pytest

import mlink.script as ms
from mlink.storage.tsync.reader import read_tsync
from mlink.types import LineCommandKind, LineModeFlags
from mlink_hil.sim.fetch_firmware import is_cached
from tests.support.boards.chip_bench import Port, chip_bench, wait_until
from tests.support.boards.firmata_bench import Bench
from tests.support.recorded import edlio_reader

pytest.importorskip("yasimavr")
pytestmark = pytest.mark.sim

edlio_tsync = edlio_reader.edlio_tsync
Kind = LineCommandKind
INPUT, OUTPUT, PULL_UP = LineModeFlags.IS_INPUT, LineModeFlags.IS_OUTPUT, LineModeFlags.PULL_UP


@pytest.fixture
def rig(tmp_path: Path):
    with chip_bench(tmp_path) as opened:
        yield opened


def values(bench: Bench) -> list[tuple[int, int]]:
    return [(reading.line_id, reading.value) for reading in bench.readings]


def longest_standstill(during_sec: float) -> float:
    """Sleep for some time; return the longest time in s for which this process did not run."""
    before, longest = time.monotonic(), 0.0
    end = before + during_sec
    while before < end:
        time.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest


def master_usec(bench: Bench, time_ns: int) -> float:
    return (time_ns - bench.context.clock.t0_monotonic_ns) / 1000


RATE_PPM = 500
"""How well the rate of a chip's clock is known in its first second, on a loaded machine."""


def assert_lasted(began_usec: int, ended_usec: int, usec: int) -> None:
    """Both ends are stamped to some µs; between them the clock's rate counts."""
    assert abs(ended_usec - began_usec - usec) <= 12 + usec * RATE_PPM / 1e6


# -- edges -------------------------------------------------------------------------------------


def test_the_metadata_has_that_its_times_are_the_boards(rig) -> None:
    metadata = rig[0].context.outputs["fmdata"].metadata
    assert metadata["timestamp_source"] == "device-clock"
    assert 0 < metadata["uncertainty_usec"] < 20_000
    assert metadata["device_clock_hz"] == 2_000_000
    assert metadata["baud_rate"] == 1_000_000


def test_edges_have_the_time_at_which_the_pin_moved(rig) -> None:
    bench, board = rig
    bench.set_input(7)
    bench.wait_for_readings((7, 0))
    time.sleep(1.0)  # the clock is known better by then
    made = []
    for at in range(40):
        made.append(board.drive(7, at % 2 == 0))
        time.sleep(0.002)
    bench.wait_for_readings((7, 0), *((7, (at + 1) % 2) for at in range(40)))
    errors = [
        reading.time_usec - master_usec(bench, drive.time_ns)
        for reading, drive in zip(bench.readings[1:], made, strict=True)
    ]
    # Half of what an exchange takes on a loaded machine, which cannot be measured from outside;
    # and where the simulator gave time up, the chip's clock stood still.
    slip_usec = board.stats().slip_usec
    assert abs(statistics.median(errors)) < 3000 + slip_usec
    low, _, high = statistics.quantiles(errors, n=4)
    assert high - low < 1000
    times = [reading.time_usec for reading in bench.readings]
    assert times == sorted(times)


def test_edges_of_several_lines_of_a_port_keep_their_order(rig) -> None:
    bench, board = rig
    lines = (2, 4, 7, 8)
    for line in lines:
        bench.set_input(line)
    bench.wait_for_readings(*((line, 0) for line in lines))
    order = [(line, level) for level in (1, 0) for line in lines]
    for line, level in order:
        board.drive(line, bool(level))
    wait_until(lambda: len(bench.readings) >= 12, lambda: values(bench))
    assert values(bench)[4:] == order


def test_a_pull_up_reads_high_at_once_and_an_output_gives_no_readings(rig) -> None:
    bench, board = rig
    bench.set_input(7, INPUT | PULL_UP)
    bench.wait_for_readings((7, 1))
    bench.send(Kind.SET_MODE, 7, flags=OUTPUT)
    bench.send(Kind.WRITE_DIGITAL, 7, value=1)
    bench.send(Kind.WRITE_DIGITAL, 7, value=0)
    bench.set_input(4)
    bench.wait_for_readings((7, 1), (4, 0))
    board.drive(4, True)
    bench.wait_for_readings((7, 1), (4, 0), (4, 1))


def test_a_line_set_up_before_the_start_is_read_first_when_the_run_starts(tmp_path: Path) -> None:
    with chip_bench(tmp_path) as (bench, board):
        bench.module.halt()
        bench.set_input(7)
        board.drive(7, True)
        time.sleep(0.1)
        assert bench.readings == []
        bench.module.start()
        bench.wait_for_readings((7, 1))


def test_a_script_may_ask_for_one_kind_of_edges(rig) -> None:
    bench, board = rig
    ms.watch_edges(Port(bench), 7, ms.Edges.RISING)
    wait_until(lambda: bench.readings)
    before = len(bench.readings)
    for level in (True, False, True, False):
        board.drive(7, level)
        time.sleep(0.01)
    wait_until(lambda: len(bench.readings) >= before + 2)
    assert [value for _, value in values(bench)[before:]] == [1, 1]


def test_edges_that_the_boards_queue_does_not_hold_are_a_gap(tmp_path, caplog) -> None:
    with chip_bench(tmp_path, fast_baud_rate=0) as (bench, board):
        assert bench.context.outputs["fmdata"].metadata["baud_rate"] == 57_600
        bench.set_input(7)
        bench.wait_for_readings((7, 0))
        output = bench.context.outputs["fmdata"]
        made = 0
        while "readings-lost" not in [row[1] for row in bench.rows("events")]:
            assert made < 300_000
            for at in range(1000):  # as fast as it goes, thousands in a second
                board.drive(7, at % 2 == 0)
            made += 1000
        wait_until(
            lambda: len(bench.readings) + output.lost >= made + 1,
            lambda: (len(bench.readings), output.lost, made),
        )
        corrected = bench.module._chip.levels.corrected  # where the last edge of a time was lost
        assert len(bench.readings) + output.lost == made + 1 + corrected
        assert "edges lost" in caplog.text
        assert "readings lost" in bench.context.status
        bench.module.drained()
        assert bench.context.reports["readings_lost_by_board"] == output.lost


def test_a_burst_that_overruns_the_boards_receive_buffer_is_no_silent_loss(rig, caplog) -> None:
    bench, _ = rig
    ms.watch_edges(Port(bench), 7, ms.Edges.BOTH)
    bench.send(Kind.SET_MODE, 7, flags=OUTPUT)
    session = bench.module._session
    # 100 bytes per ms: the board takes less than 50 when it reports edges
    session.outgoing.pace = None
    session.send(b"".join(bytes((0xF5, 7, at % 2)) for at in range(600)))
    bench.wait_for_event("bytes-lost")
    assert "receive buffer was full" in caplog.text
    assert "bytes to it lost" in bench.context.status
    bench.module.drained()
    assert (lost := bench.context.reports["bytes_lost_by_board"]) > 0
    assert f"lost {lost} byte(s) of commands: its receive buffer was full" in str(
        bench.context.losses
    )


# -- the clock beside the recording --------------------------------------------------------------


@pytest.mark.edlio
def test_a_tsync_file_beside_the_recording_holds_both_clocks(tmp_path, edlio_tsync) -> None:
    with chip_bench(tmp_path) as (bench, board):
        time.sleep(2.5)
        slip_usec = board.stats().slip_usec  # while the simulator gave time up, its clock stood
        bench.module.halt()
        bench.module.stop()
    (path,) = (tmp_path / "recording").rglob("*.tsync")
    times = read_tsync(path).times
    assert len(times) >= 3
    for (device, master), (next_device, next_master) in itertools.pairwise(times.tolist()):
        assert next_device > device
        passed = next_master - master
        assert abs(next_device - device - passed) < 0.005 * passed + slip_usec + 2000
    (found,) = edlio_tsync([path])
    assert found["labels"] == ["board-time", "master-time"]
    assert found["times"] == times.tolist()


# -- analog ------------------------------------------------------------------------------------


def test_analog_samples_come_at_even_times_of_the_board(tmp_path) -> None:
    settings = {"analog_lines": (14, 15), "sampling_interval_msec": 10, "decimation": {"15": 4}}
    with chip_bench(tmp_path, **settings) as (bench, board):
        board.analog(0, 1.25)
        board.analog(1, 3.75)
        bench.set_input(14)
        bench.set_input(15)
        wait_until(lambda: sum(r.line_id == 14 for r in bench.readings) > 40)
        bench.module.halt()
        for line, volts, step_usec in ((14, 1.25, 10_000), (15, 3.75, 40_000)):
            found = [r for r in bench.readings if r.line_id == line][5:]
            assert all(abs(r.value - volts / 5 * 1023) <= 2 for r in found), found
            steps = [b.time_usec - a.time_usec for a, b in itertools.pairwise(found)]
            assert statistics.median(steps) == pytest.approx(step_usec, abs=200)
        bench.module.drained()
        assert bench.context.reports["samples_decimated"] > 0


# -- pulses, trains, reflexes ----------------------------------------------------------------------


def test_a_pulse_is_made_by_the_chip_and_its_row_has_that(rig) -> None:
    bench, board = rig
    board.watch([8])
    bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=5000)
    rise, fall = board.wait_edge(8, True, timeout_sec=30), board.wait_edge(8, False, timeout_sec=30)
    assert abs((fall.cycle - rise.cycle) / 16 - 5000) <= 8
    row = bench.wait_for_row("pulses", lambda row: row[0] == "8")
    line, asked, commanded, started, ended, timed_by, first, last = row
    assert (line, asked, ended, timed_by) == ("8", "5000", "", "chip")
    assert_lasted(int(first), int(last), 5000)
    assert int(commanded) <= int(started)
    error_usec = int(first) - master_usec(bench, rise.time_ns)
    assert abs(error_usec) < 5000 + board.stats().slip_usec


def test_pulses_that_flow_together_are_one_and_a_write_ends_them(rig) -> None:
    bench, board = rig
    board.watch([8])
    # long enough for a machine that stands still between the two
    bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=600_000)
    bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=800_000)
    rise, fall = board.wait_edge(8, True, timeout_sec=30), board.wait_edge(8, False, timeout_sec=30)
    assert (fall.cycle - rise.cycle) / 16 >= 800_000 - 8
    wait_until(lambda: len(bench.rows("pulses")) == 2, lambda: bench.rows("pulses"))
    assert len({tuple(row[6:]) for row in bench.rows("pulses")}) == 1
    bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=60_000_000)
    assert board.wait_edge(8, True, timeout_sec=30)
    bench.send(Kind.WRITE_DIGITAL, 8, value=0)
    assert board.wait_edge(8, False, timeout_sec=30)
    wait_until(lambda: len(bench.rows("pulses")) == 3, lambda: bench.rows("pulses"))


def test_a_pulse_that_runs_at_the_end_is_ended(rig) -> None:
    bench, board = rig
    board.watch([8])
    bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=60_000_000)
    assert board.wait_edge(8, True, timeout_sec=30)
    bench.module.halt()
    bench.module.drained()
    assert board.wait_edge(8, False, timeout_sec=30)


def test_a_train_has_the_chips_period(rig) -> None:
    bench, board = rig
    board.watch([9])
    for lead_usec in (50_000, 500_000, 5_000_000):  # until this machine is in time
        start_usec = bench.context.clock.now_usec() + lead_usec
        ms.pulse_train(
            Port(bench), 9, width_usec=500, period_usec=2000, count=10, start_usec=start_usec
        )
        first = board.wait_edge(9, True, timeout_sec=30)
        rises = [first, *(edge for edge in board.edges(timeout_sec=0.5) if edge.level)]
        assert len(rises) == 10
        error_usec = master_usec(bench, first.time_ns) - start_usec
        if abs(error_usec) < 5000 + board.stats().slip_usec:
            break
        assert error_usec > 0, "before its time"
    else:
        pytest.fail(f"{error_usec} µs late")
    for a, b in itertools.pairwise(rises):
        assert abs((b.cycle - a.cycle) / 16 - 2000) <= 8
    row = bench.wait_for_row("pulses", lambda row: row[0] == "9")
    assert_lasted(int(row[6]), int(row[7]), 18_500)


def test_a_reflex_acts_on_the_chip_and_reports_both_times(rig) -> None:
    bench, board = rig
    bench.set_input(7)
    port = Port(bench)
    pulse = ms.ReflexAction.PULSE_HIGH
    ms.set_reflex(port, 0, trigger=7, output=8, action=pulse, width_usec=1000)
    time.sleep(0.5)
    board.watch([8])
    pressed = board.drive(7, True)
    answer = board.wait_edge(8, True, timeout_sec=30)
    assert (answer.cycle - pressed.cycle) / 16 <= 30
    index, edge, action, trigger, output = bench.wait_for_row("reflexes", lambda row: True)
    assert (index, trigger, output) == ("0", "7", "8")
    assert 0 <= int(action) - int(edge) <= 40
    bench.wait_for_readings((7, 0), (7, 1))  # the reading comes as ever
    ms.remove_reflex(port, 0)
    time.sleep(0.5)
    board.drive(7, False)
    board.drive(7, True)
    assert board.wait_edge(8, True, timeout_sec=0.2) is None


# -- the safe state and a pulled cable -------------------------------------------------------------


def test_while_the_host_lives_the_safe_state_is_not_entered(tmp_path) -> None:
    with chip_bench(tmp_path, safe_state_msec=1000) as (bench, board):
        bench.send(Kind.WRITE_DIGITAL, 8, value=1)
        if (stood_sec := longest_standstill(2.5)) > 0.3:
            pytest.skip(f"this machine stood still for {stood_sec:.1f} s: so does a dead host")
        assert board.read(8).level
        assert "safe-state" not in [row[1] for row in bench.rows("events")]
        # the host falls silent, and the board reports it when it is heard again
        bench.module._chip.chip.close()
        time.sleep(1.5)
        assert not board.read(8).level
        bench.wait_for_event("safe-state")


def test_a_board_that_is_back_does_all_that_it_did_before(tmp_path) -> None:
    with chip_bench(tmp_path, on_loss="continue", safe_state_msec=600) as (bench, board):
        bench.module.settings.handshake_timeout_s = 8
        bench.set_input(7)
        bench.send(Kind.WRITE_DIGITAL, 12, value=1)
        action = ms.ReflexAction.PULSE_HIGH
        ms.set_reflex(Port(bench), 0, trigger=7, output=8, action=action, width_usec=1000)
        ms.pulse_train(Port(bench), 9, width_usec=1000, period_usec=5000)
        bench.wait_for_readings((7, 0))
        board.unplug()
        bench.wait_for_event("lost")
        board.plug()
        wait_until(lambda: [row[1] for row in bench.rows("events")].count("connected") == 2)
        wait_until(lambda: len(bench.readings) == 2, lambda: values(bench))
        board.watch([8, 9])
        pressed = board.drive(7, True)
        answer = board.wait_edge(8, True, timeout_sec=30)
        assert (answer.cycle - pressed.cycle) / 16 <= 30
        assert board.wait_edge(9, True, timeout_sec=30)
        assert board.read(12).level
        wait_until(lambda: len(bench.readings) == 3, lambda: values(bench))
        assert bench.module._chip.chip.baud_rate == 1_000_000
        error_usec = bench.readings[-1].time_usec - master_usec(bench, pressed.time_ns)
        assert abs(error_usec) < 5000 + board.stats().slip_usec
        bench.module._chip.chip.close()
        time.sleep(1.0)
        assert not board.read(12).level  # the safe state was set again
        bench.module.halt()
        bench.module.stop()
    names = sorted(path.name for path in (tmp_path / "recording").rglob("*.tsync"))
    assert names == ["board-clock-2.tsync", "board-clock.tsync"]


# -- StandardFirmata -------------------------------------------------------------------------------


@pytest.mark.skipif(not is_cached(), reason="StandardFirmata is not in the cache")
def test_on_standard_firmata_the_same_works_with_host_times_and_a_warning(tmp_path, caplog) -> None:
    with chip_bench(tmp_path, "standard", safe_state_msec=1000) as (bench, board):
        metadata = bench.context.outputs["fmdata"].metadata
        assert metadata["timestamp_source"] == "host-arrival"
        assert metadata["uncertainty_usec"] == 1173
        assert "the firmware of StandardFirmata" in caplog.text
        bench.set_input(7)
        bench.wait_for_readings((7, 0))
        board.drive(7, True)
        bench.wait_for_readings((7, 0), (7, 1))
        bench.send(Kind.WRITE_DIGITAL_PULSE, 8, duration_usec=20_000)
        row = bench.wait_for_row("pulses", lambda row: row[0] == "8")
        assert row[5] == "host"
        ms.pulse_train(Port(bench), 9, width_usec=500, period_usec=2000)
        assert "mlink flash" in bench.failure()
        bench.context.failures.clear()
    assert not list((tmp_path / "recording").rglob("*.tsync"))
