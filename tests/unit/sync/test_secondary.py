"""SecondaryClockSynchronizer: arrival times corrected by a device's steady clock."""

import itertools
import math
import random
from statistics import fmean, median, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import ModuleError
from mlink.storage.tsync.layout import TimeType, TimeUnit, TsyncMode
from mlink.storage.tsync.reader import read_tsync
from mlink.sync import SecondaryClockSynchronizer, TimeSyncStrategy, TsyncPairSink
from mlink.sync.base import shift_allowed
from mlink.sync.secondary import correction_divisor

FWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD
BWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
RECORD = TimeSyncStrategy.WRITE_TSYNCFILE


class Pairs(list):
    closed = 0

    def write(self, device_usec, master_usec):
        self.append((device_usec, master_usec))

    def close(self):
        self.closed += 1


def started(strategies=FWD | BWD, *, hz=0.0, points=0, tolerance=0, **options):
    sync = SecondaryClockSynchronizer("cam", **options)
    sync.set_strategies(strategies)
    if hz:
        sync.set_expected_clock_frequency_hz(hz)
    if points:
        sync.set_calibration_points_count(points)
    if tolerance:
        sync.set_tolerance_usec(tolerance)
    assert sync.start()
    return sync


def samples(count, hz=30.0, ppm=0.0, sigma=0.0, latency=3000, seed=1):
    """True time, arrival on the master timer, and device time of each sample, in µs."""
    rng = random.Random(seed)
    for number in range(count):
        truth = number * 1e6 / hz
        arrival = round(truth + latency + rng.gauss(0, sigma))
        yield truth, arrival, round(truth * (1 + ppm * 1e-6))


def test_strategies_add_up_as_numbers_do():
    assert FWD + BWD == FWD | BWD == 3
    assert TimeSyncStrategy.NONE == 0
    sync = SecondaryClockSynchronizer()
    sync.set_strategies(1 + 8)
    assert sync.strategies is FWD | RECORD


# What an implementation must satisfy


def test_1_without_jitter_and_drift_times_pass_unchanged_and_the_file_has_two_pairs():
    pairs = Pairs()
    sync = started(FWD | BWD | RECORD, sink=pairs)
    for number in range(5000):
        arrival, device = 33_333 * number + 7000, 33_333 * number
        assert sync.process_timestamp(arrival, device) == arrival
        assert sync.clock_correction_offset_usec == 0
    sync.stop()
    assert sync.expected_offset_to_master_usec == -7000
    assert pairs == [(0, 7000), (device, arrival)]
    assert pairs.closed == 1


@pytest.mark.parametrize("ppm", [100, -100])
def test_2_a_device_100_ppm_off_stays_within_tolerance_on_average_and_never_steps_back(ppm):
    sync = started(hz=30)
    points = sync.calibration_points_count
    errors, last = [], -1
    for truth, arrival, device in samples(30 * 1800, ppm=ppm, sigma=300):
        time = sync.process_timestamp(arrival, device)
        assert time >= last
        last = time
        errors.append(time - truth - 3000)
    settled = errors[2 * points :]
    for start in range(0, len(settled) - points, points):
        assert abs(fmean(settled[start : start + points])) < sync.tolerance_usec


@pytest.mark.parametrize("hz", [0, 30])
def test_3_one_late_delivery_in_a_thousand_is_repaired_to_within_a_millisecond(hz):
    sync = started(hz=hz)
    repaired, corrections, offsets = [], set(), set()
    for number, (truth, arrival, device) in enumerate(samples(20_000, sigma=150)):
        late = number % 1000 == 999
        time = sync.process_timestamp(arrival + 50_000 * late, device)
        if sync.is_calibrated:
            corrections.add(sync.clock_correction_offset_usec)
            offsets.add(sync.expected_offset_to_master_usec)
            if late:
                repaired.append(abs(time - truth - 3000))
    assert len(repaired) >= 18
    assert max(repaired) <= 1000
    assert corrections == {0}
    assert len(offsets) == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_4_a_step_of_three_tolerances_is_pulled_in_by_corrections_with_waits_between(sign):
    sync = started(hz=30)
    tolerance, points = sync.tolerance_usec, sync.calibration_points_count
    step = sign * 3 * tolerance
    changes, last, errors = [], 0, []
    for number, (truth, arrival, device) in enumerate(samples(20_000, sigma=100)):
        stepped = device + step * (number >= 5000)
        errors.append(sync.process_timestamp(arrival, stepped) - truth - 3000)
        correction = sync.clock_correction_offset_usec
        if correction != last:
            changes.append(number)
            last = correction
        assert correction * sign <= 3 * tolerance + tolerance  # no overshoot beyond T
    assert len(changes) >= 2
    waits = [later - sooner for sooner, later in itertools.pairwise(changes)]
    assert min(waits) >= math.ceil(0.65 * points)
    assert max(abs(error) for error in errors[5000 + 5 * points :]) < tolerance


