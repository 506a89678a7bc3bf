"""Lost frames and the measured rate, from the times of frames."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlink_drivers.camera.rate import FrameRate, RateWatch

PERIOD = 33_333_333


def lost(times, nominal=0):
    rate = FrameRate(nominal)
    for before, after in pairwise(times):
        rate.add(after - before)
    rate.finish()
    return rate.take_lost()


def regular(count, period=PERIOD, start=0):
    return [start + n * period for n in range(count)]


def without(times, *missing):
    return [time for n, time in enumerate(times) if n not in missing]


def test_a_regular_stream_has_lost_nothing():
    assert lost(regular(100)) == 0


def test_jitter_of_a_third_of_a_period_is_no_loss():
    noise = random.Random(1)
    times = [time + noise.uniform(-PERIOD / 6, PERIOD / 6) for time in regular(1000)]
    assert lost(times) == 0


@pytest.mark.parametrize("missing", [(50,), (50, 51, 52), (3,), (97,), (10, 30, 31, 60)])
def test_missing_frames_are_counted_wherever_they_are(missing):
    assert lost(without(regular(100), *missing)) == len(missing)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (1, 4)])
def test_a_camera_that_changes_its_rate_has_lost_nothing(before, after):
    first = regular(60, before * PERIOD)
    assert lost(first + regular(60, after * PERIOD, first[-1] + after * PERIOD)) == 0


def test_a_nominal_rate_that_is_wrong_does_not_matter():
    assert lost(regular(100, PERIOD * 2)) == 0


def stamped_late(times, stalls, wake=50_000):
    """Let the machine stand still from … until: what came meanwhile is stamped afterwards."""
    late = []
    for time in times:
        for start, end in stalls:
            if start <= time < end:
                time = end
        late.append(max(time, late[-1] + wake if late else time))
    return late


def test_frames_that_are_stamped_late_and_in_a_bunch_are_not_lost():
    stalls = [(10.2 * PERIOD, 13.4 * PERIOD), (40.1 * PERIOD, 42.9 * PERIOD)]
    assert lost(stamped_late(regular(100), stalls)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_machine_that_stumbles_all_the_time_does_not_make_up_losses(seed):
    noise = random.Random(seed)
    stalls, time = [], 0
    while time < 400 * PERIOD:
        time += noise.uniform(2, 6) * PERIOD
        stalls.append((time, time + noise.uniform(2, 8) * PERIOD))
        time = stalls[-1][1]
    assert lost(stamped_late(regular(400), stalls), nominal=PERIOD) <= 20


@pytest.mark.parametrize("late", [0.3, 0.5, 0.6, 0.75, 0.9, 0.95])
@pytest.mark.parametrize("at", [3, 50, 90])
def test_a_frame_that_is_late_is_late_and_one_that_is_lost_beside_it_is_lost(late, at):
    times = regular(100)
    times[at] += round(late * PERIOD)
    assert lost(times) == 0
    assert lost(without(times, at - 1)) == 1
    assert lost(without(times, at + 1)) == 1
    assert lost(without(times, at + 4, at + 5)) == 2


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    jitter=st.floats(0, 0.35),
    gaps=st.lists(st.tuples(st.integers(2, 14), st.integers(1, 6)), max_size=4),
    late=st.lists(st.integers(15, 185), max_size=3),
)
def test_losses_are_counted_exactly_while_the_jitter_is_below_half_a_period(
    seed, jitter, gaps, late
):
    noise = random.Random(seed)
    times = [round(time + noise.uniform(0, jitter) * PERIOD) for time in regular(200)]
    for n in late if jitter < 0.1 else ():
        times[n] = round((n + 0.75) * PERIOD)
    missing = {12 * first + n for first, count in gaps for n in range(count)}
    assert lost(without(times, *missing)) == len(missing)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.lists(st.floats(0.1, 6), min_size=1, max_size=6))
def test_frames_that_a_stall_delays_are_not_lost_and_lost_ones_are(seed, lengths):
    noise = random.Random(seed)
    stalls = [
        ((30 * n + 20 + noise.random()) * PERIOD, (30 * n + 20 + noise.random() + length) * PERIOD)
        for n, length in enumerate(lengths)
    ]
    times = without(regular(250), 35, 36, 66, 95)
    assert lost(stamped_late(times, stalls)) == 4


@settings(max_examples=5, derandomize=True)
@given(seed=st.integers(0, 2**32), jitter=st.floats(0.5, 3))
def test_with_more_jitter_the_count_does_not_grow_with_the_number_of_frames(seed, jitter):
    noise = random.Random(seed)
    times = sorted(round(time + noise.uniform(0, jitter) * PERIOD) for time in regular(600))
    assert lost(times) <= 12


def test_a_gap_after_a_bunch_is_still_a_gap():
    times = stamped_late(without(regular(100), 60, 61, 62), [(10.2 * PERIOD, 20.4 * PERIOD)])
    assert lost(times, nominal=PERIOD) == 3


def test_a_camera_that_is_faster_than_its_nominal_rate_is_believed():
    assert lost(without(regular(200, PERIOD // 2), 100), nominal=PERIOD) == 1


def test_a_wrong_rate_is_reported_once_and_so_is_its_end():
    watch = RateWatch(30, 0.05)
    changes = []
    frames = time_ns = 0
    for second in range(20):
        rate = 15 if 6 <= second < 12 else 30
        frames += rate
        time_ns += 10**9
        if watch.check(frames + 1, 0, time_ns):
            changes.append((second, watch.is_off, round(watch.measured)))
    assert changes == [(7, True, 15), (13, False, 30)]


@pytest.mark.parametrize(("rate", "is_off"), [(28.6, False), (28.4, True), (31.4, False)])
def test_five_per_cent_are_tolerated(rate, is_off):
    watch = RateWatch(30, 0.05)
    watch.check(round(rate * 1000) + 1, 0, 1000 * 10**9)
    assert watch.is_off is is_off
