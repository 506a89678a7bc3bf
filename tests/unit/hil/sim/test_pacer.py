"""Simulated time follows CLOCK_MONOTONIC, never ahead; delays are counted."""

from mlink_hil.modules.latency import EdgeMatcher
from mlink_hil.sim.server.pacer import Pacer

MHZ16 = 16_000_000
START = 5_000_000_000


def pacer() -> Pacer:
    made = Pacer(MHZ16, 100, catch_up_usec=20_000)
    made.start(1000, START)
    return made


def test_cycles_and_times_map_onto_each_other():
    made = pacer()
    assert made.time_ns(1000 + 16) == START + 1000
    assert made.cycle_at(START + 1_000_000) == 1000 + 16_000


def test_a_slice_is_due_every_100_usec_or_when_a_byte_leaves():
    made = pacer()
    assert made.due_ns(1000, None) == START + 100_001
    assert made.due_ns(1000, 1000 + 160) == START + 10_001
    assert made.due_ns(1000, 1000 + 16_000) == START + 100_001
    assert made.cycle_at(made.due_ns(1000, 1000 + 161)) == 1000 + 161


def test_a_slice_that_begins_late_is_counted_and_made_up_for():
    made = pacer()
    due = made.due_ns(1000, None)
    assert made.target(1000, due, due) == 1000 + 1600
    assert made.late_slices == 0
    assert made.target(1000, due, due + 5_000_000) == 1000 + 1600 + 80_000
    assert (made.slices, made.late_slices, made.slip_ns) == (2, 1, 0)
    assert made.late_percent == 50.0


def test_a_stall_beyond_the_bound_slips_and_moves_the_mapping():
    made = pacer()
    due = made.due_ns(1000, None)
    assert made.target(1000, due, START + 1_000_000_000) == 1000 + 320_000  # 20 ms
    assert made.slip_ns == 980_000_000
    assert made.time_ns(1000) == START + 980_000_000


def test_a_wake_up_before_the_slice_is_due_is_no_slice():
    made = pacer()
    assert made.target(1000, START + 100_001, START + 50_000) == 1000 + 800
    assert made.slices == 0


def test_an_answer_belongs_to_the_last_edge_before_it():
    matcher = EdgeMatcher(MHZ16)
    matcher.answer(5)  # a line's set-up
    matcher.stimulus(100, 1, "press")
    matcher.stimulus(200, 2, "release")
    matcher.answer(360)
    assert [(each.label, each.usec) for each in matcher.take()] == [("release", 10.0)]
    assert (matcher.seen, matcher.answered, matcher.waiting) == (2, 1, False)


def test_an_edge_that_the_stop_left_unanswered_is_not_counted():
    matcher = EdgeMatcher(MHZ16)
    matcher.stimulus(100, 1, "press")
    matcher.forget_last()
    assert (matcher.seen, matcher.answered, matcher.summary()) == (0, 0, {})