@pytest.mark.parametrize("ppm", [5, -5])
@pytest.mark.parametrize("strategies", [FWD, BWD], ids=["FWD", "BWD"])
def test_5_a_single_direction_is_kept_flukes_excepted(strategies, ppm):
    pairs = Pairs()
    sync = started(strategies | RECORD, tolerance=100, sink=pairs)
    last, moved = -1, 0
    for _, arrival, device in samples(20_000, ppm=ppm, sigma=300):
        time = sync.process_timestamp(arrival, device)
        fluke = pairs and pairs[-1] == (device, time)
        held = time <= last + 1  # behind a fluke that went too far
        if not fluke and not held:
            moved += time != arrival
            assert time >= arrival if strategies == FWD else time <= arrival
        last = time
    # A fast device's times are drawn back, so where only FWD is allowed they pass; and vice versa.
    assert (moved > 0) == ((strategies == BWD) == (ppm > 0))


@pytest.mark.parametrize(
    ("hz", "points", "tolerance_usec"),
    [
        (0.1, 46, 5_000_000),  # at most ⌈90·f⌉ = 9, at least 46
        (0.5, 46, 1_000_000),
        (1, 90, 500_000),
        (10, 900, 50_000),
        (30, 710, 16_667),
        (60, 748, 8333),
        (250, 2510, 2000),
        (1000, 10_001, 500),
        (30_000, 300_001, 17),
    ],
)
def test_6_ring_and_tolerance_follow_the_frequency(hz, points, tolerance_usec):
    sync = SecondaryClockSynchronizer()
    sync.set_expected_clock_frequency_hz(hz)
    wanted = math.ceil(10 * (hz + 1 / (0.01 + (hz / 250) ** 2)))
    assert sync.calibration_points_count == max(46, min(wanted, math.ceil(90 * hz)))
    assert sync.tolerance_usec == round(1e6 / (2 * hz)) == tolerance_usec
    assert sync.calibration_points_count == points


# Calibration


def test_it_calibrates_for_twice_the_ring_and_takes_the_median_of_the_second_half():
    sync = started(points=50)
    rng = random.Random(3)
    offsets = [rng.randrange(-500, 500) + 90_000 * (n < 50) for n in range(100)]
    for number, offset in enumerate(offsets):
        assert not sync.is_calibrated
        assert sync.process_timestamp(1000 * number, 1000 * number + offset) == 1000 * number
    assert sync.is_calibrated
    assert sync.expected_offset_to_master_usec == pytest.approx(median(offsets[50:]), abs=0.5)
    assert sync._deviation_usec == pytest.approx(pstdev(offsets[50:]))


def test_settings_are_refused_once_calibrated():
    sync = started(points=46)
    for number in range(92):
        sync.set_tolerance_usec(500)  # fine until then
        sync.process_timestamp(number * 1000, number * 1000)
    for setting, value in [
        (sync.set_strategies, FWD),
        (sync.set_tolerance_usec, 100),
        (sync.set_calibration_points_count, 100),
        (sync.set_expected_clock_frequency_hz, 30.0),
    ]:
        with pytest.raises(ModuleError, match="'cam' is calibrated"):
            setting(value)


