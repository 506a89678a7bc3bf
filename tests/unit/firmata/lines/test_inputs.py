"""Digital inputs by port reports: fences, contradictions, and what a query has corrected."""

from __future__ import annotations

import pytest

from mlink_drivers.firmata.lines.inputs import DigitalInputs


@pytest.fixture
def inputs() -> DigitalInputs:
    """Lines 6 and 7, low."""
    inputs = DigitalInputs()
    for line in (6, 7):
        inputs.expect(line)
    for _ in range(2):
        inputs.pass_fence()
    assert inputs.changes(0, 0) == [(6, 0), (7, 0)]
    assert inputs.changes(0, 0x80) == [(7, 1)]
    assert inputs.query(suspicious=False) == [0]  # the answers to the orders have come
    assert inputs.changes(0, 0x80) == []
    return inputs


def test_a_report_that_changes_nothing_contradicts_the_one_before(inputs: DigitalInputs) -> None:
    assert inputs.contradictions == 0
    assert inputs.changes(0, 0) == [(7, 0)]
    assert inputs.contradictions == 0
    assert inputs.changes(0, 0) == []  # 1 became 0 on the line, or the report between was lost
    assert inputs.contradictions == 1


def test_orders_have_answers_and_a_mode_may_change_a_report_besides() -> None:
    inputs = DigitalInputs()
    for line in (6, 7):
        inputs.expect(line)
    inputs.pass_fence()
    assert inputs.changes(0, 0x40) == [(6, 1)]
    inputs.pass_fence()
    assert inputs.changes(0, 0xC0) == [(7, 1)]  # the pull-up of line 7, which was reported already
    assert inputs.changes(0, 0xC0) == []
    assert inputs.contradictions == 0


def test_a_report_of_other_lines_of_the_port_is_no_contradiction(inputs: DigitalInputs) -> None:
    assert inputs.changes(0, 0x84) == []
    assert inputs.changes(0, 0x80) == []
    assert inputs.contradictions == 0


def test_the_answer_to_a_query_may_be_equal(inputs: DigitalInputs) -> None:
    assert inputs.query(suspicious=True) == [0]
    assert inputs.changes(0, 0x80) == []
    assert inputs.contradictions == 0
    assert inputs.changes(0, 0x80) == []
    assert inputs.contradictions == 1


@pytest.mark.parametrize("suspicious", [False, True])
def test_an_answer_that_differs_is_a_reading_and_with_a_cause_a_correction(
    inputs: DigitalInputs, suspicious: bool
) -> None:
    inputs.query(suspicious=suspicious)
    assert inputs.changes(0, 0x40) == [(6, 1), (7, 0)]
    assert inputs.corrected == ([(6, True), (7, False)] if suspicious else [])
    assert inputs.changes(0, 0x80) == [(6, 0), (7, 1)]  # by itself
    assert len(inputs.corrected) == 2 * suspicious


def test_a_restarted_board_contradicts_nothing(inputs: DigitalInputs) -> None:
    inputs.forget_all()
    assert inputs.changes(0, 0x80) == []
    assert inputs.contradictions == 0


# -- what cannot be, and what was lost -------------------------------------------------------------


@pytest.fixture
def strict(inputs: DigitalInputs) -> DigitalInputs:
    inputs.is_strict = True
    return inputs


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (0x84, []),  # a line that is no input: the byte with line 6 is not used
        (0xC4, []),
        (0x44, [(7, 0)]),  # but that with line 7 is
        (0x1C0, [(6, 1)]),
        (0x840, [(6, 1)]),
    ],
)
def test_a_byte_with_lines_that_are_no_inputs_is_not_used(
    strict: DigitalInputs, mask: int, found: list[tuple[int, int]]
) -> None:
    assert strict.changes(0, mask) == found
    assert strict.impossible == 1
    assert strict.query(suspicious=True) == [0]
    strict.changes(0, 0xC0)  # the answer
    level = {6: 0, 7: 1, **dict(found), **dict(strict.corrected)}
    assert level == {6: 1, 7: 1}
    assert strict.impossible == 1


def test_a_report_of_a_port_without_inputs_is_not_used(strict: DigitalInputs) -> None:
    assert strict.changes(1, 0x40) == []
    assert strict.impossible == 1


def test_a_board_that_reports_other_lines_again_is_believed(strict: DigitalInputs) -> None:
    found = [strict.changes(0, mask) for mask in (0x04, 0x44, 0x04, 0xC4)]
    assert found == [[(7, 0)], [(6, 1)], [(6, 0)], [(6, 1), (7, 1)]]
    for mask in (0x01, 0, 0x01):
        assert strict.changes(2, mask) == []
    assert strict.impossible == 2


