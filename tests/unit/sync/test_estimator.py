"""OffsetRateSynchronizer: corrected times, rate and standard error."""

import random
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import ModuleError
from mlink.sync import OffsetRateSynchronizer, SecondaryClockSynchronizer, TimeSyncStrategy

FWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD
BWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
LATENCY = 3000


class Pairs(list):
    def write(self, device_usec, master_usec):
        self.append((device_usec, master_usec))

    def close(self):
        pass


def started(strategies=FWD | BWD, **options):
    sync = OffsetRateSynchronizer("cam", **options)
    sync.set_strategies(strategies)
    sync.set_expected_clock_frequency_hz(30)
    assert sync.start()
    return sync


def samples(count, *, hz=30.0, ppm=0.0, sigma=300.0, seed=1, zero=5_000_000_000):
    rng = random.Random(seed)
    for number in range(count):
        truth = number * 1e6 / hz
        yield (
            truth,
            round(truth + LATENCY + rng.gauss(0, sigma)),
            zero + round(truth * (1 + ppm * 1e-6)),
        )


@pytest.mark.parametrize("ppm", [0, 100, -200])
def test_a_drifting_device_gives_times_ten_times_better_than_their_arrival(ppm):
    sync = started()
    errors, arrivals = [], []
    for truth, arrival, device in samples(30 * 600, ppm=ppm):
        errors.append(abs(sync.process_timestamp(arrival, device) - truth - LATENCY))
        arrivals.append(abs(arrival - truth - LATENCY))
    assert fmean(errors[1800:]) < 0.1 * fmean(arrivals[1800:])
    assert sync.rate_ppm == pytest.approx(ppm, abs=3)


def test_two_standard_errors_hold_nine_of_ten_times():
    inside = total = 0
    for seed in range(5):
        sync = started()
        for truth, arrival, device in samples(30 * 300, ppm=30, seed=seed):
            time = sync.process_timestamp(arrival, device)
            if truth > 20e6:
                inside += abs(time - truth - LATENCY) <= 2 * sync.uncertainty_usec
                total += 1
        assert 1 <= sync.uncertainty_usec < 100
    assert inside > 0.9 * total


def test_before_calibration_times_are_unchanged_and_the_uncertainty_unknown():
    sync = started()
    for number, (_, arrival, device) in enumerate(samples(64)):
        assert sync.uncertainty_usec == -1
        assert sync.is_calibrated is False
        assert sync.process_timestamp(arrival, device) == arrival, number
    assert sync.is_calibrated
    assert sync.uncertainty_usec > 0


def test_without_jitter_and_drift_times_pass_unchanged():
    sync = started()
    for number in range(3000):
        arrival = 33_333 * number + 7000
        assert sync.process_timestamp(arrival, 33_333 * number) == arrival
    assert sync.clock_correction_offset_usec == 0
    assert sync.expected_offset_to_master_usec == -7000


def test_late_deliveries_are_repaired_and_teach_nothing():
    sync = started()
    for number, (truth, arrival, device) in enumerate(samples(9000, ppm=50)):
        late = 50_000 * (number % 100 == 99)
        time = sync.process_timestamp(arrival + late, device)
        if number > 600:
            assert abs(time - truth - LATENCY) < 150


@pytest.mark.parametrize("step", [50_000, -50_000, 2_000, 3_600_000_000])
def test_a_step_of_the_device_clock_is_followed_within_a_second(step):
    sync = started()
    for number, (truth, arrival, device) in enumerate(samples(6000, ppm=20)):
        time = sync.process_timestamp(arrival, device + step * (number >= 3000))
        if 600 < number < 3000 or number > 3060:
            assert abs(time - truth - LATENCY) < 200, number
    assert sync.rate_ppm == pytest.approx(20, abs=10)


def test_a_suspected_step_adds_to_the_uncertainty():
    sync = started()
    for number, (truth, arrival, device) in enumerate(samples(3100)):
        time = sync.process_timestamp(arrival, device - 20_000 * (number >= 3000))
        if number >= 3003:
            assert abs(time - truth - LATENCY) < 3 * sync.uncertainty_usec


def test_biased_innovations_add_to_the_uncertainty():
    sync = started()
    worst = 0
    for number, (_, arrival, device) in enumerate(samples(3300)):
        if number == 3000:
            settled = sync.uncertainty_usec
        sync.process_timestamp(arrival, device + 400 * (number >= 3000))
        if number >= 3000:
            worst = max(worst, sync.uncertainty_usec)
    assert worst > 3 * settled


