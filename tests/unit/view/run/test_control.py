"""Commands of pages in the view's module: which are sent, and what is recorded of each."""

from __future__ import annotations

import csv

import pytest

from mlink.clock import ManualClock
from mlink.tap.catalog import TapSettings, TapStream, view_type
from mlink.types import (
    ControlCommand,
    ControlCommandKind,
    DataType,
    LineCommand,
    LineCommandKind,
    LineModeFlags,
)
from mlink.view.messages import Act, RefusedActs
from mlink.view.run.control import Control
from tests.support.fake_context import FakeContext

BOARD, CAM = "board.fmctl", "cam.control-in"
KIND = LineCommandKind


class Joined:
    def __init__(self, tmp_path):
        commanded = (
            TapStream(BOARD, DataType.LineCommand),
            TapStream(CAM, DataType.ControlCommand),
        )
        settings = TapSettings(socket="", commanded=commanded)
        self.clock = ManualClock()
        self.context = FakeContext(view_type, settings, tmp_path, clock=self.clock)
        self.answers = []
        self.control = Control(self.context, self.answers.append)
        self.control.start()
        self.tmp_path = tmp_path

    def sent(self, target=BOARD):
        return self.context.outputs[target].items

    def refusal(self, **act):
        """Return why a command was refused; nothing of it is sent."""
        before = len(self.sent()) + len(self.sent(CAM))
        self.control.act(Act(**act))
        assert len(self.sent()) + len(self.sent(CAM)) == before
        return self.answers[-1].refused

    def rows(self):
        self.control.close()
        file = self.tmp_path / "recording" / "view-commands" / "commands.csv"
        return list(csv.reader(file.read_text().splitlines(), delimiter=";"))[1:]


@pytest.fixture
def joined(tmp_path):
    joined = Joined(tmp_path)
    yield joined
    joined.control.close()


@pytest.mark.parametrize(
    ("act", "command"),
    [
        ({"command": "high", "line": 8}, LineCommand(KIND.WRITE_DIGITAL, 8, 1)),
        ({"command": "low", "line": 8}, LineCommand(KIND.WRITE_DIGITAL, 8, 0)),
        ({"command": "analog", "line": 9, "value": 180}, LineCommand(KIND.WRITE_ANALOG, 9, 180)),
        (
            {"command": "pulse", "line": 8, "duration_usec": 500},
            LineCommand(KIND.WRITE_DIGITAL_PULSE, 8, 1, duration_usec=500),
        ),
        (
            {"command": "pull-up", "line": 7},
            LineCommand(
                KIND.SET_MODE, 7, flags=LineModeFlags.IS_INPUT | LineModeFlags.PULL_UP
            ),
        ),
    ],
)  # fmt: skip
def test_a_line_is_set_as_a_script_would_set_it(joined, act, command):
    joined.control.act(Act(BOARD, **act))
    assert joined.sent() == [command]


def test_modules_take_commands_and_texts(joined):
    for command in ("start", "pause", "stop", "step"):
        joined.control.act(Act(CAM, command))
    joined.control.act(Act(CAM, "custom", text="exposure=5000"))
    kinds = [each.kind.name.lower() for each in joined.sent(CAM)]
    assert kinds == ["start", "pause", "stop", "step", "custom"]
    assert joined.sent(CAM)[-1] == ControlCommand(
        ControlCommandKind.CUSTOM, command="exposure=5000"
    )


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ({"target": "other.in", "command": "high"}, "cannot be commanded"),
        ({"target": BOARD, "command": "high", "line": -1}, "a number from 0 to 255"),
        ({"target": BOARD, "command": "high", "line": 256}, "a number from 0 to 255"),
        ({"target": BOARD, "command": "analog", "value": 65_536}, "a number from 0 to 65535"),
        ({"target": BOARD, "command": "analog", "value": -1}, "a number from 0 to 65535"),
        ({"target": BOARD, "command": "pulse"}, "more than 0 µs"),
        ({"target": BOARD, "command": "pulse", "duration_usec": 10_000_001}, "at most 10 s"),
        ({"target": BOARD, "command": "start"}, "no command 'start' for a line"),
        ({"target": CAM, "command": "high"}, "no command 'high'"),
        ({"target": CAM, "command": "custom"}, "has a text"),
        ({"target": CAM, "command": "start", "text": "now"}, "has a text"),
        ({"target": CAM, "command": "custom", "text": "x" * 201}, "at most 200 characters"),
        ({"target": CAM, "command": "custom", "text": "a\nb"}, "one line"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_words(joined, act, why):
    assert why in joined.refusal(**act)


def test_before_and_after_the_run_nothing_is_sent(joined):
    joined.context.running = False
    assert joined.refusal(target=BOARD, command="high") == "the run has not begun, or has ended"


def test_each_is_recorded_with_its_times_who_gave_it_and_its_answer(joined):
    joined.clock.advance(1000)
    joined.control.act(Act(BOARD, "high", 8, by="owner at 1.2.3.4"))
    joined.control.act(Act(BOARD, "low", 99, by="owner at 1.2.3.4"))
    joined.control.act(Act(BOARD, "high", -1, by="owner at 1.2.3.4"))
    assert [each.refused for each in joined.answers] == ["a line is a number from 0 to 255"]
    joined.control.answered(BOARD, ["0", "1250", ""])
    joined.control.answered(BOARD, ["1", "1300", "there is no line 99"])
    assert [each.taken_usec for each in joined.answers] == [None, 1250, 1300]
    joined.control.finish()
    assert joined.context.reports == {"commands": 3, "commands_refused": 2}
    by = "owner at 1.2.3.4"
    assert joined.rows() == [
        ["1000", "", BOARD, "high", "-1", "0", "0", by, "a line is a number from 0 to 255"],
        ["1000", "1250", BOARD, "high", "8", "0", "0", by, ""],
        ["1000", "1300", BOARD, "low", "99", "0", "0", by, "there is no line 99"],
    ]


def test_what_the_program_refused_is_recorded_with_its_number_and_answered_by_it(joined):
    act = Act(BOARD, "high", 8, by="guest at 1.2.3.4")
    joined.control.refused(RefusedActs(act, "this page may only look", 7))
    joined.control.finish()
    assert joined.answers == []
    assert joined.context.reports == {"commands": 7, "commands_refused": 7}
    ((*_, by, why),) = joined.rows()
    assert (by, why) == ("guest at 1.2.3.4", "this page may only look (and 6 more before)")


def test_a_module_that_answers_nothing_gets_fifty_and_none_of_them_is_forgotten(joined):
    for _ in range(50):
        joined.control.act(Act(BOARD, "high"))
    assert "has not answered the last 50" in joined.refusal(target=BOARD, command="high")
    joined.control.act(Act(CAM, "start"))  # others do not wait for it
    assert len(joined.sent(CAM)) == 1
    joined.control.finish()
    assert len(joined.rows()) == 52
    assert joined.answers[-1].refused == "no answer: the run has ended"