def test_defaults():
    sync = SecondaryClockSynchronizer()
    assert sync.strategies == FWD | BWD
    assert (sync.tolerance_usec, sync.calibration_points_count) == (1000, 400)
    sync.set_calibration_points_count(3)
    assert sync.calibration_points_count == 46


@pytest.mark.parametrize("hz", [0, -1, math.nan, math.inf])
def test_an_impossible_frequency_is_refused(hz):
    with pytest.raises(ModuleError, match="samples per second"):
        SecondaryClockSynchronizer().set_expected_clock_frequency_hz(hz)


# One run


def test_it_serves_one_run(caplog):
    sync = SecondaryClockSynchronizer("cam")
    with pytest.raises(ModuleError, match=r"Call its start\(\)"):
        sync.process_timestamp(1, 1)
    assert sync.start()
    sync.stop()
    assert not sync.start()
    assert "one run only" in caplog.text
    assert sync.process_timestamp(5, 1) == 5  # a straggler after the stop


def test_a_file_that_is_not_there_cannot_be_written(caplog):
    sync = SecondaryClockSynchronizer()
    sync.set_strategies(RECORD)
    assert not sync.start()
    assert "has no sink" in caplog.text


def test_stopping_twice_closes_the_file_once():
    pairs = Pairs()
    sync = started(RECORD, sink=pairs)
    sync.stop()
    sync.stop()
    assert (list(pairs), pairs.closed) == ([], 1)


def test_the_pairs_open_as_a_tsync_file_of_syncpoints(tmp_path):
    path = tmp_path / "cam.tsync"
    sync = started(RECORD, sink=TsyncPairSink(path, collection_id=bytes(16), tolerance_usec=1000))
    for _, arrival, device in samples(1000):
        sync.process_timestamp(arrival, device)
    sync.stop()
    data = read_tsync(path)
    assert data.header.mode is TsyncMode.SYNCPOINTS
    assert [(c.unit, c.type) for c in data.header.columns] == [
        (TimeUnit.MICROSECONDS, TimeType.INT64)
    ] * 2
    assert data.header.custom == {"tolerance_us": 1000}
    assert data.times.tolist()[0] == [0, 3000]
    assert data.times.tolist()[-1] == [device, arrival]


def test_corrections_are_passed_to_a_device_that_adjusts_its_clock():
    corrections = []
    sync = started(TimeSyncStrategy.ADJUST_CLOCK, points=46, adjust_clock=corrections.append)
    for _, arrival, device in samples(3000, ppm=200, sigma=50):
        sync.process_timestamp(arrival, device)
    assert corrections[-1] == sync.clock_correction_offset_usec > 0


# Whatever comes


def test_one_device_time_an_hour_ahead_is_forgotten_when_the_ring_has_turned():
    sync = started(points=46)
    for number, (truth, arrival, device) in enumerate(samples(1000, sigma=50)):
        time = sync.process_timestamp(arrival, device + 3_600_000_000 * (number == 500))
        if not 500 <= number < 500 + 2 * 46:
            assert abs(time - truth - 3000) < 500


intervals = st.integers(1, 100_000)
jitters = st.integers(-2000, 20_000)


@given(
    steps=st.lists(
        st.tuples(intervals, jitters, st.integers(-300, 300)), min_size=93, max_size=300
    ),
    strategies=st.integers(0, 3),
    as_reference=st.booleans(),
    tolerance=st.integers(1, 5000),
)
def test_times_never_step_back(steps, strategies, as_reference, tolerance):
    sync = started(strategies, points=46, tolerance=tolerance, as_reference=as_reference)
    taken = arrived = device = last = 0
    for interval, jitter, wander in steps:
        taken += interval
        device += max(1, interval + wander)
        arrived = max(arrived, taken + jitter)  # the master timer itself never steps back
        time = sync.process_timestamp(arrived, device)
        assert isinstance(time, int)
        assert time >= last
        last = time


