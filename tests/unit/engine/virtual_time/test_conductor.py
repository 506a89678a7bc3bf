"""Turns of a replay: who is next, and at what time it then is."""

from __future__ import annotations

from mlink.control import NO_TIME, Waits
from mlink.engine.plan import Edge
from mlink.engine.virtual_time.conductor import (
    FEEDBACK_USEC,
    FREE_USEC,
    LOT,
    QUIET_USEC,
    Conductor,
    VirtualTime,
)

THERE = Edge("first", "out", "second", "in", None, feedback=False)
BACK = Edge("second", "out", "first", "in", None, feedback=True)


def conductor(*, end_usec: int = 1_000_000) -> Conductor:
    made = Conductor(VirtualTime(end_usec), ["first", "second"], [THERE, BACK])
    for name in ("first", "second"):
        made.begin(name)
        made.note(name, Waits(NO_TIME, {}))
    return made


def sends(turns: Conductor, name: str, count: int) -> None:
    turns.note(name, Waits(NO_TIME, {"out": count}))


def test_what_goes_along_the_streams_arrives_at_once() -> None:
    turns = conductor()
    sends(turns, "first", 1)
    assert turns.next() == ("second", 0)


def test_what_goes_back_arrives_a_little_later() -> None:
    turns = conductor()
    sends(turns, "second", 1)
    assert turns.next() == ("first", FEEDBACK_USEC)
    turns.give("first", FEEDBACK_USEC)
    turns.note("first", Waits(NO_TIME, {}))
    assert turns.next() is None


def test_two_that_answer_each_other_for_ever_come_to_the_end() -> None:
    turns = conductor(end_usec=10 * FEEDBACK_USEC)
    sends(turns, "second", 1)
    given = []
    while (turn := turns.next()) is not None:
        given.append(turn)
        turns.give(*turn)
        sends(turns, turn[0], len(given) + 1)
    assert given[:3] == [("first", 100), ("second", 100), ("first", 200)]
    assert len(given) == 20


def test_a_turn_for_another_reason_before_does_not_use_up_the_later_one() -> None:
    turns = conductor()
    sends(turns, "second", 1)
    turns.note("first", Waits(50, {}))
    assert turns.next() == ("first", 50)
    turns.give("first", 50)
    turns.note("first", Waits(NO_TIME, {}))
    assert turns.next() == ("first", FEEDBACK_USEC)


def test_a_patient_recorder_has_a_turn_for_many_items_at_once() -> None:
    made = Conductor(
        VirtualTime(1_000, patient=frozenset(["second"])), ["first", "second"], [THERE, BACK]
    )
    for name in ("first", "second"):
        made.begin(name)
        made.note(name, Waits(NO_TIME, {}))
    for count in range(1, LOT):
        sends(made, "first", count)
        assert made.next() is None
    sends(made, "first", LOT)
    assert made.next() == ("second", 0)
    made.give("second", 0)
    sends(made, "first", LOT + 1)
    assert made.next() is None


def test_an_input_on_the_tape_wakes_no_module() -> None:
    virtual = VirtualTime(1_000, on_tape=frozenset([("second", "in")]))
    made = Conductor(virtual, ["first", "second"], [THERE])
    made.begin("first")
    sends(made, "first", 1)
    made.note("second", Waits(NO_TIME, {}))
    assert made.next() is None


def test_who_has_the_turn_may_go_on_until_somebody_else_is_due() -> None:
    turns = conductor(end_usec=10 * FREE_USEC)
    turns.note("second", Waits(700, {}))
    turns.give("first", 300)
    assert turns.free_until_usec == 700
    turns.note("second", Waits(NO_TIME, {}))
    assert turns.free_until_usec == 300 + FREE_USEC  # to hear of a stop


def test_no_module_runs_on_beyond_the_end_or_past_an_item_for_another() -> None:
    turns = conductor(end_usec=500)
    turns.give("first", 300)
    assert turns.free_until_usec == 501
    sends(turns, "first", 1)
    turns.give("first", 300)
    assert turns.free_until_usec == 0


def test_no_module_runs_on_past_an_item_of_its_feedback_input() -> None:
    turns = conductor(end_usec=10 * FREE_USEC)
    sends(turns, "second", 1)
    turns.give("first", 0)
    assert turns.free_until_usec == FEEDBACK_USEC


def test_at_a_chosen_speed_every_time_is_waited_for() -> None:
    made = Conductor(VirtualTime(1_000, speed=1.0), ["first"], [])
    made.begin("first")
    made.note("first", Waits(100, {}))
    made.give("first", 100)
    assert made.free_until_usec == 0


def test_a_source_that_wakes_no_module_comes_late_but_before_the_end() -> None:
    virtual = VirtualTime(
        80_000, replayed=frozenset(["first"]), on_tape=frozenset([("second", "in")])
    )
    made = Conductor(virtual, ["first", "second"], [THERE])
    made.begin("first")
    made.note("first", Waits(10_000, {}))
    assert made.next() == ("first", 10_000 + QUIET_USEC)
    made.note("first", Waits(70_000, {}))
    assert made.next() == ("first", 80_000)
    made.note("first", Waits(80_001, {}))
    assert made.next() is None


def order_of_equal_times(seed: int | None, times: int = 8) -> list[str]:
    """Return whose turn came first, each time that two modules had new items at once."""
    names = ["source", "one", "other"]
    edges = [Edge("source", "out", name, "in", None, feedback=False) for name in names[1:]]
    turns = Conductor(VirtualTime(1_000_000, order_seed=seed), names, edges)
    for name in names:
        turns.note(name, Waits(NO_TIME, {}))
    first = []
    for number in range(times):
        turns.note("source", Waits(NO_TIME, {"out": number + 1}))
        for place in range(2):
            turn = turns.next()
            assert turn is not None
            turns.give(*turn)
            turns.note(turn[0], Waits(NO_TIME, {}))
            if not place:
                first.append(turn[0])
        assert turns.next() is None
    return first


def test_the_order_of_equal_times_is_that_of_the_streams_or_drawn_by_a_seed() -> None:
    assert set(order_of_equal_times(None)) == {"one"}
    assert set(order_of_equal_times(1)) == {"one", "other"}
    assert order_of_equal_times(1) == order_of_equal_times(1)
    assert len({tuple(order_of_equal_times(seed)) for seed in range(20)}) > 10
