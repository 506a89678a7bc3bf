"""OffsetRing: running sums agree with the module statistics."""

from fractions import Fraction
from statistics import mean, median, pvariance

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlink.sync.ring import OffsetRing

offsets = st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=120)


@example(values=[4503599627370495, 0, -4503599627369765], capacity=3)
@given(values=offsets, capacity=st.integers(1, 50))
def test_it_agrees_with_statistics_over_the_last_values(values, capacity):
    ring = OffsetRing(capacity)
    for value in values:
        ring.push(value)
    kept = values[-capacity:]
    assert len(ring) == len(kept)
    assert ring.mean == pytest.approx(float(mean(map(Fraction, kept))))
    assert ring.variance == pytest.approx(float(pvariance(list(map(Fraction, kept)))))
    assert ring.std**2 == pytest.approx(ring.variance)
    assert ring.median == median(kept)


@given(values=offsets, value=st.integers(-(2**52), 2**52), least=st.integers(0, 1000))
def test_a_fluke_is_far_in_microseconds_and_in_deviations(values, value, least):
    ring = OffsetRing(60)
    for each in values:
        ring.push(each)
    kept = list(map(Fraction, values[-60:]))
    distance = mean(kept) - value
    expected = abs(distance) > least and distance**2 > 4 * pvariance(kept)
    assert ring.is_fluke(value, least, 4) is bool(expected)


@pytest.mark.parametrize(
    ("values", "rounded"),
    [([1, 2], 2), ([-1, -2], -2), ([-1, 0], -1), ([0, 1], 1), ([4, 9, 5], 5), ([-3], -3)],
)
def test_a_median_between_two_rounds_away_from_zero(values, rounded):
    ring = OffsetRing(5)
    for value in values:
        ring.push(value)
    assert ring.rounded_median() == rounded


def test_an_empty_ring_has_a_mean_of_zero_and_no_median():
    ring = OffsetRing(3)
    assert (ring.mean, ring.variance) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no median"):
        _ = ring.median


def test_a_full_ring_replaces_its_oldest_value_however_often_it_has_turned():
    ring = OffsetRing(4)
    values = [number * number * 7 % 1000 - 500 for number in range(23)]
    for count, value in enumerate(values, 1):
        ring.push(value)
        kept = values[max(0, count - 4) : count]
        assert (ring.mean, ring.median) == (mean(kept), median(kept))
        assert ring.variance == pytest.approx(pvariance(kept))


def test_a_value_at_either_limit_is_no_fluke():
    ring = OffsetRing(5)
    for value in (9, 11):  # mean 10, variance 1
        ring.push(value)
    assert not ring.is_fluke(12, 0, 4)
    assert ring.is_fluke(13, 0, 4)
    assert not ring.is_fluke(13, 3, 4)
    assert not ring.is_fluke(7, 3, 4)
    assert ring.is_fluke(6, 3, 4)