def test_an_input_without_readings_has_a_level_in_the_reports_of_its_port(
    strict: DigitalInputs,
) -> None:
    """Such as a line of a counter, beside one whose edges the chip does not report."""
    strict.forget(2, is_input=True)
    assert strict.changes(0, 0x44) == [(6, 1), (7, 0)]
    assert strict.changes(1, 0x04) == []
    assert strict.impossible == 1  # the other port has no input


def test_a_former_input_may_still_be_reported(strict: DigitalInputs) -> None:
    strict.forget(6)
    assert strict.changes(0, 0x40) == [(7, 0)]
    assert strict.impossible == 0


def test_a_line_whose_fence_was_lost_does_not_wait_for_ever() -> None:
    inputs = DigitalInputs()
    inputs.expect(6)
    assert not inputs.pass_lost(0, 10)
    inputs.expect(7)
    assert not inputs.pass_lost(9, 10)
    assert inputs.pass_lost(10, 10)  # line 7 has not waited for so long
    assert inputs.changes(0, 0xC0) == [(6, 1)]
    inputs.pass_fence()
    assert inputs.changes(0, 0xC0) == [(7, 1)]
    assert not inputs.pass_lost(30, 10)
    assert not inputs.pass_lost(50, 10)


def test_a_fence_is_waited_for_from_its_own_first_look() -> None:
    inputs = DigitalInputs()
    assert not inputs.pass_lost(0, 10)  # a look while none waits
    inputs.expect(6)
    assert not inputs.pass_lost(20, 10)
    assert inputs.pass_lost(30, 10)
    inputs.expect(7)
    assert not inputs.pass_lost(40, 10)
    inputs.forget_all()  # the board has restarted
    inputs.expect(7)
    assert not inputs.pass_lost(60, 10)
    assert inputs.pass_lost(70, 10)
    assert inputs.changes(0, 0x80) == [(7, 1)]


# -- a noisy line: a change of a level is confirmed before it is a reading -------------------------


@pytest.fixture
def noisy(inputs: DigitalInputs) -> DigitalInputs:
    inputs.is_noisy = True  # line 7 is high, and the board has answered a query
    return inputs


def test_a_change_counts_once_the_answer_confirms_it_with_the_time_of_its_report(
    noisy: DigitalInputs,
) -> None:
    assert noisy.changes(0, 0, 100) == []
    assert noisy.take_to_ask() == [0]
    assert noisy.take_to_ask() == []
    assert noisy.changes(0, 0, 200) == [(7, 0)]
    assert noisy.time_ns == 100
    assert noisy.take_to_ask() == []
    assert (noisy.contradictions, noisy.unconfirmed) == (0, 0)


def test_a_level_that_was_changed_on_the_line_is_no_reading_and_is_counted(
    noisy: DigitalInputs,
) -> None:
    assert noisy.changes(0, 0x40, 100) == []  # line 7 has fallen, and the bit of line 6 changed
    assert noisy.changes(0, 0, 200) == [(7, 0)]
    assert noisy.unconfirmed == 1


def test_a_change_in_the_answer_waits_for_the_next_one(noisy: DigitalInputs) -> None:
    assert noisy.changes(0, 0, 100) == []
    noisy.take_to_ask()
    assert noisy.changes(0, 0x40, 200) == [(7, 0)]  # line 6 has risen meanwhile
    assert (noisy.time_ns, noisy.take_to_ask()) == (100, [0])
    assert noisy.changes(0, 0x40, 300) == [(6, 1)]
    assert noisy.time_ns == 200


def test_a_late_confirmation_may_be_an_edge_and_has_its_own_time(noisy: DigitalInputs) -> None:
    assert noisy.changes(0, 0, 100) == []
    assert noisy.changes(0, 0, 7_000_000) == [(7, 0)]
    assert noisy.time_ns == 7_000_000


def test_a_change_without_an_answer_is_asked_for_again_and_then_taken(
    noisy: DigitalInputs,
) -> None:
    assert noisy.changes(0, 0, 100) == []
    noisy.take_to_ask()
    for _ in range(3):
        assert noisy.ask_again() == []
        assert noisy.take_to_ask() == [0]
    assert noisy.ask_again() == [(7, 0, 100)]
    assert noisy.ask_again() == noisy.take_to_ask() == []
    assert noisy.changes(0, 0, 200) == []


def test_a_line_that_has_another_use_meanwhile_is_not_confirmed(noisy: DigitalInputs) -> None:
    assert noisy.changes(0, 0x40, 100) == []
    noisy.forget(7)
    assert noisy.changes(0, 0x40, 200) == [(6, 1)]


def test_a_board_that_answers_no_query_is_believed_at_once() -> None:
    inputs = DigitalInputs()
    inputs.expect(6)
    inputs.pass_fence()
    inputs.is_noisy = True
    assert inputs.changes(0, 0x40) == [(6, 1)]
    assert inputs.changes(0, 0) == [(6, 0)]
