"""A second source of an input: the same handler, and refusals that end no run."""

from __future__ import annotations

import logging

import pytest

from mlink.errors import DeviceError
from mlink.module import PortSpec
from mlink.types import DataType, LineCommand
from mlink.worker.input_port import WorkerInput
from mlink.worker.second_source import SecondSource
from tests.support.fake_context import FakeOutput


class Stream(WorkerInput):
    """An input whose items a test gives."""

    number, sent = 0, 0

    @property
    def taken(self):
        return self.number

    @property
    def sent_ns(self):
        return self.sent if self.in_place is None else self.in_place.sent_ns

    def give(self, item, sent_ns=0):
        self.number, self.sent = self.number + 1, sent_ns
        self.on_item(item)


class Joined:
    def __init__(self):
        spec = PortSpec("in", DataType.LineCommand)
        self.first, self.second = Stream(spec), Stream(spec)
        self.answers = FakeOutput("answers", DataType.TableRow)
        self.source = SecondSource(
            self.first, self.second, self.answers, lambda: 70, logging.getLogger("mlink.test")
        )


@pytest.fixture
def joined():
    return Joined()


def test_both_sources_reach_one_handler_in_the_order_of_arrival(joined):
    seen = []
    joined.first.on_item = lambda item: seen.append((item.line_id, joined.first.sent_ns))
    joined.first.give(LineCommand(line_id=1), sent_ns=10)
    joined.second.give(LineCommand(line_id=2), sent_ns=20)
    joined.first.give(LineCommand(line_id=3), sent_ns=30)
    assert seen == [(1, 10), (2, 20), (3, 30)]  # each with the time at which it was sent
    assert joined.answers.items == [["0", "70", ""]]  # the script's need none


def test_what_the_module_refuses_is_an_answer_and_no_failure(joined):
    def raises(_item):
        raise DeviceError("no line 9", remedy="Use 8.")

    def fails(_item):
        assert joined.source.refuses(DeviceError("no line 9"))  # as context.fail asks

    for handler in (raises, fails):
        joined.first.on_item = handler
        joined.second.give(LineCommand())
    assert joined.answers.items == [["0", "70", "no line 9 → Use 8."], ["1", "70", "no line 9"]]


def test_a_fault_of_the_module_and_the_scripts_own_errors_are_failures(joined):
    def breaks(_item):
        raise ValueError("a bug")

    joined.first.on_item = breaks
    with pytest.raises(ValueError, match="a bug"):
        joined.second.give(LineCommand())
    assert not joined.source.refuses(DeviceError("at another time"))
    assert joined.first.in_place is None


def test_a_module_that_takes_no_commands_any_more_says_so(joined):
    joined.first.on_item = None
    joined.second.give(LineCommand())
    assert joined.answers.items == [["0", "70", "it takes no commands now"]]
