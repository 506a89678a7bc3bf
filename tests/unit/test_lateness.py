"""Delays as quantiles in bounded memory, and warnings of intervals that were not kept."""

from __future__ import annotations

import math
import random

import pytest

from mlink.lateness import Distribution, Intervals, Lateness, times_in_words

MS = 1_000_000


def test_quantiles_are_at_most_three_percent_too_low() -> None:
    delays = Lateness()
    chance = random.Random(7)
    values = [chance.randrange(1 << 40) for _ in range(2000)] + list(range(0, 99_000, 1000))
    for value in values:
        delays.note(value)
    for part in (0.01, 0.5, 0.99):
        exact = sorted(values)[math.ceil(part * len(values)) - 1] / 1000
        assert 0.96 * exact <= delays.quantile_usec(part) <= exact
    assert len(delays.counts) < 1500  # 32 for each doubling


def test_figures_have_quantiles_maximum_and_the_number_of_late_ones() -> None:
    delays = Lateness()
    assert delays.figures("command") == {}
    for usec in (20, 30, 40, 1000, 5003):
        delays.note(usec * 1000)
    assert delays.figures("command") == {
        "command_late_p50_usec": 40,
        "command_late_p99_usec": 4992,
        "command_late_max_usec": 5003,
        "commands_late": 1,
    }


def test_distributions_are_added() -> None:
    together, parts = Distribution(), [Distribution(), Distribution()]
    for number, usec in enumerate((20, 30, 20, 5003)):
        together.note(usec * 1000)
        parts[number % 2].note(usec * 1000)
    parts[0].add(parts[1])
    assert parts[0].counts == together.counts
    assert parts[0].max_ns == together.max_ns


def test_a_negative_delay_counts_as_none() -> None:
    delays = Lateness()
    delays.note(-50_000)
    assert delays.figures("pulse")["pulse_late_max_usec"] == 0
    assert delays.quantile_usec(0.5) == 0


@pytest.mark.parametrize(
    ("asked", "off", "kept"),
    [
        (50 * MS, 2 * MS, True),
        (50 * MS, -2 * MS, True),
        (50 * MS, 3 * MS, False),
        (50 * MS, -49 * MS, False),
        (1000 * MS, 50 * MS, True),
        (1000 * MS, 51 * MS, False),
        (0, 2 * MS + 1, False),
    ],
)
def test_an_interval_may_be_off_by_2_ms_or_a_twentieth(asked: int, off: int, kept: bool) -> None:
    warnings: list[str] = []
    intervals = Intervals(warnings.append)
    intervals.check(asked, off, "{asked} {made}")
    assert intervals.missed == len(warnings) == (not kept)


def test_warnings_come_once_a_second_of_the_given_clock_with_the_count() -> None:
    now_ns = 0
    warnings: list[str] = []
    intervals = Intervals(warnings.append, lambda: now_ns)
    for step in range(30):
        now_ns = 100_000 * MS + step * 100 * MS
        intervals.check(50 * MS, -49 * MS, "made {asked} in {made}")
    assert intervals.missed == 30
    assert warnings == [
        f"made 50.0 ms in 1.0 ms ({count} interval(s) not kept so far)" for count in (1, 11, 21)
    ]


@pytest.mark.parametrize(
    ("p50", "p99", "words"),
    [
        (893.9, 2122.5, "median 894 µs, 99 % within 2.12 ms"),
        (999.7, 999_600.0, "median 1 ms, 99 % within 1 s"),
        (0, 61_000_000.0, "median 0 µs, 99 % within 61 s"),
    ],
)
def test_times_are_told_in_the_unit_that_people_read(p50, p99, words):
    assert times_in_words({"latency_p50_usec": p50, "latency_p99_usec": p99}, "latency") == words


def test_without_both_figures_nothing_is_told():
    assert times_in_words({"latency_p50_usec": 1.0}, "latency") == ""
    assert times_in_words({"latency_p50_usec": 1.0, "latency_p99_usec": "?"}, "latency") == ""