@given(
    jitter=st.lists(st.integers(0, 800), min_size=150, max_size=400),
    drift=st.integers(-40, 40),
    forward=st.booleans(),
)
def test_a_single_direction_is_kept_for_any_jitter_and_drift(jitter, drift, forward):
    pairs = Pairs()
    strategy = FWD if forward else BWD
    sync = started(strategy | RECORD, points=46, tolerance=200, sink=pairs)
    last = -1
    for number, late in enumerate(jitter):
        arrival, device = 10_000 * number + late, (10_000 + drift) * number
        time = sync.process_timestamp(arrival, device)
        if not (pairs and pairs[-1] == (device, time)) and time > last + 1:
            assert time >= arrival if forward else time <= arrival
        last = time


@given(offset=st.integers(-(10**15), 10**15), interval=intervals, count=st.integers(93, 200))
def test_a_perfect_device_changes_nothing_wherever_its_zero_lies(offset, interval, count):
    sync = started(points=46)
    for number in range(count):
        assert sync.process_timestamp(interval * number, interval * number + offset) == (
            interval * number
        )
    assert sync.expected_offset_to_master_usec == offset


# Single rules


@pytest.mark.parametrize(
    ("gap_usec", "deviation_usec", "divisor"),
    [
        (33_333, 5000, 33.52),  # 30 Hz: 1/33, as docs/synchronisers.md has it
        (33_333, -5000, 33.52),
        (1000, 5000, 78.88),  # 1 kHz
        (1_000_000, 5000, 1.0),  # 1 Hz
        (0, 5000, 1001.0),
        (-5, 5000, 1001.0),
        (0, 1001, 1001 / 4),  # a divisor that is not below the deviation
        (0, 1002, 1001.0),
        (0, -100, 25.0),
        (0, 2, 1.0),
    ],
)
def test_the_divisor_of_a_correction_is_the_references(gap_usec, deviation_usec, divisor):
    assert correction_divisor(gap_usec, deviation_usec) == pytest.approx(divisor, abs=0.005)


@pytest.mark.parametrize(
    ("correction", "forward", "backward", "allowed"),
    [
        (5, True, False, False),
        (5, False, True, True),
        (1, False, True, True),
        (0, True, True, False),
        (-1, True, False, True),
        (-5, False, True, False),
    ],
)
def test_a_fast_devices_times_go_back_and_a_slow_ones_forward(
    correction, forward, backward, allowed
):
    assert shift_allowed(correction, forward=forward, backward=backward) is allowed


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_leaves_at_most_what_starts_no_other(sign):
    sync = started(tolerance=1000)
    assert sync._step(sign * 5000.0, 33_333) == sign * 4334  # 5000 − 1000/1.5, rounded up
    assert sync._step(sign * 30.0, 33_333) == math.ceil(sign * 30 / 7.5)
    reference = started(tolerance=1000, as_reference=True)
    assert reference._step(sign * 5000.0, 33_333) == math.ceil(sign * 5000 / 33.52)


def calibrated(**options):
    """A synchroniser that has seen 100 regular samples of a device 3000 µs behind, none after."""
    sync = started(points=46, tolerance=1000, **options)
    assert sync.expected_offset_to_master_usec == 0
    for number in range(100):
        sync.process_timestamp(number * 10_000 + 3000, number * 10_000)
    assert sync.expected_offset_to_master_usec == -3000
    return sync


def test_a_correction_decays_within_the_tolerance_and_still_shifts_times():
    sync = calibrated()
    sync._correction_usec = 500
    sync._ring.push(45 * 600 - 3000)  # moves the mean by about 600 µs, past a third of 1000
    assert sync.process_timestamp(1_003_000, 1_000_000) == 1_000_000 + 3000 - 400
    assert sync.clock_correction_offset_usec == 400
    assert sync.process_timestamp(1_013_000, 1_010_000) == 1_010_000 + 3000 - 320


def test_a_small_deviation_ends_the_correction():
    sync = calibrated()
    sync._correction_usec = 500
    assert sync.process_timestamp(1_003_000, 1_000_000) == 1_003_000
    assert sync.clock_correction_offset_usec == 0


def test_a_device_time_that_jumps_back_is_one_microsecond_after_the_last():
    sync = calibrated()
    assert sync.process_timestamp(1_003_000, 10_000) == 99 * 10_000 + 3001
