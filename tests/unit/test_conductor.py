"""Turns of a replay: who is next, and at what time it then is."""

from __future__ import annotations

from mlink.control import NO_TIME, Waits
from mlink.engine.conductor import FEEDBACK_USEC, Conductor, VirtualTime
from mlink.engine.plan import Edge

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
