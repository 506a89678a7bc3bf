"""Rates of streams that a run shows while it lasts."""

import pytest

from mlink.engine.account.rates import StreamRates


def test_a_steady_stream_has_its_rate_whenever_it_is_looked_at():
    rates = StreamRates()
    seen = []
    for look in range(1, 100):  # each 0.1 s; the worker counts each 0.25 s
        counted_s = look * 0.1 // 0.25 * 0.25
        seen.append(rates.rate_hz("cam.video", round(counted_s * 40), counted_s))
    assert seen[10:] == pytest.approx([40] * len(seen[10:]))


def test_one_count_gives_no_rate():
    assert StreamRates().rate_hz("cam.video", 7, 1.0) == 0.0


def test_a_stream_that_stops_comes_down_to_zero_in_two_seconds():
    rates = StreamRates()
    for quarter in range(20):
        rates.rate_hz("board.fmdata", min(quarter, 8) * 10, quarter * 0.25)
    assert rates.rate_hz("board.fmdata", 80, 5.0) == 0.0


def test_streams_are_kept_apart():
    rates = StreamRates()
    rates.rate_hz("a", 0, 1.0)
    rates.rate_hz("b", 0, 1.0)
    assert rates.rate_hz("a", 10, 2.0) == 10.0
    assert rates.rate_hz("b", 20, 2.0) == 20.0


def test_before_the_first_count_there_is_no_rate_and_the_first_one_is_not_taken_from_then():
    rates = StreamRates()
    assert rates.rate_hz("cam.video", 0, 0.0) == 0.0
    assert rates.rate_hz("cam.video", 30, 5000.0) == 0.0
    assert rates.rate_hz("cam.video", 60, 5001.0) == 30.0
