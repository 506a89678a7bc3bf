"""FreqCounterSynchronizer: sample indices follow the master timer at any real frequency."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlink.errors import ModuleError
from mlink.sync import FreqCounterSynchronizer, TimeSyncStrategy

FWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_FWD
BWD = TimeSyncStrategy.SHIFT_TIMESTAMPS_BWD
RECORD = TimeSyncStrategy.WRITE_TSYNCFILE
LATENCY = 2000


class Pairs(list):
    def write(self, device_usec, master_usec):
        self.append((device_usec, master_usec))

    def close(self):
        pass


def started(strategies=FWD | BWD, hz=1000.0, **options):
    sync = FreqCounterSynchronizer(hz, "adc", **options)
    sync.set_strategies(strategies)
    assert sync.start()
    return sync


def feed(sync, blocks, *, ppm=0.0, sigma=0.0, size=50, seed=1, step_at=None, step=0):
    """Yield (true time of the block's last sample, its indices as counted, as corrected)."""
    rng = random.Random(seed)
    period = 1e6 / sync.frequency_hz
    for number in range(blocks):
        first = number * size
        truth = (first + size) * period / (1 + ppm * 1e-6)
        if step_at is not None and number >= step_at:
            truth -= step  # the device has counted more than it had time for
        counted = range(first, first + size)
        received = round(truth + LATENCY + rng.gauss(0, sigma))
        yield truth, counted, sync.process_block(received, counted)


def test_a_device_at_its_nominal_frequency_keeps_its_indices_and_the_file_has_two_pairs():
    pairs = Pairs()
    sync = started(FWD | BWD | RECORD, sink=pairs)
    for _, counted, corrected in feed(sync, 500):
        assert corrected == list(counted)
    sync.stop()
    assert sync.expected_offset_to_master_usec == -LATENCY
    assert pairs == [(0, LATENCY), (25_000_000, 25_000_000 + LATENCY)]


@pytest.mark.parametrize("sigma", [0, 200])
@pytest.mark.parametrize("ppm", [200, -200])
def test_a_device_200_ppm_off_stays_within_three_tolerances_and_never_counts_back(ppm, sigma):
    sync = started()
    last = -1
    for number, (truth, _, corrected) in enumerate(feed(sync, 20_000, ppm=ppm, sigma=sigma)):
        assert corrected == sorted(corrected)
        assert corrected[0] >= last
        last = corrected[-1]
        if number > 100:
            assert abs((last + 1) * 1000 - truth) < 3 * sync.tolerance_usec
    assert sync.index_offset * ppm > 0


def test_the_reference_leaves_half_of_a_drift():
    sync = started(as_reference=True)
    *_, (truth, _, corrected) = feed(sync, 20_000, ppm=200, sigma=200)
    assert (corrected[-1] + 1) * 1000 - truth == pytest.approx(0.5 * 200e-6 * truth, rel=0.05)


def test_a_step_is_pulled_in_without_overshoot_and_then_left_alone():
    sync = started()
    offsets = []
    step = 20_000
    for truth, _, corrected in feed(sync, 4000, sigma=50, step_at=1000, step=step):
        offsets.append(sync.index_offset)
        error = (corrected[-1] + 1) * 1000 - truth
        assert error >= -sync.tolerance_usec
    assert abs(error) <= 1e6 / sync.frequency_hz
    assert 19 <= offsets[-1] <= 21
    assert len(set(offsets[-1000:])) == 1


def test_an_offset_comes_in_as_a_ramp_over_its_block():
    sync = started()
    before = 0
    for _, counted, corrected in feed(sync, 2000, step_at=1000, step=20_000):
        shifts = [a - b for a, b in zip(counted, corrected, strict=True)]
        if sync.index_offset != before:
            assert shifts[0] == before
            assert shifts == sorted(shifts)
            assert shifts[-1] == sync.index_offset
            before = sync.index_offset
        else:
            assert set(shifts) == {before}
    assert before > 0


@pytest.mark.parametrize("ppm", [200, -200])
@pytest.mark.parametrize("strategies", [FWD, BWD], ids=["FWD", "BWD"])
def test_a_single_direction_is_kept(strategies, ppm):
    sync = started(strategies)
    moved = 0
    for _, counted, corrected in feed(sync, 5000, ppm=ppm, sigma=100):
        for before, after in zip(counted, corrected, strict=True):
            assert after >= before if strategies == FWD else after <= before
        moved += corrected[-1] != counted[-1]
    # Drift turns indices back on a fast device, forward on a slow one.
    assert (moved > 0) == ((strategies == BWD) == (ppm > 0))


def test_one_late_block_changes_nothing():
    sync = started()
    rng = random.Random(5)
    for number in range(2000):
        counted = list(range(number * 50, number * 50 + 50))
        late = 50_000 if number % 500 == 499 else 0
        received = (number + 1) * 50_000 + round(rng.gauss(0, 100)) + late
        sync.process_block(received, counted)
        if late:
            assert sync.index_offset == 0


def test_blocks_delivered_together_were_taken_one_after_the_other():
    sync = started()
    for delivery in range(40):
        received = (delivery + 1) * 200_000 + LATENCY
        for block in range(4):
            first = (delivery * 4 + block) * 50
            sync.process_block(received, range(first, first + 50), block, 4)
    assert sync.is_calibrated
    assert sync.expected_offset_to_master_usec == -LATENCY
    assert sync._deviation_usec == 0


def test_the_last_pair_does_not_pass_the_last_valid_master_time():
    pairs = Pairs()
    sync = started(RECORD, sink=pairs)
    for _ in feed(sync, 100):
        pass
    sync.set_last_valid_master_timestamp(4_990_000)
    sync.stop()
    assert pairs[-1] == (5_000_000 - 12_000, 4_990_000)


def test_it_calibrates_for_twice_its_24_blocks_and_then_refuses_settings():
    sync = started()
    for number, _ in enumerate(feed(sync, 48), 1):
        assert sync.is_calibrated is (number == 48)
    with pytest.raises(ModuleError, match="'adc' is calibrated"):
        sync.set_calibration_blocks_count(10)


@pytest.mark.parametrize("hz", [0, -5, float("nan"), float("inf")])
def test_an_impossible_frequency_is_refused(hz):
    with pytest.raises(ModuleError, match="samples per second"):
        FreqCounterSynchronizer(hz)


@given(
    jitter=st.lists(st.integers(-3000, 30_000), min_size=50, max_size=200),
    strategies=st.integers(0, 3),
    as_reference=st.booleans(),
)
def test_indices_never_go_back(jitter, strategies, as_reference):
    sync = started(strategies, as_reference=as_reference)
    last = -1
    for number, late in enumerate(jitter):
        corrected = sync.process_block(
            number * 5000 + late, range(number * 5 + 10**6, number * 5 + 5 + 10**6)
        )
        assert len(corrected) == 5
        assert corrected == sorted(corrected)
        assert corrected[0] >= last
        last = corrected[-1]


def test_the_number_of_calibration_blocks_can_be_set():
    for count, blocks in ((3, 6), (1, 2), (0, 2)):
        sync = started()
        sync.set_calibration_blocks_count(count)
        for number, _ in enumerate(feed(sync, blocks), 1):
            assert sync.is_calibrated is (number == blocks)


def test_a_changed_offset_is_spread_evenly_over_a_block():
    sync = started()
    sync._index_offset = 5
    removed = [index - after for index, after in enumerate(sync._apply(range(50), 50))]
    assert removed == [round((position + 1) / 10) for position in range(50)]
    assert sync._apply(range(50, 100), 50) == list(range(45, 95))


def test_an_offset_beyond_a_block_holds_the_indices_until_the_count_has_caught_up():
    sync = started()
    assert sync._apply(range(50), 50) == list(range(50))
    sync._index_offset = 120
    highest = 49
    for first in range(50, 250, 50):
        corrected = sync._apply(range(first, first + 50), 50)
        assert min(corrected) >= highest
        assert corrected == sorted(corrected)
        highest = corrected[-1]
    assert highest == 249 - 120


def test_each_change_of_the_offset_is_a_pair_in_the_file():
    pairs = Pairs()
    sync = started(FWD | BWD | RECORD, sink=pairs)
    offsets = [0]
    for _ in feed(sync, 1000, ppm=200):
        if sync.index_offset != offsets[-1]:
            offsets.append(sync.index_offset)
    sync.stop()
    # the first after the calibration, the last at the stop
    assert len(pairs) - 2 == len(offsets) - 1 > 2
    assert all(before < after for before, after in pairwise(pairs[:-1]))


@pytest.mark.parametrize(
    ("remaining", "ours", "reference"),
    [
        (6000.0, 2000, 2000),  # a third of the deviation
        (-6000.0, -2000, -2000),
        (1000.0, 1000, 1000),  # at least a sample
        (-1000.0, -1000, -1000),
        (400.0, 0, 1000),  # less than half a sample
        (-400.0, 0, -1000),
        (500.0, 1000, 1000),
    ],
)
def test_a_step_is_a_third_of_the_deviation_in_whole_samples(remaining, ours, reference):
    assert started()._step(remaining) == ours
    assert started(as_reference=True)._step(remaining) == reference


def test_a_correction_is_given_time_to_show_before_the_next():
    pairs = Pairs()
    sync = started(FWD | BWD | RECORD, sink=pairs)
    for _ in feed(sync, 600, ppm=2000):
        pass
    blocks = [device // 50_000 for device, _ in pairs[1:]]
    gaps = [after - before for before, after in pairwise(blocks)]
    assert min(gaps) == 30  # 1.2 rings of 24 blocks, rounded up, and the block itself