def test_it_beats_the_mean_of_a_ring_on_the_same_data():
    errors = {}
    for kind in (OffsetRateSynchronizer, SecondaryClockSynchronizer):
        sync = kind()
        sync.set_expected_clock_frequency_hz(30)
        assert sync.start()
        found = [
            abs(sync.process_timestamp(arrival, device) - truth - LATENCY)
            for truth, arrival, device in samples(20_000, ppm=100)
        ]
        errors[kind] = fmean(found[2000:])
    assert errors[OffsetRateSynchronizer] < 0.05 * errors[SecondaryClockSynchronizer]


@pytest.mark.parametrize("strategy", [FWD, BWD])
def test_a_single_direction_is_kept(strategy):
    sync = started(strategy)
    last = -1
    for _, arrival, device in samples(5000, ppm=20):
        time = sync.process_timestamp(arrival, device)
        if time > last + 1:
            assert time >= arrival if strategy == FWD else time <= arrival
        last = time


def test_a_straight_line_between_its_pairs_gives_the_true_times_afterwards():
    pairs = Pairs()
    sync = started(FWD | BWD | TimeSyncStrategy.WRITE_TSYNCFILE, sink=pairs)
    taken = list(samples(30 * 100, ppm=50))
    for _, arrival, device in taken:
        sync.process_timestamp(arrival, device)
    sync.stop()
    assert pairs[0] == (0, -sync.expected_offset_to_master_usec)
    assert len(pairs) == 1 + 10 + 1  # E; every ten seconds; the last
    device, master = np.array(pairs[3:]).T
    for truth, _, stamp in taken[1000:]:
        assert abs(np.interp(stamp, device, master) - truth - LATENCY) < 100


def test_settings_are_refused_once_calibrated_and_a_second_run_always(caplog):
    sync = started()
    for _, arrival, device in samples(64):
        sync.process_timestamp(arrival, device)
    with pytest.raises(ModuleError, match="is calibrated"):
        sync.set_expected_clock_frequency_hz(10)
    sync.stop()
    assert not sync.start()
    assert "one run only" in caplog.text


@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 100_000), st.integers(-2000, 60_000), st.integers(-(10**7), 10**7)
        ),
        min_size=70,
        max_size=200,
    ),
    strategies=st.integers(0, 3),
)
def test_times_never_step_back_whatever_comes(steps, strategies):
    sync = started(strategies)
    taken = arrived = last = 0
    for interval, jitter, wander in steps:
        taken += interval
        arrived = max(arrived, taken + jitter)
        time = sync.process_timestamp(arrived, taken + wander)
        assert isinstance(time, int)
        assert time >= last
        last = time


def calibrated(pairs, **options):
    """A synchroniser that has just calibrated from these (master, device) times."""
    sync = OffsetRateSynchronizer("adc", **options)
    sync.set_calibration_points_count(len(pairs))
    assert sync.start()
    for master, device in pairs:
        assert sync.process_timestamp(master, device) == master
    assert sync.is_calibrated
    return sync


def jittering(count, jitter_usec, *, first=0, period_usec=100):
    """(master, device) times of samples that are alternately early and late by `jitter_usec`."""
    for number in range(first, first + count):
        device = number * period_usec
        yield device + LATENCY + (-1) ** number * jitter_usec, device


def test_the_first_uncertainty_is_the_standard_error_of_a_median():
    sync = calibrated(list(jittering(64, 1000)))
    assert sync.expected_offset_to_master_usec == -LATENCY
    # √(π/2) · 1.4826 · 1000 µs / √32, from the second half of the samples
    assert sync.uncertainty_usec == 329


def test_a_noise_that_grows_shows_in_the_uncertainty():
    sync = calibrated(list(jittering(64, 10, period_usec=33_333)))
    for pair in jittering(3000, 10, first=64, period_usec=33_333):
        sync.process_timestamp(*pair)
    before = sync.uncertainty_usec
    for pair in jittering(3000, 300, first=3064, period_usec=33_333):
        sync.process_timestamp(*pair)
    assert sync.uncertainty_usec > 3 * before


def test_each_correction_is_passed_once_to_a_device_that_adjusts_its_clock():
    corrections = []
    sync = OffsetRateSynchronizer("adc", adjust_clock=corrections.append)
    sync.set_strategies(TimeSyncStrategy.ADJUST_CLOCK)
    sync.set_calibration_points_count(64)
    assert sync.start()
    for number in range(3000):
        sync.process_timestamp(number * 10_000 + LATENCY, number * 10_000 + number)  # 100 ppm fast
    assert corrections[-1] == sync.clock_correction_offset_usec > 2500
    assert all(before != after for before, after in pairwise(corrections))
    assert len(corrections) > 2000
