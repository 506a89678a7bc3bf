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
